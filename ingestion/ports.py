"""The ports of ingestion. Every implementation passes the contract suite of its port (tests/contract)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Collection as Several
from datetime import datetime, timedelta
from typing import Protocol

from ingestion.access.audit_log import AuditCatalog
from ingestion.access.keys import KeyCatalog
from ingestion.pipeline.document_chunks import ChunkingPlan
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
    ParsedDocument,
    QueueState,
    ReadingOptions,
    Receipt,
    SkippedPart,
    Totals,
    WorkerId,
)
from retrieval.evaluation.golden_vectors import GoldenVectors
from retrieval.filters.tree import Filter
from retrieval.ports import Lifecycle
from retrieval.types import ChunkId, DocumentId, StoreName


class Parser(Lifecycle, Protocol):
    @property
    def processes(self) -> int:
        """Number of documents that are read concurrently."""
        ...

    async def parse(
        self,
        data: bytes,
        media_type: str,
        plan: ChunkingPlan | None = None,
        options: ReadingOptions | None = None,
    ) -> ParsedDocument:
        """Reads the text of `data`, whose type was detected before, and chunks it by `plan`, both within the limits of
        one document. `options`: None for the defaults. Cancellation stops it at once. The report says what could not be
        read.

        Raises ParseFailed, EncryptedDocument, ParseLimit or NoText; ParserBusy (a long document, to be retried) and
        ParserUnavailable. A crash or a hang of the parser affects this document only.
        """
        ...


class BlobStore(Lifecycle, Protocol):
    """Stores originals by the SHA-256 of their bytes."""

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        """Writes blobs; they are durable when it returns. Does nothing for those that exist already. Raises
        BlobStoreUnavailable.
        """
        ...

    async def get(self, hashes: Several[str]) -> Mapping[str, bytes]:
        """Returns the blobs that exist, each verified against its hash. Raises BlobStoreUnavailable."""
        ...

    async def absent(self, hashes: Several[str]) -> Several[str]:
        """Returns the hashes that have no blob. Does not check whether the others are undamaged. Raises
        BlobStoreUnavailable."""
        ...

    async def delete(self, sha256: str) -> None:
        """Deletes a blob. Does nothing if there is no such blob."""
        ...

    def every(self) -> AsyncIterator[Mapping[str, datetime]]:
        """Yields pages of all hashes with the times of their last writing. Raises BlobStoreUnavailable."""
        ...


class Catalog(Lifecycle, KeyCatalog, AuditCatalog, Protocol):
    """The record of collections, documents and jobs. Every method is one transaction, committed on return. Raises
    CatalogUnavailable while the database is away.
    """

    # Collections
    async def add_collection(self, collection: Collection) -> None:
        """Adds the collection. Raises CollectionExists."""
        ...

    async def collection(self, name: str) -> Collection:
        """Returns the collection. Raises CollectionNotFound."""
        ...

    async def collections(self) -> Sequence[Collection]: ...

    async def remove_collection(self, name: str) -> None:
        """Removes the collection with its documents, jobs and receipts. Does nothing if it does not exist."""
        ...

    async def swap_collections(self, name: str, other: str) -> bool:
        """Exchanges the collections of the two names, documents included, if nothing is lost by it; returns whether it
        did.

        Nothing is lost while both hold the same documents with the same content (whatever their chunking), no lease is
        held in either, and every document that is ready in `name` is ready in `other`. Jobs, receipts and golden
        queries stay with their names. Raises CollectionNotFound.
        """
        ...

    async def set_golden_vectors(self, store_name: StoreName, golden: GoldenVectors) -> None:
        """Replaces the golden vectors of a version of a collection. Does nothing if no collection has it."""
        ...

    async def golden_vectors(self, store_name: StoreName) -> GoldenVectors | None:
        """Returns the golden vectors of a version of a collection; None if it has none."""
        ...

    async def set_golden_queries(self, collection: str, queries: Sequence[GoldenQuery]) -> None:
        """Replaces all golden queries of the collection. Raises CollectionNotFound."""
        ...

    async def golden_queries(self, collection: str) -> Sequence[GoldenQuery]:
        """Returns the queries in the order they were set. Raises CollectionNotFound."""
        ...

    async def secret(self, name: str) -> bytes:
        """Returns 32 random bytes, created at the first call with this name and the same afterwards for every process
        on the catalog.
        """
        ...

    # Documents and jobs
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
        """Records a job and queues its documents; returns their first receipts, in order. The job keeps what was
        `skipped`.

        If the `key` was used before on this collection, nothing is recorded, and the current receipts of the earlier
        job are returned, which name it; raises IdempotencyConflict if its body was a different one. Documents accepted
        in the `background` are claimed after all others that are due.

        A document whose bytes the collection already holds under another id (accepted before, or earlier in
        `documents`) names that one in its receipt, as `duplicate_of`. If the collection's `duplicates` is `skip`, it is
        left out: its receipt ends at once with status `duplicate_of`. A document that exists already under its own id
        is never left out.

        A document that is `ready` with the same bytes, title, media type, partition, metadata and chunking becomes
        `unchanged` and is not queued. Any other gets the next version and is `queued`, also while an older version is
        being processed: that work keeps its lease, and the new version is claimed after it. A document named twice in
        one call keeps the last one; the earlier receipt ends as `replaced`. Raises CollectionNotFound, InvalidRequest
        (the job's id is taken, or the database cannot hold a value).
        """
        ...

    async def job(self, job_id: JobId) -> Job:
        """Returns the job. Raises JobNotFound."""
        ...

    async def latest_jobs(
        self, *, limit: int, collections: Sequence[str] | None = None, tenant: str | None = None
    ) -> Sequence[Job]:
        """Returns the last accepted jobs, newest first; of `collections` and of `tenant` alone, unless None."""
        ...

    async def receipts(self, job_id: JobId, *, after: int = 0, limit: int = 1000) -> Sequence[Receipt]:
        """Returns receipts in the order of the job's documents, skipping the first `after`. Raises JobNotFound."""
        ...

    async def document(self, collection: str, document_id: DocumentId) -> DocumentRecord:
        """Returns the document. Raises DocumentNotFound, CollectionNotFound."""
        ...

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
        """Returns the documents after `after`, ordered by id, whose ids begin with `prefix` and that any of `groups`
        may read (None: all). Documents of collections without principals are read by every group. Leaves out
        some that `filter` is not true of, perhaps not all: the caller checks what comes. Raises CollectionNotFound.
        """
        ...

    async def remove_document(self, claim: Claim) -> bool:
        """Removes the document if the claim still holds its lease and no newer version was accepted since; its queued
        receipts end as failed with code `deleted`. Returns whether it did.

        Called after its chunks have left the store: where a newer version was accepted, the lease is released, that
        version stays queued, and the document no longer counts as searchable.
        """
        ...

    async def unfinished_jobs(self, created_by: str) -> int:
        """Counts the jobs of an API key that have not ended."""
        ...

    async def cancel_job(self, job_id: JobId) -> Job:
        """Cancels the unfinished documents of the job, and returns the job as it then is. Raises JobNotFound. This
        concerns documents whose current version is this job's. Queued ones end as failed with code `cancelled`, unless
        they have `rollback_ids`; those, and the ones being processed, are marked (`DocumentRecord.cancelled`), and the
        worker that holds or next takes the lease ends them. The job's state is `cancelled` once all of its receipts
        have ended."""
        ...

    async def remove_jobs(self, *, before: datetime, limit: int) -> int:
        """Removes jobs that were accepted before then and have ended, with their receipts and idempotency keys; the
        oldest first, at most `limit`. Returns how many."""
        ...

    async def cancelled(self, claims: Sequence[Claim]) -> set[str]:
        """Returns the tokens of those claims whose work has to stop: cancelled, or their lease is lost."""
        ...

    async def held(self, claims: Sequence[Claim]) -> Mapping[str, frozenset[ChunkId]]:
        """Returns, for the claims whose leases are still held, the token and the document's current `rollback_ids`,
        empty when it has none."""
        ...

    async def begin_replacing(self, searchable: Sequence[tuple[Claim, Several[ChunkId]]]) -> set[str]:
        """Records what the store holds of documents that are searchable, as their `rollback_ids` unless they have some;
        called before the first write of a version that replaces it. Returns the tokens of the leases still held: for
        the others nothing is recorded."""
        ...

    async def requeue(self, collection: str, versions: Mapping[DocumentId, int], *, now: datetime) -> int:
        """Queues `ready` documents again if they still have the given version and are not under a lease; returns their
        number.
        """
        ...

    async def blobs_in_use(self, hashes: Several[str]) -> set[str]:
        """Returns the hashes of the originals that a document of any collection refers to."""
        ...

    async def documents_named(self, collection: str, ids: Several[DocumentId]) -> Mapping[DocumentId, DocumentRecord]:
        """Returns the documents of `ids` that exist."""
        ...

    async def totals(
        self, collections: Several[str], *, prefix: str | None = None, groups: Sequence[str] | None = None
    ) -> Mapping[str, Totals]:
        """Returns totals of the collections that hold documents, over those that `documents` would return."""
        ...

    async def queue_depth(self) -> int:
        """Returns the number of documents that are queued or being processed."""
        ...

    async def queue_state(self) -> QueueState: ...

    # Leased work. An expired lease is lost only when another worker claims the document.
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
        """Leases up to `limit` documents that are queued and due, or whose lease ran out. Jobs take turns, document by
        document, each in its own order: one that comes later does not wait for all documents of those before. `largest`
        passes over originals of more bytes, `collections` over those of all others.

        No two callers ever hold live leases on the same document. Each claim counts one attempt, also of a document
        whose lease ran out; then its `rollback_ids` are set. A `ready` document whose lease ran out (its removal was
        cut short) is queued again, for it may have lost chunks, and its attempts count from the first.
        """
        ...

    async def claim_document(
        self, collection: str, document_id: DocumentId, worker: WorkerId, *, lease: timedelta, now: datetime
    ) -> Claim:
        """Leases one document whatever its state, counting one attempt. Raises DocumentNotFound, DocumentBusy (another
        worker holds an unexpired lease on it).
        """
        ...

    async def renew(self, claims: Sequence[Claim], *, lease: timedelta, now: datetime) -> Sequence[Claim]:
        """Extends the leases that are still held; returns those claims, with their new end."""
        ...

    async def complete(self, outcomes: Sequence[Outcome]) -> None:
        """Closes claims in one transaction. An outcome whose lease was lost changes nothing.

        Success: document `ready`, the receipts of this version end as `ready` (or `replaced` if an earlier version had
        been searchable). Failure: `failed` with the error, after the store went back to `rollback_ids`; with
        `retry_at`, back to `queued`. If a newer version was accepted meanwhile, the receipts of this version end all
        the same, the lease is released and the document stays queued. Receipts of versions that were superseded before
        they were processed end together with the next version that is, as failed with code `superseded`.
        """
        ...

    async def release(self, claims: Sequence[Claim], *, begun: bool = False) -> None:
        """Gives claims back (at shutdown): restores their former state, without counting the attempt. `begun` says that
        chunks may have been written.
        """
        ...
