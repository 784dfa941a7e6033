"""A stage that passes on to another one what it does not change."""

from retrieval.ports import Reranker
from retrieval.types import Calibration


class DelegatingReranker:
    """All of Reranker but `rerank`, on another reranker."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    async def start(self) -> None:
        await self._reranker.start()

    async def close(self) -> None:
        await self._reranker.close()

    @property
    def failure(self) -> str | None:
        return self._reranker.failure

    @property
    def model(self) -> str:
        return self._reranker.model

    @property
    def weight(self) -> float:
        return self._reranker.weight

    @property
    def calibration(self) -> Calibration | None:
        return self._reranker.calibration
