"""The metrics of one process. Labels have values of fixed sets: routes, codes, stages; never what callers sent."""

from collections.abc import Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from app.telemetry.collectors import AdmissionCollector, DeviceCollector, LoadCollector
from app.telemetry.reported import SharedRegistry
from ingestion.types import Outcome
from retrieval.device.devices import Devices
from retrieval.device.load import DeviceLoad
from retrieval.search.query import SearchResult

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DOCUMENT_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Buckets of the time from accepted to searchable: minutes if there is a queue."""
OK = "ok"
"""The outcome of a call that raised nothing; of the others it is the error's code."""


class CallMetrics:
    """Calls of one part of the node, by their kind and outcome."""

    def __init__(self, registry: CollectorRegistry, part: str, labels: Sequence[str]) -> None:
        self.name = part
        self.labels = tuple(labels)
        self.calls = Counter(
            f"tandem_{part}_calls_total", f"Calls of the {part} by outcome", (*labels, "outcome"), registry=registry
        )
        self.seconds = Histogram(
            f"tandem_{part}_call_seconds", f"Time of a call of the {part}", labels, buckets=SECONDS, registry=registry
        )

    def observe(self, labels: Sequence[str], outcome: str, seconds: float) -> None:
        self.calls.labels(*labels, outcome).inc()
        (self.seconds.labels(*labels) if labels else self.seconds).observe(seconds)


MAX_KEYS = 1000
"""API keys that are counted one by one."""
OTHER_KEYS = "other"


class Metrics:
    """All metrics of one node or worker process, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = SharedRegistry()
        ProcessCollector(registry=registry)
        Info("tandem_build", "Version of the service", registry=registry).info({"version": version("tandem-rag")})
        self.ready = Gauge("tandem_ready", "1 while the node is ready", registry=registry)
        self.failing = Gauge(
            "tandem_component_failing",
            "1 while a component keeps the node from being ready",
            ("component",),
            registry=registry,
        )

        self.requests = Counter(
            "tandem_http_requests_total", "Answers by route and status", ("route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "tandem_http_request_seconds", "Time to answer", ("route",), buckets=SECONDS, registry=registry
        )
        self.requests_in_flight = Gauge(
            "tandem_http_requests_in_flight", "Requests that wait for their answer", registry=registry
        )
        self.loop_delay = Histogram(
            "tandem_event_loop_delay_seconds",
            "How late the event loop runs what is due, measured ten times a second",
            buckets=SECONDS,
            registry=registry,
        )
        self.streams = Gauge("tandem_http_streams", "Event streams that are open", registry=registry)
        self.connections = Gauge("tandem_http_connections", "Connections that are open", registry=registry)
        self.refused = Counter(
            "tandem_http_refused_total",
            "Connections and requests that were refused below the routes, by reason",
            ("reason",),
            registry=registry,
        )
        self.key_requests = Counter(
            "tandem_key_requests_total",
            "Requests by the id of their API key",
            ("key",),
            registry=registry,
        )
        self._keys: set[str] = set()
        self.tool_calls = Counter(
            "tandem_mcp_calls_total", "Calls of MCP tools by outcome", ("tool", "outcome"), registry=registry
        )
        self.tool_seconds = Histogram(
            "tandem_mcp_call_seconds", "Time of a call of an MCP tool", ("tool",), buckets=SECONDS, registry=registry
        )

        self.stage_seconds = Histogram(
            "tandem_search_stage_seconds", "Time by stage of search", ("stage",), buckets=SECONDS, registry=registry
        )
        self.unranked = Counter(
            "tandem_search_unranked_total", "Searches without reranking", ("reason",), registry=registry
        )
        self.candidates = Counter("tandem_search_candidates_total", "Candidates that were reranked", registry=registry)

        self.queue_depth = Gauge(
            "tandem_ingest_queue_documents", "Documents waiting or being ingested", registry=registry
        )
        self.queue_bound = Gauge(
            "tandem_ingest_queue_bound_documents", "Documents that the queue takes", registry=registry
        )
        self.processing = Gauge("tandem_ingest_processing_documents", "Of them, those in work", registry=registry)
        self.oldest = Gauge(
            "tandem_ingest_queue_oldest_seconds", "Age of the document that waits longest", registry=registry
        )
        self.documents = Gauge("tandem_documents", "Documents by what became of them", ("state",), registry=registry)
        self.outcomes = Counter(
            "tandem_ingest_outcomes_total",
            "Attempts at documents by outcome and the error's code, of the node's own workers",
            ("outcome", "code"),
            registry=registry,
        )
        self.chunks = Counter(
            "tandem_ingest_chunks_total",
            "Chunks written, by where their vectors are from",
            ("vectors",),
            registry=registry,
        )
        self.ingest_tokens = Counter("tandem_ingest_tokens_total", "Tokens of documents written", registry=registry)
        self.document_seconds = Histogram(
            "tandem_ingest_document_seconds",
            "Time from a document's acceptance until it can be found",
            buckets=DOCUMENT_SECONDS,
            registry=registry,
        )

        self.engine = CallMetrics(registry, "engine", ("model", "lane"))
        self.engine_texts = Counter(
            "tandem_engine_texts_total", "Texts that models read", ("model", "lane"), registry=registry
        )
        self.engine_tokens = Counter(
            "tandem_engine_tokens_total", "Tokens that models read", ("model", "lane"), registry=registry
        )
        self.truncated_tokens = Counter(
            "tandem_engine_truncated_tokens_total",
            "Tokens that did not fit a model's window",
            ("model", "lane"),
            registry=registry,
        )
        self.token_lookups = Counter(
            "tandem_token_cache_lookups_total",
            "Texts that a model was given, by whether their tokens were remembered",
            ("model", "result"),
            registry=registry,
        )
        self.store = CallMetrics(registry, "store", ("operation",))
        self.parser = CallMetrics(registry, "parser", ())
        self.blobs = CallMetrics(registry, "blobs", ("operation",))
        self._loads = LoadCollector()
        registry.register(self._loads)

    def watch(self, devices: Devices) -> None:
        """Exports the health of the devices and the state of their gates at the time when the metrics are read."""
        self.registry.register(DeviceCollector(devices))

    def watch_admissions(self, admissions: AdmissionCollector) -> None:
        self.registry.register(admissions)

    def count_key(self, key_id: str) -> None:
        """Counts a request by its key: the first MAX_KEYS by their ids, all further ones together."""
        if len(self._keys) < MAX_KEYS:
            self._keys.add(key_id)
        self.key_requests.labels(key_id if key_id in self._keys else OTHER_KEYS).inc()

    def observe_tool(self, tool: str, outcome: str, seconds: float) -> None:
        self.tool_calls.labels(tool, outcome).inc()
        self.tool_seconds.labels(tool).observe(seconds)

    def observe(self, result: SearchResult) -> None:
        for stage, ms in result.timings_ms.items():
            self.stage_seconds.labels(stage).observe(ms / 1000)
        self.candidates.inc(result.rerank.scored)
        if result.rerank.reason:
            self.unranked.labels(result.rerank.reason).inc()

    def observe_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Records the attempts that ended, as reported to the catalog."""
        for each in outcomes:
            code = each.error.code if each.error else ""
            ended = "failed" if each.error else "ready"
            self.outcomes.labels("retried" if each.retry_at else ended, code).inc()
            if each.error:
                continue
            self.chunks.labels("computed").inc(each.chunks - each.reused_chunks)
            self.chunks.labels("reused").inc(each.reused_chunks)
            self.ingest_tokens.inc(each.tokens)
            if each.searchable_at:
                waited = each.searchable_at - each.claim.record.ingested_at
                self.document_seconds.observe(max(0.0, waited.total_seconds()))

    def observe_devices(self, devices: Sequence[DeviceLoad]) -> None:
        self._loads.loads = devices
