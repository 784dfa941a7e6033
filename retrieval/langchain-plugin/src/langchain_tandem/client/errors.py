"""The errors of calls to a node, as one small tree."""

from collections.abc import Mapping, Sequence
from typing import Any


class TandemClientError(Exception):
    """The root of the errors. `message` is written for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidSetting(TandemClientError, ValueError):
    """The address or the API key is malformed, so no request can be sent."""


class NodeUnreachable(TandemClientError):
    """There was no answer, or one that no Tandem node gives."""


class NotTandem(NodeUnreachable):
    """The server at the address answers, but it is not a Tandem node."""


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
        """The content of the message as data."""
        self.retry_after = retry_after
        """Seconds after which the node wants to be asked again, where it says so."""


class Unauthorized(Refused):
    """401, 403: the API key is missing or unknown to the node, or does not permit the call."""


class NotFound(Refused):
    """404: no such collection, document or job."""


class Overloaded(Refused):
    """429: the node is at its limit; repeat the request later."""


class Unavailable(Refused):
    """503: a part of the node is unavailable, or the node is starting."""


class IngestFailed(TandemClientError):
    """The node accepted the documents, but some did not become searchable."""

    def __init__(self, message: str, receipts: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message)
        self.receipts = [dict(receipt) for receipt in receipts]
        """Receipts of the documents that failed: `id` and `error`, with `code` and `message`."""


BY_STATUS: Mapping[int, type[Refused]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    429: Overloaded,
    503: Unavailable,
}
