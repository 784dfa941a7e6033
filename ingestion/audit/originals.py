"""Compares the blob store with the documents of all collections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from ingestion.audit.report import ReportBuilder
from ingestion.blobs.gc import BlobCollector
from ingestion.ports import BlobStore, Catalog
from ingestion.types import Collection
from retrieval.errors import CollectionNotFound
from retrieval.types import DocumentId

PAGE = 1000

Owner = tuple[str, DocumentId]
"""Collection and document."""


class OriginalsAudit:
    """Lists the blobs once for every `portion` documents; memory depends on `portion`. Bytes are read only for blobs
    that seem to be missing.
    """

    def __init__(self, catalog: Catalog, blobs: BlobStore, builder: ReportBuilder, *, portion: int) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._builder = builder
        self._portion = portion

    async def unowned(self, *, age: timedelta, collector: BlobCollector | None) -> None:
        """Notes blobs that no document refers to and that were written longer than `age` ago: a younger one may belong
        to a request that has not been committed yet. `collector`, if given, deletes them.
        """
        async for page in self._blobs.every():
            self._builder.blobs += len(page)
            self._builder.log_progress("blobs")
            latest = datetime.now(UTC) - age
            old = [digest for digest, written in page.items() if written < latest]
            for _ in range(2):  # a document may have been accepted between the two checks
                old = sorted(set(old) - await self._catalog.blobs_in_use(old)) if old else old
            for digest in old:
                if collector:
                    # Completed even if the audit is cancelled: between its steps a blob may be missing for a moment.
                    await asyncio.shield(collector.retire([digest]))
                self._builder.found("blobs_without_owner", digest, repaired=int(collector is not None))

    async def missing(self, collections: Sequence[Collection]) -> None:
        """Notes documents whose original is missing. Only sending them again restores it."""
        wanted: dict[str, list[Owner]] = {}
        documents = 0
        async for digest, owner in self._owners(collections):
            wanted.setdefault(digest, []).append(owner)
            documents += 1
            if documents == self._portion:
                await self._discard_present(wanted)
                wanted, documents = {}, 0
        if wanted:
            await self._discard_present(wanted)

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

    async def _discard_present(self, wanted: dict[str, list[Owner]]) -> None:
        async for page in self._blobs.every():
            for digest in page:
                wanted.pop(digest, None)
            self._builder.log_progress("originals")
        for digest, owners in wanted.items():
            if await self._blobs.get([digest]):
                continue
            for name, document_id in owners:
                record = (await self._catalog.documents_named(name, [document_id])).get(document_id)
                if record is not None and record.document.sha256 == digest:
                    self._builder.found("originals_missing", document_id, collection=name)
