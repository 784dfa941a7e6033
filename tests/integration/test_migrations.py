"""The catalog's schema, as migrations build it."""

import asyncio

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from ingestion.catalog import migrations
from ingestion.catalog.database import parse_url
from ingestion.catalog.sql import SqlCatalog
from ingestion.catalog.tables import metadata
from ingestion.errors import CatalogUnavailable
from retrieval.errors import ConfigurationError
from tests.support.catalog import a_collection


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


async def test_wait_for_the_node_that_migrates(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "WAIT", "10ms")
    node = SqlCatalog(postgres_url)
    with psycopg.connect(postgres_url) as other:
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
