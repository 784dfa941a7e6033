"""The score of a chunk, computed as the server does."""

from collections.abc import Sequence

import numpy as np

from retrieval.types import Vector


def cosine(one: Vector, other: Vector | Sequence[float]) -> float:
    """Returns the cosine of the angle between two vectors, in [-1, 1]; 0 where one of them has no length."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return max(-1.0, min(1.0, float(first @ second) / length)) if length else 0.0
