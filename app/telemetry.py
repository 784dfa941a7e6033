"""Logs, metrics and request ids. Neither texts of documents and queries nor secrets are ever logged."""

import logging
import re
import sys
from time import perf_counter
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.questions import SearchResult

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


def configure_logging(level: str, *, as_json: bool) -> None:
    """Sends structlog to standard error, one line an event."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


class Metrics:
    """All metrics of one node, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tandem_http_requests_total", "Answers by route and status", ("route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "tandem_http_request_seconds", "Time to answer", ("route",), buckets=SECONDS, registry=self.registry
        )
        self.stage_seconds = Histogram(
            "tandem_search_stage_seconds",
            "Time by stage of search",
            ("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.unranked = Counter(
            "tandem_search_unranked_total", "Searches without reranking", ("reason",), registry=self.registry
        )
        self.queue_depth = Gauge(
            "tandem_ingest_queue_documents", "Documents waiting or being ingested", registry=self.registry
        )
        self.streams = Gauge("tandem_http_streams", "Event streams that are open", registry=self.registry)
        self.ready = Gauge("tandem_ready", "1 while the node is ready", registry=self.registry)

    def observe(self, result: SearchResult) -> None:
        for stage, ms in result.timings_ms.items():
            self.stage_seconds.labels(stage).observe(ms / 1000)
        if result.rerank.reason:
            self.unranked.labels(result.rerank.reason).inc()


class Observed:
    """ASGI middleware: a request id on the way in and out, and the request's metrics. An event stream is answered when
    it begins; how long it lasts says nothing of the node."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = perf_counter()
        status, seconds = 500, None

        async def tagged(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if headers.get("content-type", "").startswith("text/event-stream"):
                    seconds = perf_counter() - started
                    self._metrics.streams.inc()
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, tagged)
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                self._metrics.requests.labels(route, str(status)).inc()
                if seconds is None:
                    seconds = perf_counter() - started
                else:
                    self._metrics.streams.dec()
                self._metrics.request_seconds.labels(route).observe(seconds)
