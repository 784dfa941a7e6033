"""The two stages: recall by nearest vectors, then a reranker over the pool, on the same accelerator."""

from collections.abc import Sequence
from time import perf_counter

import structlog

from retrieval.errors import EngineFailed, Unavailable
from retrieval.passages import passage
from retrieval.ports import Embedder, Reranker, VectorStore
from retrieval.types import Candidate, Hit, Lane, RerankReport, RerankScores, SearchQuery, SearchResult, StoreName

log = structlog.get_logger()


class SearchService:
    def __init__(self, reranker: Reranker, store: VectorStore) -> None:
        self._reranker = reranker
        self._store = store

    async def search(self, collection: StoreName, embedder: Embedder, query: SearchQuery) -> SearchResult:
        """`collection` holds vectors of `embedder`.

        A reranker that is away does not fail the search: hits come in recall order and the report says why.
        Raises what the embedder and the store raise.
        """
        started = perf_counter()
        embeddings = await embedder.embed(
            [query.text], kind="query", lane=Lane.INTERACTIVE, instruction=query.instruction
        )
        embedded = perf_counter()
        pool = max(query.candidates, query.top_k) if query.rerank else query.top_k
        candidates = await self._store.search(collection, embeddings.vectors[0], limit=pool, partition=query.partition)
        recalled = perf_counter()
        scores, report = await self._rerank(query, candidates)
        hits = rank(candidates, scores)
        if query.min_score is not None:
            hits = [hit for hit in hits if hit.score >= query.min_score]
        ended = perf_counter()
        cut = embeddings.truncated_tokens[0]
        return SearchResult(
            hits=tuple(hits[: query.top_k]),
            rerank=report,
            timings_ms={
                "embed": _ms(started, embedded),
                "recall": _ms(embedded, recalled),
                "rerank": report.ms,
                "total": _ms(started, ended),
            },
            models={"embed": embedder.fingerprint.model, "rerank": self._reranker.model},
            score_name="rerank" if scores else "dense",
            truncated_query_tokens=max(cut, scores.truncated_query_tokens if scores else 0),
        )

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


def rank(candidates: Sequence[Candidate], scores: RerankScores | None) -> list[Hit]:
    """Hits ordered by the rerank score, ties in recall order; without scores in recall order."""
    if scores is None:
        return [
            Hit(candidate, candidate.score, {"dense": candidate.score}, {"dense": place}, truncated_tokens=0)
            for place, candidate in enumerate(candidates, start=1)
        ]
    order = sorted(range(len(candidates)), key=lambda place: -scores.scores[place])
    return [
        Hit(
            candidates[place],
            scores.scores[place],
            {"dense": candidates[place].score, "rerank": scores.scores[place]},
            {"dense": place + 1, "rerank": reranked},
            truncated_tokens=scores.truncated_tokens[place],
        )
        for reranked, place in enumerate(order, start=1)
    ]


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
