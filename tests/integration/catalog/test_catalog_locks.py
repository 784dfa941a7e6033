"""The catalog beside somebody else who holds locks in its database."""

import asyncio
import sqlite3

import psycopg
import pytest

from ingestion.catalog import database
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import CatalogUnavailable
from ingestion.types import JobId
from tests.support.stores.catalog import LEASE, NOW, WORKER, a_collection, a_document

JOB = JobId("job")


async def test_claims_pass_over_locked_rows(postgres_url: str) -> None:
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    await catalog.accept(JOB, "docs", [a_document("a"), a_document("b")])
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT FROM documents WHERE id = 'a' FOR UPDATE")
        async with asyncio.timeout(10):
            (claim,) = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        assert claim.record.document.id == "b"
    await catalog.close()


async def test_waiting_for_another_process_is_bounded(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.01)
    catalog = SqlCatalog(sqlite_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogUnavailable, match="locked"):
        await catalog.accept(JOB, "docs", [a_document("a")])
    # Whoever reads does not wait.
    assert await catalog.collections() == [a_collection()]
    other.execute("ROLLBACK")
    await catalog.accept(JOB, "docs", [a_document("a")])
    other.close()
    await catalog.close()


async def test_a_call_given_up_leaves_nothing_behind(catalog: SqlCatalog) -> None:
    await catalog.add_collection(a_collection())
    documents = [a_document(f"{number}") for number in range(500)]
    for steps in range(0, 60, 6):
        accepting = asyncio.create_task(catalog.accept(JOB, "docs", documents))
        for _ in range(steps):
            await asyncio.sleep(0)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert await catalog.queue_depth() == 0
    await catalog.accept(JOB, "docs", [a_document("a")])
    assert await catalog.queue_depth() == 1
