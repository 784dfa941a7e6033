"""Logs, metrics and request ids. Neither texts of documents and queries nor secrets are ever logged."""

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.device.devices import Devices
from retrieval.device.gate import GateState
from retrieval.search.query import SearchResult

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


def configure_logging(level: str, *, as_json: bool) -> None:
    """Sends structlog to standard error, one line per event. Tracebacks omit variables, which may hold users' texts."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
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
    protocol = logging.getLogger("mcp")
    protocol.handlers, protocol.propagate = [_LibraryLogHandler()], False
    protocol.setLevel(logging.WARNING)


class _LibraryLogHandler(logging.Handler):
    """Logs the messages of libraries in our format: the place and the kind of error. The text is dropped, since it may
    quote a request.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno,
            f"{record.name.partition('.')[0]} reports a problem",
            where=f"{record.name}:{record.lineno}",
            error=error.__name__ if error else None,
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
        self.tool_calls = Counter(
            "tandem_mcp_calls_total", "Calls of MCP tools by outcome", ("tool", "outcome"), registry=self.registry
        )
        self.tool_seconds = Histogram(
            "tandem_mcp_call_seconds",
            "Time of a call of an MCP tool",
            ("tool",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("tandem_http_streams", "Event streams that are open", registry=self.registry)
        self.connections = Gauge("tandem_http_connections", "Connections that are open", registry=self.registry)
        self.refused = Counter(
            "tandem_http_refused_total",
            "Connections and requests that were refused below the routes, by reason",
            ("reason",),
            registry=self.registry,
        )
        self.ready = Gauge("tandem_ready", "1 while the node is ready", registry=self.registry)

    def watch(self, devices: Devices) -> None:
        """Exports the health of the devices and the state of their gates at the time when the metrics are read."""
        self.registry.register(DeviceCollector(devices))

    def observe_tool(self, tool: str, outcome: str, seconds: float) -> None:
        self.tool_calls.labels(tool, outcome).inc()
        self.tool_seconds.labels(tool).observe(seconds)

    def observe(self, result: SearchResult) -> None:
        for stage, ms in result.timings_ms.items():
            self.stage_seconds.labels(stage).observe(ms / 1000)
        if result.rerank.reason:
            self.unranked.labels(result.rerank.reason).inc()


_GAUGES: Mapping[str, tuple[str, Callable[[GateState], float]]] = {
    "tandem_gate_interactive_calls": ("Calls of searches that compute", lambda state: state.interactive),
    "tandem_gate_bulk_slices": ("Slices of ingestion that compute", lambda state: state.bulk_slices),
    "tandem_gate_bulk_tokens": ("Their tokens", lambda state: state.bulk_tokens),
    "tandem_gate_bulk_bound_tokens": ("Tokens of ingestion that may compute now", lambda state: state.bulk_bound),
    "tandem_gate_bulk_waiting_calls": ("Calls of ingestion that wait for their turn", lambda state: state.bulk_waiting),
    "tandem_gate_bulk_tokens_per_second": (
        "Speed of ingestion without searches",
        lambda state: state.bulk_tokens_per_second,
    ),
    "tandem_gate_interactive_seconds": (
        "Time of a typical call of a search",
        lambda state: state.interactive_seconds,
    ),
}
_COUNTERS: Mapping[str, tuple[str, Callable[[GateState], float]]] = {
    "tandem_gate_bulk_waited_seconds": (
        "Time that ingestion waited for its turns",
        lambda state: state.bulk_waited_seconds,
    ),
    "tandem_gate_slices_amid_searches": ("Slices on the guaranteed share", lambda state: state.slices_amid_searches),
}


class DeviceCollector(Collector):
    """Collects, for each device, whether its engines serve, their restarts, and the state of its gate."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("tandem_device_up", "1 while all engines of the device serve", labels=["device"])
        restarts = CounterMetricFamily(
            "tandem_device_engine_restarts", "Engines of the device that came back", labels=["device"]
        )
        for device in self._devices:
            up.add_metric([device.name], device.failure is None)
            restarts.add_metric([device.name], device.restarts)
        yield from (up, restarts)
        states = {device.name: device.gate.state() for device in self._devices}
        for families, kind in ((_GAUGES, GaugeMetricFamily), (_COUNTERS, CounterMetricFamily)):
            for name, (documentation, value) in families.items():
                family = kind(name, documentation, labels=["device"])
                for device_name, state in states.items():
                    family.add_metric([device_name], value(state))
                yield family


class TelemetryMiddleware:
    """ASGI middleware: handles request ids, and records the request's metrics. The time of an event stream ends when it
    begins to be sent: its duration says nothing about the node.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = sent_id if REQUEST_ID.match(sent_id) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = perf_counter()
        status, seconds = 500, None

        async def send_with_id(message: Message) -> None:
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
                await self._app(scope, receive, send_with_id)
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                self._metrics.requests.labels(route, str(status)).inc()
                if seconds is None:
                    seconds = perf_counter() - started
                else:
                    self._metrics.streams.dec()
                self._metrics.request_seconds.labels(route).observe(seconds)
