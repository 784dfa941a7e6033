"""Accepts, returns and reports documents: checks, originals, and one transaction for each change."""

import asyncio
import json
import unicodedata
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4

from ingestion.access.tenants import owned
from ingestion.blobs.gc import BlobCollector
from ingestion.disk_reserve import DiskReserve
from ingestion.errors import BlobMissing, DocumentBusy, DocumentNotFound, IdempotencyConflict, TooLarge
from ingestion.intake.budget import IntakeLimits
from ingestion.intake.expansion import Expansion, expand, holds_more
from ingestion.notifications import Notifications
from ingestion.parsers.detect import detect
from ingestion.ports import BlobStore, Catalog
from ingestion.queue_limit import QueueLimit
from ingestion.types import (
    MAX_ID_BYTES,
    Collection,
    Document,
    DocumentError,
    IdempotencyKey,
    IngestOptions,
    Job,
    JobId,
    OcrMode,
    Outcome,
    Receipt,
    Upload,
    WorkerId,
)
from retrieval.errors import EmptyText, InvalidRequest, InvalidText, TandemError
from retrieval.filters.groups import unique, wrong_names
from retrieval.filters.metadata_keys import wrong_value
from retrieval.ports import VectorStore
from retrieval.trace_context import traceparent
from retrieval.types import DocumentId

MAX_TITLE_CHARACTERS = 1024
WATCH_SECONDS = 1.0
"""Interval in which a watched job is polled in addition to notifications: other processes may work on it."""


@dataclass(frozen=True, slots=True)
class Limits:
    document_bytes: int
    documents: int
    """Largest number of documents in one request."""
    queued: int
    """Documents waiting or being processed, over all requests."""
    unpacked_bytes: int = 256 * 2**20
    """Total size of what is unpacked from the archives and mails of one request."""
    ocr: OcrMode = "auto"
    """Default of requests that do not state it."""


class IngestionService:
    """Accepts, reports and deletes documents. Independent of how they become vectors."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        collector: BlobCollector,
        store: VectorStore,
        *,
        limits: Limits,
        work_arrived: Notifications,
        notifications: Notifications,
        reserve: DiskReserve | None = None,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._collector = collector
        self._store = store
        self._limits = limits
        self._reserve = reserve or DiskReserve()
        self._queue = QueueLimit(catalog, limits.queued)
        self._work_arrived = work_arrived
        self._notifications = notifications
        self._unpacking = asyncio.Lock()
        self._worker = WorkerId(f"delete-{uuid4().hex[:12]}")

    async def accept(
        self,
        collection_name: str,
        uploads: Sequence[Upload],
        options: IngestOptions | None = None,
        *,
        idempotency_key: str | None = None,
        created_by: str | None = None,
        tenant: str | None = None,
    ) -> tuple[JobId, Sequence[Receipt]]:
        """Accepts all documents or none. When it returns, originals and job are durable. `options`: None for the
        defaults.

        One upload may become several documents, as `options` say; the receipts are those of all of them, and the job
        lists what was skipped. `created_by` is the id of the caller's API key; the documents become those of `tenant`.

        The same request under the same `idempotency_key` creates no second job: it returns the earlier job with its
        current receipts. Raises InvalidRequest and its subclasses for what the caller must change, Overloaded if the
        queue is full, StoreFull, CollectionNotFound, IdempotencyConflict.
        """
        options = options or IngestOptions()
        self.require_room()
        collection = await self._catalog.collection(collection_name)
        if not uploads:
            raise InvalidRequest("The request names no document: send at least one in 'documents' or 'files'.")
        if len(uploads) > self._limits.documents:
            raise TooLarge(
                f"{len(uploads)} documents in one request; at most {self._limits.documents} are taken. "
                "Send several requests.",
                limit=self._limits.documents,
            )
        if not any(map(holds_more, uploads)):
            expansion = Expansion(list(uploads), list(range(len(uploads))))
            return await self._accept(collection, expansion, options, idempotency_key, created_by, tenant)
        limits = IntakeLimits(self._limits.documents, self._limits.document_bytes, self._limits.unpacked_bytes)
        # One at a time: what comes out of an archive is in memory until it is stored.
        async with self._unpacking:
            expansion = await asyncio.to_thread(
                expand,
                uploads,
                limits,
                split_lines=options.split_lines,
                unpack=options.unpack,
                metadata_keys=collection.metadata_keys,
            )
            return await self._accept(collection, expansion, options, idempotency_key, created_by, tenant)

    async def _accept(
        self,
        collection: Collection,
        expansion: Expansion,
        options: IngestOptions,
        idempotency_key: str | None,
        created_by: str | None,
        tenant: str | None,
    ) -> tuple[JobId, Sequence[Receipt]]:
        uploads = expansion.uploads
        async with self._queue.arriving(len(uploads)):
            documents = await asyncio.to_thread(self._check, collection, expansion, options, tenant)
            key = None
            if idempotency_key is not None:
                body_digest = await asyncio.to_thread(request_digest, documents, options)
                key = IdempotencyKey(idempotency_key, body_digest)
            # If a document is named twice, the catalog keeps the last.
            kept = {
                document.id: (document.sha256, upload.data) for document, upload in zip(documents, uploads, strict=True)
            }
            blobs = dict(kept.values())
            await self._blobs.put(blobs)
            job_id = JobId(uuid4().hex)
            try:
                async with self._queue.entering(len(uploads)):
                    receipts = await self._catalog.accept(
                        job_id,
                        collection.name,
                        documents,
                        key=key,
                        created_by=created_by,
                        tenant=tenant,
                        skipped=expansion.skipped,
                    )
            except IdempotencyConflict:
                await self._collector.retire(blobs)
                raise
        if receipts[0].job_id != job_id:
            # The earlier request stored its originals; since then documents may have been replaced or deleted.
            await self._collector.retire(blobs)
            return receipts[0].job_id, receipts
        # A delete of the last other owner may have retired a blob between the first write and the commit.
        gone = await self._blobs.absent(blobs)
        await self._blobs.put({sha256: blobs[sha256] for sha256 in gone})
        self._work_arrived.announce()
        return job_id, receipts

    def require_room(self) -> None:
        """Raises StoreFull if less than the reserve is free on a disk."""
        self._reserve.require()

    async def cancel(self, job_id: JobId) -> Job:
        """Stops the unfinished work of the job, and returns the job afterwards. Raises JobNotFound."""
        job = await self._catalog.cancel_job(job_id)
        self._notifications.announce()
        self._work_arrived.announce()  # a worker removes the parts that the store holds
        return job

    def wake(self) -> None:
        """Notifies the workers of this process that documents were queued."""
        self._work_arrived.announce()

    async def wait(self, job_id: JobId, *, timeout_seconds: float) -> Job:
        """Returns the job when it has ended, or as it stands after `timeout_seconds`. Raises JobNotFound."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                async for job in self.watch(job_id):
                    if job.ended:
                        return job
        return await self._catalog.job(job_id)

    async def watch(self, job_id: JobId, *, leaving: Callable[[], bool] = lambda: False) -> AsyncGenerator[Job, None]:
        """Yields the job now, then after each change, until it has ended; or until `leaving` returns True, within
        WATCH_SECONDS. Raises JobNotFound.
        """
        reported: Job | None = None
        while True:
            change = self._notifications.upcoming
            job = await self._catalog.job(job_id)
            if job != reported:
                reported = job
                yield job
            if job.ended:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await change.wait()
            if leaving():
                return

    async def original(self, collection_name: str, document_id: DocumentId) -> tuple[Document, bytes]:
        """Returns the document and its original bytes. Raises DocumentNotFound, BlobMissing."""
        document = (await self._catalog.document(collection_name, document_id)).document
        data = (await self._blobs.get([document.sha256])).get(document.sha256)
        if data is None:
            raise BlobMissing(
                f"The original of document {document_id!r} is missing or damaged: ingest the document again.",
                sha256=document.sha256,
            )
        return document, data

    async def delete(self, collection_name: str, document_id: DocumentId) -> None:
        """Deletes a document. Returns when the store holds no chunk of it. Raises CollectionNotFound, DocumentNotFound,
        DocumentBusy.
        """
        try:
            claim = await self._catalog.claim_document(
                collection_name, document_id, self._worker, lease=timedelta(seconds=60), now=datetime.now(UTC)
            )
        except DocumentNotFound:
            await self._catalog.collection(collection_name)  # if the document is missing, this is the error to report
            raise
        try:
            # Only now: under a lease the collection cannot be exchanged.
            collection = await self._catalog.collection(collection_name)
            await self._store.prune(collection.store_name, {document_id: ()})
            left = await self._store.count(collection.store_name, document_id)
            removed = not left and await self._catalog.remove_document(claim)
        except TandemError as error:
            # Some of its chunks may be gone: the document still exists, so it has to be restored.
            why, now = DocumentError(error.code, error.message), datetime.now(UTC)
            again = Outcome(claim, error=why, retry_at=now, written=True, counted=False)
            await self._catalog.complete([again])
            raise
        if not removed:
            raise DocumentBusy(
                f"Document {document_id!r} was written again while it was being deleted. Delete it once more.",
                chunks_left=left,
            )
        await self._collector.retire([claim.record.document.sha256])

    def _check(
        self, collection: Collection, expansion: Expansion, options: IngestOptions, tenant: str | None
    ) -> Sequence[Document]:
        return [
            self._document(collection, upload, options, place, tenant)
            for place, upload in zip(expansion.places, expansion.uploads, strict=True)
        ]

    def _document(
        self, collection: Collection, upload: Upload, options: IngestOptions, place: int, tenant: str | None
    ) -> Document:
        name = upload.id or upload.filename or f"number {place}"
        shown = name if len(name) <= 80 else name[:77] + "..."
        if len(upload.data) > self._limits.document_bytes:
            raise TooLarge(
                f"Document {shown!r} has {len(upload.data):,} bytes; at most {self._limits.document_bytes:,} are "
                "taken.",
                document=place,
                limit=self._limits.document_bytes,
            )
        if not upload.data.strip():
            raise EmptyText(f"Document {shown!r} is empty or holds only white space.", document=place)
        digest = sha256(upload.data).hexdigest()
        named = upload.id or upload.filename or f"sha256-{digest[:32]}"
        document_id, partition = owned(tenant, named, upload.partition)
        for what, text, limit in (("id", document_id, MAX_ID_BYTES), ("partition", partition, MAX_ID_BYTES)):
            _check_name(what, text, limit, place)
        if upload.groups and not collection.principals:
            raise InvalidRequest(
                f"Document {shown!r} states groups, but collection {collection.name!r} was created without principals: "
                "everyone who reads the collection would read it. Create another one with 'principals'.",
                document=place,
            )
        if wrong_groups := wrong_names(upload.groups):
            raise InvalidRequest(f"The groups of document {shown!r}: {wrong_groups}.", document=place)
        wrong = wrong_value(upload.metadata, collection.metadata_keys)
        if wrong:
            raise InvalidRequest(f"Document {shown!r}: {wrong}.", document=place)
        title = " ".join(upload.title.split())[:MAX_TITLE_CHARACTERS]
        media_type = detect(upload.data, filename=upload.filename, declared=upload.media_type)
        return Document(
            collection=collection.name,
            id=document_id,
            sha256=digest,
            size=len(upload.data),
            media_type=media_type,
            title=title,
            partition=partition,
            metadata=upload.metadata,
            chunking=options.chunking or collection.chunking,
            ocr=options.ocr or self._limits.ocr,
            traceparent=traceparent(),
            boilerplate=options.boilerplate,
            groups=unique(upload.groups) if collection.principals else None,
            language=upload.language,
        )


def _check_name(what: str, text: str, limit: int, place: int) -> None:
    """Checks an id or partition, which are keys: short, printable, equal only if they look equal."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise InvalidRequest(
            f"The {what} of document {place} has {size} bytes; at most {limit} are taken.", document=place
        )
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise InvalidText(f"The {what} of document {place} holds control characters or surrogates.", document=place)
    if text != text.strip():
        raise InvalidRequest(f"The {what} of document {place} begins or ends with white space.", document=place)


def request_digest(documents: Sequence[Document], options: IngestOptions) -> str:
    """Returns 64 hexadecimal digits over a request's content, independent of how it was sent. Requests with the same
    digest are the same request. Media types are left out, since they are detected; of the options those count that
    the request itself states, not the defaults of the collection and the node."""
    digest = sha256(json.dumps(options.chunking and asdict(options.chunking)).encode())
    if options.ocr is not None:
        digest.update(options.ocr.encode())
    if options.boilerplate != "keep":
        digest.update(options.boilerplate.encode())
    for document in documents:
        content = [
            document.collection,
            document.id,
            document.sha256,
            document.title,
            document.partition,
            dict(document.metadata),
            *([] if document.groups is None else [document.groups]),
        ]
        if document.language:
            content.append(document.language)
        digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()
