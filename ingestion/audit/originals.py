"""The blob store against the documents of all collections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from ingestion.audit.report import Book
from ingestion.blob_gc import Originals
from ingestion.ports import BlobStore, Catalog
from ingestion.types import Collection
from retrieval.errors import CollectionNotFound
from retrieval.types import DocumentId

PAGE = 1000

Owner = tuple[str, DocumentId]
"""Collection and document."""


class OriginalsAudit:
    """Lists the blobs once for every `portion` documents; memory follows from `portion`. Bytes are not read, but for
    those that seem to be missing."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, book: Book, *, portion: int) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._book = book
        self._portion = portion

    async def unowned(self, *, age: timedelta, originals: Originals | None) -> None:
        """Blobs that no document refers to and that were written longer than `age` ago: a younger one may belong to a
        request that has not been committed yet. Retired by `originals`, if given."""
        async for page in self._blobs.every():
            self._book.blobs += len(page)
            self._book.tell("blobs")
            latest = datetime.now(UTC) - age
            old = [digest for digest, written in page.items() if written < latest]
            for _ in range(2):  # an owner may have come between two looks
                old = sorted(set(old) - await self._catalog.blobs_in_use(old)) if old else old
            for digest in old:
                if originals:
                    # To its end, also where the audit is cancelled: between its steps a blob may be away for a moment.
                    await asyncio.shield(originals.retire([digest]))
                self._book.found("blobs_without_owner", digest, repaired=int(originals is not None))

    async def missing(self, collections: Sequence[Collection]) -> None:
        """Documents whose original is not there. Nothing but sending them again brings it back."""
        wanted: dict[str, list[Owner]] = {}
        documents = 0
        async for digest, owner in self._owners(collections):
            wanted.setdefault(digest, []).append(owner)
            documents += 1
            if documents == self._portion:
                await self._strike_out(wanted)
                wanted, documents = {}, 0
        if wanted:
            await self._strike_out(wanted)

    async def _owners(self, collections: Sequence[Collection]) -> AsyncIterator[tuple[str, Owner]]:
        for collection in collections:
            after: DocumentId | None = None
            try:
                while page := await self._catalog.documents(collection.name, after=after, limit=PAGE):
                    for record in page:
                        yield record.document.sha256, (collection.name, record.document.id)
                    after = page[-1].document.id
            except CollectionNotFound:
                continue  # deleted meanwhile

    async def _strike_out(self, wanted: dict[str, list[Owner]]) -> None:
        async for page in self._blobs.every():
            for digest in page:
                wanted.pop(digest, None)
            self._book.tell("originals")
        for digest, owners in wanted.items():
            if await self._blobs.get([digest]):
                continue
            for name, document_id in owners:
                record = (await self._catalog.documents_named(name, [document_id])).get(document_id)
                if record is not None and record.document.sha256 == digest:
                    self._book.found("originals_missing", document_id, collection=name)
