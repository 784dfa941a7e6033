from dataclasses import replace

import numpy as np
import pytest

from retrieval.search.diversity import by_document, diversified
from retrieval.search.fusion import alone
from retrieval.types import ChunkId
from tests.support.stores.hits import a_candidate, names, recalled

VECTORS = {
    ChunkId(name): np.array(vector, dtype=np.float32)
    for name, vector in {"a": (1, 0), "a2": (1, 0), "b": (0, 1), "c": (0.6, 0.8)}.items()
}
HITS = recalled(a=1.0, a2=0.9, b=0.5, c=0.0)


def test_of_each_document_the_first_stands_and_names_the_others() -> None:
    hits = alone("dense", [a_candidate(name, score) for name, score in (("x/1", 3), ("y/1", 2), ("x/0", 1))])
    first, second = by_document(hits)
    assert names([first, second]) == ["x/1", "y/1"]
    assert [(member.chunk_id, member.score) for member in first.others] == [("x/0", 1)]
    assert second.others == ()


def test_diversity_passes_over_what_is_like_those_before() -> None:
    hits = diversified(HITS, VECTORS, 0.5, 3)
    assert names(hits) == ["a", "b", "a2"]
    assert [hit.score for hit in hits] == pytest.approx([0.5, 0.25, -0.05])
    assert [hit.ranks["diverse"] for hit in hits] == [1, 2, 3]
    assert hits[0].scores == {"dense": 1.0, "diverse": 0.5}


def test_without_diversity_relevance_alone_decides_and_with_nothing_else_likeness() -> None:
    assert names(diversified(HITS, VECTORS, 0.0, 4)) == names(HITS)
    assert names(diversified(HITS, VECTORS, 1.0, 2)) == ["a", "b"]


def test_scores_never_rise_down_the_order() -> None:
    rng = np.random.default_rng(0)
    hits = recalled(**{f"n{number}": float(rng.random()) for number in range(40)})
    vectors = {hit.candidate.chunk.id: rng.normal(size=8).astype(np.float32) for hit in hits}
    vectors = {id_: vector / np.linalg.norm(vector) for id_, vector in vectors.items()}
    for diversity in (0.2, 0.5, 0.9):
        scores = [hit.score or 0 for hit in diversified(hits, vectors, diversity, 40)]
        assert scores == sorted(scores, reverse=True)


def test_what_has_no_score_stays_behind_and_what_has_no_vector_is_like_nothing() -> None:
    late = replace(HITS[2], score=None)
    assert names(diversified([HITS[0], HITS[1], late], {}, 0.5, 9)) == ["a", "a2", "b"]
    assert diversified([], {}, 0.5, 9) == []
