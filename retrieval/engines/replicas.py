"""Several engines with the same model on one device, as one engine: while one prepares a batch, another computes."""

from collections.abc import Sequence

from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.messages import Output
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import Lane, TokenIds


class Replicas:
    """Serves as long as one of them does; the others come back by themselves."""

    def __init__(self, engines: Sequence[VllmEngine], query_engine: VllmEngine | None = None) -> None:
        """`query_engine` does the work of the interactive lane, and no other while one of `engines` serves: it is never
        in the midst of documents when a query comes."""
        self._sharing = engines
        self._query_engine = query_engine
        self._engines = [*engines, *([query_engine] if query_engine else [])]

    @property
    def options(self) -> EngineOptions:
        """The same for each."""
        return self._engines[0].options

    @property
    def failure(self) -> str | None:
        failures = [engine.failure for engine in self._engines]
        return None if None in failures else failures[0]

    @property
    def responsive(self) -> bool:
        return all(engine.responsive for engine in self._engines)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(pid for engine in self._engines for pid in engine.pids)

    @property
    def unfinished(self) -> int:
        """Requests that they hold."""
        return sum(engine.unfinished for engine in self._engines)

    @property
    def restarts(self) -> int:
        return sum(engine.restarts for engine in self._engines)

    async def start(self) -> None:
        """Errors as in `VllmEngine.start`."""
        await gather_or_cancel(engine.start() for engine in self._engines)

    async def close(self) -> None:
        for engine in self._engines:
            await engine.close()

    async def encode(
        self,
        token_ids: Sequence[TokenIds],
        *,
        lane: Lane,
        dimensions: int | None = None,
        task: EngineTask | None = None,
    ) -> Sequence[Output]:
        """Encodes on the least loaded of the engines that serve the lane. Errors as in `VllmEngine.encode`."""
        meant = [self._query_engine] if self._query_engine and lane is Lane.INTERACTIVE else self._sharing
        able = _serving(meant) or _serving(self._engines) or meant
        engine = min(able, key=lambda each: each.unfinished)
        return await engine.encode(token_ids, lane=lane, dimensions=dimensions, task=task)


def _serving(engines: Sequence[VllmEngine]) -> Sequence[VllmEngine]:
    return [engine for engine in engines if engine.failure is None]
