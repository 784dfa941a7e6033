"""Runs one audit at a time over collections, their chunks, and the originals."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from ingestion.audit.chunks import ChunkAudit
from ingestion.audit.originals import OriginalsAudit
from ingestion.audit.repair import Repairer
from ingestion.audit.report import AuditReport, ReportBuilder
from ingestion.blobs.gc import BlobCollector
from ingestion.errors import AuditRunning
from ingestion.notifications import Notifications
from ingestion.ports import BlobStore, Catalog
from ingestion.types import Collection
from retrieval.embedders import Embedders
from retrieval.errors import CollectionNotFound
from retrieval.ports import VectorStore

log = structlog.get_logger()

STORE_NAME = re.compile(r".+__[0-9a-f]{12}(_.*)?")
"""Names that this service gives to collections in the store."""


@dataclass(frozen=True, slots=True)
class AuditOptions:
    portion: int = 100_000
    """Documents that are looked at together; what an audit holds in memory follows from it (some 60 MB)."""
    blob_age: timedelta = timedelta(hours=1)
    """A younger blob without an owner may still get one."""
    late: timedelta = timedelta(hours=1)
    """Documents that have been waiting for longer are noted."""
    settle: timedelta = timedelta(seconds=5)
    """How long work in flight is waited for before a difference that only this work explains is checked again."""


class Auditor:
    """Compares catalog, vector store and originals while ingestion, deletes and replacements go on."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        collector: BlobCollector,
        store: VectorStore,
        embedders: Embedders,
        *,
        work_arrived: Notifications,
        options: AuditOptions | None = None,
    ) -> None:
        """`work_arrived` is notified when documents were queued again."""
        self._catalog = catalog
        self._blobs = blobs
        self._collector = collector
        self._store = store
        self._embedders = embedders
        self._options = options or AuditOptions()
        self._repairer = Repairer(
            catalog, blobs, store, embedders, work_arrived=work_arrived, settle=self._options.settle
        )
        self._running = False

    async def run(self, *, collection: str | None = None, repair: bool = False) -> AuditReport:
        """Audits everything, or the chunks and originals of one collection. It may be cancelled at any moment: the next
        audit finds what it leaves half done.

        Raises AuditRunning, CollectionNotFound, and the errors of parts that are unavailable.
        """
        if self._running:
            raise AuditRunning("An audit is running on this node; retry when it has ended.")
        self._running = True
        try:
            return await self._run(collection, repair=repair)
        finally:
            self._running = False

    async def _run(self, name: str | None, *, repair: bool) -> AuditReport:
        log.info("audit begins", collection=name, repair=repair)
        builder = ReportBuilder()
        chosen = [await self._catalog.collection(name)] if name else await self._catalog.collections()
        chunks = ChunkAudit(
            self._catalog,
            self._store,
            self._repairer if repair else None,
            builder,
            portion=self._options.portion,
            late=self._options.late,
        )
        for each in chosen:
            await self._collection(chunks, each, builder)
        blobs = OriginalsAudit(self._catalog, self._blobs, builder, portion=self._options.portion)
        await blobs.missing(chosen)
        if name is None:
            await self._unknown_collections(builder)
            await blobs.unowned(age=self._options.blob_age, collector=self._collector if repair else None)
        report = builder.report(repair=repair)
        log.info("audit ended", clean=report.clean, seconds=round(report.seconds, 1), left=dict(report.left) or None)
        return report

    async def _collection(self, chunks: ChunkAudit, collection: Collection, builder: ReportBuilder) -> None:
        if self._embedders.named(collection.fingerprint) is None:
            builder.noted("collections_of_another_model", collection.name, collection=collection.name)
        builder.collections += 1
        try:
            await chunks.run(collection)
        except CollectionNotFound:
            # It was deleted or exchanged meanwhile, or its vectors are lost.
            await asyncio.sleep(self._options.settle.total_seconds())
            with suppress(CollectionNotFound):
                now = await self._catalog.collection(collection.name)
                if now.store_name == collection.store_name and now.store_name not in await self._in_store():
                    builder.found("collections_not_in_store", collection.name, collection=collection.name)

    async def _unknown_collections(self, builder: ReportBuilder) -> None:
        """Notes collections of the store whose names have this service's form but that the catalog does not list. They
        may belong to another catalog, so they are only reported."""
        unknown = await self._unknown()
        if unknown:
            await asyncio.sleep(self._options.settle.total_seconds())  # one may be about to be created
            for name in sorted(unknown & await self._unknown()):
                builder.found("collections_not_in_catalog", name)

    async def _unknown(self) -> set[str]:
        known_names = {name for name in await self._in_store() if STORE_NAME.fullmatch(name)}
        return known_names - {str(each.store_name) for each in await self._catalog.collections()}

    async def _in_store(self) -> Sequence[str]:
        return await self._store.list_collections()
