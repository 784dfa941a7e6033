"""The search service: recall, reranking of the pool on the same accelerator, then grouping, diversity, neighbors and
highlights.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import perf_counter

import structlog

from retrieval.deadline import GRACE_SECONDS, Deadline
from retrieval.device.devices import Devices
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.pace import CANDIDATE_TOKENS, SENTENCE_TOKENS, Pace, PacedReranker
from retrieval.ports import Embedder, Reranker, VectorStore
from retrieval.search.default_candidates import fitting, tokens_within
from retrieval.search.diversity import DIVERSE, by_document, diversified
from retrieval.search.fusion import FUSED, merge
from retrieval.search.highlights import MAX_SENTENCES, with_highlights
from retrieval.search.neighbors import with_neighbors, with_sections
from retrieval.search.query import Hit, Place, RecallReport, RerankReport, SearchQuery, SearchResult
from retrieval.search.recall import STORE, Recall, Recalled
from retrieval.search.rerank import SecondStage
from retrieval.text.tokenizer import check_text
from retrieval.types import Language, StoreName

log = structlog.get_logger()

DEADLINE_SECONDS = 60.0


class SearchService:
    def __init__(
        self,
        reranker: Reranker,
        store: VectorStore,
        languages: Sequence[Language],
        devices: Devices | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        pace: Pace | None = None,
    ) -> None:
        """`languages` are those that both models are made for, `devices` those that both compute on. No
        answer takes longer than `deadline_seconds` plus GRACE_SECONDS. `pace` is that of the reranker, if others
        measure it as well.
        """
        pace = pace or Pace()
        self._candidates = PacedReranker(reranker, pace, CANDIDATE_TOKENS)
        self._sentences = PacedReranker(reranker, pace, SENTENCE_TOKENS)
        self._recall = Recall(store, languages)
        self._second_stage = SecondStage(self._candidates, languages)
        self._store = store
        self._devices = devices
        self._deadline_seconds = deadline_seconds
        self._default_tokens: int | None = None
        """Most tokens of the candidates of a search that states no number of them; None: not measured."""

    async def measure(self, seconds: float) -> None:
        """Lets searches that state no number of candidates rerank as many as take this time, by the speed that is
        measured now. Raises the reranker's errors.
        """
        self._default_tokens = await tokens_within(self._candidates, seconds)
        log.info("default candidates", seconds=seconds, tokens=self._default_tokens)

    @property
    def measured(self) -> bool:
        return self._default_tokens is not None

    def seconds(self, query: SearchQuery) -> float:
        """Returns the expected seconds of the query's reranking without other work."""
        of_candidates = self._candidates.seconds(query.pool) if query.reranking else 0.0
        if query.candidates is None and self._default_tokens is not None:
            least = self._candidates.seconds(query.top_k)
            of_candidates = min(of_candidates, max(least, self._candidates.pace.seconds(self._default_tokens)))
        return of_candidates + self._sentences.seconds(_sentences(query))

    async def search(self, collection: StoreName, embedder: Embedder, query: SearchQuery) -> SearchResult:
        """Searches `collection`, which holds vectors of `embedder`. The result reports missing parts as `Recall` and
        `SecondStage` describe. Raises their errors and those of the store, InvalidText, BudgetExceeded.
        """
        started = perf_counter()
        deadline = Deadline.for_search(query.budget_ms, self._deadline_seconds)
        for text in (query.text, *query.variants):
            check_text(text)
        with self._ahead_of_bulk_work(query):
            recalled = await self._recall_all(collection, embedder, query, deadline)
            ended_recall = perf_counter()
            candidates = recalled.hits[: self._reranked(query, recalled.hits)]
            reranked = await self._second_stage(query.text, candidates, query.reranking, deadline)
            mode = recalled.report.mode
            score_name = reranked.score_name or (FUSED if mode == "hybrid" or query.variants else mode)
            hits = reranked.hits if reranked.report.applied else recalled.hits
            if query.min_score is not None:
                hits = [hit for hit in hits if reaches(hit, query.min_score, reranked.relevance_name)]
            if query.by_document:
                hits = by_document(hits)
            end = query.offset + query.top_k
            if query.diversity:
                ids = [hit.candidate.chunk.id for hit in hits]
                vectors = await deadline.run(self._store.vectors(collection, ids), STORE, grace=GRACE_SECONDS)
                # Runs in a thread: a thousand vectors are compared a hundred times.
                hits = await asyncio.to_thread(diversified, hits, vectors, query.diversity, end + 1)
                score_name = DIVERSE
            page = await self._complete(collection, query, hits[query.offset : end], deadline)
        ended = perf_counter()
        return SearchResult(
            hits=tuple(page),
            recall=recalled.report,
            rerank=reranked.report,
            timings_ms={
                "embed": round(recalled.embed_ms, 3),
                "recall": _ms(started, ended_recall, less=recalled.embed_ms),
                "rerank": reranked.report.ms,
                "total": _ms(started, ended),
            },
            models={"embed": embedder.fingerprint.model, "rerank": self._second_stage.model},
            score_name=score_name,
            relevance_name=reranked.relevance_name,
            truncated_query_tokens=max(recalled.truncated_query_tokens, reranked.truncated_query_tokens),
            next=_next(query, recalled.report, reranked.report) if len(hits) > end else None,
        )

    async def _recall_all(
        self, collection: StoreName, embedder: Embedder, query: SearchQuery, deadline: Deadline
    ) -> Recalled:
        """Recalls the question and its variants side by side. The report is the question's, with the candidates of
        all.
        """
        if not query.variants:
            return await self._recall(collection, embedder, query, deadline)
        phrasings = [replace(query, text=text) for text in (query.text, *query.variants)]
        every = await gather_or_cancel(self._recall(collection, embedder, each, deadline) for each in phrasings)
        hits = merge([recalled.hits for recalled in every])[: query.pool]
        return Recalled(
            hits,
            replace(every[0].report, candidates=len(hits)),
            max(recalled.truncated_query_tokens for recalled in every),
            max(recalled.embed_ms for recalled in every),
        )

    def _reranked(self, query: SearchQuery, hits: Sequence[Hit]) -> int:
        """Returns how many of the hits of recall are reranked."""
        if query.place and query.place.reranked:
            return query.place.reranked
        if query.candidates is not None or self._default_tokens is None:
            return len(hits)
        return fitting(hits, self._default_tokens, query.top_k, by_document=query.by_document)

    def _ahead_of_bulk_work(self, query: SearchQuery) -> AbstractContextManager[None]:
        return self._devices.search() if self._devices and (query.reranking or query.highlights) else nullcontext()

    async def _complete(
        self, collection: StoreName, query: SearchQuery, hits: Sequence[Hit], deadline: Deadline
    ) -> Sequence[Hit]:
        if query.neighbors and hits:
            joining = with_neighbors(self._store, collection, hits, query.neighbors, query.forced)
            hits = await deadline.run(joining, STORE, grace=GRACE_SECONDS)
        if query.section_tokens and hits:
            reading = with_sections(self._store, collection, hits, query.section_tokens, query.forced)
            hits = await deadline.run(reading, STORE, grace=GRACE_SECONDS)
        if query.highlights and hits:
            instruction = query.reranking.instruction if query.reranking else None
            hits = await with_highlights(self._sentences, query.text, hits, query.highlights, instruction, deadline)
        return hits


def reaches(hit: Hit, least: float, relevance_name: str | None) -> bool:
    """Returns whether a hit is at least so relevant, by the score that means relevance; if nothing was reranked, by the
    score that orders the hits.
    """
    value = hit.score if relevance_name is None else hit.scores.get(relevance_name)
    return value is not None and value >= least


def passages_of(query: SearchQuery) -> int:
    """Returns the most passages that a search reranks: its pool, even unranked, and the sentences of its highlights."""
    return query.pool + _sentences(query)


def _sentences(query: SearchQuery) -> int:
    return query.top_k * MAX_SENTENCES if query.highlights else 0


def _next(query: SearchQuery, recall: RecallReport, rerank: RerankReport) -> Place | None:
    """Returns the place of the following page, which repeats this page's mode and reranking, whatever becomes available
    or unavailable meanwhile.
    """
    if rerank.applied == "partial":
        return None
    return Place(query.offset + query.top_k, query.pool, recall.mode, rerank.scored)


def _ms(start: float, end: float, *, less: float = 0.0) -> float:
    return round((end - start) * 1000 - less, 3)
