"""Catalog: what goes when it is old."""

from datetime import UTC, datetime, timedelta

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import JobNotFound
from ingestion.retention import BATCH, Retention
from ingestion.types import IdempotencyKey, JobId
from tests.support.stores.catalog import a_collection, a_document, claim_one, failure, ingest

OLD, OTHER = JobId("old"), JobId("other")
KEPT = timedelta(days=30)
KEY = IdempotencyKey("key", "0" * 64)


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    await catalog.add_collection(a_collection())
    return catalog


async def swept(catalog: SqlCatalog, after: timedelta) -> int:
    return await Retention(catalog, KEPT).sweep(datetime.now(UTC) + after)


async def test_ended_jobs_go_with_receipts_and_keys_and_leave_their_documents(catalog: SqlCatalog) -> None:
    await ingest(catalog, a_document("a"), job=OLD)
    await catalog.accept(OTHER, "docs", [a_document("a")], key=KEY)
    assert await swept(catalog, KEPT - timedelta(hours=1)) == 0
    assert await swept(catalog, KEPT + timedelta(hours=1)) == 2
    for job in (OLD, OTHER):
        with pytest.raises(JobNotFound):
            await catalog.receipts(job)
    assert [record.state for record in await catalog.documents("docs")] == ["ready"]
    (again,) = await catalog.accept(JobId("again"), "docs", [a_document("a")], key=KEY)
    assert again.job_id == "again"


async def test_what_has_not_ended_stays(catalog: SqlCatalog) -> None:
    await catalog.accept(OLD, "docs", [a_document("a")])
    assert await swept(catalog, 2 * KEPT) == 0
    await catalog.complete([failure(await claim_one(catalog))])
    assert await swept(catalog, 2 * KEPT) == 1


async def test_more_than_a_batch(catalog: SqlCatalog) -> None:
    await ingest(catalog, a_document("a"), job=OLD)
    for number in range(BATCH):
        await catalog.accept(JobId(f"{number}"), "docs", [a_document("a")])
    assert await swept(catalog, 2 * KEPT) == BATCH + 1


async def test_nothing_goes_where_everything_is_kept(catalog: SqlCatalog) -> None:
    await ingest(catalog, a_document("a"), job=OLD)
    await Retention(catalog, timedelta(0)).run()
    assert (await catalog.job(OLD)).ended
