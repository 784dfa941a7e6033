"""Bounds on the work that requests have under way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingestion.errors import Overloaded


class Admission:
    """Bounds the work that requests have under way, counted in `what` they bring."""

    def __init__(self, capacity: int, what: str) -> None:
        self._capacity = capacity
        self._what = what
        self._used = 0

    @asynccontextmanager
    async def admit(self, count: int) -> AsyncIterator[None]:
        """Raises Overloaded where `count` more would pass the bound; a single request always fits an idle node."""
        if self._used and self._used + count > self._capacity:
            raise Overloaded(
                f"{self._used} {self._what} are under way; {count} more would pass the bound of {self._capacity}. "
                f"Try again shortly, or with fewer {self._what}.",
                retry_after_s=1,
            )
        self._used += count
        try:
            yield
        finally:
            self._used -= count
