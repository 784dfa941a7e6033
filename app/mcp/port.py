"""What the tools need of a node, wherever it runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Json = Mapping[str, Any]


class NodePort(Protocol):
    """Requests and answers as the HTTP interface has them. Every method raises TandemError, or
    TandemClientError."""

    async def search(self, request: Json) -> Json:
        """As POST /search; `request_id` may be missing from the answer."""
        ...

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        """As POST /ingest of a few documents. The job with its receipts, ended or as it stands after `wait_seconds`."""
        ...

    async def collections(self) -> Sequence[Json]:
        """As GET /collections."""
        ...
