"""Catalog: collections, what is accepted, and what is told about it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import DocumentNotFound, JobNotFound
from ingestion.types import Chunking, Document, DocumentError, Job, JobId, Progress, Receipt, Totals
from retrieval.errors import CollectionExists, CollectionNotFound, InvalidRequest
from retrieval.types import DocumentId
from tests.support.stores.catalog import (
    LEASE,
    NOW,
    WORKER,
    a_collection,
    a_document,
    claim_one,
    failure,
    ingest,
    retitled,
    success,
)

JOB = JobId("job")
OTHER = JobId("other")


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    await catalog.add_collection(a_collection())
    return catalog


class TestCollections:
    async def test_comes_back_as_it_was(self, catalog: SqlCatalog) -> None:
        assert await catalog.collection("docs") == a_collection()

    async def test_are_listed_by_name(self, catalog: SqlCatalog) -> None:
        for name in ("b", "Z", "é", "a"):
            await catalog.add_collection(a_collection(name))
        assert [collection.name for collection in await catalog.collections()] == ["Z", "a", "b", "docs", "é"]

    async def test_name_is_taken_once(self, catalog: SqlCatalog) -> None:
        with pytest.raises(CollectionExists):
            await catalog.add_collection(a_collection())

    async def test_unknown(self, catalog: SqlCatalog) -> None:
        with pytest.raises(CollectionNotFound):
            await catalog.collection("none")
        with pytest.raises(CollectionNotFound):
            await catalog.documents("none")
        with pytest.raises(CollectionNotFound):
            await catalog.document("none", DocumentId("a"))
        with pytest.raises(CollectionNotFound):
            await catalog.accept(JOB, "none", [a_document("a", collection="none")])
        with pytest.raises(JobNotFound):
            await catalog.job(JOB)
        await catalog.remove_collection("none")

    async def test_takes_all_that_is_in_it_along(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("kept"))
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
        await catalog.accept(OTHER, "kept", [a_document("a", collection="kept")])
        claims = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW, collections=["docs"])
        await catalog.remove_collection("docs")
        with pytest.raises(CollectionNotFound):
            await catalog.collection("docs")
        with pytest.raises(JobNotFound):
            await catalog.job(JOB)
        with pytest.raises(JobNotFound):
            await catalog.receipts(JOB)
        await catalog.complete([success(claim) for claim in claims])
        assert await catalog.queue_depth() == 1
        assert len(await catalog.receipts(OTHER)) == 1
        # The same name begins anew.
        await catalog.add_collection(a_collection())
        assert await catalog.documents("docs") == []


class TestTotals:
    async def test_of_collections_by_what_became_of_the_documents(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("other"))
        await catalog.add_collection(a_collection("empty"))
        await ingest(catalog, a_document("ready", "12345"), job="first")
        await catalog.accept(JobId("second"), "docs", [a_document("failed", "123")])
        await catalog.complete([failure(await claim_one(catalog))])
        await catalog.accept(JobId("third"), "docs", [a_document("cancelled", "1234")])
        await catalog.cancel_job(JobId("third"))
        await catalog.accept(JobId("fourth"), "docs", [a_document("working", "12")])
        await claim_one(catalog)
        await catalog.accept(JobId("fifth"), "docs", [a_document("queued", "1")])
        await catalog.accept(JobId("sixth"), "other", [a_document("a", "123456", collection="other")])
        assert await catalog.totals(["docs", "other", "empty", "none"]) == {
            "docs": Totals(unfinished=2, ready=1, failed=1, cancelled=1, size=15, chunks=3),
            "other": Totals(unfinished=1, size=6),
        }
        assert await catalog.totals([]) == {}

    async def test_counts_the_languages_of_what_search_finds(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("other"))
        await catalog.accept(JOB, "other", [a_document(name, collection="other") for name in "abcde"])
        claims = await catalog.claim(WORKER, limit=10, lease=LEASE, now=NOW)
        found = ("en", "zh", "en", None)
        await catalog.complete(
            [replace(success(claim), language=each) for claim, each in zip(claims[:4], found, strict=True)]
        )
        await catalog.complete([failure(claims[4])])
        totals = (await catalog.totals(["other"]))["other"]
        assert (totals.ready, totals.failed, totals.languages) == (4, 1, {"en": 2, "zh": 1})
        record = await catalog.document("other", DocumentId("b"))
        assert (record.language, record.document.language) == ("zh", None)
        # A version that waits does not change what search finds.
        await catalog.accept(OTHER, "other", [replace(a_document("b", collection="other"), language="ja")])
        record = await catalog.document("other", DocumentId("b"))
        assert (record.language, record.document.language) == ("zh", "ja")


class TestAccept:
    async def test_queues_in_order(self, catalog: SqlCatalog) -> None:
        receipts = await catalog.accept(JOB, "docs", [a_document(name) for name in "cab"])
        assert receipts == [Receipt(JOB, DocumentId(name), 1, "queued") for name in "cab"]
        assert await catalog.receipts(JOB) == receipts
        record = await catalog.document("docs", DocumentId("a"))
        assert record.document == a_document("a")
        assert (record.version, record.state, record.attempts, record.chunks) == (1, "queued", 0, 0)
        assert (record.searchable_at, record.error) == (None, None)
        assert record.ingested_at.utcoffset() == timedelta(0)
        assert await catalog.queue_depth() == 3

    async def test_of_a_ready_document_as_it_was_is_unchanged(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        receipts = await catalog.accept(OTHER, "docs", [a_document("a"), a_document("b")])
        assert receipts == [
            Receipt(OTHER, DocumentId("a"), 1, "unchanged", 3, 30, 1, searchable_at=NOW),
            Receipt(OTHER, DocumentId("b"), 1, "queued"),
        ]
        assert await catalog.receipts(OTHER) == receipts
        assert await catalog.queue_depth() == 1

    @pytest.mark.parametrize(
        "changed",
        [
            a_document("a", "other text"),
            retitled(a_document("a"), "other"),
            replace(a_document("a"), media_type="text/markdown"),
            replace(a_document("a"), partition=""),
            replace(a_document("a"), metadata={"year": 2024}),
            replace(a_document("a"), chunking=Chunking(129, 16)),
            replace(a_document("a"), chunking=Chunking(128, 17)),
            replace(a_document("a"), ocr="always"),
            replace(a_document("a"), boilerplate="drop"),
            replace(a_document("a"), language="en"),
        ],
        ids=[
            "bytes",
            "title",
            "media_type",
            "partition",
            "metadata",
            "max_tokens",
            "overlap",
            "ocr",
            "boilerplate",
            "language",
        ],
    )
    async def test_of_a_change_queues_the_next_version(self, catalog: SqlCatalog, changed: Document) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        assert await catalog.accept(OTHER, "docs", [changed]) == [Receipt(OTHER, DocumentId("a"), 2, "queued")]
        record = await catalog.document("docs", DocumentId("a"))
        assert (record.document, record.version, record.state, record.attempts) == (changed, 2, "queued", 0)
        # Until it is done, search finds the version before.
        assert (record.chunks, record.tokens, record.truncated_tokens, record.searchable_at) == (3, 30, 1, NOW)

    async def test_ignores_the_order_of_keys_in_metadata(self, catalog: SqlCatalog) -> None:
        document = a_document("a")
        await ingest(catalog, document, job=JOB)
        turned = replace(document, metadata=dict(reversed(list(document.metadata.items()))))
        (receipt,) = await catalog.accept(OTHER, "docs", [turned])
        assert receipt.status == "unchanged"

    async def test_of_a_failed_document_tries_again(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        await catalog.complete([failure(await claim_one(catalog))])
        (receipt,) = await catalog.accept(OTHER, "docs", [a_document("a")])
        assert (receipt.version, receipt.status) == (2, "queued")
        assert (await catalog.document("docs", DocumentId("a"))).error is None

    async def test_of_a_document_being_deleted_keeps_the_new_version(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        claim = await catalog.claim_document("docs", DocumentId("a"), WORKER, lease=LEASE, now=NOW)
        (receipt,) = await catalog.accept(OTHER, "docs", [a_document("a")])
        assert (receipt.version, receipt.status) == (2, "queued")
        assert not await catalog.remove_document(claim)

    async def test_of_the_same_document_twice_keeps_the_last(self, catalog: SqlCatalog) -> None:
        first, last = a_document("a"), retitled(a_document("a"), "last")
        receipts = await catalog.accept(JOB, "docs", [first, a_document("b"), last])
        assert [(receipt.document_id, receipt.status) for receipt in receipts] == [
            ("a", "replaced"),
            ("b", "queued"),
            ("a", "queued"),
        ]
        record = await catalog.document("docs", DocumentId("a"))
        assert (record.document, record.version) == (last, 1)
        claims = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW)
        await catalog.complete([success(claim) for claim in claims])
        assert [receipt.status for receipt in await catalog.receipts(JOB)] == ["replaced", "ready", "ready"]
        again = await catalog.accept(OTHER, "docs", [first, last])
        assert [receipt.status for receipt in again] == ["replaced", "unchanged"]

    async def test_keeps_collections_apart(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("more"))
        await ingest(catalog, a_document("a"), job=JOB)
        (receipt,) = await catalog.accept(OTHER, "more", [a_document("a", collection="more")])
        assert (receipt.version, receipt.status) == (1, "queued")

    async def test_of_nothing(self, catalog: SqlCatalog) -> None:
        assert list(await catalog.accept(JOB, "docs", [])) == []
        assert (await catalog.job(JOB)).state == "succeeded"
        assert list(await catalog.receipts(JOB)) == []

    async def test_job_ids_are_taken_once_and_nothing_is_left_behind(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        with pytest.raises(InvalidRequest):
            await catalog.accept(JOB, "docs", [a_document("b")])
        assert await catalog.queue_depth() == 1

    async def test_refuses_metadata_that_is_not_json(self, catalog: SqlCatalog) -> None:
        with pytest.raises(InvalidRequest):
            await catalog.accept(JOB, "docs", [replace(a_document("a"), metadata={"x": float("nan")})])
        assert await catalog.queue_depth() == 0
        assert catalog.failure is None
        with pytest.raises(JobNotFound):
            await catalog.job(JOB)

    async def test_of_thousands(self, catalog: SqlCatalog) -> None:
        documents = [a_document(f"{number:05}") for number in range(5000)]
        await catalog.accept(JOB, "docs", documents)
        claims = await catalog.claim(WORKER, limit=5000, lease=LEASE, now=NOW)
        assert [claim.record.document for claim in claims] == documents
        await catalog.complete([success(claim) for claim in claims])
        assert (await catalog.job(JOB)).progress == Progress(5000, 5000, 0, 15000, 150000)
        again = await catalog.accept(OTHER, "docs", [*documents, a_document("new")])
        assert [receipt.status for receipt in again] == ["unchanged"] * 5000 + ["queued"]

    async def test_at_the_same_time_counts_every_version(self, catalog: SqlCatalog) -> None:
        names = [f"{number:02}" for number in range(20)]
        orders = [names, names[::-1]] * 5
        receipts = await asyncio.gather(
            *(
                catalog.accept(JobId(f"job {number}"), "docs", [a_document(name, str(number)) for name in order])
                for number, order in enumerate(orders)
            )
        )
        for name in names:
            versions = [receipt.version for job in receipts for receipt in job if receipt.document_id == name]
            assert sorted(versions) == list(range(1, 11))


class TestSecret:
    async def test_is_made_once_for_everybody(self, catalog: SqlCatalog, database_url: str) -> None:
        other = SqlCatalog(database_url)
        await other.start()
        found = await asyncio.gather(*(each.secret("one") for each in (catalog, other) for _ in range(4)))
        assert len(set(found)) == 1
        assert len(found[0]) == 32
        assert await catalog.secret("another") != found[0]
        await other.close()


class TestTold:
    async def test_documents_come_in_pages(self, catalog: SqlCatalog) -> None:
        names = ["B", "a", "b", "ä", "文"]
        await catalog.accept(JOB, "docs", [a_document(name) for name in reversed(names)])
        assert [record.document.id for record in await catalog.documents("docs")] == names
        page = await catalog.documents("docs", after=DocumentId("a"), limit=2)
        assert [record.document.id for record in page] == ["b", "ä"]
        assert list(await catalog.documents("docs", after=DocumentId("文"))) == []

    async def test_receipts_come_in_pages(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document(name) for name in "edcba"])
        assert [receipt.document_id for receipt in await catalog.receipts(JOB, after=1, limit=3)] == ["d", "c", "b"]
        assert list(await catalog.receipts(JOB, after=5)) == []
        with pytest.raises(JobNotFound):
            await catalog.receipts(OTHER)

    async def test_unknown_document(self, catalog: SqlCatalog) -> None:
        with pytest.raises(DocumentNotFound):
            await catalog.document("docs", DocumentId("a"))

    async def test_the_latest_jobs_come_first(self, catalog: SqlCatalog) -> None:
        assert await catalog.latest_jobs(limit=10) == []
        for name in ("first", "second", "third"):
            await catalog.accept(JobId(name), "docs", [a_document(name)])
        latest = await catalog.latest_jobs(limit=2)
        assert [job.id for job in latest] == ["third", "second"]
        assert latest[0] == await catalog.job(JobId("third"))

    async def test_a_job_from_its_queue_to_its_end(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
        queued = await catalog.job(JOB)
        assert queued == Job(JOB, "docs", "queued", Progress(2, 0, 0, 0, 0), queued.created_at)
        (first,) = await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
        assert (await catalog.job(JOB)).state == "running"
        await catalog.complete([success(first)])
        job = await catalog.job(JOB)
        assert (job.state, job.progress) == ("running", Progress(2, 1, 0, 3, 30))
        await catalog.complete([success(await claim_one(catalog))])
        job = await catalog.job(JOB)
        assert (job.state, job.progress) == ("succeeded", Progress(2, 2, 0, 6, 60))

    @pytest.mark.parametrize(("failures", "state"), [(0, "succeeded"), (1, "partial"), (2, "failed")])
    async def test_how_a_job_ended(self, catalog: SqlCatalog, failures: int, state: str) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
        claims = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        await catalog.complete([(failure if n < failures else success)(claim) for n, claim in enumerate(claims)])
        job = await catalog.job(JOB)
        assert (job.state, job.progress.failed) == (state, failures)

    async def test_messages_are_bounded(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.complete([replace(failure(claim), error=DocumentError("parse_failed", "x" * 100_000))])
        record = await catalog.document("docs", DocumentId("a"))
        assert record.error == DocumentError("parse_failed", "x" * 2000)

    async def test_which_originals_are_in_use(self, catalog: SqlCatalog) -> None:
        hashes = [a_document("a", text).sha256 for text in ("one", "two", "three")]
        assert await catalog.blobs_in_use(hashes) == set()
        await catalog.add_collection(a_collection("more"))
        await catalog.accept(JOB, "docs", [a_document("a", "one")])
        await catalog.accept(OTHER, "more", [a_document("a", "two", collection="more")])
        assert await catalog.blobs_in_use(hashes) == set(hashes[:2])
        await catalog.accept(JobId("third"), "docs", [a_document("a", "two")])
        assert await catalog.blobs_in_use(hashes) == {hashes[1]}
        assert await catalog.blobs_in_use([]) == set()
