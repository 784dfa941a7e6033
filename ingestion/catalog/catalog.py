"""The catalog in SQLite or PostgreSQL."""

from collections.abc import Collection as Several
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ingestion.access.audit_log import AuditEntry, AuditFilter
from ingestion.access.keys import StoredKey
from ingestion.catalog import collections, documents, swap
from ingestion.catalog.access import audit_log, installation_keys, keys
from ingestion.catalog.database import Database
from ingestion.catalog.migrations import Migration
from ingestion.catalog.queue import jobs, leases, submit
from ingestion.types import (
    Claim,
    Collection,
    Document,
    DocumentRecord,
    GoldenQuery,
    IdempotencyKey,
    Job,
    JobId,
    Outcome,
    QueueState,
    Receipt,
    SkippedPart,
    Totals,
    WorkerId,
)
from retrieval.evaluation.golden_vectors import GoldenVectors
from retrieval.filters.tree import Filter
from retrieval.types import ChunkId, DocumentId, StoreName


class SqlCatalog:
    """Implements Catalog (see ingestion.ports) in the database at `url`: `sqlite:///file` or `postgresql://…`.

    Raises ConfigurationError for any other `url`. `start` migrates the schema to the newest version.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    @property
    def failure(self) -> str | None:
        return self._database.failure

    async def start(self) -> None:
        """Opens the database. Raises CatalogUnavailable, ConfigurationError (no such folder; the database is of a newer
        release).
        """
        await self._database.start()

    async def migrate(self) -> Migration:
        """Brings the schema to the newest version without starting. Raises as `start` does."""
        return await self._database.migrate()

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

    async def swap_collections(self, name: str, other: str) -> bool:
        return await self._database.write(lambda connection: swap.swap(connection, name, other))

    async def set_golden_vectors(self, store_name: StoreName, golden: GoldenVectors) -> None:
        await self._database.write(lambda connection: collections.set_golden_vectors(connection, store_name, golden))

    async def golden_vectors(self, store_name: StoreName) -> GoldenVectors | None:
        return await self._database.read(lambda connection: collections.golden_vectors(connection, store_name))

    async def set_golden_queries(self, collection: str, queries: Sequence[GoldenQuery]) -> None:
        await self._database.write(lambda connection: collections.set_golden(connection, collection, queries))

    async def golden_queries(self, collection: str) -> Sequence[GoldenQuery]:
        return await self._database.read(lambda connection: collections.golden(connection, collection))

    async def secret(self, name: str) -> bytes:
        return await self._database.write(lambda connection: installation_keys.secret(connection, name))

    async def accept(
        self,
        job_id: JobId,
        collection: str,
        documents: Sequence[Document],
        *,
        key: IdempotencyKey | None = None,
        created_by: str | None = None,
        tenant: str | None = None,
        background: bool = False,
        skipped: Sequence[SkippedPart] = (),
    ) -> Sequence[Receipt]:
        return await self._database.write(
            lambda connection: submit.accept(
                connection, job_id, collection, documents, key, background, skipped, created_by, tenant
            )
        )

    async def job(self, job_id: JobId) -> Job:
        return await self._database.read(lambda connection: jobs.job(connection, job_id))

    async def latest_jobs(
        self, *, limit: int, collections: Sequence[str] | None = None, tenant: str | None = None
    ) -> Sequence[Job]:
        return await self._database.read(lambda connection: jobs.latest(connection, limit, collections, tenant))

    async def receipts(self, job_id: JobId, *, after: int = 0, limit: int = 1000) -> Sequence[Receipt]:
        return await self._database.read(
            lambda connection: jobs.job_receipts(connection, job_id, after=after, limit=limit)
        )

    async def document(self, collection: str, document_id: DocumentId) -> DocumentRecord:
        return await self._database.read(lambda connection: documents.document(connection, collection, document_id))

    async def documents(
        self,
        collection: str,
        *,
        after: DocumentId | None = None,
        limit: int = 100,
        prefix: str | None = None,
        groups: Sequence[str] | None = None,
        filter: Filter | None = None,
    ) -> Sequence[DocumentRecord]:
        return await self._database.read(
            lambda connection: documents.page(connection, collection, after, limit, prefix, groups, filter)
        )

    async def remove_document(self, claim: Claim) -> bool:
        return await self._database.write(lambda connection: leases.remove(connection, claim))

    async def unfinished_jobs(self, created_by: str) -> int:
        return await self._database.read(lambda connection: jobs.unfinished(connection, created_by))

    async def cancel_job(self, job_id: JobId) -> Job:
        return await self._database.write(lambda connection: jobs.cancel(connection, job_id))

    async def remove_jobs(self, *, before: datetime, limit: int) -> int:
        return await self._database.write(lambda connection: jobs.remove_jobs(connection, before, limit))

    async def cancelled(self, claims: Sequence[Claim]) -> set[str]:
        return await self._database.read(lambda connection: leases.cancelled(connection, claims))

    async def requeue(self, collection: str, versions: Mapping[DocumentId, int], *, now: datetime) -> int:
        return await self._database.write(lambda connection: documents.requeue(connection, collection, versions, now))

    async def blobs_in_use(self, hashes: Several[str]) -> set[str]:
        return await self._database.read(lambda connection: documents.blobs_in_use(connection, hashes))

    async def documents_named(self, collection: str, ids: Several[DocumentId]) -> Mapping[DocumentId, DocumentRecord]:
        return await self._database.read(lambda connection: documents.named(connection, collection, ids))

    async def totals(
        self, collections: Several[str], *, prefix: str | None = None, groups: Sequence[str] | None = None
    ) -> Mapping[str, Totals]:
        return await self._database.read(lambda connection: documents.totals(connection, collections, prefix, groups))

    async def queue_depth(self) -> int:
        return await self._database.read(documents.queue_depth)

    async def queue_state(self) -> QueueState:
        return await self._database.read(documents.queue_state)

    async def claim(
        self,
        worker: WorkerId,
        *,
        limit: int,
        lease: timedelta,
        now: datetime,
        largest: int | None = None,
        collections: Sequence[str] | None = None,
    ) -> Sequence[Claim]:
        return await self._database.write(
            lambda connection: leases.claim(connection, worker, limit, lease, now, largest, collections)
        )

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

    async def held(self, claims: Sequence[Claim]) -> Mapping[str, frozenset[ChunkId]]:
        return await self._database.read(lambda connection: leases.held(connection, claims))

    async def begin_replacing(self, searchable: Sequence[tuple[Claim, Several[ChunkId]]]) -> set[str]:
        return await self._database.write(lambda connection: leases.begin_replacing(connection, searchable))

    async def release(self, claims: Sequence[Claim], *, begun: bool = False) -> None:
        await self._database.write(lambda connection: leases.release(connection, claims, begun=begun))

    async def add_key(self, key: StoredKey) -> None:
        await self._database.write(lambda connection: keys.add(connection, key))

    async def key(self, id_: str) -> StoredKey:
        return await self._database.read(lambda connection: keys.named(connection, id_))

    async def key_with(self, digest: str) -> StoredKey | None:
        return await self._database.read(lambda connection: keys.with_digest(connection, digest))

    async def keys(self, *, after: str | None = None, limit: int = 100) -> Sequence[StoredKey]:
        return await self._database.read(lambda connection: keys.page(connection, after, limit))

    async def set_key_digest(self, id_: str, digest: str) -> None:
        await self._database.write(lambda connection: keys.set_digest(connection, id_, digest))

    async def revoke_key(self, id_: str, at: datetime) -> None:
        await self._database.write(lambda connection: keys.revoke(connection, id_, at))

    async def key_changes(self) -> int:
        return await self._database.read(keys.changes)

    async def touch_keys(self, ids: Several[str], at: datetime) -> None:
        await self._database.write(lambda connection: keys.touch(connection, ids, at))

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        await self._database.write(lambda connection: audit_log.record(connection, entries))

    async def recorded(
        self, filter: AuditFilter, *, before: int | None = None, limit: int = 100
    ) -> Sequence[AuditEntry]:
        return await self._database.read(lambda connection: audit_log.page(connection, filter, before, limit))

    async def remove_recorded(self, *, before: datetime, limit: int) -> int:
        return await self._database.write(lambda connection: audit_log.remove(connection, before, limit))
