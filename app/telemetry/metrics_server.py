"""Metrics of a process that serves nothing else, over HTTP."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from retrieval.errors import ConfigurationError

REQUEST_SECONDS = 5.0
"""A client that sends or reads nothing for so long is disconnected: there is one request at a time."""


@contextmanager
def serving_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Answers every GET with the metrics, one request at a time; gives the port (a free one for 0). Raises
    ConfigurationError if the address cannot be had.
    """
    version = _V6 if ":" in host else WSGIServer
    try:
        server = make_server(host, port, make_wsgi_app(registry), version, _Quiet)
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


class _V6(WSGIServer):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the standard library's
        """Logs nothing: requests of Prometheus are no events."""
