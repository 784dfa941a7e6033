"""What every Reranker does. A new implementation adds the name of a fixture that yields it, started."""

import asyncio

import pytest

from retrieval.errors import InvalidText
from retrieval.ports import Reranker
from retrieval.types import Lane

IMPLEMENTATIONS = [
    "fake_reranker",
    "tiny_reranker",
    "minilm_reranker",
    "http_reranker",
    "sglang_reranker",
    "tei_reranker",
    "infinity_reranker",
]
QUERY = "What is the capital of France?"
PASSAGES = ["Paris is the capital of France.", "北京是中国的首都。", "def f(x): return x ** 2", "A cat sleeps. 🐈"]


@pytest.fixture(params=IMPLEMENTATIONS)
def reranker(request: pytest.FixtureRequest) -> Reranker:
    reranker: Reranker = request.getfixturevalue(request.param)
    return reranker


async def test_scores_are_shares_in_the_order_of_the_passages(reranker: Reranker) -> None:
    together = await reranker.rerank(QUERY, PASSAGES, lane=Lane.INTERACTIVE)
    apart = [await reranker.rerank(QUERY, [passage], lane=Lane.INTERACTIVE) for passage in PASSAGES]
    assert all(0 <= score <= 1 for score in together.scores)
    assert len(set(together.scores)) == len(PASSAGES)
    assert together.scores == pytest.approx([one.scores[0] for one in apart], abs=0.01)
    assert together.tokens == pytest.approx(sum(one.tokens for one in apart), rel=0.5)
    assert together.model == reranker.model


async def test_calls_at_the_same_time_get_their_own_answers(reranker: Reranker) -> None:
    expected = await reranker.rerank(QUERY, PASSAGES, lane=Lane.INTERACTIVE)
    results = await asyncio.gather(
        *(
            reranker.rerank(QUERY, [passage], lane=lane)
            for passage in PASSAGES
            for lane in (Lane.INTERACTIVE, Lane.BULK)
        )
    )
    for position, result in enumerate(results):
        assert result.scores[0] == pytest.approx(expected.scores[position // 2], abs=0.01)


async def test_the_query_matters(reranker: Reranker) -> None:
    one = await reranker.rerank(QUERY, PASSAGES, lane=Lane.INTERACTIVE)
    other = await reranker.rerank("which animal is asleep", PASSAGES, lane=Lane.INTERACTIVE)
    assert one.scores != other.scores


async def test_no_passages_no_scores(reranker: Reranker) -> None:
    result = await reranker.rerank(QUERY, [], lane=Lane.INTERACTIVE)
    assert (result.scores, result.truncated_tokens, result.tokens) == ((), (), 0)


async def test_blank_query_and_passages_are_scored(reranker: Reranker) -> None:
    result = await reranker.rerank("", ["", "  ", "text"], lane=Lane.INTERACTIVE)
    assert all(0 <= score <= 1 for score in result.scores)
    assert len(result.scores) == 3


async def test_long_passages_are_cut_at_their_end_and_reported(reranker: Reranker) -> None:
    long = "a passage " * 5000
    result = await reranker.rerank(QUERY, ["short", long, long + "and what was cut"], lane=Lane.INTERACTIVE)
    assert result.truncated_tokens[0] == 0
    assert result.truncated_tokens[2] > result.truncated_tokens[1] > 0
    assert result.truncated_query_tokens == 0
    assert result.scores[1] == pytest.approx(result.scores[2], abs=0.01)


async def test_long_queries_are_cut_and_reported(reranker: Reranker) -> None:
    result = await reranker.rerank("much to ask " * 5000, ["short"], lane=Lane.INTERACTIVE)
    assert result.truncated_query_tokens > 0
    assert result.truncated_tokens == (0,)
    assert 0 <= result.scores[0] <= 1


async def test_lone_surrogates_are_refused(reranker: Reranker) -> None:
    with pytest.raises(InvalidText):
        await reranker.rerank(QUERY, ["fine", "\ud800"], lane=Lane.INTERACTIVE)


async def test_it_is_healthy(reranker: Reranker) -> None:
    assert reranker.failure is None
