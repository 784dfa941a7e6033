"""Joining branches: every candidate once, in an order that follows from the definition alone."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.search.fusion import alone, fuse
from retrieval.search.query import Branch, Fusion
from retrieval.types import Candidate, Chunk, ChunkId, DocumentId


def candidate(name: str, score: float) -> Candidate:
    chunk = Chunk(ChunkId(name), DocumentId(name), 0, name, 0, len(name), 1)
    return Candidate(chunk, score, title="", media_type="text/plain", partition="", metadata={}, ingested_at=None)


def branch(**scores: float) -> list[Candidate]:
    return [candidate(name, score) for name, score in sorted(scores.items(), key=lambda item: -item[1])]


DENSE = branch(a=0.9, b=0.8, c=0.5)
SPARSE = branch(c=12.0, d=8.0, a=4.0)
BRANCHES: dict[Branch, list[Candidate]] = {"dense": DENSE, "sparse": SPARSE}


def test_one_branch_alone_keeps_its_scores_and_ranks() -> None:
    found = alone("sparse", SPARSE)
    assert [(each.candidate.chunk.id, each.score, each.scores, each.ranks) for each in found[:2]] == [
        ("c", 12.0, {"sparse": 12.0}, {"sparse": 1}),
        ("d", 8.0, {"sparse": 8.0}, {"sparse": 2}),
    ]


def test_weighted_is_the_mean_of_scaled_scores() -> None:
    found = {each.candidate.chunk.id: each for each in fuse(BRANCHES, Fusion(weights={"dense": 3, "sparse": 1}))}
    assert found["a"].score == pytest.approx((3 * 1 + 1 * 0) / 4)
    assert found["b"].score == pytest.approx(3 * 0.75 / 4)
    assert found["c"].score == pytest.approx(1 / 4)
    assert found["d"].score == pytest.approx(0.5 / 4)
    assert [each.candidate.chunk.id for each in fuse(BRANCHES, Fusion(weights={"dense": 3, "sparse": 1}))] == [*"abcd"]


def test_reciprocal_ranks() -> None:
    found = {each.candidate.chunk.id: each for each in fuse(BRANCHES, Fusion("rrf", k=10))}
    assert found["a"].score == pytest.approx(1 / 11 + 1 / 13)
    assert found["b"].score == pytest.approx(1 / 12)
    assert found["d"].score == pytest.approx(1 / 12)
    assert found["a"].ranks == {"dense": 1, "sparse": 3, "fused": 1}
    assert found["a"].scores == {"dense": 0.9, "sparse": 4.0, "fused": found["a"].score}
    assert "sparse" not in found["b"].scores
    # `a` and `c` are found at the first and the third rank alike, `b` and `d` at the second of one branch.
    assert [each.candidate.chunk.id for each in fuse(BRANCHES, Fusion("rrf", k=10))] == [*"acbd"]


def test_a_branch_without_weight_has_no_say() -> None:
    found = fuse(BRANCHES, Fusion(weights={"dense": 0, "sparse": 1}))
    assert [each.candidate.chunk.id for each in found][:2] == ["c", "d"]
    assert [each.score for each in found] == [1.0, 0.5, 0.0, 0.0]


def test_equal_scores_in_a_branch_are_all_its_best() -> None:
    found = fuse({"dense": branch(a=0.5, b=0.5), "sparse": []}, Fusion())
    assert [each.score for each in found] == [0.5, 0.5]


scores = st.dictionaries(st.sampled_from([*"abcdefgh"]), st.floats(-1, 50), max_size=8)


@given(scores, scores, st.sampled_from(["weighted", "rrf"]), st.integers(1, 100))
def test_every_candidate_once_best_first(
    dense: dict[str, float], sparse: dict[str, float], method: str, k: int
) -> None:
    fusion = Fusion("rrf" if method == "rrf" else "weighted", k=k)
    found = fuse({"dense": branch(**dense), "sparse": branch(**sparse)}, fusion)
    assert {each.candidate.chunk.id for each in found} == set(dense) | set(sparse)
    assert len(found) == len(set(dense) | set(sparse))
    assert [each.ranks["fused"] for each in found] == list(range(1, len(found) + 1))
    assert all(a.score >= b.score for a, b in pairwise(found))
    assert all(0 <= each.score <= 1 + 1e-9 for each in found)
