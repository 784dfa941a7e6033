"""Limits on the work of requests in flight."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingestion.errors import Overloaded

MAX_RETRY_AFTER_SECONDS = 60
MAX_DEADLINE_SHARE = 0.8
"""Maximum share of the deadline for work in flight: speeds are estimates, and the request admitted last has to finish
in time as a whole.
"""


class Admission:
    """Limits the work of requests in flight, counted in units of `what` and in the seconds that it is expected to take
    at the measured speed: a request that could not be answered in time is refused before any work.
    """

    def __init__(self, capacity: int, unit: str, deadline_seconds: float) -> None:
        self.capacity = capacity
        self._unit = unit
        self._deadline = deadline_seconds
        self._used = 0
        self._seconds = 0.0

    @property
    def used(self) -> int:
        """Used part of the capacity."""
        return self._used

    @property
    def seconds(self) -> float:
        """Expected seconds of all work in flight."""
        return self._seconds

    @asynccontextmanager
    async def admit(self, count: int, seconds: float = 0.0, *, any_size_when_idle: bool = True) -> AsyncIterator[None]:
        """Raises Overloaded if `count` more would exceed the limit, or `seconds` more FILLED of the deadline. An idle
        node always accepts one request, except, with `any_size_when_idle` False, one of more than the deadline.
        """
        if self._used and self._used + count > self.capacity:
            excess = self._used + count - self.capacity
            raise Overloaded(
                f"{self._used} {self._unit} are in flight; {count} more would exceed the limit of {self.capacity}. "
                f"Try again later, or with fewer {self._unit}.",
                retry_after_s=_retry_after(self._seconds * excess / self._used),
            )
        expected = self._seconds + seconds
        limit = self._deadline * MAX_DEADLINE_SHARE if self._used else self._deadline
        if expected > limit and (self._used or not any_size_when_idle):
            raise Overloaded(
                f"This would take about {seconds:.3g} s, after {self._seconds:.3g} s of work in flight: too much for "
                f"{self._deadline:g} s (TANDEM_SEARCH_DEADLINE_SECONDS). Try again later, or with fewer {self._unit}.",
                retry_after_s=_retry_after(expected - limit),
            )
        self._used += count
        self._seconds += seconds
        try:
            yield
        finally:
            self._used -= count
            # Differences of sums leave rounding errors; an idle node has none.
            self._seconds = self._seconds - seconds if self._used else 0.0


def _retry_after(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER_SECONDS)
