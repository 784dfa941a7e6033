"""The trace that the present work belongs to, as W3C's trace context names it. Spans are made elsewhere, if at all:
here is only what leaves this process and what is kept for later."""

from collections.abc import Mapping

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def outgoing_headers() -> Mapping[str, str]:
    """Returns the headers of requests to other services on behalf of the current work; empty if it belongs
    to no trace.
    """
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers


def traceparent() -> str | None:
    """Returns the current work's `traceparent`, 55 characters; None if it belongs to no trace."""
    return outgoing_headers().get(HEADER)
