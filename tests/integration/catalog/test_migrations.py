"""The catalog's schema, as migrations build it."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, Integer, MetaData, Table, text
from sqlalchemy.ext.asyncio import create_async_engine

from ingestion.catalog import database, migrations, records
from ingestion.catalog import tables as catalog_tables
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


def of_the_first_release(connection: Connection) -> None:
    """More documents than the migration takes at a time, ready but for `queued`, of a collection and a job."""
    migrations.upgrade(connection, "0001")
    collection = records.collection_values(a_collection())
    for added in ("duplicates", "metadata_keys", "query_instruction", "rerank_instruction", "document_instruction"):
        del collection[added]
    names = [f"{number:04}" for number in range(1001)]
    rows, receipts = [], []
    for position, name in enumerate([*names, "queued"]):
        document = a_document(name)
        row = records.document_values(document, turn=position, background=False, now=NOW)
        row["position"] = row.pop("turn")
        parts = [document.sha256, document.title, document.media_type, document.partition, 128, 16]
        row["digest"] = sha256(json.dumps([*parts, dict(document.metadata)], sort_keys=True).encode()).hexdigest()
        for added in ("chunk_digest", "cancelled", "background", "ocr", "traceparent", "boilerplate", "report"):
            del row[added]
        row |= {"searchable_at": None} if name == "queued" else {"state": "ready", "due_at": None, "searchable_at": NOW}
        rows.append(row)
        receipt = Receipt(JobId("old"), document.id, 1, "queued" if name == "queued" else "ready")
        receipts.append(records.receipt_values(receipt, collection="docs", position=position))
        for added in ("reused_chunks", "duplicate_of", "report"):
            del receipts[-1][added]
    job = {"id": "old", "collection": "docs", "created_at": NOW}
    for table, values in (("collections", [collection]), ("jobs", [job]), ("documents", rows), ("receipts", receipts)):
        types = {name: column.type for name, column in catalog_tables.metadata.tables[table].c.items()}
        old = Table(table, MetaData(), *(Column(name, types.get(name, Integer())) for name in values[0]))
        connection.execute(old.insert(), values)


def before_turns(connection: Connection) -> None:
    """Two jobs, one after the other, and one in the background."""
    migrations.upgrade(connection, "0008")
    collection = records.collection_values(a_collection())
    connection.execute(catalog_tables.collections.insert().values(collection))
    for name, minutes in (("background", 0), ("first", 1), ("second", 2)):
        now = NOW - timedelta(hours=1) + timedelta(minutes=minutes)
        for position in range(3):
            document = a_document(f"{name} {position}")
            row = records.document_values(document, turn=position, background=name == "background", now=now)
            row["position"] = row.pop("turn")
            del row["ocr"], row["traceparent"], row["boilerplate"], row["report"]
            types = {name: column.type for name, column in catalog_tables.documents.c.items()}
            old = Table("documents", MetaData(), *(Column(name, types.get(name, Integer())) for name in row))
            connection.execute(old.insert().values(row))


async def test_give_turns_to_what_is_queued(database_url: str) -> None:
    engine = create_async_engine(parse_url(database_url))
    async with engine.begin() as connection:
        await connection.run_sync(before_turns)
    await engine.dispose()
    catalog = SqlCatalog(database_url)
    await catalog.start()
    claims = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
    await catalog.accept(JobId("new"), "docs", [a_document("new 0"), a_document("new 1")])
    claims = [*claims, *await catalog.claim(WORKER, limit=20, lease=LEASE, now=NOW)]
    await catalog.close()
    assert [claim.record.document.id for claim in claims] == [
        *("first 0", "second 0"),
        *("new 0", "first 1", "second 1", "new 1", "first 2", "second 2"),
        *("background 0", "background 1", "background 2"),
    ]


async def test_of_a_database_with_documents(database_url: str) -> None:
    engine = create_async_engine(parse_url(database_url))
    async with engine.begin() as connection:
        await connection.run_sync(of_the_first_release)
    await engine.dispose()
    catalog = SqlCatalog(database_url)
    await catalog.start()
    assert await catalog.collection("docs") == replace(
        a_collection(), metadata_keys={}, query_instruction=None, document_instruction=None
    )
    record = await catalog.document("docs", DocumentId("1000"))
    assert (record.document, record.state, record.chunk_digest) == (a_document("1000"), "ready", "")
    assert not record.cancelled
    # What was queued is worked on, and its receipt ends.
    (claim,) = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW)
    await catalog.complete([success(claim)])
    last = (await catalog.receipts(JobId("old"), after=1001))[0]
    assert (last.status, last.reused_chunks, last.duplicate_of) == ("ready", 1, None)
    assert (await catalog.job(JobId("old"))).state == "succeeded"
    # What was ready is still known as it was.
    known = [a_document("0000"), a_document("0999"), a_document("1000")]
    receipts = await catalog.accept(JobId("new"), "docs", [*known, replace(known[0], id=DocumentId("copy"))])
    assert [receipt.status for receipt in receipts] == ["unchanged"] * 3 + ["queued"]
    assert receipts[3].duplicate_of == "0000"
    recut = await catalog.accept(JobId("recut"), "docs", [replace(known[0], chunking=Chunking(64, 16))])
    assert recut[0].status == "queued"
    await catalog.close()
