"""The trace that the present work belongs to, as W3C's trace context names it. Spans are made elsewhere, if at all:
here is only what leaves this process and what is kept for later."""

from collections.abc import Mapping

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def outgoing_headers() -> Mapping[str, str]:
    """For requests to other services on behalf of the present work; empty where it belongs to no trace."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers


def traceparent() -> str | None:
    """Of the present work: 55 characters; None where it belongs to no trace."""
    return outgoing_headers().get(HEADER)
