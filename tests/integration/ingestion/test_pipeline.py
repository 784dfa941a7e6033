"""From claims to chunks in the store, on a real catalog and a real Milvus Lite: packing, reuse, cancelling, and what
one document's trouble means for the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.disk_reserve import DiskReserve, Space
from ingestion.notifications import Notifications
from ingestion.parsers.process import ProcessParser
from ingestion.pipeline import stale_writes, writer
from ingestion.pipeline.pipeline import Pipeline
from ingestion.types import Chunking, Claim, Collection, Document, JobId, Outcome, WorkerId, digest_of
from ingestion.worker import Worker, WorkerOptions
from retrieval.embedders import Embedders
from retrieval.errors import EngineDead, EngineFailed, NotReady, StoreFailed, StoreFull, StoreUnavailable
from retrieval.stores.milvus.store import MilvusStore
from retrieval.types import ChunkId, CollectionSpec, DocumentId, Embeddings, Lane, StoreName, TextKind
from tests.support.models.fake_models import FakeEmbedder
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)

LEASE = timedelta(seconds=60)
POISON = "poison"


class WatchedEmbedder(FakeEmbedder):
    """Remembers what it was given and fails on one word."""

    def __init__(self) -> None:
        super().__init__(dimension=16)
        self.texts: list[str] = []

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        if any(POISON in text for text in texts):
            raise EngineFailed("The engine answered a vector that is not finite")
        self.texts += texts
        return await super().embed(texts, kind=kind, lane=lane, instruction=instruction)


@dataclass
class Bench:
    catalog: SqlCatalog
    blobs: FolderBlobStore
    store: MilvusStore
    embedder: WatchedEmbedder
    pipeline: Pipeline
    collection: Collection

    async def accept(self, texts: dict[str, str], **notifications: object) -> JobId:
        documents = []
        for name, text in texts.items():
            digest = sha256(text.encode()).hexdigest()
            await self.blobs.put({digest: text.encode()})
            documents.append(
                Document(
                    collection=self.collection.name,
                    id=DocumentId(name),
                    sha256=digest,
                    size=len(text.encode()),
                    media_type="text/plain",
                    title="",
                    chunking=Chunking(16, 0),
                    **notifications,  # type: ignore[arg-type]
                )
            )
        job_id = JobId(uuid4().hex)
        await self.catalog.accept(job_id, self.collection.name, documents)
        return job_id

    async def claim(self) -> Sequence[Claim]:
        return await self.catalog.claim(WorkerId("one"), limit=100, lease=LEASE, now=datetime.now(UTC))

    async def run(self, claims: Sequence[Claim]) -> list[list[Outcome]]:
        told = []
        async for outcomes in self.pipeline.run(claims):
            await self.catalog.complete(await self.pipeline.withdraw(outcomes))
            told.append(outcomes)
        return told

    async def ingest(self, texts: dict[str, str], **notifications: object) -> list[Outcome]:
        await self.accept(texts, **notifications)
        return [outcome for outcomes in await self.run(await self.claim()) for outcome in outcomes]

    async def chunks(self, name: str) -> set[ChunkId]:
        found: set[ChunkId] = set()
        async for page in self.store.texts(self.collection.store_name, DocumentId(name)):
            found.update(stored.id for stored in page)
        return found


@pytest.fixture
async def bench(tmp_path: Path, lite_embedded_store: MilvusStore) -> AsyncIterator[Bench]:
    catalog = SqlCatalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    blobs = FolderBlobStore(tmp_path / "originals")
    parser = ProcessParser(processes=1)
    embedder = WatchedEmbedder()
    for part in (catalog, blobs, parser, embedder):
        await part.start()
    collection = Collection(
        name="docs",
        store_name=StoreName(f"docs__{uuid4().hex[:12]}"),
        fingerprint=embedder.fingerprint,
        language="en",
        chunking=Chunking(16, 0),
        created_at=datetime.now(UTC),
    )
    store = lite_embedded_store
    await store.create_collection(collection.store_name, CollectionSpec(16))
    await catalog.add_collection(collection)
    pipeline = Pipeline(catalog=catalog, blobs=blobs, parser=parser, embedders=Embedders(embedder), store=store)
    yield Bench(catalog, blobs, store, embedder, pipeline, collection)
    await store.drop_collection(collection.store_name)
    for part in (embedder, parser, blobs, catalog):
        await part.close()


def sentences(first: int, last: int) -> str:
    """One chunk each: 16 tokens with its full stop, and no two alike."""
    return "\n\n".join(f"{' '.join(f'w{number}x{place}' for place in range(15))}." for number in range(first, last))


async def test_a_long_document_is_told_of_after_the_short_ones_of_its_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 8)
    await bench.accept({"long": sentences(0, 40), "short": sentences(50, 51), "brief": sentences(60, 62)})
    told = await bench.run(await bench.claim())
    order = [str(outcome.claim.record.document.id) for outcomes in told for outcome in outcomes]
    assert order == ["short", "brief", "long"]
    assert len(told) > 1
    long = told[-1][0]
    assert long.chunks == 40
    assert long.tokens == 40 * 16
    assert long.chunk_digest == digest_of(await bench.chunks("long"))


async def test_only_what_changed_is_embedded_again(bench: Bench) -> None:
    paragraphs = sentences(0, 100).split("\n\n")
    await bench.ingest({"book": "\n\n".join(paragraphs)})
    before = await bench.chunks("book")
    bench.embedder.texts.clear()
    paragraphs[40] = sentences(1000, 1001)
    [outcome] = await bench.ingest({"book": "\n\n".join(paragraphs)})
    assert (outcome.chunks, outcome.reused_chunks) == (100, 99)
    assert bench.embedder.texts == [paragraphs[40]]
    after = await bench.chunks("book")
    assert len(after) == 100
    assert len(after & before) == 99
    vectors = await bench.store.vectors(bench.collection.store_name, list(after))
    again = await bench.embedder.embed(paragraphs, kind="document", lane=Lane.BULK)
    known = {vector.tobytes() for vector in again.vectors}
    assert {vector.tobytes() for vector in vectors.values()} == known


async def test_chunks_that_move_keep_their_vectors(bench: Bench) -> None:
    await bench.ingest({"book": sentences(0, 30)})
    bench.embedder.texts.clear()
    [outcome] = await bench.ingest({"book": sentences(500, 501) + "\n\n" + sentences(0, 30)})
    assert (outcome.chunks, outcome.reused_chunks) == (31, 30)
    assert len(bench.embedder.texts) == 1
    assert len(await bench.chunks("book")) == 31


async def test_other_metadata_costs_no_embedding(bench: Bench) -> None:
    await bench.ingest({"book": sentences(0, 5)})
    bench.embedder.texts.clear()
    [outcome] = await bench.ingest({"book": sentences(0, 5)}, metadata={"shelf": 4})
    assert outcome.reused_chunks == 5
    assert bench.embedder.texts == []
    vector = (await bench.embedder.embed(["w0x0"], kind="query", lane=Lane.INTERACTIVE)).vectors[0]
    hits = await bench.store.search(bench.collection.store_name, vector, limit=5)
    assert all(hit.metadata == {"shelf": 4} for hit in hits)


async def test_a_text_that_the_engine_fails_on_costs_its_document_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    bad = sentences(0, 9) + f"\n\n{POISON}"
    outcomes = await bench.ingest({"good": sentences(20, 22), "bad": bad, "better": sentences(30, 33)})
    verdicts = {str(outcome.claim.record.document.id): outcome.error and outcome.error.code for outcome in outcomes}
    assert verdicts == {"good": None, "bad": "engine_failed", "better": None}
    assert await bench.chunks("bad") == set()
    assert len(await bench.chunks("better")) == 3


async def test_a_replacement_that_fails_leaves_the_version_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    await bench.ingest({"book": sentences(0, 10)})
    before = await bench.chunks("book")
    [outcome] = await bench.ingest({"book": sentences(5, 25) + f"\n\n{POISON}"})
    assert outcome.error is not None
    assert await bench.chunks("book") == before


async def test_a_cancelled_new_document_leaves_nothing_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    job_id = await bench.accept({"book": sentences(0, 40)})
    claims = await bench.claim()
    told: list[Outcome] = []
    texts = bench.embedder.texts

    async def run() -> None:
        for outcomes in await bench.run(claims):
            told.extend(outcomes)

    running = asyncio.create_task(run())
    await until(lambda: len(texts) >= 12)
    await bench.catalog.cancel_job(job_id)
    await running
    [outcome] = told
    assert outcome.error is not None
    assert outcome.error.code == "cancelled"
    assert len(texts) < 40
    assert await bench.chunks("book") == set()
    assert (await bench.catalog.job(job_id)).state == "cancelled"


async def test_a_cancelled_replacement_leaves_the_version_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    await bench.ingest({"book": sentences(0, 10)})
    before = await bench.chunks("book")
    job_id = await bench.accept({"book": sentences(100, 140)})
    claims = await bench.claim()
    bench.embedder.texts.clear()
    running = asyncio.create_task(bench.run(claims))
    await until(lambda: len(bench.embedder.texts) >= 12)
    await bench.catalog.cancel_job(job_id)
    [[outcome]] = [outcomes for outcomes in await running if outcomes]
    assert outcome.error is not None
    assert outcome.error.code == "cancelled"
    assert await bench.chunks("book") == before


async def test_a_worker_that_wakes_up_late_does_not_spoil_a_newer_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause hits between the look at the lease and the write: the worst moment there is."""
    monkeypatch.setattr(stale_writes, "PAUSE_SECONDS", 0.01)
    await bench.accept({"book": sentences(0, 6)})
    [claim] = await bench.catalog.claim(
        WorkerId("late"), limit=1, lease=timedelta(milliseconds=1), now=datetime.now(UTC)
    )
    asleep, wake = asyncio.Event(), asyncio.Event()
    upsert = bench.store.upsert

    async def paused(name: str, rows: Sequence[object]) -> None:
        monkeypatch.setattr(bench.store, "upsert", upsert)
        asleep.set()
        await wake.wait()
        await upsert(name, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.store, "upsert", paused)
    late = asyncio.create_task(bench.run([claim]))
    await asleep.wait()
    await bench.accept({"book": sentences(50, 53)})
    [[newer]] = [outcomes for outcomes in await bench.run(await bench.claim()) if outcomes]
    assert newer.error is None
    good = await bench.chunks("book")
    wake.set()
    assert [outcome for outcomes in await late for outcome in outcomes] == []
    [[again]] = [outcomes for outcomes in await bench.run(await bench.claim()) if outcomes]
    assert again.error is None
    assert await bench.chunks("book") == good


async def test_a_late_worker_that_fails_does_not_empty_what_another_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    monkeypatch.setattr(stale_writes, "PAUSE_SECONDS", 0.01)
    await bench.accept({"book": sentences(0, 12)})
    [late] = await bench.catalog.claim(
        WorkerId("late"), limit=1, lease=timedelta(milliseconds=1), now=datetime.now(UTC)
    )
    embed, windows = bench.embedder.embed, 0

    async def overtaken(texts: Sequence[str], **options: object) -> Embeddings:
        nonlocal windows
        windows += 1
        if windows == 3:
            monkeypatch.setattr(bench.embedder, "embed", embed)
            [[outcome]] = [outcomes for outcomes in await bench.run(await bench.claim()) if outcomes]
            assert outcome.error is None
            raise EngineFailed("The engine answered a vector that is not finite")
        return await embed(texts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.embedder, "embed", overtaken)
    await bench.run([late])
    record = await bench.catalog.document("docs", DocumentId("book"))
    assert (record.state, record.chunks) == ("ready", 12)
    assert digest_of(await bench.chunks("book")) == record.chunk_digest


@pytest.mark.parametrize("searchable", [False, True])
@pytest.mark.parametrize("end", ["engine dead", "drained"])
async def test_a_job_cancelled_between_two_attempts_leaves_nothing_of_its_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, end: str, searchable: bool
) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    if searchable:
        await bench.ingest({"book": sentences(0, 6)})
    before = await bench.chunks("book")
    job_id = await bench.accept({"book": sentences(3, 20)})
    worker, upsert, halfway, count = worker_of(bench, Notifications()), bench.store.upsert, asyncio.Event(), 0

    async def interrupted(name: str, rows: Sequence[object]) -> None:
        nonlocal count
        count += 1
        if count == 3:
            halfway.set()
            if end == "engine dead":
                raise EngineDead("died")
            await asyncio.sleep(3600)
        await upsert(name, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.store, "upsert", interrupted)
    working = asyncio.create_task(worker._work_once())
    await halfway.wait()
    if end == "drained":
        working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert not await bench.chunks("book") <= before
    await bench.catalog.cancel_job(job_id)
    await worker._work_once()
    record = await bench.catalog.document("docs", DocumentId("book"))
    assert (record.state, record.error and record.error.code) == ("failed", "cancelled")
    assert (await bench.catalog.job(job_id)).state == "cancelled"
    assert await bench.chunks("book") == before


async def test_a_replacement_that_fails_after_a_crash_leaves_the_version_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WINDOW_CHUNKS", 4)
    await bench.ingest({"book": sentences(0, 10)})
    before = await bench.chunks("book")
    await bench.accept({"book": sentences(5, 25) + f"\n\n{POISON}"})
    [lost] = await bench.catalog.claim(
        WorkerId("lost"), limit=1, lease=timedelta(milliseconds=1), now=datetime.now(UTC)
    )
    told = [outcome async for outcomes in bench.pipeline.run([lost]) for outcome in outcomes]
    assert len(told) == 1  # and nobody hears of it: the process died
    assert await bench.chunks("book") > before
    [[outcome]] = [outcomes for outcomes in await bench.run(await bench.claim()) if outcomes]
    assert outcome.error is not None
    assert await bench.chunks("book") == before


async def test_a_document_that_kills_its_process_is_given_up_and_takes_no_other_along(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.accept({"deadly": sentences(0, 2), "other": sentences(5, 7)})
    worker, now = worker_of(bench, Notifications()), datetime.now(UTC)
    for death in range(2):
        claims = await bench.catalog.claim(WorkerId("dead"), limit=10, lease=LEASE, now=now + death * LEASE)
        assert len(claims) == 2
    claim, later = bench.catalog.claim, now + 9 * LEASE
    monkeypatch.setattr(
        bench.catalog,
        "claim",
        lambda *args, **options: claim(*args, **{**options, "now": later}),
    )
    alone = await worker._claim(None)
    assert [each.record.document.id for each in alone] == ["deadly"]
    assert (await bench.catalog.document("docs", DocumentId("other"))).attempts == 2
    await bench.catalog.release(alone)


async def test_claims_without_an_outcome_are_bounded(bench: Bench) -> None:
    await bench.accept({"deadly": sentences(0, 2)})
    for _ in range(2):
        await bench.catalog.claim(WorkerId("dead"), limit=1, lease=timedelta(0), now=datetime.now(UTC))
    await worker_of(bench, Notifications())._work_once()
    record = await bench.catalog.document("docs", DocumentId("deadly"))
    assert (record.state, record.error and record.error.code) == ("failed", "attempts_exhausted")
    assert bench.embedder.texts == []


async def test_an_engine_that_is_known_to_be_away_costs_no_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.accept({"book": sentences(0, 2)})
    worker = worker_of(bench, Notifications())
    claims = await worker._claim(None)
    monkeypatch.setattr(WatchedEmbedder, "failure", "The engine is being restarted.")
    await worker._run(claims, {claim.token: claim for claim in claims})
    record = await bench.catalog.document("docs", DocumentId("book"))
    assert (record.state, record.attempts, record.error and record.error.code) == ("queued", 0, "not_ready")


def worker_of(
    bench: Bench, notifications: Notifications, *, largest: int | None = None, reserve: DiskReserve | None = None
) -> Worker:
    options = WorkerOptions(
        batch=10,
        lease=LEASE,
        max_attempts=2,
        poll=timedelta(milliseconds=10),
        backoff=timedelta(milliseconds=1),
    )
    return Worker(
        WorkerId("worker"),
        bench.catalog,
        bench.pipeline,
        options,
        Notifications(),
        notifications,
        largest=largest,
        reserve=reserve,
    )


@pytest.mark.parametrize(
    ("error", "times", "state", "attempts"),
    [
        (StoreUnavailable("away"), 5, "ready", 1),
        (StoreFull("full"), 5, "ready", 1),
        (NotReady("starting"), 5, "ready", 1),
        (EngineDead("died"), 1, "ready", 2),
        (EngineDead("died"), 5, "failed", 2),
        (ValueError("a defect"), 5, "failed", 2),
        (StoreFailed("too long"), 5, "failed", 1),
    ],
)
async def test_attempts_are_bounded_but_for_outages(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int, state: str, attempts: int
) -> None:
    await bench.accept({"book": sentences(0, 2)})
    upsert, failures = bench.store.upsert, iter(range(times))

    async def flapping(name: str, rows: Sequence[object]) -> None:
        if next(failures, None) is not None:
            raise error
        await upsert(name, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.store, "upsert", flapping)
    worker = worker_of(bench, Notifications())
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        while (record := await bench.catalog.document("docs", DocumentId("book"))).state not in ("ready", "failed"):
            await asyncio.sleep(0.01)
    worker.stop()
    await running
    assert (record.state, record.attempts) == (state, attempts)
    assert (record.error is None) == (state == "ready")


async def test_a_disk_without_room_has_documents_wait(bench: Bench) -> None:
    await bench.accept({"book": sentences(0, 2)})
    free = 0
    reserve = DiskReserve([Path("/data")], 1000, look=lambda _: Space(10**9, free), clock=count().__next__)
    worker = worker_of(bench, Notifications(), reserve=reserve)
    assert not await worker._work_once()
    record = await bench.catalog.document("docs", DocumentId("book"))
    assert (record.state, record.attempts) == ("queued", 0)
    free = 1000
    assert await worker._work_once()
    assert (await bench.catalog.document("docs", DocumentId("book"))).state == "ready"


async def test_a_worker_leaves_large_originals_to_others(bench: Bench) -> None:
    await bench.accept({"small": sentences(0, 2), "large": sentences(10, 60)})
    notifications = Notifications()
    worker = worker_of(bench, notifications, largest=1000)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(20):
        await notifications.upcoming.wait()
    worker.stop()
    await running
    assert (await bench.catalog.document("docs", DocumentId("small"))).state == "ready"
    assert (await bench.catalog.document("docs", DocumentId("large"))).state == "queued"


async def test_a_worker_that_is_cancelled_while_it_claims_gives_the_leases_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.accept({"book": sentences(0, 2)})
    claim, leased, answered = bench.catalog.claim, asyncio.Event(), asyncio.Event()

    async def slow(*args: object, **options: object) -> Sequence[Claim]:
        claims = await claim(*args, **options)  # type: ignore[arg-type]
        leased.set()
        await answered.wait()
        return claims

    monkeypatch.setattr(bench.catalog, "claim", slow)
    running = asyncio.create_task(worker_of(bench, Notifications()).run())
    await leased.wait()
    running.cancel()
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    record = await bench.catalog.document("docs", DocumentId("book"))
    assert (record.state, record.attempts) == ("queued", 0)
