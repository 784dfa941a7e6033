"""Traces by OpenTelemetry: a request, what it asks of the node's parts, and the ingestion that follows from it. Names
and attributes hold routes, codes, ids and numbers; never texts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from ingestion.types import Claim
from retrieval.errors import TandemError
from retrieval.trace_context import HEADER

SERVICE = "tandem"
MAX_LINKS = 32
"""Traces that a batch of documents names besides its own."""
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans, or none: then the callers' traces are still passed on, and named in the log."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        """`processor` takes the spans; None: none are made."""
        self._provider: TracerProvider | None = None
        self._tracer: Tracer = NoOpTracer()
        if processor is not None:
            named = Resource({SERVICE_NAME: SERVICE, SERVICE_VERSION: version("tandem-rag")})
            # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
            resource = named.merge(OTELResourceDetector().detect())
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(processor)
            self._tracer = self._provider.get_tracer(SERVICE)

    @classmethod
    def to(cls, endpoint: str | None) -> "Tracing":
        """Returns tracing to the collector that OTEL_EXPORTER_OTLP_* describe; none if there is no `endpoint`."""
        return cls(BatchSpanProcessor(OTLPSpanExporter()) if endpoint else None)

    def close(self) -> None:
        """Sends what is left. Blocks, for as long as OTEL_EXPORTER_OTLP_TIMEOUT at most."""
        if self._provider is not None:
            self._provider.shutdown()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
        links: Sequence[Link] = (),
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> Iterator[Span]:
        """The current span within. An error is told by its code alone: messages may quote a request."""
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            links=links,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except TandemError as error:
                span.set_status(Status(StatusCode.ERROR, error.code))
                raise
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Opens the span of a caller's request, in the caller's trace if its headers name one."""
        parent = _PROPAGATOR.extract(headers)
        attributes = {"http.request.method": method}
        with self.span(method, kind=SpanKind.SERVER, parent=parent, attributes=attributes) as span, in_log(span):
            yield span

    @contextmanager
    def batch(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Opens the span of documents that a worker has claimed. If one request brought all of them, it belongs to that
        trace, else to a new one, linked with theirs. Each request's trace shows how long its documents waited.
        """
        first = {
            claim.record.document.traceparent: claim for claim in reversed(claims) if claim.record.document.traceparent
        }
        contexts = {
            parent: _PROPAGATOR.extract({HEADER: parent}) for parent in list(first)[:MAX_LINKS] if parent is not None
        }
        for parent, context in contexts.items():
            accepted = first[parent].record.ingested_at
            self._tracer.start_span("queue", context, SpanKind.CONSUMER, start_time=_nanoseconds(accepted)).end()
        traces = {get_current_span(context).get_span_context().trace_id for context in contexts.values()}
        within = next(iter(contexts.values())) if len(traces) == 1 else Context()
        links = [Link(get_current_span(context).get_span_context()) for context in contexts.values()]
        attributes = {"tandem.documents": len(claims)}
        with (
            self.span("ingest", kind=SpanKind.CONSUMER, parent=within, links=links, attributes=attributes) as span,
            in_log(span),
        ):
            yield


@contextmanager
def in_log(span: Span) -> Iterator[None]:
    """Names the span's trace in every line that is logged within."""
    context = span.get_span_context()
    if not context.is_valid:
        yield
        return
    with structlog.contextvars.bound_contextvars(
        trace_id=format_trace_id(context.trace_id), span_id=format_span_id(context.span_id)
    ):
        yield


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)
