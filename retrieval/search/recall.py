"""The first stage: candidates by nearest vectors and by words."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import structlog

from retrieval.deadline import Deadline
from retrieval.errors import BudgetExceeded, EngineFailed, StoreUnavailable, Unavailable
from retrieval.ports import Embedder, VectorStore
from retrieval.search.fusion import alone, fuse, weights_for
from retrieval.search.language import is_foreign
from retrieval.search.query import Hit, Mode, RecallReport, SearchQuery
from retrieval.types import Candidate, Lane, Language, StoreName

log = structlog.get_logger()

EMBEDDER, STORE = "embedder", "vector store"
VECTORS_SHARE = 0.5
"""Share of the remaining time for embedding the query and finding its neighbors, if words can answer alone."""
MODEL_LANGUAGE = "model_language"
"""Why a model was not asked: it was not made for the language of the query."""


@dataclass(frozen=True, slots=True)
class Recalled:
    hits: list[Hit]
    report: RecallReport
    truncated_query_tokens: int = 0
    embed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class _Dense:
    """The result of the dense branch, and the time that embedding the query took."""

    candidates: Sequence[Candidate]
    truncated_tokens: int
    ms: float


class Recall:
    def __init__(self, store: VectorStore, languages: Sequence[Language]) -> None:
        """`languages` are those that the embedder is made for."""
        self._store = store
        self._languages = languages

    async def __call__(
        self, collection: StoreName, embedder: Embedder, query: SearchQuery, deadline: Deadline
    ) -> Recalled:
        """Returns the query's pool, best first. The branches run concurrently.

        If the query leaves the mode open, an embedder that is away, late, or cannot read the query's language does not
        fail it: recall runs by words alone and reports it. Raises the errors of the embedder and the store, Unsupported
        for a mode that the server has no index for, BudgetExceeded.
        """
        limit = query.pool
        mode, reason = await deadline.run(self._mode(query), STORE)
        if mode == "dense":
            dense = await self._dense(collection, embedder, query, deadline)
            hits = alone("dense", dense.candidates)
            return Recalled(hits, RecallReport(mode, len(hits), reason), dense.truncated_tokens, dense.ms)
        by_words = deadline.run(
            self._store.search_text(
                collection, query.text, limit=limit, partition=query.partition, filter=query.condition
            ),
            STORE,
        )
        if mode == "sparse":
            hits = alone("sparse", await by_words)
            return Recalled(hits, RecallReport(mode, len(hits), reason))
        # If words can answer alone, vectors must not use up the time for reranking.
        for_vectors = deadline if query.mode else deadline.share(VECTORS_SHARE)
        near, sparse = await asyncio.gather(
            self._dense(collection, embedder, query, for_vectors), by_words, return_exceptions=True
        )
        if isinstance(sparse, BaseException):
            raise sparse
        if isinstance(near, Unavailable | EngineFailed) and not isinstance(near, StoreUnavailable):
            if query.mode is not None:
                raise near
            log.warning("recall by words alone", code=near.code, reason=near.message)
            why = deadline.reason if isinstance(near, BudgetExceeded) else near.code
            return Recalled(alone("sparse", sparse), RecallReport("sparse", len(sparse), why))
        if isinstance(near, BaseException):
            raise near
        weights = query.fusion.weights or weights_for(query.text, near.candidates)
        hits = fuse({"dense": near.candidates, "sparse": sparse}, query.fusion, weights)[:limit]
        return Recalled(hits, RecallReport(mode, len(hits), weights=weights), near.truncated_tokens, near.ms)

    async def _mode(self, query: SearchQuery) -> tuple[Mode, str | None]:
        if query.mode is not None:
            return query.mode, None
        if not (await self._store.capabilities()).sparse:
            return "dense", "no_sparse_index"
        return ("sparse", MODEL_LANGUAGE) if is_foreign(query.text, self._languages) else ("hybrid", None)

    async def _dense(self, collection: StoreName, embedder: Embedder, query: SearchQuery, deadline: Deadline) -> _Dense:
        started = perf_counter()
        embeddings = await deadline.run(
            embedder.embed([query.text], kind="query", lane=Lane.INTERACTIVE, instruction=query.instruction), EMBEDDER
        )
        ms = (perf_counter() - started) * 1000
        candidates = await deadline.run(
            self._store.search(
                collection, embeddings.vectors[0], limit=query.pool, partition=query.partition, filter=query.condition
            ),
            STORE,
        )
        return _Dense(candidates, embeddings.truncated_tokens[0], ms)
