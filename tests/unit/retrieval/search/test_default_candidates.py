"""A search that states no number of candidates reranks as many as fit the node's time for it. In simulated time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from retrieval.errors import EngineDead
from retrieval.search.default_candidates import fitting, tokens_within
from retrieval.search.query import CANDIDATES, SearchQuery, SearchResult
from retrieval.search.service import SearchService
from retrieval.types import Lane, RerankScores, StoreName
from tests.support.simulated import simulate
from tests.support.stores.hits import names, recalled
from tests.support.stores.stages import ScriptedEmbedder, ScriptedReranker, ScriptedStore

SCORES = {f"d{number:02}/0": 1 - number / 100 for number in range(60)}
QUERY = SearchQuery("why", mode="sparse", top_k=5)
SECONDS = 1.25
FIT = 12
"""Passages of one token that are read in SECONDS: the double counts ten tokens for each passage that it reads."""


class Dying(ScriptedReranker):
    dead = False

    async def rerank(self, *arguments: Any, lane: Lane, instruction: str | None = None) -> RerankScores:
        if self.dead:
            raise EngineDead("gone")
        return await super().rerank(*arguments, lane=lane, instruction=instruction)


async def measured(reranker: ScriptedReranker, found: Mapping[str, float] = SCORES) -> SearchService:
    service = SearchService(reranker, ScriptedStore(found, found), ["en"])  # type: ignore[arg-type]
    await service.measure(SECONDS)
    reranker.asked.clear()
    return service


async def ask(service: SearchService, query: SearchQuery) -> SearchResult:
    return await service.search(StoreName("docs"), ScriptedEmbedder(), query)  # type: ignore[arg-type]


def answered(query: SearchQuery) -> SearchResult:
    async def work() -> SearchResult:
        # The worst of recall are the best of the reranker.
        reranker = ScriptedReranker({name: -score for name, score in SCORES.items()}, seconds_a_passage=1.0)
        return await ask(await measured(reranker), query)

    return simulate(work())


def test_as_many_as_fit_are_reranked_and_the_answer_says_how_many() -> None:
    result = answered(QUERY)
    assert (result.recall.candidates, result.rerank.candidates, result.rerank.scored) == (CANDIDATES, FIT, FIT)
    assert (result.rerank.applied, result.rerank.reason) == (True, None)
    assert names(list(result.hits)) == list(SCORES)[:FIT][:-6:-1]


@pytest.mark.parametrize(("asked", "scored"), [({"top_k": 20}, 20), ({"candidates": 30}, 30), ({"candidates": 6}, 6)])
def test_what_the_caller_states_is_reranked(asked: dict[str, int], scored: int) -> None:
    result = answered(replace(QUERY, **asked))  # type: ignore[arg-type]
    assert (result.rerank.candidates, result.rerank.scored) == (scored, scored)


def test_pages_are_parts_of_what_the_first_one_reranked() -> None:
    async def work() -> list[str]:
        service = await measured(ScriptedReranker(SCORES, seconds_a_passage=1.0))
        first = await ask(service, QUERY)
        assert first.next is not None
        assert (first.next.pool, first.next.reranked) == (CANDIDATES, FIT)
        # A larger page would have reranked more.
        second = await ask(service, replace(QUERY, top_k=40, place=first.next))
        assert second.next is None
        return names([*first.hits, *second.hits])

    assert simulate(work()) == list(SCORES)[:FIT]


def test_without_the_reranker_the_whole_pool_is_left() -> None:
    # The best half are of five documents, as many as are wanted; further pages have those of the rest.
    of_documents = {f"d{number % 5 if number < 25 else number}/{number}": 1 - number / 100 for number in range(50)}

    async def work() -> SearchResult:
        reranker = Dying(of_documents, seconds_a_passage=1.0)
        service = await measured(reranker, of_documents)
        reranker.dead = True
        return await ask(service, replace(QUERY, by_document=True))

    result = simulate(work())
    assert (result.rerank.applied, result.rerank.scored) == (False, 0)
    assert len(result.hits) == 5
    assert result.next is not None
    assert (result.next.pool, result.next.reranked) == (CANDIDATES, 0)


def test_the_time_expected_of_such_a_search_is_that_of_what_it_reranks() -> None:
    async def work() -> list[float]:
        service = await measured(ScriptedReranker(SCORES, seconds_a_passage=1.0))
        return [service.seconds(replace(QUERY, **asked)) for asked in ({}, {"candidates": 50}, {"top_k": 50})]  # type: ignore[arg-type]

    of_few_hits, stated, of_many_hits = simulate(work())
    assert of_few_hits == pytest.approx(5.0, rel=0.05)
    assert stated == of_many_hits == pytest.approx(50.0, rel=0.05)


@pytest.mark.parametrize(("seconds_a_passage", "calls"), [(0.01, [1, 2, 4, 8, 8]), (0.2, [1, 2, 4]), (60.0, [1])])
def test_a_slow_model_is_measured_briefly(seconds_a_passage: float, calls: list[int]) -> None:
    async def work() -> int:
        return await tokens_within(reranker, 100.0)  # type: ignore[arg-type]

    reranker = ScriptedReranker(seconds_a_passage=seconds_a_passage)
    # The double counts ten tokens for each passage.
    assert simulate(work()) == pytest.approx(1000 / seconds_a_passage, abs=1)
    assert [len(passages) for passages in reranker.asked] == calls


def test_tokens_decide_how_many_fit() -> None:
    hits = recalled(a=0.9, b=0.8, c=0.7)  # of one token each
    assert [fitting(hits, tokens, 1, by_document=False) for tokens in (0, 1, 2, 3, 9)] == [1, 1, 2, 3, 3]
    assert fitting(hits, 0, 2, by_document=False) == 2
    assert fitting([], 0, 2, by_document=False) == 0


def test_at_least_as_many_documents_are_reranked_as_are_wanted() -> None:
    hits = recalled(**{"a/0": 0.9, "a/1": 0.8, "b/0": 0.7, "c/0": 0.6})
    assert fitting(hits, 0, 2, by_document=True) == 3
    assert fitting(hits, 9, 2, by_document=True) == 4
