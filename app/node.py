"""The parts of one process that owns an accelerator: started in order, watched, stopped in reverse."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import structlog

from ingestion.changes import Changes
from ingestion.collections import CollectionService
from ingestion.originals import Originals
from ingestion.pipeline import Pipeline
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.service import IngestionService, Limits
from ingestion.types import WorkerId
from ingestion.worker import Worker, WorkerOptions
from retrieval.errors import TandemError, Unavailable
from retrieval.ports import Embedder, Lifecycle, Reranker, VectorStore
from retrieval.search import SearchService
from retrieval.selftest import run_selftest
from retrieval.types import Language, SelfTestReport, StoreCapabilities

log = structlog.get_logger()

OnStep = Callable[[str], None]
"""Told what the node is doing, as the end of a sentence that begins with "The node is"."""

DEFAULT_COLLECTION = "docs"
WATCH_SECONDS = 1.0
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Components:
    """The adapters behind the ports, as wiring chose them."""

    embedder: Embedder
    reranker: Reranker
    store: VectorStore
    catalog: Catalog
    blobs: BlobStore
    parser: Parser


@dataclass(frozen=True, slots=True)
class NodeOptions:
    limits: Limits
    worker: WorkerOptions
    workers: int
    drain: timedelta
    selftest_margin: bool
    languages: Sequence[Language]
    """Those that both models are meant for; the self-test asks in them."""


class Node:
    def __init__(self, components: Components, options: NodeOptions) -> None:
        self.components = components
        self._options = options
        work_arrived = asyncio.Event()
        changes = Changes()
        parts = components
        originals = Originals(parts.catalog, parts.blobs)
        self.collections = CollectionService(parts.catalog, parts.store, originals)
        self.ingestion = IngestionService(
            parts.catalog,
            parts.blobs,
            originals,
            parts.store,
            limits=options.limits,
            work_arrived=work_arrived,
            changes=changes,
        )
        self.search = SearchService(parts.embedder, parts.reranker, parts.store)
        pipeline = Pipeline(
            catalog=parts.catalog,
            blobs=parts.blobs,
            parser=parts.parser,
            embedder=parts.embedder,
            store=parts.store,
        )
        name = uuid4().hex[:8]
        self._workers = [
            Worker(WorkerId(f"{name}-{slot}"), parts.catalog, pipeline, options.worker, work_arrived, changes)
            for slot in range(options.workers)
        ]
        self._working: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self.selftest: SelfTestReport | None = None
        self.capabilities: StoreCapabilities | None = None

    @property
    def parts(self) -> Mapping[str, Lifecycle]:
        """In the order of their start. The engines come last and one after the other: on a GPU an engine that starts
        while another allocates miscounts its memory."""
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
        """Brings everything up and leaves the workers running. Raises what no waiting mends (a wrong setting, a
        model that does not load); what may come back, a database or a store, is waited for."""
        for name, part in self.parts.items():
            await _until_available(part, f"starting the {name}", on_step)
        on_step("testing the models")
        await self._test_models()
        on_step("preparing the default collection")
        self.capabilities = await self.components.store.capabilities()
        await self.collections.ensure(DEFAULT_COLLECTION, self.components.embedder.fingerprint)
        self._working = [asyncio.create_task(worker.run()) for worker in self._workers]
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Lets work under way finish within the drain time, gives the rest back, and ends every part."""
        for worker in self._workers:
            worker.stop()
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=self._options.drain.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*self._working, return_exceptions=True)
        if self._watching:
            self._watching.cancel()
        for name, part in reversed(list(self.parts.items())):
            try:
                await part.close()
            except TandemError as error:
                log.warning("did not close cleanly", part=name, code=error.code, reason=error.message)

    def problems(self) -> dict[str, str]:
        """What keeps the node from being ready, by component; empty while it is ready."""
        found = {name: part.failure for name, part in self.parts.items()}
        if self.selftest and not self.selftest.passed:
            failed = [f"{check.name}: {check.detail}" for check in self.selftest.checks if not check.passed]
            found["self_test"] = "The models do not behave as they must. " + "; ".join(failed)
        return {name: reason for name, reason in found.items() if reason}

    async def _test_models(self) -> None:
        parts = self.components
        self.selftest = await run_selftest(
            parts.embedder,
            parts.reranker,
            check_margin=self._options.selftest_margin,
            languages=self._options.languages,
        )
        failed = [check.name for check in self.selftest.checks if not check.passed]
        log.info("self-test", passed=self.selftest.passed, failed=failed or None, ms=round(self.selftest.ms))

    async def _watch(self) -> None:
        """Tests the models again after an engine came back from its death."""
        was_failing = False
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            failing = bool(self.components.embedder.failure or self.components.reranker.failure)
            if was_failing and not failing:
                try:
                    await self._test_models()
                except Unavailable:
                    continue
            was_failing = failing


async def _until_available(part: Lifecycle, step: str, on_step: OnStep) -> None:
    on_step(step)
    while True:
        try:
            return await part.start()
        except Unavailable as error:
            log.warning("waiting", step=step, code=error.code, reason=error.message)
            on_step(f"{step}, and waits: {error.message}")
            await asyncio.sleep(RETRY_SECONDS)
