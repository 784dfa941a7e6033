"""The deadline of an answer, across all of its stages."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal, TypeVar

from retrieval.errors import BudgetExceeded

ResultT = TypeVar("ResultT")

GRACE_SECONDS = 0.5
"""Seconds for what completes an answer, such as the neighbors of its hits, when reranking has used up the time."""


@dataclass(frozen=True, slots=True)
class Deadline:
    at: float
    """Time on the running event loop's clock."""
    seconds: float
    """Seconds that were allowed in total."""
    reason: Literal["budget", "deadline"]
    """Origin of the limit: the caller's `budget_ms`, or the server."""

    @classmethod
    def after(cls, seconds: float, reason: Literal["budget", "deadline"]) -> "Deadline":
        return cls(_now() + seconds, seconds, reason)

    @classmethod
    def for_search(cls, budget_ms: float | None, most_seconds: float) -> "Deadline":
        """Returns the caller's budget when it is shorter than the server's limit."""
        if budget_ms is not None and budget_ms / 1000 < most_seconds:
            return cls.after(budget_ms / 1000, "budget")
        return cls.after(most_seconds, "deadline")

    @property
    def left(self) -> float:
        """Returns the remaining seconds, 0 when time is up."""
        return max(0.0, self.at - _now())

    def share(self, part: float) -> "Deadline":
        """Returns the deadline that passes after the fraction `part` of the remaining time."""
        return Deadline(_now() + part * self.left, self.seconds, self.reason)

    async def run(self, work: Awaitable[ResultT], part: str, *, grace: float = 0.0) -> ResultT:
        """Returns the result of `work`. When time is up, cancels `work` and raises BudgetExceeded, which names `part`.
        An adapter whose call cannot be cancelled leaves that call in a thread of its own; this method does not wait for
        it.
        """
        try:
            async with asyncio.timeout_at(self.at + grace) as limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise BudgetExceeded(
                f"The {part} did not answer within the {self.allowed}. Try again{self.remedy}.", part=part
            ) from error

    @property
    def allowed(self) -> str:
        if self.reason == "budget":
            return f"{self.seconds * 1000:g} ms of budget_ms"
        return f"{self.seconds:g} s of this node (TANDEM_SEARCH_DEADLINE_SECONDS)"

    @property
    def remedy(self) -> str:
        return ", or allow more" if self.reason == "budget" else ""


def _now() -> float:
    return asyncio.get_running_loop().time()
