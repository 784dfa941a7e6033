"""A request's id, its metrics and its trace."""

import re
from time import perf_counter
from uuid import uuid4

import structlog
from opentelemetry.trace import StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.telemetry.observed import Telemetry

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


UNTRACED = ("/health/", "/metrics")
"""Asked every few seconds, by probes and by Prometheus."""


class TelemetryMiddleware:
    """ASGI middleware: a request id on the way in and out, the request's metrics and its trace. An event stream is
    answered when it begins; how long it lasts says nothing of the node."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._metrics = telemetry.metrics
        self._tracing = telemetry.tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent_id = headers.get("x-request-id", "")
        request_id = sent_id if REQUEST_ID.match(sent_id) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["path"].startswith(UNTRACED):
                await self._measured(scope, receive, send, request_id)
                return
            with self._tracing.request(scope["method"], headers) as span:
                status = await self._measured(scope, receive, send, request_id)
                route = _route(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes(
                    {"http.route": route, "http.response.status_code": status, "tandem.request_id": request_id}
                )
                if status >= 500:
                    span.set_status(StatusCode.ERROR)

    async def _measured(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Returns the answer's status."""
        started = perf_counter()
        status, seconds = 500, None
        self._metrics.requests_in_flight.inc()

        async def send_with_id(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if headers.get("content-type", "").startswith("text/event-stream"):
                    seconds = perf_counter() - started
                    self._metrics.streams.inc()
                    self._metrics.requests_in_flight.dec()
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            route = _route(scope)
            self._metrics.requests.labels(route, str(status)).inc()
            if seconds is None:
                seconds = perf_counter() - started
                self._metrics.requests_in_flight.dec()
            else:
                self._metrics.streams.dec()
            self._metrics.request_seconds.labels(route).observe(seconds)
        return status


def _route(scope: Scope) -> str:
    """Its pattern, never the path that a caller wrote."""
    return str(getattr(scope.get("route"), "path", "unknown"))
