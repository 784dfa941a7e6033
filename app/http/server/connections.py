"""Limits the connections of one server: their number, and the time that one may keep a request waiting."""

import asyncio
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from app.http.server.occupancy import Occupancy, Refusal, is_local
from app.node import descriptors
from app.telemetry.metrics import Metrics

log = structlog.get_logger()

SWEEP_SECONDS = 0.5
RESERVED = 8
"""Connections from this machine beyond the bound, for health checks alone."""
LINGERING = 64
"""Connections that were refused, and have not been closed yet; more are reset."""
SUMMARY_SECONDS = 60.0
"""Refusals are counted, and logged together once in so long."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Limits of one connection, in seconds and bytes."""

    request_seconds: float = 20.0
    """Time for a request's head to arrive; its body has to average `bytes_per_second` over this time."""
    bytes_per_second: int = 1024
    reading_seconds: float = 30.0
    """A caller who takes nothing of an answer for so long is cut off, and so is one who does not let it end."""
    head_bytes: int = 65_536
    """Limit of the request line and all header fields, trailers included."""
    line_bytes: int = 16_384
    """Limit of the request line, and of one header field."""
    fields: int = 100
    pipelined: int = 16
    """Requests that wait for the answer to an earlier one."""


class SweptConnection(Protocol):
    def sweep(self, now: float) -> None:
        """Ends the connection if its time has run out."""


class Connections:
    def __init__(self, occupancy: Occupancy, options: ConnectionOptions, metrics: Metrics) -> None:
        """`occupancy` is lowered to what the current limit of file descriptors allows."""
        self.options = options
        self._requested_total = occupancy.total
        self._occupancy = occupancy
        self._metrics = metrics
        self._open: set[SweptConnection] = set()
        self._lingering: set[SweptConnection] = set()
        self._reserved = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._refused = 0
        self._logged_at = float("-inf")
        self._fit_to_descriptors()

    @property
    def bound(self) -> int:
        return self._occupancy.total

    def admit(self, connection: SweptConnection, address: str | None) -> Literal["open", "reserved"] | Refusal:
        """Counts the connection, unless it is refused. `reserved` means that it may only send health checks."""
        refusal = self._occupancy.refusal(address)
        reserved = refusal == "all" and is_local(address) and self._reserved < RESERVED
        if refusal and not reserved:
            self.refused(refusal)
            return refusal
        if reserved:
            self._reserved += 1
        else:
            self._occupancy.enter(address)
        self._open.add(connection)
        self._metrics.connections.set(len(self._open))
        if self._sweeping is None:
            self._sweep_later()
        return "reserved" if reserved else "open"

    def leave(self, connection: SweptConnection, address: str | None, *, reserved: bool) -> None:
        self._open.discard(connection)
        self._metrics.connections.set(len(self._open))
        if reserved:
            self._reserved -= 1
        else:
            self._occupancy.leave(address)

    def let_linger(self, connection: SweptConnection) -> bool:
        """Returns whether a refused connection may stay until its caller has read the reason."""
        if len(self._lingering) >= LINGERING:
            return False
        self._lingering.add(connection)
        if self._sweeping is None:
            self._sweep_later()
        return True

    def forget(self, connection: SweptConnection) -> None:
        self._lingering.discard(connection)

    def refused(self, reason: str) -> None:
        self._metrics.refused.labels(reason).inc()
        self._refused += 1

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._fit_to_descriptors()
        now = asyncio.get_running_loop().time()
        for connection in [*self._open, *self._lingering]:
            connection.sweep(now)
        if self._refused and now - self._logged_at >= SUMMARY_SECONDS:
            log.warning("connections and requests were refused", count=self._refused, open=len(self._open))
            self._refused, self._logged_at = 0, now
        self._sweeping = None
        if self._open or self._lingering or self._refused:
            self._sweep_later()

    def _fit_to_descriptors(self) -> None:
        self._occupancy.total = min(self._requested_total, descriptors.connections_within(descriptors.limit()))
