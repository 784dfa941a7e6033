import asyncio

import pytest
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.telemetry.metrics import Metrics
from app.telemetry.observed import Telemetry
from app.telemetry.requests import TelemetryMiddleware
from app.telemetry.tracing import Tracing


class Stream:
    """Begins, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self.begun.set()
        await self.let_go.wait()
        await send({"type": "http.response.body", "body": b""})


def scope(path: str) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}


def telemetry_of(metrics: Metrics) -> Telemetry:
    return Telemetry(metrics, Tracing())


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_: Message) -> None:
    return


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_an_open_stream_is_counted_and_its_length_is_no_time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("app.telemetry.requests.perf_counter", lambda: now)
    metrics, stream = Metrics(), Stream()
    request = asyncio.create_task(TelemetryMiddleware(stream, telemetry_of(metrics))(scope("/events"), receive, send))
    await stream.begun.wait()
    assert counted(metrics, "tandem_http_streams") == 1
    now += 600
    stream.let_go.set()
    await request
    assert counted(metrics, "tandem_http_streams") == 0
    route = {"route": "unknown"}
    assert counted(metrics, "tandem_http_requests_total", status="200", **route) == 1
    assert counted(metrics, "tandem_http_request_seconds_count", **route) == 1
    assert counted(metrics, "tandem_http_request_seconds_sum", **route) == 0


async def test_a_stream_that_is_cut_off_is_no_longer_open() -> None:
    metrics, stream = Metrics(), Stream()
    request = asyncio.create_task(TelemetryMiddleware(stream, telemetry_of(metrics))(scope("/events"), receive, send))
    await stream.begun.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert counted(metrics, "tandem_http_streams") == 0
    assert counted(metrics, "tandem_http_requests_total", status="200", route="unknown") == 1


async def test_other_answers_are_no_streams() -> None:
    metrics = Metrics()

    async def answer(request: object) -> PlainTextResponse:
        assert request
        assert counted(metrics, "tandem_http_streams") == 0
        return PlainTextResponse("ok")

    await TelemetryMiddleware(Starlette(routes=[Route("/", answer)]), telemetry_of(metrics))(scope("/"), receive, send)
    assert counted(metrics, "tandem_http_streams") == 0
    assert "tandem_http_request_seconds_count" in generate_latest(metrics.registry).decode()
