"""The catalog's schema, as migrations build it."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, Table, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from ingestion.catalog import database, migrations, records
from ingestion.catalog.catalog import SqlCatalog
from ingestion.catalog.database import parse_url
from ingestion.catalog.tables import metadata
from ingestion.errors import CatalogUnavailable
from ingestion.types import Chunking, JobId, Receipt
from retrieval.errors import ConfigurationError
from retrieval.types import DocumentId
from tests.support.stores.catalog import LEASE, NOW, WORKER, a_collection, a_document, success


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each database in turn, empty."""
    return str(request.getfixturevalue(f"empty_{'sqlite' if request.param == 'sqlite' else 'postgres'}_url"))


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [*compare_metadata(context, metadata)]


async def test_agree_with_the_tables(catalog: SqlCatalog, database_url: str) -> None:
    engine = create_async_engine(parse_url(database_url))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_keep_what_is_there(catalog: SqlCatalog, database_url: str) -> None:
    await catalog.add_collection(a_collection())
    await catalog.close()
    again = SqlCatalog(database_url)
    await again.start()
    assert await again.collections() == [a_collection()]
    await again.close()


async def test_of_many_nodes_at_once(database_url: str) -> None:
    nodes = [SqlCatalog(database_url) for _ in range(8)]
    await asyncio.gather(*(node.start() for node in nodes))
    await nodes[0].add_collection(a_collection())
    assert await nodes[7].collections() == [a_collection()]
    for node in nodes:
        await node.close()


async def test_wait_for_another_writer_of_a_new_file(empty_sqlite_url: str) -> None:
    file = empty_sqlite_url.removeprefix("sqlite:///")
    node = SqlCatalog(empty_sqlite_url)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        start = asyncio.create_task(node.start())
        # Long enough to reach the switch to WAL, which another writer makes SQLite refuse without waiting.
        assert await asyncio.wait({start}, timeout=0.5) == (set(), {start})
        other.execute("ROLLBACK")
    await start
    await node.close()
    with closing(sqlite3.connect(file)) as file_again:
        assert file_again.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_give_up_on_a_writer_that_never_ends(empty_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.2)
    node = SqlCatalog(empty_sqlite_url)
    with closing(sqlite3.connect(empty_sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogUnavailable, match="database is locked"):
            await node.start()
    await node.start()
    await node.close()


async def test_wait_for_the_node_that_migrates(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "WAIT", "10ms")
    node = SqlCatalog(empty_postgres_url)
    with psycopg.connect(empty_postgres_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [migrations.ADVISORY_LOCK])
        with pytest.raises(CatalogUnavailable, match="lock timeout"):
            await node.start()
    await node.start()
    await node.close()


async def test_of_a_newer_release_stop_the_start(catalog: SqlCatalog, database_url: str) -> None:
    engine = create_async_engine(parse_url(database_url))
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'from the future'"))
    await engine.dispose()
    older = SqlCatalog(database_url)
    with pytest.raises(ConfigurationError, match="does not fit this release"):
        await older.start()
    await older.close()


OLDEST = "0019"


def of_the_first_release(connection: Connection) -> None:
    """A collection and a job with two documents, `done` ready and `queued` not begun."""
    migrations.upgrade(connection, OLDEST)
    rows, receipts = [], []
    for position, name in enumerate(["done", "queued"]):
        row = records.document_values(a_document(name), turn=position, background=False, now=NOW)
        row |= {"searchable_at": None} if name == "queued" else {"state": "ready", "due_at": None, "searchable_at": NOW}
        rows.append(row)
        receipt = Receipt(JobId("old"), DocumentId(name), 1, "queued" if name == "queued" else "ready")
        receipts.append(records.receipt_values(receipt, collection="docs", position=position))
    collection = records.collection_values(a_collection())
    job = {"id": "old", "collection": "docs", "created_at": NOW, "cancelled": False}
    for table, values in (("collections", [collection]), ("jobs", [job]), ("documents", rows), ("receipts", receipts)):
        names = {column["name"] for column in inspect(connection).get_columns(table)} & values[0].keys()
        old = Table(table, MetaData(), *(Column(name, metadata.tables[table].c[name].type) for name in names))
        connection.execute(old.insert(), [{name: row[name] for name in names} for row in values])


async def test_of_a_database_with_documents(database_url: str) -> None:
    engine = create_async_engine(parse_url(database_url))
    async with engine.begin() as connection:
        await connection.run_sync(of_the_first_release)
    await engine.dispose()
    catalog = SqlCatalog(database_url)
    await catalog.start()
    assert await catalog.collection("docs") == a_collection()
    record = await catalog.document("docs", DocumentId("done"))
    assert (record.document, record.state, record.cancelled) == (a_document("done"), "ready", False)
    # What was queued is worked on, and its receipt ends.
    (claim,) = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW)
    await catalog.complete([success(claim)])
    last = (await catalog.receipts(JobId("old"), after=1))[0]
    assert (last.document_id, last.status, last.reused_chunks, last.duplicate_of) == ("queued", "ready", 1, None)
    assert (await catalog.job(JobId("old"))).state == "succeeded"
    # What was ready is still known as it was.
    known = a_document("done")
    receipts = await catalog.accept(JobId("new"), "docs", [known, replace(known, id=DocumentId("copy"))])
    assert [receipt.status for receipt in receipts] == ["unchanged", "queued"]
    assert receipts[1].duplicate_of == "done"
    recut = await catalog.accept(JobId("recut"), "docs", [replace(known, chunking=Chunking(64, 16))])
    assert recut[0].status == "queued"
    await catalog.close()
