"""`min_score`, and Dify's threshold, follow the score that means relevance, whatever orders the hits."""

from dataclasses import replace

import pytest

from app.http.compat.dify.schemas import records
from retrieval.search.query import Reranking, SearchQuery, SearchResult
from retrieval.search.service import SearchService
from retrieval.types import Calibration, StoreName
from tests.support.stores.hits import names
from tests.support.stores.stages import ScriptedEmbedder, ScriptedReranker, ScriptedStore

CALIBRATION = Calibration(midpoint=0.8, width=0.01)
FOUND = {"d1/0": 0.9, "d2/0": 0.5, "d3/0": 0.1}


async def ask(
    scores: dict[str, float], *, calibration: Calibration | None, weight: float, query: SearchQuery
) -> SearchResult:
    reranker = ScriptedReranker(scores, weight=weight, calibration=calibration)
    service = SearchService(reranker, ScriptedStore(FOUND, {}), ["en"])
    return await service.search(StoreName("c"), ScriptedEmbedder(), query)


def query(min_score: float | None = None, *, reranking: bool = True) -> SearchQuery:
    return SearchQuery("why", mode="dense", min_score=min_score, reranking=Reranking() if reranking else None)


@pytest.mark.parametrize("least", [0.01, 0.5, 0.99])
async def test_a_blended_score_of_1_is_no_reason_to_be_let_through(least: float) -> None:
    """The best hit of any question has it, also of one that nothing answers."""
    off_topic = {"d1/0": 0.70, "d2/0": 0.69, "d3/0": 0.68}
    whole = await ask(off_topic, calibration=CALIBRATION, weight=0.7, query=query())
    assert (whole.score_name, whole.relevance_name, whole.hits[0].score) == ("blended", "relevance", 1.0)
    assert not (await ask(off_topic, calibration=CALIBRATION, weight=0.7, query=query(least))).hits
    assert not records(whole.hits, whole.score_name, whole.relevance_name, least)


async def test_hits_that_answer_are_let_through_in_their_order() -> None:
    scores = {"d1/0": 0.82, "d2/0": 0.85, "d3/0": 0.79}
    result = await ask(scores, calibration=CALIBRATION, weight=0.7, query=query(0.5))
    assert names(list(result.hits)) == ["d2/0", "d1/0"]
    found = records(result.hits, result.score_name, result.relevance_name, 0.9)
    assert [(record.metadata["chunk_id"], record.metadata["score_name"]) for record in found] == [("d2/0", "relevance")]


async def test_a_reranker_that_gives_probabilities_is_its_own_measure() -> None:
    scores = {"d1/0": 0.2, "d2/0": 0.9, "d3/0": 0.6}
    for weight in (1.0, 0.5):
        result = await ask(scores, calibration=None, weight=weight, query=query(0.5))
        assert result.relevance_name == "rerank"
        assert set(names(list(result.hits))) == {"d2/0", "d3/0"}


async def test_without_reranking_it_is_the_score_of_the_order() -> None:
    result = await ask({}, calibration=CALIBRATION, weight=0.7, query=query(0.5, reranking=False))
    assert (result.relevance_name, names(list(result.hits))) == (None, ["d1/0", "d2/0"])
    [first, _] = records(result.hits, result.score_name, None, 0.4)
    assert (first.score, first.metadata["score_name"]) == (0.9, "dense")


async def test_variants_are_recalled_each_and_reranked_once_against_the_question() -> None:
    reranker, store = ScriptedReranker({"d2/0": 0.9, "d1/0": 0.4}), ScriptedStore(FOUND, {})
    service = SearchService(reranker, store, ["en"])
    asked = SearchQuery("why", variants=("how come", "what for"), mode="dense")
    result = await service.search(StoreName("c"), ScriptedEmbedder(), asked)
    assert len(store.limits) == 3
    assert len(reranker.asked) == 1
    assert names(list(result.hits)) == ["d2/0", "d1/0", "d3/0"]
    assert (result.score_name, result.recall.mode, result.recall.candidates) == ("rerank", "dense", 3)
    plain = await service.search(StoreName("c"), ScriptedEmbedder(), replace(asked, reranking=None))
    assert plain.score_name == "fused"
    assert all(hit.score == hit.scores["fused"] for hit in plain.hits)
