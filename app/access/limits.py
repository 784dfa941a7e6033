"""What a key may use in a minute. Each node counts by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

from cachetools import LRUCache

from app.access.caller import Caller
from app.errors import LimitReached

Unit = Literal["requests", "texts", "candidates"]
COUNTED: Final = 10_000
"""Keys that are counted at once: those that were used last."""


@dataclass(slots=True)
class _Allowance:
    """Fills up evenly within a minute, to the limit. Below nought after a request of more than was there."""

    left: float
    at: float


class RateLimits:
    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._allowances: LRUCache[tuple[str, Unit], _Allowance] = LRUCache(COUNTED * 3)

    def take(self, caller: Caller, unit: Unit, count: int = 1) -> None:
        """Takes `count` from what the caller has left of this minute. A request of more than a minute's allowance is
        let in when the allowance is full, and what follows waits for so much longer. Raises LimitReached, and then
        takes nothing.
        """
        found = self._allowance(caller, unit)
        if found is None or not count:
            return
        limit, allowance = found
        wanted = min(count, limit)
        if allowance.left < wanted:
            seconds = math.ceil((wanted - allowance.left) * 60 / limit)
            raise LimitReached(
                f"This API key may use {limit:,} {unit} a minute; {max(int(allowance.left), 0):,} are left. Try again "
                f"in {seconds} s.",
                limit=limit,
                retry_after_s=seconds,
            )
        allowance.left -= count

    def headers(self, caller: Caller) -> dict[str, str]:
        """What is left of the caller's requests, for an answer; empty without such a limit."""
        found = self._allowance(caller, "requests")
        if found is None:
            return {}
        limit, allowance = found
        return {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(max(int(allowance.left), 0)),
            "RateLimit-Reset": str(math.ceil((limit - allowance.left) * 60 / limit)),
        }

    def _allowance(self, caller: Caller, unit: Unit) -> tuple[int, _Allowance] | None:
        """The limit and what is left now; None without a limit."""
        limit: int | None = getattr(caller.limits, f"{unit}_per_minute")
        if limit is None or caller.key_id is None:
            return None
        now = self._clock()
        place = (caller.key_id, unit)
        allowance = self._allowances.get(place)
        if allowance is None:
            allowance = self._allowances[place] = _Allowance(limit, now)
        allowance.left = min(limit, allowance.left + (now - allowance.at) * limit / 60)
        allowance.at = now
        return limit, allowance
