"""MaxSim against its definition, written out in loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.engines.late_interaction import maxsim


def _by_definition(query: np.ndarray, passage: np.ndarray) -> float:
    best = [max(float(q @ p) / float(np.linalg.norm(q) * np.linalg.norm(p)) for p in passage) for q in query]
    return sum(best) / len(best)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_equals_the_definition(seed: int, lengths: list[int]) -> None:
    random = np.random.default_rng(seed)
    query = random.normal(size=(3, 8)).astype(np.float32)
    passages = [random.normal(size=(length, 8)).astype(np.float32) * 5 for length in lengths]
    expected = [_by_definition(query, passage) for passage in passages]
    np.testing.assert_allclose(maxsim(query, passages), expected, atol=1e-5)


def test_a_passage_that_holds_the_query_scores_one() -> None:
    query = np.eye(4, dtype=np.float32)[:2]
    whole, half, none = np.eye(4, dtype=np.float32), query[:1], np.eye(4, dtype=np.float32)[3:]
    assert maxsim(query, [whole, half, none]).tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_empty_passage_is_lowest_and_moves_no_other(position: int) -> None:
    random = np.random.default_rng(0)
    query = random.normal(size=(3, 8)).astype(np.float32)
    passages = [random.normal(size=(4, 8)).astype(np.float32) for _ in range(2)]
    scores = maxsim(query, passages).tolist()
    passages.insert(position, np.empty((0, 8), dtype=np.float32))
    scores.insert(position, -1.0)
    assert maxsim(query, passages).tolist() == scores


def test_nothing_to_compare() -> None:
    passage = np.ones((2, 8), dtype=np.float32)
    assert maxsim(np.empty((0, 8), dtype=np.float32), [passage]).tolist() == [-1.0]
    assert maxsim(passage, []).tolist() == []
    assert np.isfinite(maxsim(passage, [np.zeros((2, 8), dtype=np.float32)])).all()
