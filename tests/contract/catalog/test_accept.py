"""Catalog: requests sent again, the same bytes under several ids, and work in the background."""

import asyncio
from dataclasses import replace

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import DocumentNotFound, IdempotencyConflict, JobNotFound
from ingestion.types import Document, IdempotencyKey, JobId, Receipt
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
A = DocumentId("a")
KEY = IdempotencyKey("key", "0" * 64)


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    """With a collection that stores duplicates, `docs`, and one that leaves them out, `once`."""
    await catalog.add_collection(a_collection())
    await catalog.add_collection(replace(a_collection("once"), duplicates="skip"))
    return catalog


def once(name: str, text: str | None = None) -> Document:
    return a_document(name, text, collection="once")


def told(receipts: object) -> list[tuple[str, int, str, str | None]]:
    assert isinstance(receipts, list)
    return [(r.document_id, r.version, r.status, r.duplicate_of) for r in receipts]


async def ids(catalog: SqlCatalog, collection: str) -> list[str]:
    return [record.document.id for record in await catalog.documents(collection)]


class TestKeys:
    async def test_sent_again_answers_the_first_job_as_it_now_is(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")], key=KEY)
        await catalog.complete([success((await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW))[0])])
        again = await catalog.accept(OTHER, "docs", [a_document("a"), a_document("b")], key=KEY)
        assert again == await catalog.receipts(JOB)
        assert [(r.job_id, r.status) for r in again] == [(JOB, "ready"), (JOB, "queued")]
        with pytest.raises(JobNotFound):
            await catalog.job(OTHER)

    async def test_answers_more_receipts_than_a_page_holds(self, catalog: SqlCatalog) -> None:
        documents = [a_document(f"{number}") for number in range(1001)]
        first = await catalog.accept(JOB, "docs", documents, key=KEY)
        assert await catalog.accept(OTHER, "docs", documents, key=KEY) == first

    async def test_another_body_is_a_conflict(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")], key=KEY)
        with pytest.raises(IdempotencyConflict):
            await catalog.accept(OTHER, "docs", [a_document("b")], key=replace(KEY, body_digest="1" * 64))
        assert await ids(catalog, "docs") == ["a"]

    async def test_are_each_collections_own(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")], key=KEY)
        (receipt,) = await catalog.accept(OTHER, "once", [once("a")], key=KEY)
        assert receipt.job_id == OTHER

    async def test_are_free_again_with_the_collection(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")], key=KEY)
        await catalog.remove_collection("docs")
        await catalog.add_collection(a_collection())
        (receipt,) = await catalog.accept(OTHER, "docs", [a_document("a")], key=KEY)
        assert receipt == Receipt(OTHER, A, 1, "queued")

    async def test_at_the_same_time_make_one_job(self, catalog: SqlCatalog) -> None:
        documents = [a_document(f"{number}") for number in range(50)]
        answers = await asyncio.gather(
            *(catalog.accept(JobId(f"{number}"), "docs", documents, key=KEY) for number in range(10))
        )
        jobs = {receipt.job_id for answer in answers for receipt in answer}
        assert len(jobs) == 1
        assert {receipt.version for answer in answers for receipt in answer} == {1}
        assert await catalog.queue_depth() == 50


class TestDuplicates:
    async def test_are_stored_and_name_the_other(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a", "x")])
        receipts = await catalog.accept(OTHER, "docs", [a_document("b", "x"), a_document("c", "y")])
        assert told(receipts) == [("b", 1, "queued", "a"), ("c", 1, "queued", None)]
        claims = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW)
        await catalog.complete([success(claim) for claim in claims])
        assert told(await catalog.receipts(OTHER)) == [("b", 1, "ready", "a"), ("c", 1, "ready", None)]

    async def test_are_left_out_where_the_collection_says_so(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "once", [once("a", "x")])
        receipts = await catalog.accept(OTHER, "once", [once("b", "x"), once("c", "y")])
        assert told(receipts) == [("b", 0, "duplicate_of", "a"), ("c", 1, "queued", None)]
        assert await catalog.receipts(OTHER) == receipts
        with pytest.raises(DocumentNotFound):
            await catalog.document("once", DocumentId("b"))
        assert (await catalog.job(OTHER)).progress.done == 1

    async def test_of_one_call(self, catalog: SqlCatalog) -> None:
        names = ["c", "a", "b"]
        stored = await catalog.accept(JOB, "docs", [a_document(name, "x") for name in names])
        assert told(stored) == [("c", 1, "queued", None), ("a", 1, "queued", "c"), ("b", 1, "queued", "c")]
        skipped = await catalog.accept(OTHER, "once", [once(name, "x") for name in names])
        assert told(skipped) == [("c", 1, "queued", None), ("a", 0, "duplicate_of", "c"), ("b", 0, "duplicate_of", "c")]
        assert await ids(catalog, "once") == ["c"]

    async def test_of_another_collection_are_none(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a", "x")])
        (receipt,) = await catalog.accept(OTHER, "once", [once("b", "x")])
        assert (receipt.status, receipt.duplicate_of) == ("queued", None)

    async def test_under_their_own_id_are_never_left_out(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, once("a", "x"), once("b", "y"), job="job")
        receipts = await catalog.accept(OTHER, "once", [once("b", "x"), retitled(once("a", "x"), "new")])
        assert told(receipts) == [("b", 2, "queued", "a"), ("a", 2, "queued", "b")]

    async def test_that_are_left_out_are_nobodys_other(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, once("a", "x"), job="job")
        receipts = await catalog.accept(OTHER, "once", [once("b", "x"), once("a", "x")])
        assert told(receipts) == [("b", 0, "duplicate_of", "a"), ("a", 1, "unchanged", None)]

    async def test_unchanged_names_the_other_too(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a", "x"), a_document("b", "x"), job="job")
        assert told(await catalog.accept(OTHER, "docs", [a_document("b", "x")])) == [("b", 1, "unchanged", "a")]

    async def test_bytes_that_their_holder_gives_up_are_stored(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, once("a", "x"), job="job")
        # In whichever order the two are named.
        receipts = await catalog.accept(OTHER, "once", [once("b", "x"), once("a", "y"), once("c", "y")])
        assert told(receipts) == [("b", 1, "queued", None), ("a", 2, "queued", None), ("c", 0, "duplicate_of", "a")]

    async def test_of_a_document_that_failed_are_stored(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "once", [once("a", "x")])
        await catalog.complete([failure(await claim_one(catalog))])
        assert told(await catalog.accept(OTHER, "once", [once("b", "x")])) == [("b", 1, "queued", None)]

    async def test_of_a_document_being_cancelled_are_stored(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "once", [once("a", "x")])
        await claim_one(catalog)
        await catalog.cancel_job(JOB)
        assert told(await catalog.accept(OTHER, "once", [once("b", "x")])) == [("b", 1, "queued", None)]

    async def test_of_a_document_being_deleted_are_stored(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, once("a", "x"), job="job")
        await catalog.claim_document("once", A, WORKER, lease=LEASE, now=NOW)
        assert told(await catalog.accept(OTHER, "once", [once("b", "x")])) == [("b", 1, "queued", None)]

    async def test_named_twice_and_left_out(self, catalog: SqlCatalog) -> None:
        receipts = await catalog.accept(JOB, "once", [once("a", "x"), once("b", "y"), once("b", "x")])
        assert told(receipts) == [("a", 1, "queued", None), ("b", 0, "replaced", None), ("b", 0, "duplicate_of", "a")]

    async def test_at_the_same_time_are_stored_once(self, catalog: SqlCatalog) -> None:
        answers = await asyncio.gather(
            *(catalog.accept(JobId(f"{number}"), "once", [once(f"{number}", "x")]) for number in range(10))
        )
        (stored,) = await ids(catalog, "once")
        for (receipt,) in answers:
            if receipt.document_id == stored:
                assert (receipt.status, receipt.duplicate_of) == ("queued", None)
            else:
                assert (receipt.status, receipt.duplicate_of) == ("duplicate_of", stored)


class TestBackground:
    async def test_goes_after_all_others(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")], background=True)
        await catalog.accept(OTHER, "docs", [a_document("c"), a_document("d")])
        first = await catalog.claim(WORKER, limit=3, lease=LEASE, now=NOW)
        assert [claim.record.document.id for claim in first] == ["c", "d", "a"]
        assert (await claim_one(catalog)).record.document.id == "b"

    async def test_is_left_by_a_version_in_the_foreground(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")], background=True)
        await catalog.accept(OTHER, "docs", [retitled(a_document("b"), "new")])
        (claim,) = await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
        assert claim.record.document.id == "b"
