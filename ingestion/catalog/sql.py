"""The catalog in SQLite or PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ingestion.catalog import collections, leases
from ingestion.catalog import documents as accepted
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
        await self._database.write(lambda connection: collections.add(connection, collection))

    async def collection(self, name: str) -> Collection:
        return await self._database.read(lambda connection: collections.named(connection, name))

    async def collections(self) -> Sequence[Collection]:
        return await self._database.read(collections.every)

    async def remove_collection(self, name: str) -> None:
        await self._database.write(lambda connection: collections.remove(connection, name))

    async def accept(self, job_id: JobId, collection: str, documents: Sequence[Document]) -> Sequence[Receipt]:
        return await self._database.write(lambda connection: accepted.accept(connection, job_id, collection, documents))

    async def job(self, job_id: JobId) -> Job:
        return await self._database.read(lambda connection: accepted.job(connection, job_id))

    async def receipts(self, job_id: JobId, *, after: int = 0, limit: int = 1000) -> Sequence[Receipt]:
        return await self._database.read(lambda connection: accepted.job_receipts(connection, job_id, after, limit))

    async def document(self, collection: str, document_id: DocumentId) -> DocumentRecord:
        return await self._database.read(lambda connection: accepted.document(connection, collection, document_id))

    async def documents(
        self, collection: str, *, after: DocumentId | None = None, limit: int = 100
    ) -> Sequence[DocumentRecord]:
        return await self._database.read(lambda connection: accepted.page(connection, collection, after, limit))

    async def remove_document(self, claim: Claim) -> bool:
        return await self._database.write(lambda connection: leases.remove(connection, claim))

    async def blob_in_use(self, sha256: str) -> bool:
        return await self._database.read(lambda connection: accepted.blob_in_use(connection, sha256))

    async def queue_depth(self) -> int:
        return await self._database.read(accepted.queue_depth)

    async def claim(self, worker: WorkerId, *, limit: int, lease: timedelta, now: datetime) -> Sequence[Claim]:
        return await self._database.write(lambda connection: leases.claim(connection, worker, limit, lease, now))

    async def claim_document(
        self, collection: str, document_id: DocumentId, worker: WorkerId, *, lease: timedelta, now: datetime
    ) -> Claim:
        return await self._database.write(
            lambda connection: leases.claim_document(connection, collection, document_id, worker, lease, now)
        )

    async def renew(self, claims: Sequence[Claim], *, lease: timedelta, now: datetime) -> Sequence[Claim]:
        return await self._database.write(lambda connection: leases.renew(connection, claims, lease, now))

    async def complete(self, outcomes: Sequence[Outcome]) -> None:
        await self._database.write(lambda connection: leases.complete(connection, outcomes))

    async def release(self, claims: Sequence[Claim]) -> None:
        await self._database.write(lambda connection: leases.release(connection, claims))
