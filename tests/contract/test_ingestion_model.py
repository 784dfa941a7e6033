"""Catalog and vector store together: whatever workers, deletes, cancels and exchanges come in between one another, and
whoever of them dies, pauses or finds the store away, both agree in the end on every document."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ingestion.blobs.gc import BlobCollector
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.notifications import Notifications
from ingestion.pipeline import stale_writes, writer
from ingestion.pipeline.pipeline import Pipeline
from ingestion.service import IngestionService, Limits
from ingestion.types import Chunking, Document, DocumentRecord, JobId, ParsedDocument, WorkerId, digest_of
from ingestion.worker import Worker, WorkerOptions
from retrieval.embedders import Embedders
from retrieval.errors import EngineFailed, StoreUnavailable
from retrieval.types import DocumentId, Embeddings, StoreName
from tests.support.faults.crashes import Crash
from tests.support.faults.stepped_process import MemoryStore, SteppedProcess
from tests.support.models.fake_models import FakeEmbedder
from tests.support.stores.catalog import a_collection

Result = TypeVar("Result")

LEASE = timedelta(seconds=60)
ATTEMPTS = 4
POISON = "poison"
NAMES = st.sampled_from("ab")
COLLECTIONS = ("docs", "docs~other")
PARAGRAPHS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True)


class Embedder(FakeEmbedder):
    """Fails on one word."""

    async def embed(self, texts: Any, **options: Any) -> Embeddings:
        if any(POISON in text for text in texts):
            raise EngineFailed("The engine answered a vector that is not finite")
        return await super().embed(texts, **options)


class Parser:
    processes = 1

    async def parse(self, data: bytes, media_type: str, *_: object) -> ParsedDocument:
        return ParsedDocument(data.decode(), media_type)


class Blobs:
    failure = None

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, hashes: Any) -> dict[str, bytes]:
        return {each: self.kept[each] for each in hashes if each in self.kept}

    async def put(self, blobs: dict[str, bytes]) -> None:
        self.kept.update(blobs)

    async def delete(self, sha256: str) -> None:
        """Nothing is deleted: documents that come back need no second upload."""


def a_text(paragraphs: list[str], *, poisoned: bool) -> str:
    """One chunk for each paragraph, the same in every document and place."""
    lines = [f"{' '.join(f'{name}{place}' for place in range(15))}." for name in paragraphs]
    return "\n\n".join(lines + ([POISON] if poisoned else []))


class IngestionMachine(RuleBasedStateMachine):
    def __init__(self, catalog: SqlCatalog, embedder: Embedder, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.catalog, self.embedder, self.loop = catalog, embedder, loop
        self.store, self.blobs = MemoryStore(), Blobs()
        self.ahead = timedelta(0)
        self.jobs: list[JobId] = []
        self.running: list[SteppedProcess] = []
        self.wait(self.begin())

    def wait(self, call: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(60)

    async def begin(self) -> None:
        for number, name in enumerate(COLLECTIONS):
            await self.catalog.remove_collection(name)
            collection = replace(a_collection(name), store_name=StoreName(f"store{number}"), metadata_keys={})
            await self.catalog.add_collection(
                replace(collection, fingerprint=self.embedder.fingerprint, chunking=Chunking(16, 0))
            )

    # What callers do
    @rule(name=NAMES, paragraphs=PARAGRAPHS, poisoned=st.booleans())
    def accept(self, name: str, paragraphs: list[str], poisoned: bool) -> None:
        text = a_text(paragraphs, poisoned=poisoned)
        digest = sha256(text.encode()).hexdigest()
        self.blobs.kept[digest] = text.encode()
        document = Document("docs", DocumentId(name), digest, len(text), "text/plain", "", chunking=Chunking(16, 0))
        self.jobs.append(JobId(f"job {len(self.jobs)}"))
        self.wait(self.catalog.accept(self.jobs[-1], "docs", [document]))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.wait(self.catalog.cancel_job(data.draw(st.sampled_from(self.jobs))))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        process = SteppedProcess()
        catalog, store = process.port("catalog", self.catalog), process.port("store", self.store)
        collector: Any = BlobCollector(catalog, self.blobs)  # type: ignore[arg-type]
        limits = Limits(document_bytes=1000, documents=10, queued=100)
        service = IngestionService(
            catalog,
            self.blobs,  # type: ignore[arg-type]
            collector,
            store,
            limits=limits,
            work_arrived=Notifications(),
            notifications=Notifications(),
        )
        self.start(process, service.delete("docs", DocumentId(name)))

    @rule()
    def copy_and_exchange(self) -> None:
        """As a re-embedding does: the other collection gets the same documents, and names are exchanged if nothing
        is lost by it."""
        self.wait(self.exchange())

    async def exchange(self) -> None:
        named, other = [await self.catalog.documents(name) for name in COLLECTIONS]
        wanted = {record.document.id: record.document for record in named}
        documents = [replace(document, collection=COLLECTIONS[1]) for document in wanted.values()]
        self.jobs.append(JobId(f"job {len(self.jobs)}"))
        await self.catalog.accept(self.jobs[-1], COLLECTIONS[1], documents, background=True)
        if {record.document.id for record in other} <= wanted.keys():
            await self.catalog.swap_collections(*COLLECTIONS)

    # What becomes of workers
    @rule()
    def work(self) -> None:
        process = SteppedProcess()
        self.start(process, self.worker(process)._work_once())

    def worker(self, process: SteppedProcess) -> Worker:
        catalog, store = process.port("catalog", self.catalog), process.port("store", self.store)
        pipeline = Pipeline(
            catalog=catalog,
            blobs=self.blobs,  # type: ignore[arg-type]
            parser=Parser(),  # type: ignore[arg-type]
            embedders=Embedders(self.embedder),
            store=store,
        )
        options = WorkerOptions(batch=2, lease=LEASE, max_attempts=ATTEMPTS, backoff=timedelta(0))
        return Worker(WorkerId("worker"), catalog, pipeline, options, Notifications(), Notifications())

    def start(self, process: SteppedProcess, work: Coroutine[Any, Any, Any]) -> None:
        process.ahead = lambda: self.ahead
        self.wait(process.begin(work))
        self.running.append(process)
        self.bury()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), steps=st.integers(1, 4))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        process = self.one(data)
        for _ in range(steps):
            if not process.ended:
                self.wait(process.go_on())
        self.bury()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.wait(self.one(data).go_on(Crash()))
        self.bury()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        self.wait(self.one(data).drain())
        self.bury()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def find_the_store_away(self, data: st.DataObject) -> None:
        self.wait(self.one(data).go_on(StoreUnavailable("away")))
        self.bury()

    @rule()
    def leases_run_out(self) -> None:
        self.ahead += LEASE

    def one(self, data: st.DataObject) -> SteppedProcess:
        return self.running[data.draw(st.integers(0, len(self.running) - 1))]

    def bury(self) -> None:
        for process in self.running:
            if process.ended and process.error is not None:
                assert isinstance(process.error, (StoreUnavailable, DocumentBusy, DocumentNotFound)), process.error
        self.running = [process for process in self.running if not process.ended]

    # What holds
    @invariant()
    def what_is_settled_agrees(self) -> None:
        if not self.running:
            self.check(whole=False)

    def teardown(self) -> None:
        for _ in range(1000):
            if not self.running:
                break
            for process in self.running:
                self.wait(process.go_on())
            self.bury()
        assert not self.running
        for _ in range(200):
            if not self.wait(self.catalog.queue_depth()):
                break
            self.ahead += LEASE
            self.work()
            while self.running:
                self.wait(self.running[0].go_on())
                self.bury()
        assert not self.wait(self.catalog.queue_depth())
        self.check(whole=True)

    def check(self, *, whole: bool) -> None:
        for name in COLLECTIONS:
            store_name = self.wait(self.catalog.collection(name)).store_name
            records = {record.document.id: record for record in self.wait(self.catalog.documents(name))}
            under_lease = self.wait(self.catalog.queue_depth()) if not whole else 0
            for record in records.values():
                if record.state in ("ready", "failed") and not under_lease:
                    self.agrees(store_name, record)
            strangers = {row.chunk.document_id for row in self.store.of(store_name).values()} - records.keys()
            assert not strangers
            assert all(record.attempts <= ATTEMPTS + 1 for record in records.values())

    def agrees(self, store_name: StoreName, record: DocumentRecord) -> None:
        rows = self.store.of(store_name, record.document.id)
        assert len(rows) == record.chunks
        assert (record.searchable_at is None) == (not rows)
        assert record.rollback_ids is None
        if rows:
            assert digest_of(rows) == record.chunk_digest
        if record.state == "ready":
            text = "\n\n".join(row.chunk.text for row in sorted(rows.values(), key=lambda row: row.chunk.ordinal))
            assert text == self.blobs.kept[record.document.sha256].decode()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 2)
    monkeypatch.setattr(stale_writes, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(stale_writes, "LOOKS", 10_000)


@pytest.mark.usefixtures("short")
async def test_catalog_and_store_agree_in_the_end(sqlite_url: str) -> None:
    loop = asyncio.get_running_loop()
    catalog, embedder = SqlCatalog(sqlite_url), Embedder(dimension=8)
    await catalog.start()
    await embedder.start()

    class Machine(IngestionMachine):
        def __init__(self) -> None:
            super().__init__(catalog, embedder, loop)

    examples = settings(
        max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=examples)
    await catalog.close()
