"""Catalog: work under leases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.types import Claim, DocumentError, JobId, QueueState, ReadingReport, ReceiptStatus, WorkerId
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
RIVAL = WorkerId("rival")
SECOND = timedelta(seconds=1)
EXPIRED = NOW + LEASE
"""From here on a lease taken at NOW has run out."""


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    """With one document, `a`, queued."""
    await catalog.add_collection(a_collection())
    await catalog.accept(JOB, "docs", [a_document("a")])
    return catalog


async def statuses(catalog: SqlCatalog, *jobs: JobId) -> list[ReceiptStatus]:
    return [receipt.status for job in jobs for receipt in await catalog.receipts(job)]


class TestClaim:
    async def test_leases_what_is_queued(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        assert (claim.worker, claim.lease_until) == (WORKER, NOW + LEASE)
        assert claim.record == await catalog.document("docs", A)
        assert (claim.record.document, claim.record.state, claim.record.attempts) == (a_document("a"), "processing", 1)
        assert await catalog.claim(RIVAL, limit=10, lease=LEASE, now=EXPIRED - SECOND) == []
        assert await catalog.queue_depth() == 1

    async def test_the_queue_tells_what_is_in_work_and_what_waits_longest(self, catalog: SqlCatalog) -> None:
        assert await catalog.queue_state() == QueueState(1, 0, (await catalog.document("docs", A)).ingested_at)
        await claim_one(catalog)
        assert await catalog.queue_state() == QueueState(1, 1, None)
        await catalog.accept(OTHER, "docs", [a_document("b")])
        oldest = (await catalog.document("docs", DocumentId("b"))).ingested_at
        await catalog.accept(JobId("later"), "docs", [a_document("c")])
        assert await catalog.queue_state() == QueueState(3, 1, oldest)

    async def test_oldest_first(self, catalog: SqlCatalog) -> None:
        await catalog.accept(OTHER, "docs", [a_document("c"), a_document("b")])
        claimed = [(await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW))[0] for _ in range(3)]
        assert [claim.record.document.id for claim in claimed] == ["a", "c", "b"]

    async def test_only_of_the_collections_that_are_named(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("other"))
        await catalog.accept(OTHER, "other", [a_document("b", collection="other")])
        assert await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW, collections=[]) == []
        (claim,) = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW, collections=["other", "unknown"])
        assert claim.record.document.id == "b"
        assert (await claim_one(catalog)).record.document.id == A

    async def test_nothing_that_is_not_due(self, catalog: SqlCatalog) -> None:
        accepted = (await catalog.document("docs", A)).ingested_at
        assert await catalog.claim(WORKER, limit=10, lease=LEASE, now=accepted - SECOND) == []

    async def test_takes_over_where_a_lease_ran_out(self, catalog: SqlCatalog) -> None:
        lost = await claim_one(catalog)
        claim = await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        assert (claim.worker, claim.record.attempts, claim.record.state) == (RIVAL, 2, "processing")
        assert claim.token != lost.token

    async def test_by_many_at_once_never_shares_a_document(self, catalog: SqlCatalog) -> None:
        await catalog.accept(OTHER, "docs", [a_document(f"{number}") for number in range(99)])

        async def claim_all(worker: WorkerId) -> list[Claim]:
            claimed: list[Claim] = []
            while claims := await catalog.claim(worker, limit=3, lease=LEASE, now=NOW):
                claimed += claims
            return claimed

        shares = await asyncio.gather(*(claim_all(WorkerId(f"{number}")) for number in range(20)))
        claimed = [claim.record.document.id for share in shares for claim in share]
        assert len(claimed) == len(set(claimed)) == 100
        assert len({claim.token for share in shares for claim in share}) == 100


class TestRenew:
    async def test_extends_a_lease(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        (renewed,) = await catalog.renew([claim], lease=LEASE, now=NOW + SECOND)
        assert renewed.lease_until == EXPIRED + SECOND
        assert await catalog.claim(RIVAL, limit=1, lease=LEASE, now=EXPIRED) == []
        await catalog.complete([success(renewed)])
        assert await statuses(catalog, JOB) == ["ready"]

    async def test_returns_only_what_is_still_held(self, catalog: SqlCatalog) -> None:
        await catalog.accept(OTHER, "docs", [a_document("b"), a_document("c")])
        a, b, c = await catalog.claim(WORKER, limit=3, lease=LEASE, now=NOW)
        await catalog.complete([success(b)])
        kept = await catalog.renew([a, b, c], lease=LEASE, now=NOW + SECOND)
        assert [claim.record.document.id for claim in kept] == ["a", "c"]

    async def test_of_a_lost_lease_changes_nothing(self, catalog: SqlCatalog) -> None:
        lost = await claim_one(catalog)
        await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        assert await catalog.renew([lost], lease=LEASE * 10, now=EXPIRED) == []
        await claim_one(catalog, now=EXPIRED + LEASE)

    async def test_saves_a_lease_that_ran_out_and_that_nobody_took(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        assert len(await catalog.renew([claim], lease=LEASE, now=EXPIRED)) == 1
        assert await catalog.claim(RIVAL, limit=1, lease=LEASE, now=EXPIRED) == []


class TestComplete:
    async def test_success(self, catalog: SqlCatalog) -> None:
        await catalog.complete([success(await claim_one(catalog))])
        record = await catalog.document("docs", A)
        assert (record.state, record.chunks, record.tokens, record.truncated_tokens) == ("ready", 3, 30, 1)
        assert (record.searchable_at, record.error) == (NOW, None)
        (receipt,) = await catalog.receipts(JOB)
        assert (receipt.status, receipt.chunks, receipt.tokens, receipt.truncated_tokens) == ("ready", 3, 30, 1)
        assert (receipt.searchable_at, receipt.error) == (NOW, None)
        assert await catalog.queue_depth() == 0
        assert await catalog.claim(WORKER, limit=1, lease=LEASE, now=EXPIRED) == []

    async def test_the_report_is_that_of_the_version_that_search_finds(self, catalog: SqlCatalog) -> None:
        warnings = ("No text could be read on page 4.", "OCR read pages 2 to 3.")
        report = ReadingReport(4, (4,), (2, 3), 0.987, warnings, "Kilns")
        await catalog.complete([replace(success(await claim_one(catalog)), report=report)])
        assert (await catalog.document("docs", A)).report == report
        assert (await catalog.receipts(JOB))[0].report == report
        (unchanged,) = await catalog.accept(OTHER, "docs", [a_document("a")])
        assert unchanged.report == report
        third = JobId("third")
        (queued,) = await catalog.accept(third, "docs", [retitled(a_document("a"), "new")])
        assert queued.report == ReadingReport()
        await catalog.complete([failure(await claim_one(catalog))])
        assert (await catalog.document("docs", A)).report == report
        assert (await catalog.receipts(third))[0].report == ReadingReport()

    async def test_success_of_a_later_version_replaces(self, catalog: SqlCatalog) -> None:
        await catalog.complete([success(await claim_one(catalog))])
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.complete([success(await claim_one(catalog), chunks=5)])
        assert await statuses(catalog, JOB, OTHER) == ["ready", "replaced"]
        assert (await catalog.document("docs", A)).chunks == 5

    async def test_failure(self, catalog: SqlCatalog) -> None:
        await catalog.complete([failure(await claim_one(catalog))])
        error = DocumentError("parse_failed", "It is damaged.")
        record = await catalog.document("docs", A)
        assert (record.state, record.error, record.searchable_at) == ("failed", error, None)
        (receipt,) = await catalog.receipts(JOB)
        assert (receipt.status, receipt.error) == ("failed", error)
        assert await catalog.queue_depth() == 0

    async def test_failure_of_a_replacement_leaves_what_search_finds(self, catalog: SqlCatalog) -> None:
        await catalog.complete([success(await claim_one(catalog))])
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.complete([failure(await claim_one(catalog))])
        record = await catalog.document("docs", A)
        assert (record.state, record.version) == ("failed", 2)
        assert (record.chunks, record.tokens, record.truncated_tokens, record.searchable_at) == (3, 30, 1, NOW)
        (receipt,) = await catalog.receipts(OTHER)
        assert (receipt.chunks, receipt.searchable_at) == (0, None)

    async def test_failure_to_be_retried(self, catalog: SqlCatalog) -> None:
        retry_at = NOW + timedelta(seconds=20)
        await catalog.complete([failure(await claim_one(catalog), retry_at=retry_at)])
        record = await catalog.document("docs", A)
        assert (record.state, record.error) == ("queued", DocumentError("parse_failed", "It is damaged."))
        assert await statuses(catalog, JOB) == ["queued"]
        assert await catalog.claim(WORKER, limit=1, lease=LEASE, now=retry_at - SECOND) == []
        again = await claim_one(catalog, now=retry_at)
        assert again.record.attempts == 2
        await catalog.complete([success(again)])
        assert await statuses(catalog, JOB) == ["ready"]
        assert (await catalog.document("docs", A)).error is None

    async def test_after_a_lost_lease_changes_nothing(self, catalog: SqlCatalog) -> None:
        lost = await claim_one(catalog)
        # The same worker takes it again: the old claim is lost all the same.
        held = await claim_one(catalog, now=EXPIRED)
        before = await catalog.document("docs", A)
        await catalog.complete([success(lost)])
        await catalog.complete([failure(lost)])
        await catalog.release([lost])
        assert not await catalog.remove_document(lost)
        assert await catalog.document("docs", A) == before
        assert await statuses(catalog, JOB) == ["queued"]
        await catalog.complete([success(held, chunks=7)])
        assert (await catalog.document("docs", A)).chunks == 7

    async def test_twice_counts_once(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        await catalog.complete([success(claim), failure(claim)])
        await catalog.complete([failure(claim)])
        assert await statuses(catalog, JOB) == ["ready"]

    async def test_closes_what_it_can(self, catalog: SqlCatalog) -> None:
        lost = await claim_one(catalog)
        await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        await catalog.accept(OTHER, "docs", [a_document("b"), a_document("c")])
        b, c = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        await catalog.complete([success(lost), success(b), failure(c)])
        assert await statuses(catalog, JOB, OTHER) == ["queued", "ready", "failed"]


class TestNewVersionMeanwhile:
    async def test_waits_for_the_lease(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        (receipt,) = await catalog.accept(OTHER, "docs", [a_document("a")])
        assert (receipt.version, receipt.status) == (2, "queued")
        assert (await catalog.document("docs", A)).state == "queued"
        assert (await catalog.job(JOB)).state == "running"
        assert (await catalog.job(OTHER)).state == "queued"
        assert await catalog.claim(RIVAL, limit=1, lease=LEASE, now=NOW) == []
        assert len(await catalog.renew([claim], lease=LEASE, now=NOW)) == 1

    async def test_is_claimed_after_success(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.complete([success(claim)])
        assert await statuses(catalog, JOB, OTHER) == ["ready", "queued"]
        record = await catalog.document("docs", A)
        assert (record.state, record.attempts, record.chunks, record.searchable_at) == ("queued", 0, 3, NOW)
        newer = await claim_one(catalog)
        assert (newer.record.version, newer.record.document.title, newer.record.attempts) == (2, "new", 1)
        await catalog.complete([success(newer)])
        assert await statuses(catalog, JOB, OTHER) == ["ready", "replaced"]

    @pytest.mark.parametrize("retry_at", [None, NOW + LEASE])
    async def test_is_claimed_after_failure(self, catalog: SqlCatalog, retry_at: None) -> None:
        claim = await claim_one(catalog)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.complete([failure(claim, retry_at=retry_at)])
        assert await statuses(catalog, JOB, OTHER) == ["failed", "queued"]
        (receipt,) = await catalog.receipts(JOB)
        assert receipt.error is not None
        assert receipt.error.code == ("superseded" if retry_at else "parse_failed")
        record = await catalog.document("docs", A)
        assert (record.state, record.error) == ("queued", None)
        assert (await claim_one(catalog)).record.version == 2

    async def test_is_claimed_after_release_with_its_own_attempts(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        await catalog.accept(OTHER, "docs", [a_document("a")])
        await catalog.release([claim])
        assert (await claim_one(catalog)).record.attempts == 1

    async def test_supersedes_what_was_never_processed(self, catalog: SqlCatalog) -> None:
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        claim = await claim_one(catalog)
        assert await statuses(catalog, JOB, OTHER) == ["queued", "queued"]
        await catalog.complete([success(claim)])
        assert await statuses(catalog, JOB, OTHER) == ["failed", "ready"]
        (receipt,) = await catalog.receipts(JOB)
        assert receipt.error is not None
        assert receipt.error.code == "superseded"


class TestRelease:
    async def test_undoes_the_claim(self, catalog: SqlCatalog) -> None:
        before = await catalog.document("docs", A)
        await catalog.release([await claim_one(catalog)])
        assert await catalog.document("docs", A) == before
        assert (await claim_one(catalog, worker=RIVAL)).record.attempts == 1

    async def test_keeps_a_retry_waiting(self, catalog: SqlCatalog) -> None:
        await catalog.complete([failure(await claim_one(catalog), retry_at=EXPIRED)])
        await catalog.release([await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=NOW)])
        assert await catalog.claim(WORKER, limit=1, lease=LEASE, now=EXPIRED - SECOND) == []

    async def test_leaves_a_ready_document_ready(self, catalog: SqlCatalog) -> None:
        await catalog.complete([success(await claim_one(catalog))])
        before = await catalog.document("docs", A)
        claim = await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=NOW)
        assert await catalog.queue_depth() == 1
        await catalog.release([claim])
        assert await catalog.document("docs", A) == before
        assert await catalog.queue_depth() == 0


class TestRemoval:
    async def test_leases_one_document(self, catalog: SqlCatalog) -> None:
        await catalog.accept(OTHER, "docs", [a_document("b")])
        claim = await catalog.claim_document("docs", DocumentId("b"), WORKER, lease=LEASE, now=NOW)
        assert (claim.record.document.id, claim.record.state, claim.record.attempts) == ("b", "processing", 1)
        assert (await claim_one(catalog)).record.document.id == "a"

    async def test_of_a_document_under_a_lease_is_busy_until_it_runs_out(self, catalog: SqlCatalog) -> None:
        lost = await claim_one(catalog)
        with pytest.raises(DocumentBusy):
            await catalog.claim_document("docs", A, RIVAL, lease=LEASE, now=EXPIRED - SECOND)
        assert await catalog.remove_document(await catalog.claim_document("docs", A, RIVAL, lease=LEASE, now=EXPIRED))
        await catalog.complete([success(lost)])
        with pytest.raises(DocumentNotFound):
            await catalog.document("docs", A)

    async def test_of_an_unknown_document(self, catalog: SqlCatalog) -> None:
        with pytest.raises(DocumentNotFound):
            await catalog.claim_document("docs", DocumentId("none"), WORKER, lease=LEASE, now=NOW)

    async def test_ends_queued_receipts_only(self, catalog: SqlCatalog) -> None:
        await catalog.complete([success(await claim_one(catalog))])
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        claim = await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=NOW)
        assert await catalog.remove_document(claim)
        assert await statuses(catalog, JOB, OTHER) == ["ready", "failed"]
        (receipt,) = await catalog.receipts(OTHER)
        assert receipt.error is not None
        assert receipt.error.code == "deleted"
        assert not await catalog.remove_document(claim)
        # The document may come again.
        (receipt,) = await catalog.accept(JobId("third"), "docs", [a_document("a")])
        assert (receipt.version, receipt.status) == (1, "queued")

    async def test_loses_against_a_newer_version(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, a_document("b"), job=OTHER)
        b = DocumentId("b")
        claim = await catalog.claim_document("docs", b, WORKER, lease=LEASE, now=NOW)
        await catalog.accept(JobId("third"), "docs", [a_document("b")])
        assert not await catalog.remove_document(claim)
        record = await catalog.document("docs", b)
        assert (record.state, record.version, record.chunks, record.searchable_at) == ("queued", 2, 0, None)
        claims = await catalog.claim(WORKER, limit=10, lease=LEASE, now=NOW)
        assert "b" in {claim.record.document.id for claim in claims}

    async def test_cut_short_has_the_document_ingested_again(self, catalog: SqlCatalog) -> None:
        await catalog.complete([success(await claim_one(catalog))])
        await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=NOW)
        claim = await claim_one(catalog, now=EXPIRED)
        await catalog.release([claim])
        assert (await catalog.document("docs", A)).state == "queued"
        await catalog.complete([success(await claim_one(catalog, now=EXPIRED))])
        assert (await catalog.document("docs", A)).state == "ready"
