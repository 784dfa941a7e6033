"""How long many calls took, as a histogram."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of its buckets, in seconds; a last bucket takes what is longer."""


@dataclass(frozen=True, slots=True)
class DurationCounts:
    at_most: tuple[int, ...]
    """How many took at most each of BOUNDS, and last how many there are."""
    seconds: float
    """Their sum."""


class Durations:
    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def counts(self) -> DurationCounts:
        return DurationCounts(tuple(accumulate(self._counts)), self._seconds)
