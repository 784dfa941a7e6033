"""The two stages: recall by nearest vectors and by words, then a reranker over the pool, on the same accelerator."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import structlog

from retrieval.errors import EngineFailed, StoreUnavailable, Unavailable
from retrieval.fusion import FUSED, Recalled, alone, fuse
from retrieval.passages import passage
from retrieval.ports import Embedder, Reranker, VectorStore
from retrieval.types import (
    Candidate,
    Hit,
    Lane,
    Mode,
    RecallReport,
    RerankReport,
    RerankScores,
    SearchQuery,
    SearchResult,
    StoreName,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Dense:
    """What the dense branch found, and what embedding the query took."""

    candidates: Sequence[Candidate]
    truncated_tokens: int
    ms: float


class SearchService:
    def __init__(self, reranker: Reranker, store: VectorStore) -> None:
        self._reranker = reranker
        self._store = store

    async def search(self, collection: StoreName, embedder: Embedder, query: SearchQuery) -> SearchResult:
        """`collection` holds vectors of `embedder`.

        A reranker that is away does not fail the search: hits come in recall order and the report says why. Nor does
        an embedder that is away, where the query leaves the mode open: recall is by words alone, and says so.
        Raises what the embedder and the store raise, Unsupported for a mode that the server has no index for.
        """
        started = perf_counter()
        recalled, recall, dense = await self._recall(collection, embedder, query)
        ended_recall = perf_counter()
        scores, report = await self._rerank(query, [each.candidate for each in recalled])
        hits = rank(recalled, scores)
        if query.min_score is not None:
            hits = [hit for hit in hits if hit.score >= query.min_score]
        ended = perf_counter()
        embed_ms = dense.ms if dense else 0.0
        cut = (dense.truncated_tokens if dense else 0, scores.truncated_query_tokens if scores else 0)
        return SearchResult(
            hits=tuple(hits[: query.top_k]),
            recall=recall,
            rerank=report,
            timings_ms={
                "embed": embed_ms,
                "recall": round(_ms(started, ended_recall) - embed_ms, 3),
                "rerank": report.ms,
                "total": _ms(started, ended),
            },
            models={"embed": embedder.fingerprint.model, "rerank": self._reranker.model},
            score_name="rerank" if scores else FUSED if recall.mode == "hybrid" else recall.mode,
            truncated_query_tokens=max(cut),
        )

    async def _recall(
        self, collection: StoreName, embedder: Embedder, query: SearchQuery
    ) -> tuple[list[Recalled], RecallReport, _Dense | None]:
        """Both branches side by side."""
        limit = max(query.candidates, query.top_k) if query.rerank else query.top_k
        mode, reason = await self._mode(query)
        if mode == "dense":
            dense = await self._dense(collection, embedder, query, limit)
            return alone("dense", dense.candidates), RecallReport(mode, len(dense.candidates), reason), dense
        by_words = self._store.search_text(
            collection, query.text, limit=limit, partition=query.partition, filter=query.filter
        )
        if mode == "sparse":
            candidates = await by_words
            return alone("sparse", candidates), RecallReport(mode, len(candidates), reason), None
        near, sparse = await asyncio.gather(
            self._dense(collection, embedder, query, limit), by_words, return_exceptions=True
        )
        if isinstance(sparse, BaseException):
            raise sparse
        if isinstance(near, BaseException):
            away = isinstance(near, Unavailable | EngineFailed) and not isinstance(near, StoreUnavailable)
            if query.mode is not None or not away:
                raise near
            assert isinstance(near, Unavailable | EngineFailed)
            log.warning("recall by words alone", code=near.code, reason=near.message)
            return alone("sparse", sparse), RecallReport("sparse", len(sparse), near.code), None
        fused = fuse({"dense": near.candidates, "sparse": sparse}, query.fusion)[:limit]
        return fused, RecallReport(mode, len(fused)), near

    async def _mode(self, query: SearchQuery) -> tuple[Mode, str | None]:
        if query.mode is not None:
            return query.mode, None
        if (await self._store.capabilities()).sparse:
            return "hybrid", None
        return "dense", "no_sparse_index"

    async def _dense(self, collection: StoreName, embedder: Embedder, query: SearchQuery, limit: int) -> _Dense:
        started = perf_counter()
        embeddings = await embedder.embed(
            [query.text], kind="query", lane=Lane.INTERACTIVE, instruction=query.instruction
        )
        ms = _ms(started, perf_counter())
        candidates = await self._store.search(
            collection, embeddings.vectors[0], limit=limit, partition=query.partition, filter=query.filter
        )
        return _Dense(candidates, embeddings.truncated_tokens[0], ms)

    async def _rerank(
        self, query: SearchQuery, candidates: Sequence[Candidate]
    ) -> tuple[RerankScores | None, RerankReport]:
        count = len(candidates)
        if not query.rerank:
            return None, RerankReport(applied=False, reason="not_requested", candidates=count, scored=0, ms=0.0)
        if not candidates:
            return None, RerankReport(applied=False, reason="no_candidates", candidates=0, scored=0, ms=0.0)
        started = perf_counter()
        try:
            scores = await self._reranker.rerank(
                query.text,
                [passage(candidate.title, candidate.chunk.text) for candidate in candidates],
                lane=Lane.INTERACTIVE,
                instruction=query.rerank_instruction,
            )
        except (Unavailable, EngineFailed) as error:
            log.warning("reranking failed", code=error.code, reason=error.message)
            report = RerankReport(
                applied=False, reason=error.code, candidates=count, scored=0, ms=_ms(started, perf_counter())
            )
            return None, report
        report = RerankReport(applied=True, candidates=count, scored=count, ms=_ms(started, perf_counter()))
        return scores, report


def rank(recalled: Sequence[Recalled], scores: RerankScores | None) -> list[Hit]:
    """Hits ordered by the rerank score, ties in recall order; without scores in recall order."""
    if scores is None:
        return [Hit(each.candidate, each.score, each.scores, each.ranks, truncated_tokens=0) for each in recalled]
    order = sorted(range(len(recalled)), key=lambda place: -scores.scores[place])
    return [
        Hit(
            recalled[place].candidate,
            scores.scores[place],
            {**recalled[place].scores, "rerank": scores.scores[place]},
            {**recalled[place].ranks, "rerank": reranked},
            truncated_tokens=scores.truncated_tokens[place],
        )
        for reranked, place in enumerate(order, start=1)
    ]


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
