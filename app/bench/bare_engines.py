"""vLLM's `AsyncLLM` as it is, for `tandem bench engines`: one embedder, then one reranker.

A program: reads a pickled BareWork from standard input, writes pickled Speeds to standard output.
"""

import asyncio
import os
import pickle
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from app.bench.engine_speeds import Encode, Prompts, Speeds, embed_rate, rerank_times
from app.bench.engines import BareWork
from retrieval.engines.vllm_options import EngineOptions, engine_arguments
from retrieval.types import TokenIds

SETTLE_SECONDS = 5.0
"""Until a device has its memory back."""


async def measure(work: BareWork) -> Speeds:
    load, prompts = work.load, Prompts(1000, work.rerank.max_model_len)
    async with _engine(work.embed) as embed:
        rates = [
            await embed_rate(embed, prompts, length, load, work.slice_tokens, work.ahead) for length in load.lengths
        ]
    await asyncio.sleep(SETTLE_SECONDS)
    async with _engine(work.rerank) as rerank:
        times = [await rerank_times(rerank, prompts, pool, load) for pool in load.pools]
    return Speeds(tuple(rates), tuple(times))


@asynccontextmanager
async def _engine(options: EngineOptions) -> AsyncIterator[Encode]:
    from vllm import PoolingParams
    from vllm.inputs import tokens_input
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(engine_arguments(options))

    async def one(ids: TokenIds) -> None:
        async for _ in engine.encode(tokens_input(list(ids)), PoolingParams(task=options.task), uuid4().hex):
            pass

    async def encode(prompts: Sequence[TokenIds]) -> None:
        await asyncio.gather(*map(one, prompts))

    try:
        yield encode
    finally:
        engine.shutdown()


if __name__ == "__main__":
    # Only the result goes to standard output, whatever vLLM prints.
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by our own program
    result.write(pickle.dumps(asyncio.run(measure(work))))
