"""Measures vLLM's `AsyncLLM` for `tandem bench engines`: one embedder, then one reranker.

A program: reads a pickled BareWork from standard input, writes pickled Speeds to standard output.
"""

import asyncio
import os
import pickle
import sys

from app.cli.bench.engine_speeds import Prompts, Speeds, embed_rate, rerank_times
from app.cli.bench.engines import BareWork
from retrieval.engines.vllm.bare import bare_engine

SETTLE_SECONDS = 5.0
"""Wait until a device has its memory back."""


async def measure(work: BareWork) -> Speeds:
    load, prompts = work.load, Prompts(1000, work.rerank.max_model_len)
    async with bare_engine(work.embed) as embed:
        rates = [
            await embed_rate(embed, prompts, length, load, work.slice_tokens, work.ahead) for length in load.lengths
        ]
    await asyncio.sleep(SETTLE_SECONDS)
    async with bare_engine(work.rerank) as rerank:
        times = [await rerank_times(rerank, prompts, pool, load) for pool in load.pools]
    return Speeds(tuple(rates), tuple(times))


if __name__ == "__main__":
    # Only the result goes to standard output, whatever vLLM prints.
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by our own program
    result.write(pickle.dumps(asyncio.run(measure(work))))
