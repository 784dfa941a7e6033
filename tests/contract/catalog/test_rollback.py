"""Catalog: what it remembers of work that broke off, and which attempts it counts."""

from dataclasses import replace

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.types import JobId, WorkerId
from retrieval.types import ChunkId, DocumentId
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

JOB, OTHER = JobId("job"), JobId("other")
A = DocumentId("a")
RIVAL = WorkerId("rival")
EXPIRED = NOW + LEASE
IDS = frozenset({ChunkId("1"), ChunkId("2")})


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    """With one document, `a`, queued."""
    await catalog.add_collection(a_collection())
    await catalog.accept(JOB, "docs", [a_document("a")])
    return catalog


async def rollback_ids(catalog: SqlCatalog) -> frozenset[ChunkId] | None:
    return (await catalog.document("docs", A)).rollback_ids


class TestFirstVersion:
    async def test_that_nobody_worked_on(self, catalog: SqlCatalog) -> None:
        assert (await claim_one(catalog)).record.rollback_ids is None

    async def test_whose_worker_died(self, catalog: SqlCatalog) -> None:
        await claim_one(catalog)
        claim = await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        assert claim.record.rollback_ids == frozenset()
        await catalog.complete([success(claim)])
        assert await rollback_ids(catalog) is None

    @pytest.mark.parametrize("written", [False, True])
    async def test_that_is_tried_again(self, catalog: SqlCatalog, written: bool) -> None:
        again = replace(failure(await claim_one(catalog), retry_at=NOW), written=written)
        await catalog.complete([again])
        assert await rollback_ids(catalog) == (frozenset() if written else None)
        # Until it has succeeded, or failed for good, after which nothing of it is left.
        await catalog.complete([failure(await claim_one(catalog), retry_at=NOW)])
        assert await rollback_ids(catalog) == (frozenset() if written else None)
        await catalog.complete([failure(await claim_one(catalog))])
        assert await rollback_ids(catalog) is None

    @pytest.mark.parametrize("begun", [False, True])
    async def test_that_is_given_back(self, catalog: SqlCatalog, begun: bool) -> None:
        await catalog.release([await claim_one(catalog)], begun=begun)
        record = await catalog.document("docs", A)
        assert (record.rollback_ids, record.attempts) == (frozenset() if begun else None, 0)

    async def test_that_the_next_one_follows(self, catalog: SqlCatalog) -> None:
        await catalog.release([await claim_one(catalog)], begun=True)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        assert (await claim_one(catalog)).record.rollback_ids == frozenset()


class TestReplacement:
    @pytest.fixture
    async def catalog(self, catalog: SqlCatalog) -> SqlCatalog:
        """The document is searchable and its next version queued."""
        await catalog.complete([success(await claim_one(catalog))])
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        return catalog

    async def test_that_wrote_nothing(self, catalog: SqlCatalog) -> None:
        await claim_one(catalog)
        claim = await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        assert claim.record.rollback_ids is None
        await catalog.release([claim], begun=True)
        assert await rollback_ids(catalog) is None

    async def test_that_broke_off(self, catalog: SqlCatalog) -> None:
        lost = await claim_one(catalog)
        assert await catalog.begin_replacing([(lost, IDS)]) == {lost.token}
        claim = await claim_one(catalog, now=EXPIRED, worker=RIVAL)
        assert claim.record.rollback_ids == IDS
        # What the store holds now is not what the version before consisted of.
        assert await catalog.begin_replacing([(claim, [ChunkId("3")])]) == {claim.token}
        assert await catalog.held([lost, claim]) == {claim.token: IDS}
        assert await catalog.begin_replacing([(lost, [ChunkId("4")])]) == set()
        assert await rollback_ids(catalog) == IDS
        await catalog.complete([success(claim)])
        assert await rollback_ids(catalog) is None
        assert await catalog.held([claim]) == {}

    async def test_that_left_no_version_whole(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        await catalog.begin_replacing([(claim, IDS)])
        await catalog.complete([replace(failure(claim), version_lost=True)])
        record = await catalog.document("docs", A)
        assert (record.state, record.chunks, record.searchable_at, record.chunk_digest) == ("failed", 0, None, "")
        assert record.rollback_ids is None

    async def test_that_a_removal_ends(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        await catalog.begin_replacing([(claim, IDS)])
        removal = await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=EXPIRED)
        await catalog.accept(JobId("third"), "docs", [retitled(a_document("a"), "newest")])
        assert not await catalog.remove_document(removal)
        assert await rollback_ids(catalog) is None

    async def test_moves_with_its_vectors(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("other"))
        claim = await claim_one(catalog)
        await ingest(catalog, retitled(a_document("a", collection="other"), "new"), job="fill")
        await catalog.begin_replacing([(claim, IDS)])
        await catalog.complete([failure(claim, retry_at=NOW)])
        assert await catalog.swap_collections("docs", "other")
        assert await rollback_ids(catalog) is None
        assert (await catalog.document("other", A)).rollback_ids == IDS


class TestCancel:
    async def test_leaves_what_is_written_to_a_worker_who_comes_at_once(self, catalog: SqlCatalog) -> None:
        again = replace(failure(await claim_one(catalog), retry_at=EXPIRED), written=True)
        await catalog.complete([again])
        job = await catalog.cancel_job(JOB)
        assert not job.ended
        claim = await claim_one(catalog)
        assert (claim.record.cancelled, claim.record.rollback_ids) == (True, frozenset())
        await catalog.complete([failure(claim)])
        assert (await catalog.job(JOB)).state == "cancelled"


class TestAttempts:
    async def test_that_an_outage_cut_short_do_not_count(self, catalog: SqlCatalog) -> None:
        for _ in range(7):
            claim = await claim_one(catalog)
            assert claim.record.attempts == 1
            await catalog.complete([replace(failure(claim, retry_at=NOW), counted=False)])
        await catalog.complete([failure(await claim_one(catalog), retry_at=NOW)])
        assert (await claim_one(catalog)).record.attempts == 2

    async def test_of_an_older_version_are_not_taken_from_the_newer(self, catalog: SqlCatalog) -> None:
        claim = await claim_one(catalog)
        await catalog.accept(OTHER, "docs", [retitled(a_document("a"), "new")])
        await catalog.complete([replace(failure(claim, retry_at=NOW), counted=False)])
        assert (await claim_one(catalog)).record.attempts == 1

    async def test_that_a_crash_cut_short_count(self, catalog: SqlCatalog) -> None:
        for attempts in (1, 2, 3):
            claim = await claim_one(catalog, now=NOW + attempts * LEASE)
            assert claim.record.attempts == attempts

    async def test_begin_anew_where_a_removal_was_cut_short(self, catalog: SqlCatalog) -> None:
        for _ in range(3):
            await catalog.complete([failure(await claim_one(catalog), retry_at=NOW)])
        await catalog.complete([success(await claim_one(catalog))])
        await catalog.claim_document("docs", A, WORKER, lease=LEASE, now=NOW)
        assert (await claim_one(catalog, now=EXPIRED)).record.attempts == 1
