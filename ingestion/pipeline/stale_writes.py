"""Repairs the store after a worker that lost its lease has written or deleted: a paused process may have damaged the
work of its successor.
"""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.ports import Catalog
from ingestion.types import Claim, DocumentRecord, WorkerId, digest_of
from retrieval.ports import VectorStore
from retrieval.types import ChunkId, DocumentId, StoreName

log = structlog.get_logger()

LOOKS = 60
PAUSE_SECONDS = 1.0
LEASE = timedelta(seconds=60)


class StaleWriteRepair:
    """Restores the store to the catalog's state of a document, under a lease of its own."""

    def __init__(self, catalog: Catalog, store: VectorStore) -> None:
        self._catalog = catalog
        self._store = store
        self._worker = WorkerId(f"settle-{uuid4().hex[:12]}")

    async def settle(self, store_name: StoreName, late: Claim, *, written: Collection[ChunkId], deleted: bool) -> None:
        """Handles the writes of `late` to the collection of that name in the store: at most the chunks `written`, and
        it may have `deleted` others.

        Another worker on the same version writes the same chunks, so unless some were deleted nothing is wrong. It
        waits for work in flight, up to LOOKS checks. An audit finds what it cannot repair.
        """
        document_id = late.record.document.id
        for _ in range(LOOKS):
            # Names may have been exchanged since; without a name, the vectors are gone as a whole.
            name = await self._name_of(store_name)
            if name is None:
                return
            current = (await self._catalog.documents_named(name, [document_id])).get(document_id)
            if current is not None and not deleted and _has_same_chunks(current, late.record):
                return
            if await self._try(name, store_name, document_id, current, written):
                return
            await asyncio.sleep(PAUSE_SECONDS)
        log.warning(
            "a worker wrote to a document after its lease had ended: audit", collection=late.record.document.collection
        )

    async def _try(
        self,
        name: str,
        store_name: StoreName,
        document_id: DocumentId,
        current: DocumentRecord | None,
        written: Collection[ChunkId],
    ) -> bool:
        """Returns whether the store agrees with the catalog, or the document is queued for repair."""
        if current is None:
            # A document that is accepted at this moment may lose chunks, so it is checked again.
            await self._store.prune(store_name, {document_id: ()})
            return not await self._catalog.documents_named(name, [document_id])
        try:
            claim = await self._catalog.claim_document(
                name, document_id, self._worker, lease=LEASE, now=datetime.now(UTC)
            )
        except (DocumentBusy, DocumentNotFound):
            return False
        record = claim.record
        try:
            if (record.version, await self._name_of(store_name)) != (current.version, name):
                return False
            held = {stored.id async for page in self._store.texts(store_name, document_id) for stored in page}
            if record.rollback_ids or _agrees(record, held):
                return True  # the next worker restores unfinished work
            if record.searchable_at is None:
                await self._store.prune(store_name, {document_id: ()})
                return await self._is_held(claim)
            if current.state != "ready" and _agrees(record, held.difference(written)):
                await self._store.delete(store_name, [id_ for id_ in written if id_ in held])
                return await self._is_held(claim)
        finally:
            await self._catalog.release([claim])
        requeued = await self._catalog.requeue(name, {document_id: record.version}, now=datetime.now(UTC))
        if requeued:
            log.warning("document is done again: a worker wrote to it after its lease had ended")
        elif current.state == "failed":
            log.warning(
                "a worker without a lease may have damaged a document that cannot be processed again", collection=name
            )
        return requeued > 0 or current.state == "failed"

    async def _is_held(self, claim: Claim) -> bool:
        return bool(await self._catalog.renew([claim], lease=LEASE, now=datetime.now(UTC)))

    async def _name_of(self, store_name: StoreName) -> str | None:
        names = (each.name for each in await self._catalog.collections() if each.store_name == store_name)
        return next(names, None)


def _has_same_chunks(current: DocumentRecord, mine: DocumentRecord) -> bool:
    same = (current.version, current.ingested_at) == (mine.version, mine.ingested_at)
    return same and current.state in ("ready", "processing")


def _agrees(record: DocumentRecord, held: set[ChunkId]) -> bool:
    if record.searchable_at is None:
        return not held
    return len(held) == record.chunks and record.chunk_digest in ("", digest_of(held))
