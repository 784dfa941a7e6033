"""One database, SQLite or PostgreSQL: connections, transactions, and the translation of its errors."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from structlog import get_logger

from ingestion.catalog import migrations
from ingestion.catalog.tables import collections
from ingestion.errors import CatalogUnavailable
from retrieval.errors import NO_ROOM, ConfigurationError, InvalidRequest, StoreFull, TandemError

logger = get_logger()

Result = TypeVar("Result")

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
POOL_SIZE = 10
CONNECT_SECONDS = 5
WAIT_SECONDS = 10
"""Seconds to wait for a connection of the pool, and on SQLite for the lock of another process."""
TRANSACTION_SECONDS = 120
"""The longest is the removal of a large collection."""
READ_SECONDS = 30.0
"""The longest are the counts of a large collection."""
PROBE_SECONDS = 5.0
"""Interval of probes, and the timeout of each."""
WAL_RETRY_SECONDS = 0.05
FULL_CODES = frozenset({"SQLITE_FULL", "53100"})
DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
"""Codes of errors that waiting does not resolve."""


def parse_url(url: str) -> URL:
    """Parses a URL. Raises ConfigurationError if it names neither a SQLite file nor a PostgreSQL database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The error's message would contain the password.
        raise ConfigurationError("The database URL cannot be read: use sqlite:///file or postgresql://…") from error
    if parsed.drivername not in DRIVERS:
        raise ConfigurationError(
            f"The database URL begins with {parsed.drivername}://, which is not supported: use sqlite:/// or postgresql://."
        )
    parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("The database URL names no file: a catalog in memory would forget what it accepted.")
    return parsed


class Database:
    """Connections to the database at `url`. Raises ConfigurationError if the URL is invalid."""

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)
        self._engine = create_async_engine(
            self._url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            # A connection that the server dropped is replaced instead of failing its next use.
            pool_pre_ping=not self.is_sqlite,
            connect_args=_connect_args(self._url),
        )
        _prepare(self._engine.sync_engine)
        # Both use the same pool, except with SQLite.
        self._writer = self._engine.execution_options(begin="IMMEDIATE")
        # SQLite has one writer at a time. Waiting here is fair and wakes at once; its own waiting polls.
        self._writing = asyncio.Semaphore(1 if self.is_sqlite else POOL_SIZE)
        self._transactions: set[asyncio.Task[Any]] = set()
        self._given_up: set[asyncio.Task[Any]] = set()
        self._probe: asyncio.Task[None] | None = None
        self.failure: str | None = None

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    async def start(self) -> None:
        """Migrates the schema, and monitors the database from then on. Raises the errors of `migrate`."""
        await self.migrate()
        self._probe = asyncio.create_task(self._watch())

    async def migrate(self) -> migrations.Migration:
        """Creates a missing folder or database, and migrates the schema to the newest version. Concurrent processes
        migrate once.

        Raises CatalogUnavailable, ConfigurationError (the folder cannot be created; the database is of a newer
        release).
        """
        if self.is_sqlite:
            folder = Path(str(self._url.database)).parent
            try:
                await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"The folder of the database, {folder}, cannot be made: {error}.") from error
        async with self._translated(TRANSACTION_SECONDS):
            try:
                return await asyncio.to_thread(_migrate, self._url)
            except DBAPIError as error:
                if _code(error) in DAMAGED:
                    raise ConfigurationError(
                        f"The catalog {self._url.database} is damaged ({_reason(error)}): restore it from a backup, or "
                        "move the file away to begin with an empty catalog."
                    ) from error
                raise

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
            self._probe = None
        if self._transactions:
            await asyncio.wait(self._transactions, timeout=WAIT_SECONDS)
        await self._engine.dispose()

    async def read(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Runs `work` in a read-only transaction."""
        return await self._run(self._transaction(self._engine, work), READ_SECONDS)

    async def write(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Runs `work` in a transaction that is committed when it returns."""

        async def in_turn() -> Result:
            async with self._writing:
                return await self._transaction(self._writer, work)

        return await self._run(in_turn(), TRANSACTION_SECONDS)

    async def _transaction(self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        # Left without a commit, the connection rolls back.
        async with engine.connect() as connection:
            result = await work(connection)
            task = asyncio.current_task()
            if task not in self._given_up:
                await connection.commit()
            return result

    async def _run(self, transaction: Coroutine[None, None, Result], seconds: float) -> Result:
        # A statement of SQLite runs in a thread, which nothing can cancel: cut off, it would leave the lock with a
        # connection that nobody knows of. So a transaction whose caller has gone runs to its end and is rolled back.
        async with self._translated(seconds):
            task = asyncio.create_task(transaction)
            self._transactions.add(task)
            task.add_done_callback(self._forget)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if not task.done():
                    self._given_up.add(task)
                raise

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._transactions.discard(task)
        self._given_up.discard(task)
        if not task.cancelled():
            # Read, so that asyncio does not report an exception that was never retrieved.
            task.exception()

    @asynccontextmanager
    async def _translated(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except DataError as error:
            raise InvalidRequest(f"The database cannot hold a value ({_reason(error)}).") from error
        except (IntegrityError, ProgrammingError, NotSupportedError) as error:
            raise TandemError(f"The database refused a statement ({_reason(error)}).") from error
        except (DBAPIError, PendingRollbackError, PoolTimeout, OSError) as error:
            if _is_full(error):
                self.failure = f"The disk of the database is full ({_reason(error)}): free space."
                raise StoreFull(self.failure) from error
            # TimeoutError is an OSError. Other exceptions of a driver concern the server, the connection or the file.
            self.failure = f"The database does not answer ({_reason(error)})."
            raise CatalogUnavailable(self.failure) from error
        except SQLAlchemyError as error:
            raise TandemError(f"The catalog cannot use the database so ({_reason(error)}).") from error
        self.failure = None

    async def _watch(self) -> None:
        """Keeps `failure` current on a node that runs no other statements."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._run(self._transaction(self._engine, _probe), PROBE_SECONDS)
            except TandemError as error:
                self.failure = error.message
                logger.warning("catalog_away", reason=error.message)


async def _probe(connection: AsyncConnection) -> None:
    await connection.execute(select(collections.c.name).limit(1))


def _code(error: BaseException) -> str | None:
    """Returns SQLite's name of the error, without its extension; PostgreSQL's SQLSTATE."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    name: str | None = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return "_".join(name.split("_")[:2]) if name else None


def _is_full(error: BaseException) -> bool:
    return _code(error) in FULL_CODES or (isinstance(error, OSError) and error.errno in NO_ROOM)


def _reason(error: BaseException) -> str:
    """Returns the first line of the driver's message; the rest would hold the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:300]


def _migrate(url: URL) -> migrations.Migration:
    """Migrates the schema over a short-lived connection. Alembic has no asynchronous interface, so call this in a
    thread.
    """
    driver = "sqlite+pysqlite" if url.get_backend_name() == "sqlite" else url.drivername
    engine = create_engine(url.set(drivername=driver), poolclass=NullPool, connect_args=_connect_args(url))
    try:
        _prepare(engine)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _switch_to_wal)
        with engine.execution_options(begin="IMMEDIATE").begin() as connection:
            return migrations.upgrade(connection)
    except CommandError as error:
        raise ConfigurationError(f"The database does not fit this release: {error}") from error
    finally:
        engine.dispose()


def _connect_args(url: URL) -> dict[str, object]:
    if url.get_backend_name() == "postgresql":
        return {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "tandem",
            # A server that vanished silently is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
        }
    # No implicit transactions of the driver: it would begin them late, and never for a SELECT.
    return {"isolation_level": None, "timeout": WAIT_SECONDS}


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    # With NORMAL, a power failure loses the last commits; a document that was accepted with 202 must not vanish.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(connection: DBAPIConnection, _record: object) -> None:
    """Switches to WAL, in which readers do not wait for the writer. The file stores the mode, so one switch serves
    every later connection.

    SQLite ignores the busy timeout here: while another connection writes, as when several nodes start on a new file,
    the switch fails at once. So it is retried for as long as other statements wait. Blocks; call it in a thread.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    cursor = connection.cursor()
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if _code(error) != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(WAL_RETRY_SECONDS)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock before it reads: a transaction that turned from reader to writer would fail, not wait.
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
