"""A process that dies at any call of any port, before or after its effect: the next one brings the store to what an
undisturbed run would have left.

Real catalog (SQLite), store (Milvus Lite), originals and parser; only the embedder is a double, so that a run takes
moments and every call of it can be the last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from typing import get_args
from uuid import uuid4

import numpy as np
import pytest

from ingestion.blobs.folder import FolderBlobStore
from ingestion.blobs.gc import BlobCollector
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import DocumentNotFound
from ingestion.notifications import Notifications
from ingestion.parsers.process import ProcessParser
from ingestion.pipeline.pipeline import Pipeline
from ingestion.service import IngestionService, Limits
from ingestion.types import Chunking, Collection, DocumentRecord, Upload, WorkerId, digest_of
from ingestion.worker import Worker, WorkerOptions
from retrieval.embedders import Embedders
from retrieval.stores.milvus.store import MilvusStore
from retrieval.types import CollectionSpec, DocumentId, StoreName
from tests.support.faults.crashes import Crash, CrashPoint, Life, Moment
from tests.support.models.fake_models import FakeEmbedder

LEASE = timedelta(minutes=10)
LIFETIME_S = 20
"""Of a process that is not killed; far more than it needs."""
DIMENSION = 16
PARAGRAPHS = [
    f"Paragraph {number} tells of kiln {number * 7} and of its glaze, at length and in some order."
    for number in range(6)
]


@dataclass(frozen=True, slots=True)
class World:
    """What outlives processes."""

    catalog: SqlCatalog
    store: MilvusStore
    blobs: FolderBlobStore
    parser: ProcessParser
    embedder: FakeEmbedder
    collection: Collection

    async def records(self) -> Sequence[DocumentRecord]:
        return await self.catalog.documents(self.collection.name)

    async def contents(self) -> dict[DocumentId, dict[str, tuple[str, bytes]]]:
        """All that the store holds: text and vector by chunk id, by document."""
        contents: dict[DocumentId, dict[str, tuple[str, bytes]]] = {}
        name = self.collection.store_name
        async for page in self.store.every(name):
            for chunk_id, document_id in page:
                contents.setdefault(document_id, {})[chunk_id] = ("", b"")
        for document_id, chunks in contents.items():
            vectors = await self.store.vectors(name, list(chunks))
            async for stored in self.store.texts(name, document_id):
                for text in stored:
                    chunks[text.id] = (text.passage, np.asarray(vectors[text.id]).tobytes())
        return contents


class Process:
    """Service and worker of one process, for as long as it lives."""

    def __init__(self, world: World, life: Life) -> None:
        self.world, self.life = world, life
        catalog, store = life.port("catalog", world.catalog), life.port("store", world.store)
        blobs, embedder = life.port("blobs", world.blobs), life.port("embedder", world.embedder)
        parser = life.port("parser", world.parser)
        arrived, notifications = Notifications(), Notifications()
        limits = Limits(document_bytes=2**20, documents=10, queued=100)
        self.service = IngestionService(
            catalog,
            blobs,
            BlobCollector(catalog, blobs),
            store,
            limits=limits,
            work_arrived=arrived,
            notifications=notifications,
        )
        pipeline = Pipeline(catalog=catalog, blobs=blobs, parser=parser, embedders=Embedders(embedder), store=store)
        options = WorkerOptions(batch=8, lease=LEASE, max_attempts=5, poll=timedelta(milliseconds=10))
        self.worker = Worker(WorkerId(uuid4().hex), catalog, pipeline, options, arrived, notifications)

    async def run(self, client: "Client") -> None:
        """Lets the client act and the worker work until the queue is empty or the process dies."""
        others = asyncio.all_tasks()
        acting = asyncio.create_task(client.act(self.service))
        working: asyncio.Task[None] | None = None

        async def work() -> None:
            nonlocal working
            await asyncio.wait([acting])
            while not self.life.over.is_set():
                self.life.idle.clear()
                working = working or asyncio.create_task(self.worker.run())
                await self.life.idle.wait()
                if not await self.world.catalog.queue_depth():
                    return

        async with asyncio.timeout(LIFETIME_S):
            whole = asyncio.create_task(work())
            dying = asyncio.create_task(self.life.over.wait())
            await asyncio.wait([whole, dying], return_when=asyncio.FIRST_COMPLETED)
        await self.life.settle()
        self.life.over.set()
        mine = asyncio.all_tasks() - others
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, acting, return_exceptions=True)


class Client:
    """Asks for something, and asks again where no answer came."""

    def __init__(self, ask: Callable[[IngestionService], Awaitable[object]]) -> None:
        self._ask = ask
        self.answered = False

    async def act(self, service: IngestionService) -> None:
        if not self.answered:
            await self._ask(service)
            self.answered = True


def text(*paragraphs: int) -> bytes:
    return "\n\n".join(PARAGRAPHS[number] for number in paragraphs).encode()


def accepting(**documents: bytes) -> Callable[[IngestionService], Awaitable[object]]:
    uploads = [Upload(data, id=name, media_type="text/plain") for name, data in documents.items()]
    return lambda service: service.accept("docs", uploads)


async def deleting(service: IngestionService) -> None:
    try:
        await service.delete("docs", DocumentId("long"))
    except DocumentNotFound:
        return  # the answer to the delete before was lost, its effect was not


FIRST = accepting(long=text(0, 1, 2, 3, 4, 5), short=text(2), other=text(3, 1))
SCENARIOS: Mapping[str, Sequence[Callable[[IngestionService], Awaitable[object]]]] = {
    "new": [FIRST],
    "replacement": [FIRST, accepting(long=text(0, 1, 5, 3), short=text(4, 0, 1), other=text(3, 1))],
    "delete": [FIRST, deleting],
}
"""What is asked for, one after the other. Processes die at the last."""


@pytest.fixture(scope="module")
async def parser() -> AsyncIterator[ProcessParser]:
    parser = ProcessParser(processes=1)
    await parser.start()
    yield parser
    await parser.close()


@pytest.fixture(scope="module")
async def store_name(lite_embedded_store: MilvusStore) -> StoreName:
    """An empty collection, for one world after the other: to make one takes longer than to live in it."""
    name = StoreName("crash_points")
    await lite_embedded_store.create_collection(name, CollectionSpec(DIMENSION))
    return name


@pytest.fixture
def worlds(
    lite_embedded_store: MilvusStore,
    store_name: StoreName,
    parser: ProcessParser,
    migrated_sqlite: Path,
    tmp_path: Path,
) -> Callable[[], Awaitable[World]]:
    async def create() -> World:
        name = uuid4().hex[:12]
        embedder, blobs = FakeEmbedder(dimension=DIMENSION), FolderBlobStore(tmp_path / name)
        await embedder.start()
        await blobs.start()
        copyfile(migrated_sqlite, tmp_path / f"{name}.sqlite")
        catalog = SqlCatalog(f"sqlite:///{tmp_path / name}.sqlite")
        await catalog.start()
        collection = Collection("docs", store_name, embedder.fingerprint, "mixed", Chunking(24, 4), datetime.now(UTC))
        await catalog.add_collection(collection)
        return World(catalog, lite_embedded_store, blobs, parser, embedder, collection)

    return create


async def lived_through(world: World, scenario: str, point: CrashPoint | None) -> Life:
    """The scenario with a process that dies at `point`, and with another one after it; returns the first one's life."""
    *before, last = SCENARIOS[scenario]
    for ask in before:
        await Process(world, Life()).run(Client(ask))
    life, client = Life(point), Client(last)
    await Process(world, life).run(client)
    if point:
        await Process(world, Life(ahead=2 * LEASE)).run(client)
        assert client.answered
    return life


async def check(world: World, expected: Mapping[DocumentId, Mapping[str, tuple[str, bytes]]]) -> None:
    assert await world.contents() == expected
    records = await world.records()
    assert {record.document.id for record in records} == set(expected)
    for record in records:
        chunks = expected[record.document.id]
        assert (record.state, record.chunks, record.error) == ("ready", len(chunks), None)
        assert record.chunk_digest == digest_of(chunks)  # type: ignore[arg-type]
        assert record.searchable_at is not None
        assert await world.blobs.get([record.document.sha256])
    assert await world.catalog.queue_depth() == 0


async def over(world: World) -> None:
    for chunks in (await world.contents()).values():
        await world.store.delete(world.collection.store_name, list(chunks))
    await world.catalog.close()


@pytest.mark.parametrize("moment", get_args(Moment))
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_crash_at_any_call_leaves_what_an_undisturbed_run_leaves(
    worlds: Callable[[], Awaitable[World]], scenario: str, moment: Moment
) -> None:
    world = await worlds()
    calls = (await lived_through(world, scenario, None)).calls
    expected = await world.contents()
    await check(world, expected)
    await over(world)
    assert calls["catalog.complete" if scenario != "delete" else "catalog.remove_document"]

    wrong: dict[str, BaseException] = {}
    for point in [CrashPoint(step, n, moment) for step, count in calls.items() for n in range(1, count + 1)]:
        world = await worlds()
        try:
            life = await lived_through(world, scenario, point)
            assert life.met, "the run never came here"
            await check(world, expected)
        except (Exception, Crash) as error:  # noqa: BLE001  # every point is tried, then all that failed are told
            wrong[str(point)] = error
        await over(world)
    assert not wrong, "\n".join(f"{point}: {error!r}" for point, error in wrong.items())
