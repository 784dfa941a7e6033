"""What the doubles promise beyond their ports: near texts are near, and failures can be set."""

import numpy as np
import pytest

from retrieval.errors import EngineDead, EngineFailed
from retrieval.types import Lane
from tests.support.models.fake_models import FakeEmbedder, FakeReranker

CAT = "The cat sat on the mat."


async def _vectors(*texts: str) -> np.ndarray:
    embedder = FakeEmbedder()
    await embedder.start()
    return (await embedder.embed(texts, kind="document", lane=Lane.BULK)).vectors


async def test_texts_that_share_words_are_near_and_others_are_not() -> None:
    cat, kitten, finance = await _vectors(CAT, "A cat sat upon the mat", "Quarterly revenue fell sharply")
    assert cat @ kitten > 0.5
    assert abs(cat @ finance) < 0.2


async def test_chinese_is_compared_by_character() -> None:
    question, answer, other = await _vectors("北京的天气", "北京今天天气晴朗", "股票价格下跌")
    assert question @ answer > question @ other + 0.3


async def test_vectors_are_the_same_in_every_process() -> None:
    # Recorded: a change of the hashing makes stored vectors of older runs incomparable.
    [vector] = await _vectors("cat")
    np.testing.assert_allclose(vector[:4], [-0.084141, 0.058579, -0.001775, 0.053609], atol=1e-5)


async def test_score_is_the_share_of_the_query_s_words() -> None:
    reranker = FakeReranker()
    await reranker.start()
    result = await reranker.rerank("cat mat", ["a CAT on a mat", "the mat", "", "dogs"], lane=Lane.BULK)
    assert result.scores == pytest.approx((1.0, 0.5, 0.0, 0.0), abs=0.011)
    assert result.scores[2] > result.scores[3]  # empty before "dogs": the shorter of two without a match


@pytest.mark.parametrize("error", [EngineDead("The engine ended."), EngineFailed("A vector is not finite.")])
async def test_a_set_failure_is_raised_and_told(error: EngineDead | EngineFailed) -> None:
    embedder, reranker = FakeEmbedder(), FakeReranker()
    for double in (embedder, reranker):
        await double.start()
        assert double.failure is None
        double.fail_with = error
        assert double.failure == error.message
    with pytest.raises(type(error)):
        await embedder.embed([CAT], kind="query", lane=Lane.INTERACTIVE)
    with pytest.raises(type(error)):
        await reranker.rerank("cat", [CAT], lane=Lane.INTERACTIVE)
