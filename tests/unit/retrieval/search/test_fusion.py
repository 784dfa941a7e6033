"""Joining branches: every candidate once, in an order that follows from the definition alone."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.deadline import Deadline
from retrieval.search.fusion import QUESTION_WEIGHT, alone, fuse, merge, weights_for
from retrieval.search.query import Branch, Fusion, SearchQuery
from retrieval.search.recall import Recall
from retrieval.types import Candidate, Chunk, ChunkId, DocumentId, StoreName
from tests.support.stores.hits import a_candidate, names
from tests.support.stores.stages import ScriptedEmbedder, ScriptedStore


def candidate(name: str, score: float) -> Candidate:
    chunk = Chunk(ChunkId(name), DocumentId(name), 0, name, 0, len(name), 1)
    return Candidate(chunk, score, title="", media_type="text/plain", partition="", metadata={}, ingested_at=None)


def branch(**scores: float) -> list[Candidate]:
    return [candidate(name, score) for name, score in sorted(scores.items(), key=lambda item: -item[1])]


DENSE = branch(a=0.9, b=0.8, c=0.5)
SPARSE = branch(c=12.0, d=8.0, a=4.0)
BRANCHES: dict[Branch, list[Candidate]] = {"dense": DENSE, "sparse": SPARSE}
EQUAL: dict[Branch, float] = {"dense": 1.0, "sparse": 1.0}


def test_one_branch_alone_keeps_its_scores_and_ranks() -> None:
    found = alone("sparse", SPARSE)
    assert [(each.candidate.chunk.id, each.score, each.scores, each.ranks) for each in found[:2]] == [
        ("c", 12.0, {"sparse": 12.0}, {"sparse": 1}),
        ("d", 8.0, {"sparse": 8.0}, {"sparse": 2}),
    ]


def test_weighted_is_the_mean_of_scaled_scores() -> None:
    found = {each.candidate.chunk.id: each for each in fuse(BRANCHES, Fusion(), {"dense": 3, "sparse": 1})}
    assert found["a"].score == pytest.approx((3 * 1 + 1 * 0) / 4)
    assert found["b"].score == pytest.approx(3 * 0.75 / 4)
    assert found["c"].score == pytest.approx(1 / 4)
    assert found["d"].score == pytest.approx(0.5 / 4)
    assert [each.candidate.chunk.id for each in fuse(BRANCHES, Fusion(), {"dense": 3, "sparse": 1})] == [*"abcd"]


def test_reciprocal_ranks() -> None:
    found = {each.candidate.chunk.id: each for each in fuse(BRANCHES, Fusion("rrf", k=10), EQUAL)}
    assert found["a"].score == pytest.approx(1 / 11 + 1 / 13)
    assert found["b"].score == pytest.approx(1 / 12)
    assert found["d"].score == pytest.approx(1 / 12)
    assert found["a"].ranks == {"dense": 1, "sparse": 3, "fused": 1}
    assert found["a"].scores == {"dense": 0.9, "sparse": 4.0, "fused": found["a"].score}
    assert "sparse" not in found["b"].scores
    # `a` and `c` are found at the first and the third rank alike, `b` and `d` at the second of one branch.
    assert [each.candidate.chunk.id for each in fuse(BRANCHES, Fusion("rrf", k=10), EQUAL)] == [*"acbd"]


def test_a_branch_without_weight_has_no_say() -> None:
    found = fuse(BRANCHES, Fusion(), {"dense": 0, "sparse": 1})
    assert [each.candidate.chunk.id for each in found][:2] == ["c", "d"]
    assert [each.score for each in found] == [1.0, 0.5, 0.0, 0.0]


def test_equal_scores_in_a_branch_are_all_its_best() -> None:
    found = fuse({"dense": branch(a=0.5, b=0.5), "sparse": []}, Fusion(), EQUAL)
    assert [each.score for each in found] == [0.5, 0.5]


scores = st.dictionaries(st.sampled_from([*"abcdefgh"]), st.floats(-1, 50), max_size=8)


@given(scores, scores, st.sampled_from(["weighted", "rrf"]), st.integers(1, 100))
def test_every_candidate_once_best_first(
    dense: dict[str, float], sparse: dict[str, float], method: str, k: int
) -> None:
    fusion = Fusion("rrf" if method == "rrf" else "weighted", k=k)
    found = fuse({"dense": branch(**dense), "sparse": branch(**sparse)}, fusion, EQUAL)
    assert {each.candidate.chunk.id for each in found} == set(dense) | set(sparse)
    assert len(found) == len(set(dense) | set(sparse))
    assert [each.ranks["fused"] for each in found] == list(range(1, len(found) + 1))
    assert all(a.score >= b.score for a, b in pairwise(found))
    assert all(0 <= each.score <= 1 + 1e-9 for each in found)


ENGLISH = [a_candidate("e", text="The kiln is fired to 1,200 degrees, and then it cools for a day.")]
CHINESE = [a_candidate("z", text="窑炉烧到一千二百度，然后冷却一天，用 Milvus 记录。")]


def test_words_count_in_full_where_the_script_is_shared() -> None:
    for query, near in (("how hot is the kiln?", ENGLISH), ("窑炉有多热？", CHINESE), ("12:30?", CHINESE), ("窑", [])):
        assert weights_for(query, near) == EQUAL
    # In a collection of both languages each query has words to find.
    assert weights_for("how hot is the kiln?", [*ENGLISH, *CHINESE]) == EQUAL
    assert weights_for("窑炉有多热？", [*ENGLISH, *CHINESE]) == EQUAL


def test_words_do_not_count_across_scripts() -> None:
    across = {"dense": 1.0, "sparse": 0.0}
    assert weights_for("窑炉有多热？", ENGLISH) == across
    assert weights_for("how hot is the kiln?", CHINESE) == across
    assert weights_for("насколько горяча печь?", ENGLISH) == across
    # A name in the passages' letters is a word to find.
    assert 0 < weights_for("Milvus 的窑炉", ENGLISH)["sparse"] < 1


async def recalled_across(fusion: Fusion) -> tuple[list[str], Mapping[Branch, float] | None]:
    store = ScriptedStore({"right": 0.9, "near": 0.88, "far": 0.5}, {"far": 9.0, "near": 1.0})
    query = SearchQuery("窑炉有多热？", fusion=fusion)
    found = await Recall(store, ["mixed"])(StoreName("docs"), ScriptedEmbedder(), query, Deadline.for_search(None, 9.0))  # type: ignore[arg-type]
    return names(found.hits), found.report.weights


async def test_recall_weighs_words_unless_the_caller_does() -> None:
    assert await recalled_across(Fusion()) == (
        ["right", "near", "far"],
        {"dense": 1.0, "sparse": 0.0},
    )
    stated: dict[Branch, float] = {"dense": 0.5, "sparse": 2.0}
    assert await recalled_across(Fusion(weights=stated)) == (["far", "right", "near"], stated)


def test_variants_share_the_weight_that_the_question_leaves() -> None:
    question = alone("sparse", [candidate("a", 10), candidate("b", 5), candidate("c", 0)])
    variants = [
        alone("sparse", [candidate("b", 9), candidate("c", 3), candidate("d", 1)]),
        alone("sparse", [candidate("b", 4), candidate("d", 2)]),
    ]
    hits = merge([question, *variants])
    share = (1 - QUESTION_WEIGHT) / 2
    expected = {"a": QUESTION_WEIGHT, "b": QUESTION_WEIGHT / 2 + 2 * share, "c": share / 4, "d": 0.0}
    assert {hit.candidate.chunk.id: hit.score for hit in hits} == pytest.approx(expected)
    assert [hit.candidate.chunk.id for hit in hits] == ["a", "b", "c", "d"]
    assert dict(hits[1].scores) == {"sparse": 5, "fused": hits[1].score}
    assert dict(hits[1].ranks) == {"sparse": 2, "fused": 2}
    assert [hit.candidate.chunk.id for hit in merge([question, []])] == ["a", "b", "c"]
