"""Traces of a node: one for a request and all that follows from it, sent to a collector."""

import asyncio
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.main import create_app
from app.settings import Settings, trace_endpoint
from app.telemetry.tracing import Tracing
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SECRET = "quillon"


async def test_an_ingestion_is_one_trace_from_the_request_to_the_store(tmp_path: Path) -> None:
    exported = InMemorySpanExporter()
    components = real_but_for(FakeEmbedder(), FakeReranker(), tmp_path)
    settings = Settings(data_dir=tmp_path, models="minilm", selftest_margin=False)  # type: ignore[arg-type]
    app = create_app(settings, components, tracing=Tracing(SimpleSpanProcessor(exported)))
    page = f"<html><body><p>The {SECRET} burns at 1280 degrees.</p></body></html>"
    async with listening(app) as node, httpx.AsyncClient(base_url=node.url, timeout=60) as http:
        body = {"documents": [{"id": SECRET, "text": page, "media_type": "text/html"}], "wait": True}
        answer = await http.post("/ingest", json=body, headers={"traceparent": PARENT})
        assert answer.json()["state"] == "succeeded", answer.text
        await http.post("/search", json={"query": f"how hot is the {SECRET}?"}, headers={"traceparent": PARENT})
        await asyncio.sleep(0)
    spans = [
        span for span in exported.get_finished_spans() if span.context and f"{span.context.trace_id:032x}" == TRACE
    ]
    names = [span.name for span in spans]
    assert {"POST /ingest", "queue", "ingest", "parser", "engine embed", "store upsert", "store present"} <= set(names)
    assert {"POST /search", "store search", "store search_text", "engine rerank"} <= set(names)
    by_id = {span.context.span_id: span for span in spans if span.context}
    parents = {
        span.name: by_id[span.parent.span_id].name for span in spans if span.parent and span.parent.span_id in by_id
    }
    assert parents["ingest"] == "POST /ingest"
    assert (parents["parser"], parents["store upsert"]) == ("ingest", "ingest")
    assert parents["engine rerank"] == "POST /search"
    assert SECRET not in "".join(span.to_json() for span in spans)


def test_spans_go_to_the_collector_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert trace_endpoint() is None
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracing = Tracing.to(trace_endpoint())
        with tracing.span("of this test"):
            pass
        tracing.close()
        server.shutdown()
    [(path, body)] = sent
    assert path == "/v1/traces"
    [resource] = ExportTraceServiceRequest.FromString(body).resource_spans
    told = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert told["service.name"] == "tandem"
    assert resource.scope_spans[0].spans[0].name == "of this test"
