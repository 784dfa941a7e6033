"""Catalog: cancelled jobs, documents queued anew, and originals that are passed over."""

from datetime import timedelta

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import JobNotFound
from ingestion.types import DocumentError, JobId, Receipt, WorkerId
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
A, B = DocumentId("a"), DocumentId("b")
RIVAL = WorkerId("rival")
EXPIRED = NOW + LEASE


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    await catalog.add_collection(a_collection())
    return catalog


async def ends(catalog: SqlCatalog, *jobs: JobId) -> list[str]:
    """Error codes of failed receipts, the status of others."""
    receipts: list[Receipt] = [receipt for job in jobs for receipt in await catalog.receipts(job)]
    return [receipt.error.code if receipt.error else receipt.status for receipt in receipts]


class TestCancel:
    async def test_ends_what_is_queued(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
        await catalog.accept(OTHER, "docs", [a_document("c")])
        job = await catalog.cancel_job(JOB)
        assert (job.state, job.progress.done, job.progress.failed) == ("cancelled", 2, 2)
        assert job == await catalog.job(JOB)
        assert await ends(catalog, JOB, OTHER) == ["cancelled", "cancelled", "queued"]
        record = await catalog.document("docs", A)
        assert (record.state, record.cancelled, record.error and record.error.code) == ("failed", True, "cancelled")
        assert (await claim_one(catalog)).record.document.id == "c"

    async def test_marks_what_is_processed(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
        (claim,) = await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
        assert await catalog.cancelled([claim]) == set()
        assert (await catalog.cancel_job(JOB)).state == "running"
        assert await catalog.cancelled([claim]) == {claim.token}
        record = await catalog.document("docs", A)
        assert (record.state, record.cancelled) == ("processing", True)
        await catalog.complete([failure(claim)])
        assert (await catalog.job(JOB)).state == "cancelled"
        assert await ends(catalog, JOB) == ["parse_failed", "cancelled"]

    async def test_that_came_too_late_for_a_document(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.cancel_job(JOB)
        await catalog.complete([success(claim)])
        assert (await catalog.job(JOB)).state == "cancelled"
        record = await catalog.document("docs", A)
        assert (record.state, record.cancelled) == ("ready", False)

    async def test_of_a_job_that_has_ended_changes_nothing(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        before = await catalog.job(JOB)
        assert await catalog.cancel_job(JOB) == before
        assert (await catalog.job(JOB)).state == "succeeded"

    async def test_of_an_unknown_job(self, catalog: SqlCatalog) -> None:
        with pytest.raises(JobNotFound):
            await catalog.cancel_job(JOB)

    async def test_leaves_what_search_finds(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        found = await catalog.document("docs", A)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.cancel_job(OTHER)
        record = await catalog.document("docs", A)
        assert (record.state, record.searchable_at, record.chunks) == ("failed", NOW, 3)
        assert record.chunk_digest == found.chunk_digest != ""

    async def test_is_forgotten_with_the_next_version(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.cancel_job(JOB)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        assert not (await catalog.document("docs", A)).cancelled
        await catalog.complete([failure(claim)])
        await catalog.complete([success(await claim_one(catalog))])
        assert await ends(catalog, JOB, OTHER) == ["parse_failed", "ready"]

    async def test_leaves_versions_of_other_jobs(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        assert (await catalog.cancel_job(JOB)).state == "queued"
        claim = await claim_one(catalog)
        assert await catalog.cancelled([claim]) == set()
        await catalog.complete([success(claim)])
        assert await ends(catalog, JOB, OTHER) == ["superseded", "ready"]
        assert (await catalog.job(JOB)).state == "cancelled"

    async def test_ends_versions_that_nobody_will_process_now(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.cancel_job(OTHER)
        assert await ends(catalog, JOB, OTHER) == ["superseded", "cancelled"]

    async def test_of_a_version_that_waits_for_a_lease(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.cancel_job(OTHER)
        # The version in work is another job's: it goes on.
        assert await catalog.cancelled([claim]) == set()
        await catalog.complete([success(claim)])
        marked = await claim_one(catalog)
        assert (marked.record.version, marked.record.cancelled) == (2, True)
        await catalog.complete([failure(marked)])
        assert await ends(catalog, JOB, OTHER) == ["ready", "parse_failed"]

    async def test_outlives_a_crash(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        lost = await claim_one(catalog)
        await catalog.cancel_job(JOB)
        claim = await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        assert claim.record.cancelled
        assert await catalog.cancelled([lost, claim]) == {lost.token, claim.token}

    async def test_outlives_a_release(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.cancel_job(JOB)
        await catalog.release([claim])
        assert (await claim_one(catalog, worker=RIVAL)).record.cancelled

    async def test_waits_for_no_retry(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.cancel_job(JOB)
        await catalog.complete([failure(claim, retry_at=NOW + timedelta(days=1))])
        assert (await claim_one(catalog)).record.cancelled

    async def test_of_a_document_that_waits_for_a_retry(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        await catalog.complete([failure(await claim_one(catalog), retry_at=EXPIRED)])
        assert (await catalog.cancel_job(JOB)).state == "cancelled"
        assert await catalog.queue_depth() == 0

    async def test_asked_about_leases_that_are_lost(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
        a, b = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        await catalog.complete([success(a)])
        assert await catalog.cancelled([a, b]) == {a.token}
        assert await catalog.cancelled([]) == set()


class TestRequeue:
    async def test_of_ready_documents_begins_anew(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), a_document("b"), job=JOB)
        assert await catalog.requeue("docs", {A: 1}, now=NOW) == 1
        record = await catalog.document("docs", A)
        assert (record.state, record.version, record.attempts) == ("queued", 1, 0)
        assert (record.chunks, record.searchable_at) == (3, NOW)
        assert await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW - timedelta(seconds=1)) == []
        claim = await claim_one(catalog)
        assert claim.record.attempts == 1
        await catalog.complete([success(claim, chunks=4)])
        assert (await catalog.document("docs", A)).chunks == 4
        assert [receipt.chunks for receipt in await catalog.receipts(JOB)] == [3, 3]

    async def test_only_of_those_that_are_as_they_were(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, *(a_document(name) for name in "abcd"), job=JOB)
        await catalog.accept(OTHER, "docs", [retitled(a_document("b"), "new")])
        await catalog.claim_document("docs", DocumentId("c"), WORKER, lease=LEASE, now=NOW)
        wanted = {DocumentId(name): 1 for name in "abc"} | {DocumentId("d"): 2, DocumentId("none"): 1}
        assert await catalog.requeue("docs", wanted, now=NOW) == 1
        assert await catalog.requeue("docs", wanted, now=NOW) == 0
        assert await catalog.requeue("none", wanted, now=NOW) == 0
        assert await catalog.requeue("docs", {}, now=NOW) == 0

    async def test_after_a_cancel_that_came_too_late_is_not_cancelled(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        claim = await claim_one(catalog)
        await catalog.cancel_job(JOB)
        await catalog.complete([success(claim)])
        await catalog.requeue("docs", {A: 1}, now=NOW)
        assert not (await claim_one(catalog)).record.cancelled


class TestSizes:
    async def test_passes_over_the_larger(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a", "x" * 11), a_document("b", "x" * 10), a_document("c", "x")])
        claims = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW, largest=10)
        assert [claim.record.document.id for claim in claims] == ["b", "c"]
        assert await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW, largest=10) == []
        assert (await claim_one(catalog)).record.document.id == "a"


class TestOutcome:
    async def test_what_was_reused_and_what_the_store_holds(self, catalog: SqlCatalog) -> None:
        await catalog.accept(JOB, "docs", [a_document("a")])
        assert (await catalog.document("docs", A)).chunk_digest == ""
        claim = await claim_one(catalog)
        outcome = success(claim)
        await catalog.complete([outcome])
        (receipt,) = await catalog.receipts(JOB)
        assert (receipt.reused_chunks, receipt.error) == (outcome.reused_chunks, None)
        assert outcome.reused_chunks > 0
        assert (await catalog.document("docs", A)).chunk_digest == outcome.chunk_digest

    async def test_a_failure_leaves_the_digest_and_a_removal_does_not(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("a"), job=JOB)
        digest = (await catalog.document("docs", A)).chunk_digest
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.complete([failure(await claim_one(catalog))])
        record = await catalog.document("docs", A)
        assert (record.chunk_digest, record.error) == (digest, DocumentError("parse_failed", "It is damaged."))
        claim = await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=NOW)
        await catalog.accept(JobId("third"), "docs", [a_document("a")])
        await catalog.remove_document(claim)
        assert (await catalog.document("docs", A)).chunk_digest == ""
