"""HTTP/1.1 on one connection: uvicorn's protocol with limits. Input is counted before it is parsed, so that one
caller's input, or silence, does not delay the requests of others.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import (
    STATUS,
    HeadTooLarge,
    MalformedRequest,
    RequestTimeout,
    TooManyConnections,
    error_body,
    error_headers,
)
from app.http.error_formats import NATIVE
from app.http.server.connections import Connections
from retrieval.errors import TandemError

SLICE = 16_384
"""Bytes that the parser gets at once: it keeps what it has of a line, and copies it each time."""
RESERVED_SECONDS = 1.0
"""Time for the head of a request on a connection that is reserved for health checks."""
LINGER_SECONDS = 2.0
HEALTH = "/health/"


class BoundedProtocol(HttpToolsProtocol):
    def __init__(self, connections: Connections, **options: Any) -> None:
        """`options` are those that uvicorn passes."""
        super().__init__(**options)
        self._connections = connections
        self._bounds = connections.options
        self._admitted = False
        self._reserved = False
        self._ended = False
        """Whether further input is ignored."""
        self._problem: TandemError | None = None
        """Why a callback broke the parser off."""
        self._unread = 0
        """Bytes since the parser last found something."""
        self._head_bytes = self._fields = 0
        self._head_since: float | None = None
        """Time since which a request's head is awaited; None while none is."""
        self._body_since: float | None = None
        """Time since which `_body_bytes` of a body have arrived; None while none is awaited."""
        self._body_bytes = 0
        self._blocked_since: float | None = None
        """Time since which the caller reads nothing of an answer."""
        self._closing_since: float | None = None
        self._lingering_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        found = self._connections.admit(self, self._address)
        if found in ("open", "reserved"):
            self._admitted, self._reserved = True, found == "reserved"
            self._head_since = self.loop.time()
            if self._reserved:
                self.app = _for_health_checks(self.app)
            return
        if not self._connections.let_linger(self):
            self._ended = True
            self.transport.abort()
            return
        place = "this node" if found == "all" else "your address"
        self._end(TooManyConnections(f"There are too many connections to {place}."))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._admitted:
            self._connections.leave(self, self._address, reserved=self._reserved)
        else:
            self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            if self._ended or self.transport.is_closing():
                return
            part = data[start : start + SLICE]
            self._unread += len(part)
            super().data_received(part)
            if self._unread > self._bounds.line_bytes:
                self._refuse(self._too_large(f"a line has more than {self._bounds.line_bytes:,} bytes"))
        if self._head_since is None and self._body_since is None and not (self._ended or self._is_answering()):
            # Input arrived that began no request, and no timer of uvicorn runs any more.
            self._head_since = self.loop.time()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._blocked_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._blocked_since = None

    def sweep(self, now: float) -> None:
        """Ends the connection if its caller has used up the time for the rest of the request."""
        bounds = self._bounds
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > bounds.reading_seconds:
                self.transport.abort()
        elif self._lingering_since is not None:
            if now - self._lingering_since > LINGER_SECONDS:
                self.transport.close()
        elif self._blocked_since is not None and now - self._blocked_since > bounds.reading_seconds:
            self._connections.refused("reading")
            self.transport.abort()
        elif self._head_since is not None and not self._is_answering():
            seconds = RESERVED_SECONDS if self._reserved else bounds.request_seconds
            if now - self._head_since > seconds:
                self._refuse(RequestTimeout(f"The head of the request did not arrive within {seconds:g} s."))
        elif self._body_since is not None:
            self._sweep_body(self._body_since, now)

    def _sweep_body(self, since: float, now: float) -> None:
        bounds = self._bounds
        is_throttled = self.flow.read_paused or self.cycle.waiting_for_100_continue
        enough = bounds.request_seconds * bounds.bytes_per_second
        if is_throttled or self._body_bytes >= enough:
            self._body_since, self._body_bytes = now, 0
        elif now - since > bounds.request_seconds:
            self._refuse(
                RequestTimeout(
                    f"The body arrives with fewer than {bounds.bytes_per_second:,} bytes per second over "
                    f"{bounds.request_seconds:g} s."
                )
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unread = self._head_bytes = self._fields = 0
        if self._head_since is None:
            self._head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))
        if len(self.url) > self._bounds.line_bytes:
            self._abort_parser(self._too_large(f"the request line has more than {self._bounds.line_bytes:,} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._fields += 1
        self._count(len(name) + len(value))
        if self._fields > self._bounds.fields:
            self._abort_parser(self._too_large(f"it has more than {self._bounds.fields} header fields"))
        if len(name) + len(value) > self._bounds.line_bytes:
            self._abort_parser(self._too_large(f"a field has more than {self._bounds.line_bytes:,} bytes"))

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= self._bounds.pipelined:
            self._abort_parser(MalformedRequest(f"More than {self._bounds.pipelined} requests wait for their answers."))
        self._head_since, self._body_since, self._body_bytes = None, self.loop.time(), 0
        super().on_headers_complete()
        self.cycle.transport = _LingeringTransport(self)  # type: ignore[assignment]  # what a cycle uses of it

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        self._body_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_since is not None:  # of the next request, which is handled only now
            self._head_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # as uvicorn calls it
        """Answers when the parser gave up, by itself or because of a limit of ours."""
        problem, self._problem = self._problem, None
        self._refuse(problem or MalformedRequest("This is not HTTP/1.1 as this node takes it."))

    def close(self) -> None:
        """Closes after an answer. If the request is incomplete, closing would reset the connection and lose the answer:
        further input is discarded for a while first.
        """
        if self._body_since is None and not self._ended:
            self.transport.close()
            return
        self._ended = True
        if self._lingering_since is None and not self.transport.is_closing():
            self._lingering_since = self.loop.time()
            self.flow.resume_reading()
            self.transport.write_eof()

    @property
    def _address(self) -> str | None:
        return self.client[0] if self.client else None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._unread = 0
        self._head_bytes += size
        if self._head_bytes > self._bounds.head_bytes:
            self._abort_parser(self._too_large(f"its head has more than {self._bounds.head_bytes:,} bytes"))

    def _too_large(self, what: str) -> HeadTooLarge:
        return HeadTooLarge(f"The request's head is too large: {what}.")

    def _abort_parser(self, problem: TandemError) -> None:
        """Raises out of a callback of the parser, which then gives up."""
        self._problem = problem
        raise problem

    def _refuse(self, error: TandemError) -> None:
        if not self._ended:
            self._connections.refused(error.code)
            self._end(error)

    def _end(self, error: TandemError) -> None:
        """Sends the reason, unless another answer is in flight, and ends the connection."""
        self._ended = True
        if self._is_answering():
            waits_for_body = self._body_since is not None and not self.pipeline
            if self.cycle.response_started or not waits_for_body:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_raw(error))
        self.close()


class _LingeringTransport:
    """The transport that answers are written to."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self._protocol.close()


def _raw(error: TandemError) -> bytes:
    """Formats an answer below the routes, in the service's own format."""
    status = HTTPStatus(STATUS[error.code])
    body = json.dumps(error_body(error.code, error.message, error.detail)).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **error_headers(error, status),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _for_health_checks(app: ASGIApp) -> Any:
    """Returns an application for one health check, after which the connection ends."""

    async def only_health(scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        full = NATIVE.response(TooManyConnections("There are too many connections to this node."))
        await (app if scope["path"].startswith(HEALTH) else full)(scope, receive, closing)

    return only_health
