import numpy as np
import pytest

from retrieval.stores.milvus.cosine import cosine


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([3, 4], [6, 8], 1), ([3, 4], [-3, -4], -1), ([1, 0], [0, 5], 0), ([3, 4], [1, 0], 0.6), ([1, 2], [0, 0], 0)],
)
def test_the_cosine_of_vectors_of_any_length(one: list[float], other: list[float], expected: float) -> None:
    assert cosine(np.array(one, dtype=np.float32), other) == pytest.approx(expected)


def test_rounding_leaves_it_within_its_range() -> None:
    vector = np.random.default_rng(3).standard_normal(1024, dtype=np.float32)
    assert cosine(vector, vector) <= 1
    assert cosine(vector, -vector) >= -1
