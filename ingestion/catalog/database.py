"""One database, SQLite or PostgreSQL: connections, transactions, and its errors in the service's words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, event, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from structlog import get_logger

from ingestion.catalog.tables import collections
from ingestion.errors import CatalogUnavailable
from retrieval.errors import ConfigurationError, InvalidRequest, TandemError

logger = get_logger()

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
"""For a connection of the pool, and on SQLite for the lock of another process."""
TRANSACTION_SECONDS = 120
"""The longest is the removal of a large collection."""
PROBE_SECONDS = 5.0


def parse_url(url: str) -> URL:
    """Raises ConfigurationError where `url` names neither a SQLite file nor a PostgreSQL database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The message of the error would hold the password.
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
    """Connections to the database at `url`. Raises ConfigurationError where the URL is of no use."""

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)
        self._engine, self._writer = _engines(self._url)
        # SQLite has one writer at a time. Waiting here is fair and wakes at once; its own waiting polls.
        self._writing = asyncio.Semaphore(1 if self.is_sqlite else POOL_SIZE)
        self._probe: asyncio.Task[None] | None = None
        self.failure: str | None = None

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    async def start(self) -> None:
        if self.is_sqlite:
            folder = Path(str(self._url.database)).parent
            try:
                await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"The folder of the database, {folder}, cannot be made: {error}.") from error
        self._probe = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
            self._probe = None
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        async with self._translated(), self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes, committed when the block ends without an error."""
        async with self._translated(), self._writing, self._writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS):
                yield
        except (OperationalError, InterfaceError, InternalError, PendingRollbackError, PoolTimeout, OSError) as error:
            # OSError holds TimeoutError. InternalError is what a server in recovery says to a write.
            self.failure = f"The database does not answer ({_reason(error)})."
            raise CatalogUnavailable(self.failure) from error
        except DataError as error:
            raise InvalidRequest(f"The database cannot hold a value ({_reason(error)}).") from error
        except (IntegrityError, ProgrammingError, SQLAlchemyError) as error:
            raise TandemError(f"The database refused a statement ({_reason(error)}).") from error
        self.failure = None

    async def _watch(self) -> None:
        """Keeps `failure` true on a node that has nothing else to ask."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                async with self.reading() as connection:
                    await connection.execute(select(collections.c.name).limit(1))
            except TandemError as error:
                self.failure = error.message
                logger.warning("catalog_away", reason=error.message)


def _reason(error: BaseException) -> str:
    """The driver's own first line; the rest would hold the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:300]


def _engines(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    """One pool behind two engines: for transactions that read, and for those that write."""
    if url.get_backend_name() == "postgresql":
        engine = create_async_engine(
            url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "tandem"},
        )
        return engine, engine
    engine = create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        # No implicit transactions of the driver: it would begin them late and never for a SELECT.
        connect_args={"isolation_level": None, "timeout": WAIT_SECONDS},
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine, engine.execution_options(begin="IMMEDIATE")


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    # Readers never wait for the writer.
    cursor.execute("PRAGMA journal_mode = WAL")
    # With NORMAL, a power cut takes back the last commits; a document that was accepted with 202 must not vanish.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock before it reads: a transaction that turned from reader to writer would fail, not wait.
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
