"""Limits on the bodies of requests: of each by its route, and of all that are in memory at once."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.server.json_scan import JsonScan
from app.http.tags import error_format_at, route_at
from ingestion.errors import Overloaded, TooLarge
from retrieval.errors import TandemError

MB: Final = 2**20
SMALL_BYTES: Final = 65_536
"""A body that is announced to be no larger is not counted: as much is buffered of every connection."""
RETRY_AFTER_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class BodyBound:
    """The limits of the bodies that one route accepts."""

    size: int
    """Bytes."""
    values: int
    """Maximum number of values in all lists and objects of the JSON together."""
    containers: int
    """Maximum number of lists and objects."""


DEFAULT: Final = BodyBound(MB, 10_000, 1_000)
# A parser holds the GIL for a whole body, so that a thread would not free the event loop. Its time is bounded by these
# counts instead: 60 ms for 32 MB of text, 80 ms for 300,000 token ids (2 cores).
BOUNDS: Final[Mapping[str, BodyBound]] = {
    # Each text has a bound of its own; this one limits how many long ones fit.
    "/embed": BodyBound(32 * MB, 1_000, 10),
    "/v1/embeddings": BodyBound(32 * MB, 302_100, 2_100),  # 300,000 token ids, as OpenAI allows
    "/v1/rerank": BodyBound(32 * MB, 10_000, 2_000),
    "/v2/rerank": BodyBound(32 * MB, 10_000, 2_000),
    "/score": BodyBound(32 * MB, 10_000, 2_000),
    "/collections/{name}/golden": BodyBound(32 * MB, 200_000, 21_000),
    "/collections/{name}/reembed": BodyBound(32 * MB, 200_000, 21_000),
    "/v1/vector_stores/{vector_store_id}/file_batches": BodyBound(32 * MB, 50_000, 2_000),
    "/ui/login": BodyBound(16_384, 1_000, 100),
    "/ui/language": BodyBound(16_384, 1_000, 100),
    "/ui/evaluation": BodyBound(32 * MB, 10_000, 1_000),
    "/mcp": BodyBound(16 * MB, 20_000, 2_000),  # the longest text of its tool `ingest`, written with escapes
}
"""Limits by the path of the route; other routes have DEFAULT."""
INGESTING: Final = ("/ingest", "/v1/files", "/ui/upload")
"""Routes whose limits are the settings for documents."""
VALUES_PER_DOCUMENT, CONTAINERS_PER_DOCUMENT = 200, 20


class BodyBounds:
    def __init__(self, max_bytes: int, max_documents: int) -> None:
        """`max_bytes` limits every body, `max_documents` one request."""
        self._max_bytes = max_bytes
        self._ingesting = BodyBound(
            max_bytes,
            DEFAULT.values + VALUES_PER_DOCUMENT * max_documents,
            DEFAULT.containers + CONTAINERS_PER_DOCUMENT * max_documents,
        )

    def at(self, scope: Scope) -> BodyBound:
        """Returns the limits of the route that the request goes to."""
        path = getattr(route_at(scope), "path_format", None)
        if path in INGESTING:
            return self._ingesting
        found = BOUNDS.get(path, DEFAULT) if path else DEFAULT
        return BodyBound(min(found.size, self._max_bytes), found.values, found.containers)


class BodyBudget:
    """Bytes of the bodies that are in memory at once."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._used = 0

    @contextmanager
    def share(self) -> Iterator["BodyShare"]:
        share = BodyShare(self)
        try:
            yield share
        finally:
            self._used -= share.size

    def take(self, size: int) -> None:
        """Reserves bytes. Raises Overloaded."""
        if self._used and self._used + size > self._capacity:
            raise Overloaded(
                f"Bodies of {self._used:,} bytes are being worked on; {size:,} more would pass the bound of "
                f"{self._capacity:,}. Try again shortly, with fewer requests at once.",
                retry_after_s=RETRY_AFTER_SECONDS,
            )
        self._used += size


class BodyShare:
    """The part of the budget that one request holds."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.size = 0

    def grow_to(self, size: int) -> None:
        """Enlarges the share. Raises Overloaded."""
        if size > self.size:
            self._budget.take(size - self.size)
            self.size = size


class BodyLimitMiddleware:
    """ASGI middleware: refuses a body as soon as it is known to be too large, too wide or too deep, or to exceed the
    budget. The rest of the body is not read: the connection is closed, here and whenever an answer is sent before its
    request was received.
    """

    def __init__(self, app: ASGIApp, bounds: BodyBounds, budget: BodyBudget) -> None:
        self._app = app
        self._bounds = bounds
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        with self._budget.share() as share:
            body = _Body(self._bounds.at(scope), share, scope, receive, send)
            try:
                body.announce()
                await self._app(scope, body.receive, body.send)
            except TandemError as error:
                if error is not body.problem:
                    raise
            if body.problem and not body.answered:
                await refuse(body.problem, scope, receive, send)


class _Body:
    """A body that is being received."""

    def __init__(self, bound: BodyBound, share: BodyShare, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._bound = bound
        self._share = share
        self._receive = receive
        self._send = send
        declared = headers.get("content-length", "")
        self._declared = int(declared) if declared.isdecimal() else None
        is_form = headers.get("content-type", "").strip().lower().startswith("multipart/")
        self._scan = None if is_form else JsonScan(bound.values, bound.containers)
        self._received = 0
        self._complete = False
        self.problem: TandemError | None = None
        self.answered = False

    def announce(self) -> None:
        """Checks the announced size before anything is read. Raises TooLarge, Overloaded."""
        with self._noted():
            self._check_size(self._declared or 0)
            if self._declared and self._declared > SMALL_BYTES:
                self._share.grow_to(self._declared)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._complete:
            part = message.get("body", b"")
            self._complete = not message.get("more_body", False)
            with self._noted():
                self._received += len(part)
                self._check_size(self._received)
                if self._declared is None:
                    self._share.grow_to(self._received)
                if self._scan:
                    self._scan.feed(part)
                    await asyncio.sleep(0)  # other tasks run even if the next part has arrived already
        return message

    async def send(self, message: Message) -> None:
        # Whatever the application does with an interrupted body, the answer gives the reason.
        if self.problem and not self.answered:
            return
        if message["type"] == "http.response.start":
            self.answered = True
            if not self._complete:
                MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)

    def _check_size(self, size: int) -> None:
        if size > self._bound.size:
            raise TooLarge(
                f"The body is larger than {self._bound.size:,} bytes, which is all that this route takes. Send less "
                "at a time. (Routes that ingest take TANDEM_MAX_BODY_MB.)",
                limit=self._bound.size,
            )

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except TandemError as error:
            self.problem = error
            raise


async def refuse(error: TandemError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in the format of the route. An unread body stays unread: the connection ends."""
    await answer_unread(error_format_at(scope).response(error), scope, receive, send)


async def answer_unread(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a response to a request whose body, if any, stays unread: the connection ends with it."""
    if _has_body(scope):
        response.headers["Connection"] = "close"
    await response(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
