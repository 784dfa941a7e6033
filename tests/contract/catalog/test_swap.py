"""Catalog: collections that change places, and the questions they are measured by."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.types import Chunking, Document, GoldenQuery, JobId
from retrieval.errors import CollectionNotFound
from retrieval.types import DocumentId, StoreName
from tests.support.stores.catalog import (
    LEASE,
    NOW,
    WORKER,
    a_collection,
    a_document,
    failure,
    ingest,
    retitled,
    success,
)

A = DocumentId("a")
JOB, NEXT, LAST = JobId("job"), JobId("next"), JobId("last")
SHADOW = "docs~next"


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    """With a collection, `docs`, and its shadow, which is cut in another way."""
    await catalog.add_collection(replace(a_collection(), duplicates="skip"))
    shadow = replace(a_collection(SHADOW), chunking=Chunking(64, 8), created_at=NOW + timedelta(days=1))
    shadow = replace(shadow, metadata_keys={"other": "bool"})
    await catalog.add_collection(replace(shadow, store_name=StoreName("store of the shadow")))
    return catalog


def shadowed(document: Document) -> Document:
    return replace(document, collection=SHADOW, chunking=Chunking(64, 8))


async def fill(catalog: SqlCatalog, *documents: Document) -> None:
    await ingest(catalog, *documents, job=JOB)
    await ingest(catalog, *(shadowed(document) for document in documents), job=NEXT)


class TestSwap:
    async def test_exchanges_what_the_names_stand_for(self, catalog: SqlCatalog) -> None:
        await fill(catalog, a_document("a"), a_document("b"))
        await catalog.accept(LAST, SHADOW, [shadowed(retitled(a_document("a"), "x"))])
        await catalog.accept(JobId("back"), SHADOW, [shadowed(a_document("a"))])
        claims = await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
        await catalog.complete([success(claim, chunks=7) for claim in claims])
        docs, shadow = await catalog.collection("docs"), await catalog.collection(SHADOW)
        before = await catalog.document("docs", A)
        assert await catalog.swap_collections("docs", SHADOW)
        # What is decided about a name stays with it.
        assert await catalog.collection("docs") == replace(shadow, name="docs", duplicates="skip")
        assert await catalog.collection(SHADOW) == replace(docs, name=SHADOW, duplicates="store")
        record = await catalog.document("docs", A)
        assert (record.chunks, record.document.chunking, record.chunk_digest) == (7, Chunking(64, 8), f"{3:032x}")
        # Versions stay with the name.
        assert (record.version, record.ingested_at) == (1, before.ingested_at)
        record = await catalog.document(SHADOW, A)
        assert (record.version, record.chunks) == (3, before.chunks)
        # And back again.
        assert await catalog.swap_collections("docs", SHADOW)
        assert await catalog.collection("docs") == docs
        assert await catalog.document("docs", A) == before

    async def test_leaves_jobs_where_they_are(self, catalog: SqlCatalog) -> None:
        await fill(catalog, a_document("a"))
        before = [await catalog.job(JOB), await catalog.job(NEXT), *await catalog.receipts(JOB)]
        assert await catalog.swap_collections("docs", SHADOW)
        assert [await catalog.job(JOB), await catalog.job(NEXT), *await catalog.receipts(JOB)] == before

    async def test_accepts_unchanged_afterwards(self, catalog: SqlCatalog) -> None:
        await fill(catalog, a_document("a"))
        assert await catalog.swap_collections("docs", SHADOW)
        recut = replace(a_document("a"), chunking=Chunking(64, 8))
        (receipt,) = await catalog.accept(LAST, "docs", [recut])
        assert (receipt.version, receipt.status) == (1, "unchanged")
        (receipt,) = await catalog.accept(JobId("again"), "docs", [a_document("a")])
        assert (receipt.version, receipt.status) == (2, "queued")

    async def test_of_empty_collections(self, catalog: SqlCatalog) -> None:
        assert await catalog.swap_collections("docs", SHADOW)
        assert (await catalog.collection("docs")).store_name == "store of the shadow"

    @pytest.mark.parametrize(
        "changed",
        [
            a_document("a", "other"),
            retitled(a_document("a"), "other"),
            replace(a_document("a"), metadata={"year": 2023}),
            replace(a_document("a"), partition=""),
        ],
        ids=["bytes", "title", "metadata", "partition"],
    )
    async def test_not_where_a_document_differs(self, catalog: SqlCatalog, changed: Document) -> None:
        await ingest(catalog, a_document("a"), a_document("b"), job=JOB)
        await ingest(catalog, shadowed(changed), shadowed(a_document("b")), job=NEXT)
        docs = await catalog.collection("docs")
        assert not await catalog.swap_collections("docs", SHADOW)
        assert await catalog.collection("docs") == docs

    @pytest.mark.parametrize("missing", ["docs", SHADOW])
    async def test_not_where_a_document_is_missing(self, catalog: SqlCatalog, missing: str) -> None:
        await fill(catalog, a_document("a"))
        added = a_document("b") if missing == SHADOW else shadowed(a_document("b"))
        await ingest(catalog, added, job=LAST)
        assert not await catalog.swap_collections("docs", SHADOW)

    @pytest.mark.parametrize("empty", ["docs", SHADOW])
    async def test_not_with_an_empty_one(self, catalog: SqlCatalog, empty: str) -> None:
        await ingest(catalog, a_document("a") if empty == SHADOW else shadowed(a_document("a")), job=JOB)
        assert not await catalog.swap_collections("docs", SHADOW)

    @pytest.mark.parametrize("collection", ["docs", SHADOW])
    async def test_not_under_a_lease(self, catalog: SqlCatalog, collection: str) -> None:
        await fill(catalog, a_document("a"))
        claim = await catalog.claim_document(collection, A, WORKER, lease=LEASE, now=NOW)
        assert not await catalog.swap_collections("docs", SHADOW)
        await catalog.release([claim])
        assert await catalog.swap_collections("docs", SHADOW)

    async def test_not_while_a_document_would_go_from_search(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        await catalog.accept(NEXT, SHADOW, [shadowed(a_document("a"))])
        assert not await catalog.swap_collections("docs", SHADOW)
        claims = await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
        await catalog.complete([failure(claim) for claim in claims])
        assert not await catalog.swap_collections("docs", SHADOW)

    async def test_unknown(self, catalog: SqlCatalog) -> None:
        with pytest.raises(CollectionNotFound):
            await catalog.swap_collections("docs", "none")
        with pytest.raises(CollectionNotFound):
            await catalog.swap_collections("none", "docs")


class TestQueuedAtASwap:
    async def test_in_both_end_with_their_own_work(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        await catalog.accept(NEXT, SHADOW, [shadowed(a_document("a"))])
        assert await catalog.swap_collections("docs", SHADOW)
        claims = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        await catalog.complete([success(claim) for claim in claims])
        assert (await catalog.job(JOB)).state == "succeeded"
        assert (await catalog.job(NEXT)).state == "succeeded"

    async def test_and_done_in_the_other_end_with_that(self, catalog: SqlCatalog) -> None:
        new = retitled(a_document("a"), "new")
        await fill(catalog, a_document("a"))
        await ingest(catalog, shadowed(new), job=LAST)
        skipped, waiting = JobId("skipped"), JobId("waiting")
        await catalog.accept(skipped, "docs", [retitled(a_document("a"), "between")])
        await catalog.accept(waiting, "docs", [new])
        assert await catalog.swap_collections("docs", SHADOW)
        (receipt,) = await catalog.receipts(waiting)
        assert (receipt.version, receipt.status, receipt.chunks, receipt.searchable_at) == (3, "replaced", 3, NOW)
        (receipt,) = await catalog.receipts(skipped)
        assert receipt.error is not None
        assert receipt.error.code == "superseded"
        assert ((record := await catalog.document("docs", A)).state, record.version) == ("ready", 3)
        # What was queued goes on under the other name.
        (claim,) = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        assert (claim.record.document.collection, claim.record.version) == (SHADOW, 2)

    @pytest.mark.parametrize(("failed", "queued"), [("docs", SHADOW), (SHADOW, "docs")])
    async def test_and_failed_in_the_other_end_so(self, catalog: SqlCatalog, failed: str, queued: str) -> None:
        of = {"docs": a_document("a"), SHADOW: shadowed(a_document("a"))}
        await catalog.accept(NEXT, failed, [of[failed]])
        claims = await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
        await catalog.complete([failure(claim) for claim in claims])
        await catalog.accept(JOB, queued, [of[queued]])
        assert await catalog.swap_collections("docs", SHADOW)
        (receipt,) = await catalog.receipts(JOB)
        assert receipt.error is not None
        assert (receipt.status, receipt.error.code) == ("failed", "parse_failed")
        assert (await catalog.job(JOB)).state == "failed"


class TestGoldenQueries:
    QUERIES = (GoldenQuery("second?", (A, DocumentId("文"))), GoldenQuery("first?", ()))

    async def test_come_back_in_order(self, catalog: SqlCatalog) -> None:
        assert await catalog.golden_queries("docs") == []
        await catalog.set_golden_queries("docs", self.QUERIES)
        assert await catalog.golden_queries("docs") == list(self.QUERIES)
        await catalog.set_golden_queries("docs", self.QUERIES[1:])
        assert await catalog.golden_queries("docs") == [self.QUERIES[1]]
        await catalog.set_golden_queries("docs", [])
        assert await catalog.golden_queries("docs") == []

    async def test_stay_with_the_name_and_go_with_the_collection(self, catalog: SqlCatalog) -> None:
        await catalog.set_golden_queries("docs", self.QUERIES)
        assert await catalog.swap_collections("docs", SHADOW)
        assert await catalog.golden_queries("docs") == list(self.QUERIES)
        assert await catalog.golden_queries(SHADOW) == []
        await catalog.remove_collection("docs")
        await catalog.add_collection(a_collection())
        assert await catalog.golden_queries("docs") == []

    async def test_of_an_unknown_collection(self, catalog: SqlCatalog) -> None:
        with pytest.raises(CollectionNotFound):
            await catalog.golden_queries("none")
        with pytest.raises(CollectionNotFound):
            await catalog.set_golden_queries("none", self.QUERIES)


async def test_documents_by_name(catalog: SqlCatalog) -> None:
    await fill(catalog, a_document("a"), a_document("b"))
    found = await catalog.documents_named("docs", {A, DocumentId("none")})
    assert found == {A: await catalog.document("docs", A)}
    assert await catalog.documents_named("docs", []) == {}
    assert await catalog.documents_named("none", [A]) == {}
