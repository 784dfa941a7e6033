"""Traces: what belongs together, what crosses to other processes, and what is never in them."""

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.telemetry.metrics import Metrics
from app.telemetry.observed import Telemetry
from app.telemetry.requests import TelemetryMiddleware
from app.telemetry.tracing import Tracing
from ingestion.types import Claim, DocumentRecord, WorkerId
from retrieval.errors import StoreUnavailable
from retrieval.trace_context import outgoing_headers, traceparent
from tests.support.stores.catalog import LEASE, NOW, a_document

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exported: InMemorySpanExporter) -> Tracing:
    return Tracing(SimpleSpanProcessor(exported))


def spans(exported: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exported.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def client(telemetry: Telemetry) -> httpx.AsyncClient:
    async def answer(request: Request) -> JSONResponse:
        with telemetry.call(telemetry.metrics.store, "search"):
            logged = structlog.contextvars.get_contextvars()
        if request.path_params["name"] == "away":
            return JSONResponse({}, 503)
        return JSONResponse({"headers": dict(outgoing_headers()), "logged": logged})

    routes = [Route("/things/{name}", answer), Route("/health/live", answer)]
    app = TelemetryMiddleware(Starlette(routes=routes[:1]), telemetry)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node")


async def test_a_request_is_in_its_caller_s_trace_with_the_calls_it_makes(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    telemetry = Telemetry(Metrics(), tracing)
    async with client(telemetry) as http:
        answer = (
            await http.get("/things/secret?and=more", headers={"traceparent": PARENT, "X-Request-ID": "r"})
        ).json()
        await http.get("/things/away")
    found = spans(exported)
    [request, away] = [span for span in exported.get_finished_spans() if span.name == "GET /things/{name}"]
    assert trace_of(request) == TRACE
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/things/{name}",
        "http.response.status_code": 200,
        "tandem.request_id": "r",
    }
    call = next(span for span in exported.get_finished_spans() if span.name == "store search")
    assert call.parent == request.get_span_context()
    assert answer["headers"]["traceparent"].split("-")[1:3] == [TRACE, f"{request.get_span_context().span_id:016x}"]
    assert (answer["logged"]["trace_id"], answer["logged"]["request_id"]) == (TRACE, "r")
    assert away.status.status_code is StatusCode.ERROR
    assert trace_of(away) != TRACE
    assert "secret" not in "".join(span.to_json() for span in exported.get_finished_spans())
    assert len(found) == 2


async def test_without_a_collector_traces_are_passed_on_and_logged() -> None:
    async with client(Telemetry(Metrics(), Tracing.to(None))) as http:
        answer = (await http.get("/things/one", headers={"traceparent": PARENT})).json()
        assert (answer["headers"]["traceparent"], answer["logged"]["trace_id"]) == (PARENT, TRACE)
        answer = (await http.get("/things/one", headers={"traceparent": "00-nonsense"})).json()
        assert (answer["headers"], "trace_id" in answer["logged"]) == ({}, False)
    assert traceparent() is None


async def test_probes_make_no_spans(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    async with client(Telemetry(Metrics(), tracing)) as http:
        await http.get("/health/live")
        await http.get("/metrics")
    assert spans(exported) == {}


def test_an_error_is_told_by_its_code_alone(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    telemetry = Telemetry(Metrics(), tracing)
    with pytest.raises(StoreUnavailable), telemetry.call(telemetry.metrics.store, "search"):
        raise StoreUnavailable("what a user wrote")
    [span] = exported.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "store_unavailable")
    assert "what a user wrote" not in span.to_json()


def claim(name: str, parent: str | None) -> Claim:
    document = replace(a_document(name), traceparent=parent)
    return Claim(
        DocumentRecord(document, 1, "processing", 1, 0, 0, 0, NOW - timedelta(seconds=5), None, None),
        WorkerId("worker"),
        NOW + LEASE,
        name,
    )


def test_a_batch_of_one_request_is_in_its_trace(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    telemetry = Telemetry(Metrics(), tracing)
    with tracing.batch([claim("a", PARENT), claim("b", PARENT)]), telemetry.call(telemetry.metrics.parser):
        assert structlog.contextvars.get_contextvars()["trace_id"] == TRACE
    found = spans(exported)
    assert {trace_of(span) for span in found.values()} == {TRACE}
    assert set(found) == {"queue", "ingest", "parser"}
    assert found["queue"].start_time == int((NOW - timedelta(seconds=5)).timestamp() * 1e9)
    assert found["parser"].parent == found["ingest"].get_span_context()


def test_a_batch_of_several_requests_is_linked_with_all(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    with tracing.batch([claim("a", PARENT), claim("b", OTHER), claim("c", None)]):
        pass
    finished = exported.get_finished_spans()
    [ingest] = [span for span in finished if span.name == "ingest"]
    assert sorted(f"{link.context.trace_id:032x}" for link in ingest.links) == sorted([TRACE, OTHER[3:35]])
    assert trace_of(ingest) not in (TRACE, OTHER[3:35])
    assert {trace_of(span) for span in finished if span.name == "queue"} == {TRACE, OTHER[3:35]}


def test_a_batch_that_no_trace_brought_needs_none(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    with tracing.batch([claim("a", None)]):
        pass
    assert set(spans(exported)) == {"ingest"}
    with Tracing().batch([claim("a", None)]):
        assert "trace_id" not in structlog.contextvars.get_contextvars()
    assert json.loads(exported.get_finished_spans()[0].to_json())["attributes"] == {"tandem.documents": 1}
