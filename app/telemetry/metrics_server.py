"""Metrics and probes of a process that serves nothing else, over HTTP."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.registry import Collector

from app.node.worker_health import WorkerHealth
from retrieval.errors import ConfigurationError

MODELS = "tandem_engine_"
REQUEST_SECONDS = 5.0
"""A client that sends or reads nothing for so long is disconnected: there is one request at a time."""


@contextmanager
def serving_metrics(
    registry: CollectorRegistry, health: WorkerHealth, host: str, port: int, *, with_models: bool
) -> Iterator[int]:
    """Answers GET /metrics with what `counted` selects, and /health/live and /health/ready as a node does, one request
    at a time; gives the port (a free one for 0). Raises ConfigurationError if the address cannot be had.
    """
    version = _V6 if ":" in host else WSGIServer
    metrics = make_wsgi_app(counted(registry, with_models=with_models))
    try:
        server = make_server(host, port, _routed(metrics, health), version, _Quiet)
    except OSError as error:
        raise ConfigurationError(
            f"TANDEM_WORKER_METRICS_PORT={port}: cannot listen on {host} ({error.strerror or error})."
        ) from error
    serving = Thread(target=server.serve_forever, name="metrics", daemon=True)
    serving.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _routed(metrics: WSGIApplication, health: WorkerHealth) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def reply(*, ok: bool, body: dict[str, Any]) -> Iterable[bytes]:
            start_response(
                "200 OK" if ok else "503 Service Unavailable",
                [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
            )
            return [json.dumps(body).encode()]

        match environ.get("PATH_INFO"):
            case "/health/live":
                hang = health.hang()
                return reply(ok=hang is None, body={"live": hang is None} | ({"detail": hang} if hang else {}))
            case "/health/ready":
                checks = health.checks()
                ready = not any(checks.values())
                reported = {name: {"ok": not failure, "detail": failure or "ok"} for name, failure in checks.items()}
                return reply(ok=ready, body={"ready": ready, "phase": health.phase, "checks": reported})
            case "/metrics":
                return metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"This port has /metrics, /health/live and /health/ready.\n"]

    return answer


def counted(registry: CollectorRegistry, *, with_models: bool) -> CollectorRegistry:
    """Returns the counters, times and process metrics of `registry`. Its gauges describe a node: a worker's would read
    as a node that is not ready and has an empty queue. `with_models`: also the calls of models, which a node counts
    for the workers that it computes for.
    """
    shown = CollectorRegistry()
    shown.register(_Counted(registry, () if with_models else (MODELS,)))
    return shown


class _Counted(Collector):
    def __init__(self, registry: CollectorRegistry, hidden: tuple[str, ...]) -> None:
        self._registry = registry
        self._hidden = hidden

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            if metric.name.startswith(self._hidden):
                continue
            if metric.type in ("counter", "histogram", "info") or metric.name.startswith("process_"):
                yield metric


class _V6(WSGIServer):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the standard library's
        """Logs nothing: requests of Prometheus are no events."""
