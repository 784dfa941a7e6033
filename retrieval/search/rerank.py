"""The second stage: a reranker scores the pool, and the answer reports it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import structlog

from retrieval.deadline import GRACE_SECONDS, Deadline
from retrieval.errors import BudgetExceeded, EngineFailed, InvalidRequest, Unavailable
from retrieval.pace import PacedReranker
from retrieval.search.fusion import scaled
from retrieval.search.language import is_foreign
from retrieval.search.query import Hit, Reranking, RerankReport
from retrieval.search.recall import MODEL_LANGUAGE
from retrieval.text.passages import passage_of
from retrieval.types import Calibration, Lane, Language, RerankScores

log = structlog.get_logger()

RERANK, BLENDED = "rerank", "blended"
RELEVANCE = "relevance"
"""What a calibrated reranker makes of its score."""
WAVE = 8
"""Candidates that are scored or not scored together where there is a budget: the more, the coarser its end; the fewer,
the oftener the query is prepared anew."""

AT_ONCE = 0.25
"""Share of the remaining time within which a pool is expected to be reranked if it is sent as one call, which is scored
as a whole or not at all.
"""


_Score = tuple[float, int]
"""A passage's score, and the tokens that were cut from it."""


@dataclass(frozen=True, slots=True)
class Reranked:
    hits: list[Hit]
    report: RerankReport
    score_name: str | None = None
    """The new name of `Hit.score`; None: unchanged."""
    relevance_name: str | None = None
    """Which of `Hit.scores` means how relevant a hit is; None if none was reranked."""
    truncated_query_tokens: int = 0


class SecondStage:
    def __init__(self, reranker: PacedReranker, languages: Sequence[Language]) -> None:
        """`languages` are those that the reranker is made for."""
        self._reranker = reranker
        self._languages = languages

    @property
    def model(self) -> str:
        return self._reranker.model

    async def __call__(self, text: str, hits: list[Hit], wanted: Reranking | None, deadline: Deadline) -> Reranked:
        """Reranks `hits`, which are in recall order.

        If the reranker is away or late, the order stays unchanged and the report gives the reason. Raises
        InvalidRequest if another model is requested than the one that runs; if reranking is required, also the
        reranker's errors and BudgetExceeded.
        """
        count = len(hits)
        if wanted is None:
            return Reranked(hits, RerankReport(applied=False, reason="not_requested", candidates=count, scored=0, ms=0))
        if wanted.model not in (None, self.model):
            raise InvalidRequest(
                f"rerank_model: this node reranks by {self.model!r}, not {wanted.model!r}.", running=self.model
            )
        if not hits:
            return Reranked(hits, RerankReport(applied=False, reason="no_candidates", candidates=0, scored=0, ms=0))
        if not (wanted.any_language or wanted.required) and is_foreign(text, self._languages):
            return Reranked(hits, RerankReport(applied=False, reason=MODEL_LANGUAGE, candidates=count, scored=0, ms=0))
        began = perf_counter()
        scored: list[_Score | None] = []
        failure = None
        try:
            scored, query_cut = await self._scores(text, hits, wanted, deadline)
        except (Unavailable, EngineFailed) as error:
            if wanted.required:
                raise
            log.warning("reranking failed", code=error.code, reason=error.message)
            failure = error.code
        ms = round((perf_counter() - began) * 1000, 3)
        done = len(scored) - scored.count(None)
        if not done:
            if wanted.required:
                raise BudgetExceeded(
                    f"Nothing was reranked within the {deadline.allowed}. Try again{deadline.remedy}, or do without it."
                )
            reason = failure or deadline.reason
            return Reranked(hits, RerankReport(applied=False, reason=reason, candidates=count, scored=0, ms=ms))
        weight = self._reranker.weight if wanted.weight is None else wanted.weight
        report = RerankReport(applied=True, candidates=count, scored=done, ms=ms)
        if done < count:
            report = replace(report, applied="partial", reason=deadline.reason)
        calibration = self._reranker.calibration
        return Reranked(
            ranked(hits, scored, weight, calibration),
            report,
            RERANK if weight == 1 else BLENDED,
            RELEVANCE if calibration else RERANK,
            query_cut,
        )

    async def _scores(
        self, text: str, hits: Sequence[Hit], wanted: Reranking, deadline: Deadline
    ) -> tuple[list[_Score | None], int]:
        """Returns the score of each hit, None if time was up before it; and the number of tokens truncated from the
        query.
        """
        passages = [passage_of(hit.candidate.title, hit.candidate.chunk) for hit in hits]
        # Without a budget there is time for all, unless measurements show otherwise; one call is the cheapest.
        at_once = deadline.reason == "deadline" and self._reranker.seconds(len(passages)) <= AT_ONCE * deadline.left
        size = len(passages) if at_once else WAVE
        # All at once, the best ones first: the engine takes them in this order and fills its steps across waves.
        parts = [passages[first : first + size] for first in range(0, len(passages), size)]
        waves = [asyncio.create_task(self._rerank(text, part, wanted)) for part in parts]
        try:
            await asyncio.wait(waves, timeout=deadline.left, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for wave in waves:
                wave.cancel()
            # Waves that ignore the cancellation are not awaited.
            await asyncio.wait(waves, timeout=GRACE_SECONDS)
        found: list[_Score | None] = []
        query_cut = 0
        for part, wave in zip(parts, waves, strict=True):
            if not wave.done() or wave.cancelled():
                found += [None] * len(part)
            else:
                scores = wave.result()
                found += zip(scores.scores, scores.truncated_tokens, strict=True)
                query_cut = scores.truncated_query_tokens
        return found, query_cut

    async def _rerank(self, text: str, passages: Sequence[str], wanted: Reranking) -> RerankScores:
        return await self._reranker.rerank(text, passages, lane=Lane.INTERACTIVE, instruction=wanted.instruction)


def ranked(
    hits: Sequence[Hit], scores: Sequence[_Score | None], weight: float, calibration: Calibration | None = None
) -> list[Hit]:
    """Returns scored hits by their new score, ties in recall order, followed by those without a score, in recall order.

    A `weight` below 1 mixes in the recall score. Both are first scaled to [0, 1] between the worst and the best of the
    scored hits, since the spread of scores differs from model to model.
    """
    pairs = list(zip(hits, scores, strict=True))
    scored = [
        replace(hit, scores={**hit.scores, **_of_reranker(found[0], calibration)}, truncated_tokens=found[1])
        for hit, found in pairs
        if found
    ]
    rest = [replace(hit, score=None) for hit, found in pairs if not found]
    if weight < 1:
        by_rerank = scaled([hit.scores[RERANK] for hit in scored])
        by_recall = scaled([hit.score or 0.0 for hit in scored])
        scored = [
            replace(hit, scores={**hit.scores, BLENDED: weight * first + (1 - weight) * second})
            for hit, first, second in zip(scored, by_rerank, by_recall, strict=True)
        ]
        return _ordered(_ordered(scored, RERANK), BLENDED) + rest
    return _ordered(scored, RERANK) + rest


def _of_reranker(score: float, calibration: Calibration | None) -> dict[str, float]:
    return {RERANK: score} | ({RELEVANCE: calibration.relevance(score)} if calibration else {})


def _ordered(hits: Sequence[Hit], stage: str) -> list[Hit]:
    best_first = sorted(hits, key=lambda hit: -hit.scores[stage])
    return [
        replace(hit, score=hit.scores[stage], ranks={**hit.ranks, stage: rank})
        for rank, hit in enumerate(best_first, start=1)
    ]
