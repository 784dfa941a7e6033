"""Whichever part hangs, a search ends in the time that it has, and says what is missing. In simulated time."""

import asyncio
from dataclasses import replace

import pytest

from retrieval.deadline import GRACE_SECONDS, Deadline
from retrieval.errors import BudgetExceeded
from retrieval.search.highlights import MAX_SENTENCES
from retrieval.search.query import Place, Reranking, SearchQuery, SearchResult
from retrieval.search.service import SearchService, passages_of
from retrieval.types import StoreName
from tests.support.simulated import simulate
from tests.support.stores.hits import names
from tests.support.stores.stages import ScriptedEmbedder, ScriptedReranker, ScriptedStore

SCORES = {f"d{number}/0": 1 - number / 100 for number in range(30)}
QUERY = SearchQuery("why", top_k=30, candidates=30)
SECONDS = 10.0


def asked(
    query: SearchQuery,
    *,
    embedder: ScriptedEmbedder | None = None,
    hangs: set[str] | None = None,
    reranker: ScriptedReranker | None = None,
) -> tuple[SearchResult | BudgetExceeded, float]:
    """What came of it, and after how long."""
    store = ScriptedStore(SCORES, SCORES)
    store.hangs = hangs or set()
    service = SearchService(
        reranker or ScriptedReranker(SCORES),  # type: ignore[arg-type]
        store,  # type: ignore[arg-type]
        ["en"],
        deadline_seconds=SECONDS,
    )

    async def ask() -> tuple[SearchResult | BudgetExceeded, float]:
        clock = asyncio.get_running_loop()
        found: SearchResult | BudgetExceeded
        try:
            found = await service.search(StoreName("docs"), embedder or ScriptedEmbedder(), query)  # type: ignore[arg-type]
        except BudgetExceeded as error:
            found = error
        return found, clock.time()

    return simulate(ask())


@pytest.mark.parametrize(("budget_ms", "reason", "seconds"), [(2000, "budget", 2), (None, "deadline", SECONDS)])
def test_words_answer_and_are_reranked_when_the_embedder_hangs(
    budget_ms: float | None, reason: str, seconds: float
) -> None:
    embedder = ScriptedEmbedder(hangs=True)
    result, took = asked(replace(QUERY, budget_ms=budget_ms), embedder=embedder)
    assert isinstance(result, SearchResult)
    assert (result.recall.mode, result.recall.reason) == ("sparse", reason)
    assert result.rerank.applied is True
    assert names(list(result.hits)) == list(SCORES)
    assert took < seconds
    assert embedder.cancelled == 1


def test_words_answer_when_the_nearest_vectors_hang() -> None:
    result, took = asked(replace(QUERY, budget_ms=2000), hangs={"search"})
    assert isinstance(result, SearchResult)
    assert (result.recall.mode, result.recall.reason) == ("sparse", "budget")
    assert took < 2


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_vectors_that_were_asked_for_are_waited_for_until_the_time_is_up(mode: str) -> None:
    query = replace(QUERY, mode=mode, budget_ms=2000)  # type: ignore[arg-type]
    error, took = asked(query, embedder=ScriptedEmbedder(hangs=True))
    assert isinstance(error, BudgetExceeded)
    assert error.detail["part"] == "embedder"
    assert "budget_ms" in error.message
    assert took == pytest.approx(2)


@pytest.mark.parametrize("method", ["capabilities", "search_text"])
def test_a_store_that_hangs_is_told_in_time(method: str) -> None:
    for budget_ms, seconds in ((500, 0.5), (None, SECONDS)):
        error, took = asked(replace(QUERY, budget_ms=budget_ms), hangs={method})
        assert isinstance(error, BudgetExceeded)
        assert error.detail["part"] == "vector store"
        assert took == pytest.approx(seconds)
    assert "TANDEM_SEARCH_DEADLINE_SECONDS" in error.message


@pytest.mark.parametrize(("method", "more"), [("chunks", {"neighbors": 1}), ("vectors", {"diversity": 0.5})])
def test_a_store_that_hangs_behind_the_rerank_is_told_within_a_grace(method: str, more: dict[str, object]) -> None:
    error, took = asked(replace(QUERY, budget_ms=500, **more), hangs={method})  # type: ignore[arg-type]
    assert isinstance(error, BudgetExceeded)
    assert took == pytest.approx(0.5 + GRACE_SECONDS)


@pytest.mark.parametrize(("budget_ms", "reason", "seconds"), [(2000, "budget", 2), (None, "deadline", SECONDS)])
def test_a_reranker_that_hangs_leaves_recall_order(budget_ms: float | None, reason: str, seconds: float) -> None:
    hanging = ScriptedReranker(SCORES, seconds=1e9)
    result, took = asked(replace(QUERY, budget_ms=budget_ms), reranker=hanging)
    assert isinstance(result, SearchResult)
    assert (result.rerank.applied, result.rerank.reason, result.rerank.scored) == (False, reason, 0)
    assert names(list(result.hits)) == list(SCORES)
    assert took == pytest.approx(seconds)
    query = replace(QUERY, budget_ms=budget_ms, reranking=Reranking(required=True))
    error, _ = asked(query, reranker=hanging)
    assert isinstance(error, BudgetExceeded)


def test_late_highlights_are_left_out() -> None:
    hanging = ScriptedReranker(seconds=1e9)
    result, took = asked(replace(QUERY, reranking=None, highlights=2, budget_ms=700), reranker=hanging)
    assert isinstance(result, SearchResult)
    assert all(hit.highlights is None for hit in result.hits)
    assert took == pytest.approx(0.7)


def test_a_budget_beyond_the_deadline_does_not_move_it() -> None:
    error, took = asked(replace(QUERY, budget_ms=600_000), hangs={"search_text"})
    assert isinstance(error, BudgetExceeded)
    assert took == pytest.approx(SECONDS)


def test_a_timeout_of_the_work_itself_is_not_taken_for_the_deadline() -> None:
    async def fails() -> None:
        raise TimeoutError("a socket's own")

    async def ask() -> None:
        await Deadline.after(5, "budget").run(fails(), "vector store")

    with pytest.raises(TimeoutError, match="a socket's own"):
        simulate(ask())


def test_a_pool_that_is_known_to_be_slow_is_scored_as_far_as_time_goes() -> None:
    reranker = ScriptedReranker(SCORES, seconds_a_passage=0.5)
    store = ScriptedStore(SCORES, SCORES)
    service = SearchService(reranker, store, ["en"], deadline_seconds=SECONDS)  # type: ignore[arg-type]

    async def ask() -> tuple[SearchResult, float]:
        clock = asyncio.get_running_loop()
        few = replace(QUERY, top_k=4, candidates=4)
        assert service.seconds(few) == 0, "nothing was measured yet"
        await service.search(StoreName("docs"), ScriptedEmbedder(), few)  # type: ignore[arg-type]
        assert service.seconds(replace(QUERY, candidates=100)) == pytest.approx(50, rel=0.1)
        began = clock.time()
        found = await service.search(StoreName("docs"), ScriptedEmbedder(), QUERY)  # type: ignore[arg-type]
        return found, clock.time() - began

    result, took = simulate(ask())
    rerank = result.rerank
    assert (rerank.applied, rerank.reason, rerank.candidates, rerank.scored) == ("partial", "deadline", 30, 16)
    assert names(list(result.hits))[:16] == list(SCORES)[:16]
    assert result.next is None
    assert took == pytest.approx(SECONDS)


@pytest.mark.parametrize(
    ("query", "passages"),
    [
        (QUERY, 30),
        (replace(QUERY, candidates=400), 400),
        (replace(QUERY, top_k=100, candidates=50), 100),
        (replace(QUERY, candidates=1000, reranking=None), 1000),
        (replace(QUERY, top_k=5, highlights=1), 30 + 5 * MAX_SENTENCES),
        (replace(QUERY, top_k=5, place=Place(395, 400, "hybrid", reranked=400)), 400),
    ],
)
def test_all_that_a_search_may_hold_is_counted(query: SearchQuery, passages: int) -> None:
    assert passages_of(query) == passages
