"""tandem worker: ingestion in a separate process, until it receives a signal."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import structlog

from app.cli.input import standard_input
from app.node.lifecycle import close_all, until_available
from app.node.private_files import keep_files_private
from app.node.tokenizer_threads import bound_tokenizer_threads
from app.node.worker_health import WorkerHealth
from app.node.workers import Workers
from app.settings import Settings, trace_endpoint
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics
from app.telemetry.metrics_server import serving_metrics
from app.telemetry.observed import Telemetry, observed_worker
from app.telemetry.reported import Increments
from app.telemetry.tracing import Tracing
from app.wiring.components import build_reserve, build_worker_parts, worker_options
from ingestion.collections.vector_agreement import VectorAgreement
from ingestion.errors import BlobStoreUnavailable
from ingestion.notifications import Notifications
from ingestion.ports import BlobStore, Catalog
from retrieval.errors import ConfigurationError, TandemError
from retrieval.ports import Embedder, Lifecycle
from retrieval.processes.vitals import TICK_SECONDS

log = structlog.get_logger()

SAMPLED_DOCUMENTS = 20
"""Documents sampled from each collection; the smallest original among them is checked."""
POLL_SECONDS = 1.0
WATCH_SECONDS = 1.0
NICENESS = 5
"""Niceness of a process that a node has started, so that the node, which answers searches, takes precedence. On two
busy cores searches during ingestion took 1.79 times as long as alone instead of 2.04, and ingestion kept 0.86 of its
rate instead of 0.79 (medians of four stretches, in turns).
"""
_READ_BYTES = 4096


def work(settings: Settings, *, of_node: bool = False) -> None:
    """Runs a worker. `of_node` says that a node has started this process, whose standard input is a pipe from it; it
    ends with the node, and may share its SQLite.

    Returns after a requested stop. The first SIGTERM or SIGINT drains; a second one ends the process at once, and its
    leases expire.

    Raises errors that waiting does not resolve: ConfigurationError (also if a part would not be shared with the node),
    ModelUnavailable, and FingerprintMismatch if the node serves another model than at the start.
    """
    if not of_node:
        require_shared_parts(settings)
    configure_logging(settings.log_level, as_json=settings.log_json)
    bound_tokenizer_threads()
    keep_files_private()
    if of_node:
        os.nice(NICENESS)
    metrics, health = Metrics(), WorkerHealth()
    with ExitStack() as serving:
        if settings.worker_metrics_port and not of_node:
            host = settings.host if settings.public_metrics else "127.0.0.1"
            port, with_models = settings.worker_metrics_port, settings.engine != "node"
            serving.enter_context(serving_metrics(metrics.registry, health, host, port, with_models=with_models))
        asyncio.run(_until_stopped(settings, metrics, health, of_node=of_node))


def require_shared_parts(settings: Settings) -> None:
    """Raises ConfigurationError with one line that names the setting, if a part is not shared with the node."""
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    if not url.startswith("postgres"):
        raise ConfigurationError(
            "TANDEM_DATABASE_URL: workers of their own need PostgreSQL (postgresql://…); SQLite is for one node alone."
        )
    if not settings.milvus_uri:
        raise ConfigurationError(
            "TANDEM_MILVUS_URI: workers of their own need a Milvus server; only one process can open Milvus Lite."
        )
    if settings.engine == "vllm":
        raise ConfigurationError(
            "TANDEM_ENGINE=vllm: a worker has no engine of its own. Set TANDEM_ENGINE=node and TANDEM_NODE_URL, or "
            "TANDEM_ENGINE=http as for the node."
        )
    if not settings.workers:
        raise ConfigurationError("TANDEM_WORKERS=0: a worker without slots would do nothing.")


async def until_originals_are_visible(catalog: Catalog, blobs: BlobStore) -> None:
    """Returns when the catalog holds a document whose original is found here: with another folder than the node's,
    every document would fail. Raises BlobStoreUnavailable if all originals that were checked are missing.
    """
    wanted = await _sample(catalog)
    while not wanted:
        await asyncio.sleep(POLL_SECONDS)
        wanted = await _sample(catalog)
    for sha256 in wanted:
        if await blobs.get([sha256]):
            return
    raise BlobStoreUnavailable(
        "The originals that the catalog names are not here. A worker must see those of the node: "
        "TANDEM_BLOBS, or the folder TANDEM_DATA_DIR, has to be the same."
    )


async def _sample(catalog: Catalog) -> set[str]:
    found = set()
    for collection in await catalog.collections():
        records = await catalog.documents(collection.name, limit=SAMPLED_DOCUMENTS)
        if records:
            found.add(min((record.document for record in records), key=lambda document: document.size).sha256)
    return found


async def _until_stopped(settings: Settings, metrics: Metrics, health: WorkerHealth, *, of_node: bool) -> None:
    stopping = asyncio.Event()
    changed: list[TandemError] = []

    def on_changed(error: TandemError) -> None:
        changed.append(error)
        stopping.set()

    def on_started(starting: asyncio.Task[None]) -> None:
        if not starting.cancelled() and starting.exception():
            stopping.set()

    _on_signals(stopping)
    work_arrived = Notifications()
    process = _Process(settings, on_changed, work_arrived, metrics, health)
    log.info("worker process starts", pid=os.getpid(), slots=settings.workers)
    starting = asyncio.create_task(process.start())
    starting.add_done_callback(on_started)
    alive = asyncio.create_task(health.beat())
    following = asyncio.create_task(_follow_node(work_arrived, stopping)) if of_node else None
    line = Increments(metrics.registry).line
    beating = asyncio.create_task(send_heartbeats(sys.stdin.fileno(), line)) if of_node else None
    await stopping.wait()
    if following:
        following.cancel()
    starting.cancel()
    results = await asyncio.gather(starting, return_exceptions=True)
    await process.stop()
    alive.cancel()
    if beating:
        beating.cancel()
    for error in (*results, *changed):
        if isinstance(error, Exception):
            raise error


class _Process:
    """The parts of a worker process: started in order, stopped in reverse."""

    def __init__(
        self,
        settings: Settings,
        on_changed: Callable[[TandemError], None],
        work_arrived: Notifications,
        metrics: Metrics,
        health: WorkerHealth,
    ) -> None:
        self._settings = settings
        self._health = health
        self._on_changed = on_changed
        self._work_arrived = work_arrived
        self._parts: Mapping[str, Lifecycle] = {}
        self._workers: Workers | None = None
        self._watching: asyncio.Task[None] | None = None
        self._telemetry = Telemetry(metrics, Tracing.to(trace_endpoint()))

    async def start(self) -> None:
        """Starts the parts, and waits for those that are temporarily unavailable. Raises errors that waiting does not
        resolve.
        """
        settings = self._settings
        parts = observed_worker(
            await build_worker_parts(settings, self._report_step, self._on_changed), self._telemetry
        )
        self._parts = {
            "catalog": parts.catalog,
            "store": parts.store,
            "embedder": parts.embedders.main,
            "blobs": parts.blobs,
            "parser": parts.parser,
        }
        for name, part in self._parts.items():
            await until_available(part.start, f"starting the {name}", self._report_step)
        await until_available(
            partial(until_originals_are_visible, parts.catalog, parts.blobs), "looking at originals", self._report_step
        )
        agreement = VectorAgreement(parts.catalog, parts.embedders)
        await until_available(agreement.check, "comparing golden vectors", self._report_step)
        reserve = build_reserve(settings)
        self._workers = Workers(
            parts,
            worker_options(settings),
            slots=settings.workers,
            drain=timedelta(seconds=settings.drain_seconds),
            work_arrived=self._work_arrived,
            notifications=Notifications(),
            reserve=reserve,
            takes=lambda fingerprint: parts.embedders.named(fingerprint) is not None,
        )
        self._workers.start()
        self._health.parts = {**self._parts, "disk": reserve}
        self._health.slots = self._workers
        self._health.phase = "serving"
        self._watching = asyncio.create_task(watch_engine(parts.embedders.main, agreement.check))
        log.info("working", worker=self._workers.name, model=parts.embedders.main.fingerprint.model)

    def _report_step(self, step: str) -> None:
        log.info(step)
        self._health.report_step(step)

    async def stop(self) -> None:
        self._health.phase = "stopping"
        if self._workers:
            log.info("draining", at_most_s=self._settings.drain_seconds)
            await self._workers.stop()
        if self._watching:
            self._watching.cancel()
        await close_all(self._parts)
        await asyncio.to_thread(self._telemetry.tracing.close)


async def watch_engine(embedder: Embedder, compare: Callable[[], Awaitable[None]]) -> None:
    """Calls `compare` when the embedder serves again after a failure: it may have come back with another engine."""
    was_failing = False
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        failing = embedder.failure is not None
        if was_failing and not failing:
            try:
                await compare()
            except TandemError as error:  # it failed again; the next comparison may succeed
                log.warning("golden vectors not compared", code=error.code, reason=error.message)
                continue
        was_failing = failing


async def _follow_node(work_arrived: Notifications, stopping: asyncio.Event) -> None:
    await listen_for_work(work_arrived)
    log.warning("the node is gone")
    stopping.set()


async def listen_for_work(work_arrived: Notifications) -> None:
    """Reads standard input, to which the node writes when it has queued documents. Returns when it is closed, also
    because the node was killed.
    """
    reader = await standard_input()
    while await reader.read(_READ_BYTES):
        work_arrived.announce()


async def send_heartbeats(node: int, next_line: Callable[[], bytes]) -> None:
    """Writes a line to the node every second, over the socket that is standard input, as long as the event loop runs:
    a heartbeat, with what was counted. A line that the node has no room for is finished before the next one is made.
    """
    os.set_blocking(node, False)
    unsent = b""
    while True:
        unsent = unsent or next_line()
        try:
            unsent = unsent[os.write(node, unsent) :]
        except BlockingIOError:
            pass  # the node is busy, and has unread heartbeats
        except OSError:
            return  # there is no node any more
        await asyncio.sleep(TICK_SECONDS)


def _on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    both = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for each in both:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)  # the next one ends the process
        stopping.set()

    for each in both:
        loop.add_signal_handler(each, stop)
