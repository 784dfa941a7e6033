"""vLLM's own `AsyncLLM` with the arguments of ours, to compare with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from retrieval.engines.vllm.options import EngineOptions, engine_arguments
from retrieval.types import TokenIds


@asynccontextmanager
async def bare_engine(options: EngineOptions) -> AsyncIterator[Callable[[Sequence[TokenIds]], Awaitable[None]]]:
    """Computes prompts, each a request of its own, and forgets the outputs. The process has `engine_environment`, but
    for the engine core, which has a process of its own here as by default."""
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
