import asyncio
from collections.abc import Sequence

import pytest

from retrieval.deadline import Deadline
from retrieval.errors import BudgetExceeded, EngineDead, EngineFailed, InvalidRequest, TandemError
from retrieval.pace import Pace, PacedReranker
from retrieval.search.query import Hit, Reranking
from retrieval.search.rerank import WAVE, Reranked, SecondStage, ranked
from retrieval.types import Calibration, Lane, RerankScores
from tests.support.stores.hits import names, recalled

HITS = recalled(a=0.9, b=0.8, c=0.7)
POOL = recalled(**{f"p{number}": 1 - number / 100 for number in range(3 * WAVE + 2)})


class Scorer:
    """Answers at once, or when it is told to; remembers what was left to do when nobody waited any more."""

    model = "scorer"
    weight = 1.0
    calibration = None

    def __init__(self, *, holds: str = "", fails: TandemError | None = None) -> None:
        self.asked: list[Sequence[str]] = []
        self.dropped: list[Sequence[str]] = []
        self._holds = holds
        self._fails = fails

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        assert lane is Lane.INTERACTIVE
        self.asked.append(passages)
        if self._fails:
            raise self._fails
        try:
            if self._holds in passages:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.dropped.append(passages)
            raise
        scores = tuple(float(passage[1:] or 0) / 100 for passage in passages)
        return RerankScores(scores, 9, tuple(1 for _ in passages), len(query), self.model)


async def rerank(
    scorer: Scorer, hits: list[Hit], wanted: Reranking | None, *, budget_s: float | None = None, text: str = "why"
) -> Reranked:
    deadline = Deadline.after(60, "deadline") if budget_s is None else Deadline.after(budget_s, "budget")
    paced = PacedReranker(scorer, Pace())  # type: ignore[arg-type]
    return await SecondStage(paced, ["en"])(text, hits, wanted, deadline)


def test_scores_decide_and_both_ranks_are_told() -> None:
    hits = ranked(HITS, [(0.1, 0), (0.9, 3), (0.5, 0)], 1)
    assert names(hits) == ["b", "c", "a"]
    assert [dict(hit.ranks) for hit in hits] == [
        {"dense": 2, "rerank": 1},
        {"dense": 3, "rerank": 2},
        {"dense": 1, "rerank": 3},
    ]
    assert [hit.score for hit in hits] == [0.9, 0.5, 0.1]
    assert dict(hits[0].scores) == {"dense": 0.8, "rerank": 0.9}
    assert [hit.truncated_tokens for hit in hits] == [3, 0, 0]


def test_ties_keep_recall_order() -> None:
    assert names(ranked(HITS, [(0.5, 0)] * 3, 1)) == ["a", "b", "c"]


def test_what_was_not_scored_stays_behind_in_recall_order_without_a_score() -> None:
    hits = ranked(HITS, [None, (0.2, 0), None], 1)
    assert [(hit.candidate.chunk.id, hit.score) for hit in hits] == [("b", 0.2), ("a", None), ("c", None)]
    assert dict(hits[1].ranks) == {"dense": 1}


def test_a_weight_mixes_in_recall_on_one_scale() -> None:
    hits = ranked(recalled(a=20, b=15, c=10), [(0.70, 0), (0.75, 0), (0.80, 0)], 0.6)
    assert {hit.candidate.chunk.id: hit.score for hit in hits} == pytest.approx({"c": 0.6, "b": 0.5, "a": 0.4})
    assert names(hits) == ["c", "b", "a"]
    assert [hit.ranks["blended"] for hit in hits] == [1, 2, 3]
    assert [hit.scores["rerank"] for hit in hits] == [0.80, 0.75, 0.70]
    assert names(ranked(recalled(a=20, b=15, c=10), [(0.70, 0), (0.75, 0), (0.80, 0)], 0.4)) == ["a", "b", "c"]


def test_a_calibrated_score_is_relevance_beside_its_own() -> None:
    calibration = Calibration(midpoint=0.7, width=0.02)
    hits = ranked(recalled(a=20, b=15), [(0.70, 0), (0.74, 0)], 0.6, calibration)
    relevance = {hit.candidate.chunk.id: hit.scores["relevance"] for hit in hits}
    assert relevance == pytest.approx({"a": 0.5, "b": 0.8808}, abs=1e-4)
    assert {hit.candidate.chunk.id: hit.scores["rerank"] for hit in hits} == {"a": 0.70, "b": 0.74}
    assert (calibration.relevance(-1e9), calibration.relevance(1e9)) == pytest.approx((0, 1))


async def test_without_a_budget_the_pool_is_one_call() -> None:
    scorer = Scorer()
    result = await rerank(scorer, POOL, Reranking())
    assert len(scorer.asked) == 1
    assert names(result.hits) == names(POOL)[::-1]
    assert (result.report.applied, result.report.scored, result.report.reason) == (True, len(POOL), None)
    assert (result.score_name, result.truncated_query_tokens) == ("rerank", 3)


async def test_a_budget_that_suffices_changes_nothing() -> None:
    result = await rerank(Scorer(), POOL, Reranking(), budget_s=60)
    assert names(result.hits) == names(POOL)[::-1]
    assert (result.report.applied, result.report.scored, result.report.reason) == (True, len(POOL), None)


async def test_when_time_is_up_the_best_are_ranked_and_the_rest_is_dropped() -> None:
    scorer = Scorer(holds=f"p{WAVE}")
    result = await rerank(scorer, POOL, Reranking(), budget_s=0.05)
    assert scorer.asked[0] == names(POOL)[:WAVE]
    assert scorer.dropped == [names(POOL)[WAVE : 2 * WAVE]]
    report = result.report
    assert (report.applied, report.reason, report.scored) == ("partial", "budget", len(POOL) - WAVE)
    late = [hit for hit in result.hits if hit.score is None]
    assert names(late) == names(POOL)[WAVE : 2 * WAVE]
    assert result.hits[-WAVE:] == late


async def test_a_budget_spent_before_leaves_recall_order_or_is_an_error_where_reranking_is_required() -> None:
    result = await rerank(Scorer(holds="p0"), POOL[:WAVE], Reranking(), budget_s=0)
    assert (result.report.applied, result.report.reason, result.score_name) == (False, "budget", None)
    assert result.hits == POOL[:WAVE]
    with pytest.raises(BudgetExceeded, match="0 ms"):
        await rerank(Scorer(holds="p0"), POOL[:WAVE], Reranking(required=True), budget_s=0)


@pytest.mark.parametrize("error", [EngineDead("gone"), EngineFailed("spoilt")])
@pytest.mark.parametrize("budget_s", [None, 60])
async def test_a_reranker_that_fails_is_said_or_raised_where_it_is_required(
    error: TandemError, budget_s: float | None
) -> None:
    result = await rerank(Scorer(fails=error), POOL, Reranking(), budget_s=budget_s)
    assert (result.report.applied, result.report.reason, result.hits) == (False, error.code, POOL)
    with pytest.raises(type(error)):
        await rerank(Scorer(fails=error), POOL, Reranking(required=True), budget_s=budget_s)


async def test_a_caller_that_leaves_takes_all_waves_along() -> None:
    scorer = Scorer(holds="p0")
    work = asyncio.create_task(rerank(scorer, POOL[:WAVE], Reranking(), budget_s=60))
    while not scorer.asked:
        await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert scorer.dropped == [names(POOL)[:WAVE]]


async def test_another_model_than_the_one_that_runs_is_refused() -> None:
    assert (await rerank(Scorer(), HITS[:1], Reranking(model="scorer"))).report.applied
    with pytest.raises(InvalidRequest, match=r"'scorer', not 'other'"):
        await rerank(Scorer(), HITS, Reranking(model="other"))


async def test_a_query_that_the_model_cannot_read_is_left_in_recall_order_unless_somebody_insists() -> None:
    result = await rerank(Scorer(), HITS[:1], Reranking(), text="\u4e3a\u4ec0\u4e48")
    assert (result.report.applied, result.report.reason, result.hits) == (False, "model_language", HITS[:1])
    for insisting in (Reranking(any_language=True), Reranking(required=True)):
        assert (await rerank(Scorer(), POOL, insisting, text="\u4e3a\u4ec0\u4e48")).report.applied
