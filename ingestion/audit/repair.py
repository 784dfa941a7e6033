"""The repairs of `--repair`. Each step is safe alongside ingestion, deletions and replacements of the same
documents."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import uuid4

import structlog

from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.notifications import Notifications
from ingestion.ports import BlobStore, Catalog
from ingestion.types import Collection, DocumentRecord, WorkerId
from retrieval.embedders import Embedders
from retrieval.ports import VectorStore
from retrieval.types import ChunkId, DocumentId

log = structlog.get_logger()

LEASE = timedelta(seconds=60)
PAUSE_SECONDS = 0.5


class Repairer:
    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        store: VectorStore,
        embedders: Embedders,
        *,
        work_arrived: Notifications,
        settle: timedelta,
    ) -> None:
        """`settle` limits the wait for work that arrived in between."""
        self._catalog = catalog
        self._blobs = blobs
        self._store = store
        self._embedders = embedders
        self._work_arrived = work_arrived
        self._settle = settle
        self._worker = WorkerId(f"audit-{uuid4().hex[:12]}")

    async def requeue(self, collection: Collection, record: DocumentRecord) -> bool:
        """Queues a document so that the pipeline writes its chunks again; returns whether it is queued.

        It is not queued if processing cannot succeed: its original is missing, or the collection has another
        model, or vectors that the running engine does not compute.
        Failed documents are not queued either: they would fail again.
        """
        document = record.document
        if self._embedders.named(collection.fingerprint) is None or not self._embedders.agree(collection.store_name):
            return False
        if not await self._blobs.get([document.sha256]):
            return False
        queued = await self._catalog.requeue(collection.name, {document.id: record.version}, now=datetime.now(UTC))
        self._work_arrived.announce()
        return queued > 0

    async def clear(self, collection: Collection, record: DocumentRecord) -> bool:
        """Removes what a permanently failed document has left in the store; returns whether nothing is left."""
        document_id = record.document.id
        try:
            # Under a lease, so that a new version of it is not written at the same time.
            claim = await self._catalog.claim_document(
                collection.name, document_id, self._worker, lease=LEASE, now=datetime.now(UTC)
            )
        except (DocumentBusy, DocumentNotFound):
            return False
        try:
            if claim.record.version != record.version or claim.record.searchable_at is not None:
                return False
            # The collection may have been exchanged before the lease was taken.
            collection = await self._catalog.collection(collection.name)
            await self._store.prune(collection.store_name, {document_id: ()})
            return not await self._store.count(collection.store_name, document_id)
        finally:
            await self._catalog.release([claim])

    async def delete(self, collection: Collection, document_id: DocumentId, ids: Sequence[ChunkId]) -> int:
        """Deletes chunks of a document that the catalog does not know; returns the number of deleted chunks."""
        if await self._catalog.documents_named(collection.name, [document_id]):
            return 0
        await self._store.delete(collection.store_name, ids)
        gone = len(ids) - len(await self._store.present(collection.store_name, ids))
        await self._restore(collection, document_id)
        return gone

    async def _restore(self, collection: Collection, document_id: DocumentId) -> None:
        """Requeues a document that was accepted while the deletion ran: its chunks may have had the same ids, and may
        have been read back before they were deleted. It is processed again as soon as no worker holds it."""
        deadline = monotonic() + self._settle.total_seconds()
        while record := (await self._catalog.documents_named(collection.name, [document_id])).get(document_id):
            if record.state == "ready":
                await self.requeue(collection, record)
            if record.state != "processing":
                return
            if monotonic() > deadline:
                log.warning("a document came back while it was cleaned up: audit again", collection=collection.name)
                return
            await asyncio.sleep(PAUSE_SECONDS)
