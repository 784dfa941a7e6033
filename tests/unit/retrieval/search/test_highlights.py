import pytest

from retrieval.deadline import Deadline
from retrieval.errors import EngineDead
from retrieval.search.fusion import alone
from retrieval.search.highlights import MAX_SENTENCES, with_highlights
from tests.support.models.fake_models import FakeReranker
from tests.support.stores.hits import a_candidate

TEXT = (
    "The kiln is lit at dawn. Who lights the kiln? Version 3.5 burns beech\nwood! 窑炉保温一小时。然后冷却。\n\nNo end"
)
SENTENCES = [
    "The kiln is lit at dawn.",
    "Who lights the kiln?",
    "Version 3.5 burns beech\nwood!",
    "窑炉保温一小时。",
    "然后冷却。",
    "No end",
]


@pytest.fixture
async def reranker() -> FakeReranker:
    reranker = FakeReranker()
    await reranker.start()
    return reranker


async def test_sentences_come_best_first_with_offsets_into_the_document(reranker: FakeReranker) -> None:
    hits = alone("dense", [a_candidate("d/3", text=TEXT, start=1000), a_candidate("e/0", text="Beech wood.")])
    first, second = await with_highlights(reranker, "beech wood kiln", hits, 2, None, Deadline.after(60, "deadline"))
    assert first.highlights is not None
    assert [each.text for each in first.highlights] == [SENTENCES[2], SENTENCES[1]]
    assert all(TEXT[each.start - 1000 : each.end - 1000] == each.text for each in first.highlights)
    assert first.highlights[0].score > first.highlights[1].score > 0
    assert second.highlights is not None
    assert [each.text for each in second.highlights] == ["Beech wood."]


async def test_every_sentence_is_looked_at_and_a_long_hit_is_bounded(reranker: FakeReranker) -> None:
    hits = alone("dense", [a_candidate("d/0", text=TEXT), a_candidate("e/0", text="Word. " * 100)])
    first, second = await with_highlights(reranker, "words", hits, 100, None, Deadline.after(60, "deadline"))
    assert first.highlights is not None
    assert sorted(each.text for each in first.highlights) == sorted(SENTENCES)
    assert second.highlights is not None
    assert len(second.highlights) == MAX_SENTENCES


async def test_without_a_reranker_there_are_none(reranker: FakeReranker) -> None:
    reranker.fail_with = EngineDead("gone")
    (hit,) = await with_highlights(
        reranker, "kiln", alone("dense", [a_candidate("d/0", text=TEXT)]), 2, None, Deadline.after(60, "deadline")
    )
    assert hit.highlights is None
