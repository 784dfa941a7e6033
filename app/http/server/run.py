"""Runs the application with uvicorn, within the limits of the settings."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.http.server.connections import ConnectionOptions, Connections
from app.http.server.in_flight import InFlightRequests
from app.http.server.occupancy import Occupancy
from app.http.server.prefix import ForwardedPrefix
from app.http.server.protocol import BoundedProtocol
from app.http.server.tls import Certificate
from app.settings import Settings
from app.telemetry.metrics import Metrics
from retrieval.gather_or_cancel import gather_or_cancel

Drain = Callable[[], Coroutine[Any, Any, None]]


def connections_of(settings: Settings, metrics: Metrics) -> Connections:
    occupancy = Occupancy(
        total=settings.max_connections,
        per_address=settings.max_connections_per_address,
        trusted=settings.trusted_proxies,
    )
    return Connections(occupancy, ConnectionOptions(request_seconds=settings.request_seconds), metrics)


def server_config(app: ASGIApp, settings: Settings, connections: Connections, *, stop_seconds: int) -> uvicorn.Config:
    """Returns uvicorn's configuration. After `stop_seconds`, a stop cancels the requests that are still in flight."""
    if settings.trusted_proxies:
        # Here and not by uvicorn, which would hide from what is inside whose connection it is.
        app = ForwardedPrefix(
            ProxyHeadersMiddleware(app, list(settings.trusted_proxies)),  # type: ignore[arg-type]  # ASGI, by another name
            settings.trusted_proxies,
        )
    return uvicorn.Config(
        app,
        http=partial(BoundedProtocol, connections),  # type: ignore[arg-type]  # called as the type would be
        ws="none",
        log_level="error",  # its warnings quote callers' input, and would fill the log
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.keep_alive_seconds),
        timeout_graceful_shutdown=stop_seconds,
    )


class Server(uvicorn.Server):
    """Stops in order: refuses new requests, lets those in flight finish, and answers the rest."""

    def __init__(
        self,
        config: uvicorn.Config,
        in_flight: InFlightRequests,
        drain: Drain,
        *,
        drain_seconds: float,
        certificate: Certificate | None = None,
    ) -> None:
        """`drain` runs meanwhile and ends the work that no request waits for."""
        super().__init__(config)
        self._in_flight = in_flight
        self._drain = drain
        self._drain_seconds = drain_seconds
        self._certificate = certificate
        self._watching: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._certificate:
            self.config.ssl = self._certificate.context
            self._watching = asyncio.create_task(self._certificate.watch())
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Still listening: new callers get a refusal, and the node's worker processes embed until they end.
        await gather_or_cancel([self._in_flight.finish(self._drain_seconds), self._drain()])
        if self._watching:
            self._watching.cancel()
        await super().shutdown(sockets)
