"""The catalog in SQLite or PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.exc import IntegrityError

from ingestion.catalog import documents, leases, records, tables
from ingestion.catalog.database import Database
from ingestion.types import (
    Claim,
    Collection,
    Document,
    DocumentRecord,
    Job,
    JobId,
    Outcome,
    Receipt,
    WorkerId,
)
from retrieval.errors import CollectionExists, CollectionNotFound
from retrieval.types import DocumentId


class SqlCatalog:
    """Catalog (see ingestion.ports) in the database at `url`: `sqlite:///file` or `postgresql://…`.

    Raises ConfigurationError where `url` is neither. `start` brings the schema to the newest version.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    @property
    def failure(self) -> str | None:
        return self._database.failure

    async def start(self) -> None:
        """Raises CatalogUnavailable, ConfigurationError (no such folder; the database is of a newer release)."""
        await self._database.start()

    async def close(self) -> None:
        await self._database.close()

    async def add_collection(self, collection: Collection) -> None:
        async with self._database.writing() as connection:
            try:
                await connection.execute(tables.collections.insert().values(records.collection_values(collection)))
            except IntegrityError as error:
                raise CollectionExists(
                    f"There is a collection {collection.name!r} already.", collection=collection.name
                ) from error

    async def collection(self, name: str) -> Collection:
        async with self._database.reading() as connection:
            query = select(tables.collections).where(tables.collections.c.name == name)
            row = (await connection.execute(query)).first()
        if row is None:
            raise CollectionNotFound(f"There is no collection {name!r}.", collection=name)
        return records.collection(row)

    async def collections(self) -> Sequence[Collection]:
        async with self._database.reading() as connection:
            query = select(tables.collections).order_by(tables.collections.c.name)
            return [records.collection(row) for row in await connection.execute(query)]

    async def remove_collection(self, name: str) -> None:
        async with self._database.writing() as connection:
            await documents.remove_collection(connection, name)

    async def accept(self, job_id: JobId, collection: str, documents_: Sequence[Document]) -> Sequence[Receipt]:
        async with self._database.writing() as connection:
            return await documents.accept(connection, job_id, collection, documents_)

    async def job(self, job_id: JobId) -> Job:
        async with self._database.reading() as connection:
            return await documents.job(connection, job_id)

    async def receipts(self, job_id: JobId, *, after: int = 0, limit: int = 1000) -> Sequence[Receipt]:
        async with self._database.reading() as connection:
            return await documents.job_receipts(connection, job_id, after, limit)

    async def document(self, collection: str, document_id: DocumentId) -> DocumentRecord:
        async with self._database.reading() as connection:
            return await documents.document(connection, collection, document_id)

    async def documents(
        self, collection: str, *, after: DocumentId | None = None, limit: int = 100
    ) -> Sequence[DocumentRecord]:
        async with self._database.reading() as connection:
            return await documents.page(connection, collection, after, limit)

    async def remove_document(self, claim: Claim) -> bool:
        async with self._database.writing() as connection:
            return await leases.remove(connection, claim)

    async def blob_in_use(self, sha256: str) -> bool:
        async with self._database.reading() as connection:
            return bool(await connection.scalar(select(exists().where(tables.documents.c.sha256 == sha256))))

    async def queue_depth(self) -> int:
        async with self._database.reading() as connection:
            # `due_at` is set exactly while a document is queued or leased.
            query = select(func.count()).select_from(tables.documents).where(tables.documents.c.due_at.is_not(None))
            return int(await connection.scalar(query) or 0)

    async def claim(self, worker: WorkerId, *, limit: int, lease: timedelta, now: datetime) -> Sequence[Claim]:
        async with self._database.writing() as connection:
            return await leases.claim(connection, worker, limit, lease, now)

    async def claim_document(
        self, collection: str, document_id: DocumentId, worker: WorkerId, *, lease: timedelta, now: datetime
    ) -> Claim:
        async with self._database.writing() as connection:
            return await leases.claim_document(connection, collection, document_id, worker, lease, now)

    async def renew(self, claims: Sequence[Claim], *, lease: timedelta, now: datetime) -> Sequence[Claim]:
        async with self._database.writing() as connection:
            return await leases.renew(connection, claims, lease, now)

    async def complete(self, outcomes: Sequence[Outcome]) -> None:
        async with self._database.writing() as connection:
            await leases.complete(connection, outcomes)

    async def release(self, claims: Sequence[Claim]) -> None:
        async with self._database.writing() as connection:
            await leases.release(connection, claims)
