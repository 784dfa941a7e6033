"""The ingestion workers of one process: of a node or of a worker process."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import structlog

from ingestion.disk_reserve import DiskReserve
from ingestion.notifications import Notifications
from ingestion.pipeline.pipeline import LARGE_BYTES, Pipeline
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.types import WorkerId
from ingestion.worker import AcceptsFingerprint, Worker, WorkerOptions, WorkObserver
from retrieval.embedders import Embedders
from retrieval.ports import VectorStore

log = structlog.get_logger()

RELEASE_SECONDS = 5.0
"""Beyond the drain time, for giving leases back. A database that is away must not hold up a stop: leases run out."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The parts that workers use; the creator of the parts starts and closes them."""

    embedders: Embedders
    store: VectorStore
    catalog: Catalog
    blobs: BlobStore
    parser: Parser
    observer: WorkObserver | None = None


class Workers:
    def __init__(
        self,
        parts: WorkerParts,
        options: WorkerOptions,
        *,
        slots: int,
        drain: timedelta,
        work_arrived: Notifications,
        notifications: Notifications,
        takes: AcceptsFingerprint | None = None,
        reserve: DiskReserve | None = None,
    ) -> None:
        """`work_arrived` reports queued documents, `notifications` is notified of their results. `takes` has the
        meaning of Worker's.
        """
        pipeline = Pipeline(
            catalog=parts.catalog,
            blobs=parts.blobs,
            parser=parts.parser,
            embedders=parts.embedders,
            store=parts.store,
        )
        self.name = uuid4().hex[:8]
        """Name of this process in the catalog's leases."""
        self._drain = drain.total_seconds()
        self._workers = [
            Worker(
                WorkerId(f"{self.name}-{slot}"),
                parts.catalog,
                pipeline,
                options,
                work_arrived,
                notifications,
                # One slot stays free for small documents.
                largest=LARGE_BYTES if slot == 0 and slots > 1 else None,
                takes=takes,
                reserve=reserve,
                observer=parts.observer,
            )
            for slot in range(slots)
        ]
        self._working: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._working = [asyncio.create_task(worker.run()) for worker in self._workers]

    @property
    def failure(self) -> str | None:
        """The reason why slots have ended although none was to stop, or None."""
        ended = sum(task.done() for task in self._working)
        return f"{ended} of {len(self._working)} slots have ended by an error; see the log." if ended else None

    async def stop(self) -> None:
        """Lets the batches in flight finish within the drain time, and gives the leases of the others back."""
        for worker in self._workers:
            worker.stop()
        working, self._working = self._working, []
        if not working:
            return
        finished, late = await asyncio.wait(working, timeout=self._drain)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=RELEASE_SECONDS)
        released = sum(task.cancelled() for task in late)
        log.info(
            "workers stopped", finished=len(finished), released=released, leases_left_to_expire=len(late) - released
        )
