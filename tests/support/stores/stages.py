"""A store, an embedder and a reranker that say what they are told to say: for tests of what a search makes of it."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from zlib import crc32

import numpy as np

from retrieval.filters.tree import Filter
from retrieval.types import (
    Calibration,
    Candidate,
    Chunk,
    ChunkId,
    DocumentId,
    Embeddings,
    Fingerprint,
    Lane,
    RerankScores,
    StoreCapabilities,
    TextKind,
    Vector,
)
from tests.support.stores.hits import a_candidate

FINGERPRINT = Fingerprint("told", "0" * 12, 4, normalized=True, prompt_version="1")


async def never() -> None:
    """Hangs, as a part does that was stopped."""
    await asyncio.Event().wait()


class ScriptedStore:
    """Of VectorStore what a search needs: each branch finds the chunks that it gives a score, the best first."""

    def __init__(self, dense: Mapping[str, float], sparse: Mapping[str, float]) -> None:
        self._dense = dense
        self._sparse = sparse
        self.hangs: set[str] = set()
        """Names of the methods that never answer."""
        self.limits: list[int] = []

    async def capabilities(self) -> StoreCapabilities:
        await self._hang("capabilities")
        return StoreCapabilities(server="told", version="1", sparse=True)

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        await self._hang("search")
        return self._found(self._dense, limit)

    async def search_text(
        self, name: str, text: str, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        await self._hang("search_text")
        return self._found(self._sparse, limit)

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        await self._hang("vectors")
        seeds = {id_: np.random.default_rng(crc32(id_.encode())) for id_ in ids}
        return {id_: _unit(seed.normal(size=4)) for id_, seed in seeds.items()}

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        await self._hang("chunks")
        return {}

    async def _hang(self, method: str) -> None:
        if method in self.hangs:
            await never()

    def _found(self, scores: Mapping[str, float], limit: int) -> Sequence[Candidate]:
        self.limits.append(limit)
        best_first = sorted(scores.items(), key=lambda each: (-each[1], each[0]))[:limit]
        return [a_candidate(name, score) for name, score in best_first]


class ScriptedEmbedder:
    fingerprint = FINGERPRINT

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.cancelled = 0

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        if self.hangs:
            try:
                await never()
            finally:
                self.cancelled += 1
        zeros = tuple(0 for _ in texts)
        return Embeddings(np.ones((len(texts), 4), dtype=np.float32) / 2, zeros, zeros, self.fingerprint)


class ScriptedReranker:
    """Scores each passage by its text, 0 where nothing was told. A call takes `seconds`; with `seconds_a_passage` one
    call after the other is computed, as by a device."""

    model = "told"

    def __init__(
        self,
        scores: Mapping[str, float] | None = None,
        *,
        weight: float = 1.0,
        calibration: Calibration | None = None,
        seconds: float = 0,
        seconds_a_passage: float = 0,
    ) -> None:
        self.scores = scores or {}
        self.weight = weight
        self.calibration = calibration
        self.seconds = seconds
        self.seconds_a_passage = seconds_a_passage
        self._device = asyncio.Lock()
        self.asked: list[Sequence[str]] = []

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        self.asked.append(passages)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.seconds_a_passage:
            async with self._device:
                await asyncio.sleep(self.seconds_a_passage * len(passages))
        scores = tuple(self.scores.get(passage, 0.0) for passage in passages)
        return RerankScores(scores, 10 * len(passages), tuple(0 for _ in passages), 0, self.model)


def _unit(vector: Vector) -> Vector:
    unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit
