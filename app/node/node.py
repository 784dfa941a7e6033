"""The parts of the process that owns an accelerator: started in order, monitored, stopped in reverse."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from app.http.schemas.cursor import CURSOR_KEY, Cursors
from app.node.lifecycle import close_all, until_available
from app.node.worker_processes import WorkerProcesses
from app.node.workers import WorkerParts, Workers
from ingestion.audit.auditor import Auditor
from ingestion.blobs.gc import BlobCollector
from ingestion.collections.quality import Quality
from ingestion.collections.reembedding import Reembedding
from ingestion.collections.service import CollectionService
from ingestion.collections.vector_agreement import VectorAgreement
from ingestion.contents import DocumentContents
from ingestion.disk_reserve import DiskReserve
from ingestion.notifications import Notifications
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.retention import Retention
from ingestion.service import IngestionService, Limits
from ingestion.uploads import FileService
from ingestion.worker import WorkerOptions, WorkObserver
from retrieval.device.devices import Devices, chosen
from retrieval.embedders import Embedders
from retrieval.errors import (
    ConfigurationError,
    EngineFailed,
    InvalidRequest,
    ModelUnavailable,
    TandemError,
    Unsupported,
)
from retrieval.evaluation.golden_vectors import MIN_COSINE
from retrieval.evaluation.selftest import run_selftest
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.models.profiles import is_folder, model
from retrieval.pace import Pace, PacedReranker
from retrieval.ports import Embedder, Lifecycle, Reranker, VectorStore
from retrieval.search.service import SearchService
from retrieval.types import Language, SelfTestReport, StoreCapabilities

log = structlog.get_logger()

OnStep = Callable[[str], None]
"""Called with the current step, as the end of a sentence that begins with "The node is"."""

OpenEmbedder = Callable[[str], Awaitable[Embedder]]
"""Returns the embedder, not started, of a pair's name or a model's id."""

DEFAULT_COLLECTION = "docs"
WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Components:
    """The adapters behind the ports, as wiring chose them."""

    embedder: Embedder
    reranker: Reranker
    store: VectorStore
    catalog: Catalog
    blobs: BlobStore
    parser: Parser
    devices: Devices | None = None
    """The devices that both models compute on, if they are known."""
    open_embedder: OpenEmbedder | None = None
    """Opens a second model for re-embedding; None if the node owns no device to run it on."""
    worker_processes: WorkerProcesses | None = None
    """Processes that ingest instead of the node itself."""
    reserve: DiskReserve = field(default_factory=DiskReserve)
    """The reserve of the disks of the embedded stores."""
    observer: WorkObserver | None = None
    """Observer of the node's own workers."""


@dataclass(frozen=True, slots=True)
class NodeOptions:
    limits: Limits
    worker: WorkerOptions
    workers: int
    drain: timedelta
    retention: timedelta
    """How long jobs are kept; zero: for ever."""
    selftest_margin: bool
    dummy_weights: bool
    """The models' answers mean nothing; of the self-test remains what holds even so."""
    languages: Sequence[Language]
    """Languages that both models are made for; the self-test uses them."""
    search_deadline_seconds: float
    rerank_seconds: float
    """Time of reranking for searches that state no number of candidates."""


class Node:
    def __init__(self, components: Components, options: NodeOptions) -> None:
        self.components = components
        self._options = options
        self._work_arrived = work_arrived = Notifications()
        notifications = Notifications()
        parts = components
        collector = BlobCollector(parts.catalog, parts.blobs)
        self.embedders = Embedders(parts.embedder)
        self._agreement = VectorAgreement(parts.catalog, self.embedders)
        self.collections = CollectionService(parts.catalog, parts.store, collector, self._agreement, parts.reserve)
        self.ingestion = IngestionService(
            parts.catalog,
            parts.blobs,
            collector,
            parts.store,
            limits=options.limits,
            work_arrived=work_arrived,
            notifications=notifications,
            reserve=parts.reserve,
        )
        self.contents = DocumentContents(parts.catalog, parts.store)
        self.files = FileService(
            parts.catalog, parts.blobs, collector, self.ingestion, max_bytes=options.limits.document_bytes
        )
        self.search_deadline_seconds = options.search_deadline_seconds
        self.rerank_pace, self.embed_pace = Pace(), Pace()
        self.reranker = PacedReranker(parts.reranker, self.rerank_pace)
        self.search = SearchService(
            parts.reranker,
            parts.store,
            options.languages,
            parts.devices,
            options.search_deadline_seconds,
            self.rerank_pace,
        )
        self.reembedding = Reembedding(
            parts.catalog, parts.store, self.collections, self.ingestion, self.embedders, Quality(self.search)
        )
        self.auditor = Auditor(
            parts.catalog, parts.blobs, collector, parts.store, self.embedders, work_arrived=work_arrived
        )
        # Worker processes know one model. Documents of collections with another one, to which a collection may be
        # moving, stay.
        main_only = Embedders(parts.embedder)
        ingests_in_processes = options.workers == 0 or parts.worker_processes is not None
        self._workers = Workers(
            WorkerParts(self.embedders, parts.store, parts.catalog, parts.blobs, parts.parser, parts.observer),
            options.worker,
            slots=1 if ingests_in_processes else options.workers * len(parts.devices or (None,)),
            takes=(lambda fingerprint: main_only.named(fingerprint) is None) if ingests_in_processes else None,
            drain=options.drain,
            work_arrived=work_arrived,
            notifications=notifications,
            reserve=parts.reserve,
        )
        self._retention = Retention(parts.catalog, options.retention)
        self._sweeping: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self.selftest: SelfTestReport | None = None
        self.capabilities: StoreCapabilities | None = None
        self._cursors: Cursors | None = None

    @property
    def cursors(self) -> Cursors:
        """The cursors of a serving node."""
        assert self._cursors is not None
        return self._cursors

    @property
    def parts(self) -> Mapping[str, Lifecycle]:
        """The parts in the order of their start, the engines last."""
        parts = self.components
        return {
            "catalog": parts.catalog,
            "blobs": parts.blobs,
            "parser": parts.parser,
            "store": parts.store,
            "embedder": parts.embedder,
            "reranker": parts.reranker,
        }

    async def start(self, on_step: OnStep) -> None:
        """Starts everything and leaves the workers running. Raises errors that waiting does not resolve (a wrong
        setting, a model that does not load); waits for a database or a store that is temporarily unavailable.
        """

        async def start(name: str, part: Lifecycle) -> None:
            await until_available(part.start, f"starting the {name}", on_step)

        *before_engines, embedder, reranker = self.parts.items()
        for each in before_engines:
            await start(*each)
        await gather_or_cancel([start(*embedder), start(*reranker)])
        on_step("testing the models")
        await self._test_models()
        await until_available(self._prepare, "preparing the default collection", on_step)
        await until_available(self._compare_vectors, "comparing golden vectors", on_step)
        self._workers.start()
        await self._start_processes()
        self._watching = asyncio.create_task(self._watch())
        self._sweeping = asyncio.create_task(self._retention.run())

    async def drain(self) -> None:
        """Lets ingestion in flight finish within the drain time and gives the rest back. The worker processes need the
        node's answers until then.
        """
        processes = self.components.worker_processes
        await gather_or_cancel([self._workers.stop(), *([processes.stop()] if processes else [])])

    async def stop(self) -> None:
        """Lets work in flight finish within the drain time, gives the rest back, and closes every part."""
        await self.drain()
        await self.reembedding.close()
        for task in (self._watching, self._sweeping):
            if task:
                task.cancel()
        more = {embedder.fingerprint.model: embedder for embedder in self.embedders.every[1:]}
        await close_all({**self.parts, **more})

    async def embedder_for(self, models: str | None) -> Embedder:
        """Returns the node's embedder, or that of another model, which is started in addition and tested. Raises
        InvalidRequest (also if the model is not available), Unsupported, EngineFailed.
        """
        if models is None:
            return self.embedders.main
        if is_folder(models):
            raise InvalidRequest(f"models: {models[:80]!r} is a folder; name a pair or a model's id.")
        if self.components.open_embedder is None:
            raise Unsupported("This node runs no engines of its own: start it with TANDEM_ENGINE=vllm.")
        async with self._opening:
            try:
                opened = await self.components.open_embedder(models)
            except (ConfigurationError, ModelUnavailable) as error:
                raise InvalidRequest(f"models: {error.message}", models=models[:80]) from error
            if running := self.embedders.running(opened.fingerprint):
                return running
            try:
                await opened.start()
                _require_passed(await self._run_selftest(opened), models)
            except BaseException:
                await opened.close()
                raise
            self.embedders.add(opened)
            return opened

    @property
    def health_checks(self) -> Sequence[str]:
        """Names of all that `problems` may name."""
        return (*self.parts, "disk", *(("worker_processes",) if self.components.worker_processes else ()), "self_test")

    def problems(self) -> dict[str, str]:
        """Returns the reasons why the node is not ready, by component; empty while it is ready."""
        found = {name: part.failure for name, part in self.parts.items()}
        found["disk"] = self.components.reserve.failure
        if self.components.worker_processes:
            found["worker_processes"] = self.components.worker_processes.failure
        if self.selftest and not self.selftest.passed:
            found["self_test"] = f"The models do not behave as they must. {_failures(self.selftest)}"
        return {name: reason for name, reason in found.items() if reason}

    @property
    def disagreeing(self) -> str | None:
        """Says how many collections hold vectors that the running engine does not compute; None if there are none.
        The node serves all others."""
        refused = self._agreement.refused
        if not refused:
            return None
        lowest = min(agreement.cosine for agreement in refused.values())
        return (
            f"The engine computes other vectors than those of {len(refused)} collections, which are refused (cosine of "
            f"golden vectors {lowest:.4f}, at least {MIN_COSINE}). The log names them; `tandem reembed NAME --no-gate` "
            "makes their vectors anew."
        )

    async def _prepare(self) -> None:
        self._cursors = Cursors(await self.components.catalog.secret(CURSOR_KEY))
        self.capabilities = await self.components.store.capabilities()
        await self.collections.ensure(DEFAULT_COLLECTION, self.components.embedder.fingerprint)

    async def _start_processes(self) -> None:
        if not self.components.worker_processes:
            return
        if self.capabilities and not self.capabilities.several_writers:
            raise ConfigurationError(
                f"TANDEM_WORKER_PROCESSES: {self.capabilities.server} accepts writes from one process only. "
                "Set TANDEM_MILVUS_URI to a Milvus server, or leave TANDEM_WORKER_PROCESSES at 0."
            )
        await self.components.worker_processes.start(self._work_arrived)

    async def _test_models(self) -> None:
        self.selftest = await self._test_devices()
        failed = [check.name for check in self.selftest.checks if not check.passed]
        log.info("self-test", passed=self.selftest.passed, failed=failed or None, ms=round(self.selftest.ms))
        if self.selftest.passed and not self.search.measured:
            await self.search.measure(self._options.rerank_seconds)

    async def _test_devices(self) -> SelfTestReport:
        """The first report of a device that did not pass, else the last one: what holds of one device's engines need
        not hold of another's."""
        report = None
        for device in self.components.devices or (None,):
            with chosen(device) if device else nullcontext():
                report = await self._run_selftest(self.components.embedder)
            if not report.passed:
                break
        assert report is not None
        return report

    async def _compare_vectors(self) -> None:
        """Compares golden vectors on each device, up to the first one whose engine computes others."""
        for device in self.components.devices or (None,):
            with chosen(device) if device else nullcontext():
                await self._agreement.check()
            if self._agreement.refused:
                break

    async def _run_selftest(self, embedder: Embedder) -> SelfTestReport:
        return await run_selftest(
            embedder,
            self.reranker,
            check_margin=self._options.selftest_margin and not self._options.dummy_weights,
            margin_scale=model(embedder.fingerprint.model).margin_scale,
            check_distinct=not self._options.dummy_weights,
            languages=self._options.languages,
            embed_pace=self.embed_pace,
        )

    def _failing_engines(self) -> Collection[str]:
        failures = {"embedder": self.components.embedder.failure, "reranker": self.components.reranker.failure}
        failures |= {f"device {device.name}": device.failure for device in self.components.devices or ()}
        return [name for name, failure in failures.items() if failure]

    async def _watch(self) -> None:
        """Tests the models again after an engine was restarted."""
        was_failing: Collection[str] = ()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            failing = self._failing_engines()
            if set(was_failing) - set(failing):
                try:
                    await self._test_models()
                    await self._compare_vectors()  # it may have come back as another release
                except TandemError:  # it failed again; the next check may succeed
                    continue
            was_failing = failing


def _failures(report: SelfTestReport) -> str:
    return "; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.passed)


def _require_passed(report: SelfTestReport, models: str) -> None:
    if not report.passed:
        raise EngineFailed(f"{models} does not behave as it must. {_failures(report)}")
