"""Event streams, limited in number: each holds a connection and polls."""

from collections.abc import AsyncGenerator
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from app.http.server.occupancy import Occupancy
from app.http.tags import error_format_at
from ingestion.errors import Overloaded

RETRY_AFTER_SECONDS = 10


class BoundedStream(EventSourceResponse):
    """A stream that counts while it is sent; answered with 429 if the limit is reached."""

    def __init__(self, events: AsyncGenerator[ServerSentEvent, None], streams: Occupancy, **options: Any) -> None:
        """`options` are those of EventSourceResponse."""
        super().__init__(events, **options)
        self._events = events
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = scope["client"][0] if scope.get("client") else None
        if refusal := self._streams.refusal(address):
            await self._events.aclose()
            place = "at this node" if refusal == "all" else "from your address"
            error = Overloaded(
                f"There are too many event streams {place}. Close one, or poll GET /jobs/{{id}} instead.",
                retry_after_s=RETRY_AFTER_SECONDS,
            )
            await error_format_at(scope).response(error)(scope, receive, send)
            return
        self._streams.enter(address)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.leave(address)
