"""Decides how often and how long a call that may succeed later is repeated."""

from dataclasses import dataclass
from random import uniform
from time import monotonic

from langchain_tandem.client.errors import NodeUnreachable, NotTandem, Overloaded, TandemClientError, Unavailable


@dataclass(frozen=True, slots=True)
class Retries:
    """Limits of retries, in seconds from the first failure in a row. 0 disables retries for that reason.

    The pause between two attempts is the node's `Retry-After`. Without one, pauses double from `first_pause` to
    `longest_pause`. Random jitter lengthens pauses by up to a quarter, so that clients do not all return at the same
    time.
    """

    unavailable_seconds: float = 30.0
    """Limit for a node that answered before and is unreachable or answers 503."""
    overloaded_seconds: float = 60.0
    """Limit for 429: the node is overloaded."""
    unreachable_seconds: float = 3.0
    """Limit for a node that never answered this client: its address may be wrong."""
    first_pause: float = 0.25
    longest_pause: float = 10.0


SHORT_RETRIES = Retries()
"""Limits for calls that a person waits for."""
NO_RETRIES = Retries(unavailable_seconds=0, overloaded_seconds=0, unreachable_seconds=0)
LONG_RETRIES = Retries(unavailable_seconds=300, overloaded_seconds=3600, unreachable_seconds=3)
"""Limits for background work: a node may have to load its models again, or to work off a queue."""


class RetryState:
    """The retries of one call, or of one interruption of a stream."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._failures = 0
        self._since: dict[str, float] = {}

    def pause(self, error: TandemClientError, *, answered: bool) -> float:
        """Returns the pause before the next attempt, in seconds. Raises `error` if a retry cannot help or the limit has
        passed. `answered` says whether this node has answered before.
        """
        retry_after: float | None = None
        if isinstance(error, Overloaded):
            reason, limit, retry_after = "full", self._retries.overloaded_seconds, error.retry_after
        elif isinstance(error, Unavailable):
            reason, limit, retry_after = "away", self._retries.unavailable_seconds, error.retry_after
        elif isinstance(error, NodeUnreachable) and not isinstance(error, NotTandem):
            reason, limit = "away", self._retries.unavailable_seconds if answered else self._retries.unreachable_seconds
        else:
            raise error
        pause = min(self._retries.first_pause * 2**self._failures, self._retries.longest_pause)
        pause = (pause if retry_after is None else retry_after) * uniform(1, 1.25)  # noqa: S311 - no secret hangs on it
        self._failures = min(self._failures + 1, 30)
        now = monotonic()
        if now - self._since.setdefault(reason, now) + pause > limit:
            raise error
        return pause
