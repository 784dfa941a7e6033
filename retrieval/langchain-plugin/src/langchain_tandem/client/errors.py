"""What can go wrong between a program and a node: one small tree."""

from collections.abc import Mapping, Sequence
from typing import Any


class TandemClientError(Exception):
    """The root. `message` is written for whoever reads it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidSetting(TandemClientError, ValueError):
    """An address or an API key with which no node can be asked."""


class NodeUnreachable(TandemClientError):
    """No answer came, or one that no Tandem node gives."""


class NotTandem(NodeUnreachable):
    """Something answers there, but no Tandem node."""


class Refused(TandemClientError):
    """The node answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        detail: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """The node's own, as in its list of error codes."""
        self.status = status
        self.detail = dict(detail or {})
        """What the message says, as data."""
        self.retry_after = retry_after
        """Seconds after which the node wants to be asked again, where it says so."""


class Unauthorized(Refused):
    """401, 403: no API key, or one that the node does not know."""


class NotFound(Refused):
    """404: no such collection, document or job."""


class Overloaded(Refused):
    """429: too much is under way; the node wants to be asked again later."""


class Unavailable(Refused):
    """503: a part of the node is away for the moment, or it is starting."""


class IngestFailed(TandemClientError):
    """Documents were taken, but some did not become searchable."""

    def __init__(self, message: str, receipts: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message)
        self.receipts = [dict(receipt) for receipt in receipts]
        """Of the documents that failed: `id` and `error`, with `code` and `message`."""


BY_STATUS: Mapping[int, type[Refused]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    429: Overloaded,
    503: Unavailable,
}
