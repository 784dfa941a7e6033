"""The health that a blob store reports."""

from time import monotonic

FAILURE_SECONDS = 30.0


class RecentFailure:
    """Keeps the last failure for half a minute. After that a new attempt has to show whether it persists."""

    def __init__(self) -> None:
        self._message = ""
        self._at = float("-inf")

    def note(self, message: str) -> None:
        self._message = message
        self._at = monotonic()

    @property
    def current(self) -> str | None:
        return self._message if monotonic() < self._at + FAILURE_SECONDS else None
