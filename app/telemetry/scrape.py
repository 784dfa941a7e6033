"""What Prometheus reads: the counters of this process, and the state of its parts as they are asked for it."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import nan
from time import monotonic

import structlog
from prometheus_client import generate_latest

from app.node.node import Node
from app.node.runner import Runner
from app.telemetry.metrics import Metrics
from ingestion.ports import Catalog
from retrieval.device.load import DeviceLoad
from retrieval.errors import TandemError, Unavailable

log = structlog.get_logger()

READ_SECONDS = 2.0
"""A hanging database or driver must not block the other metrics."""
TOTALS_SECONDS = 60.0
"""Counting all documents reads a large table: not at every scrape."""
STATES = ("unfinished", "ready", "failed", "cancelled")

ReadDevices = Callable[[], Sequence[DeviceLoad]]
"""Blocks."""


class Scrape:
    """Collects the metrics of one node; calls may overlap."""

    def __init__(self, metrics: Metrics, read_devices: ReadDevices) -> None:
        self._metrics = metrics
        self._read_devices = read_devices
        self._reading: asyncio.Task[Sequence[DeviceLoad]] | None = None
        self._totals_until = 0.0

    async def __call__(self, runner: Runner) -> bytes:
        """The metrics in Prometheus's text format. What cannot be read in time is NaN, or left out."""
        problems = runner.problems()
        self._metrics.ready.set(0 if problems else 1)
        node = runner.node
        for component in ("node", *(node.health_checks if node else ())):
            self._metrics.failing.labels(component).set(component in problems)
        await asyncio.gather(self._devices(), *([self._catalog(node)] if node and runner.phase == "serving" else []))
        return generate_latest(self._metrics.registry)

    async def _catalog(self, node: Node) -> None:
        metrics = self._metrics
        try:
            async with asyncio.timeout(READ_SECONDS):
                queue = await node.components.catalog.queue_state()
                metrics.queue_depth.set(queue.documents)
                metrics.processing.set(queue.processing)
                age = (datetime.now(UTC) - queue.oldest).total_seconds() if queue.oldest else 0.0
                metrics.oldest.set(max(0.0, age))
                await self._count(node.components.catalog)
        except (Unavailable, TimeoutError):
            for gauge in (metrics.queue_depth, metrics.processing, metrics.oldest):
                gauge.set(nan)

    async def _count(self, catalog: Catalog) -> None:
        if monotonic() < self._totals_until:
            return
        self._totals_until = monotonic() + TOTALS_SECONDS
        names = [collection.name for collection in await catalog.collections()]
        totals = (await catalog.totals(names)).values()
        for state in STATES:
            self._metrics.documents.labels(state).set(sum(getattr(each, state) for each in totals))

    async def _devices(self) -> None:
        """A program of the vendor's that hangs is waited for once, not started again and again."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(self._read_devices))
        reading = self._reading
        done, _ = await asyncio.wait([reading], timeout=READ_SECONDS)
        if not done:
            self._metrics.observe_devices(())
            return
        self._reading = None
        try:
            self._metrics.observe_devices(reading.result())
        except TandemError as error:
            log.warning("devices cannot be read", code=error.code, reason=error.message)
            self._metrics.observe_devices(())
