"""Documents, files and jobs, as one caller sees them."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from collections.abc import Collection as Several
from contextlib import aclosing, asynccontextmanager

from app.access.caller import Caller
from app.access.trail import Trail
from app.errors import LimitReached
from app.node.node import Node
from ingestion.access.keys import Scope
from ingestion.contents import ChunkPage, TextPage
from ingestion.errors import DocumentBusy, JobNotFound, document_not_found
from ingestion.selection import EVERY, Selection, selected
from ingestion.types import (
    Document,
    DocumentRecord,
    IngestOptions,
    Job,
    JobId,
    Receipt,
    Upload,
)
from ingestion.uploads import Attached, StoredFile
from retrieval.errors import CollectionNotFound
from retrieval.types import DocumentId

READING: tuple[Scope, ...] = ("search", "ingest", "manage")
"""Any of these may read what the catalog says of documents."""
JOB_RETRY_SECONDS, STORED_RETRY_SECONDS = 10, 3600
"""Retry-After if jobs have to end or documents have to be deleted first."""


class DocumentsView:
    def __init__(self, node: Node, caller: Caller, trail: Trail) -> None:
        self._node = node
        self._caller = caller
        self._space = caller.space
        self._trail = trail

    async def get(self, collection: str, document_id: DocumentId) -> DocumentRecord:
        """Raises Forbidden, DocumentNotFound, CollectionNotFound."""
        self._trail.require(*READING, collection=collection)
        return self._space.record(await self._record(collection, self._space.stored(document_id)))

    async def page(
        self, collection: str, *, after: DocumentId | None = None, limit: int = 100
    ) -> Sequence[DocumentRecord]:
        """Returns the documents after `after`, ordered by id. Raises Forbidden, CollectionNotFound."""
        self._trail.require(*READING, collection=collection)
        space, catalog = self._space, self._node.components.catalog
        stored = after and space.stored(after)
        if space.filter is None:
            found = list(
                await catalog.documents(collection, after=stored, limit=limit, prefix=space.prefix, groups=space.groups)
            )
        else:
            selection, found = await self._selects(collection), []
            async with aclosing(selected(catalog, collection, selection, after=stored, prefix=space.prefix)) as records:
                async for record in records:
                    found.append(record)
                    if len(found) == limit:
                        break
        return [space.record(each) for each in found]

    async def named(self, collection: str, ids: Several[DocumentId]) -> Mapping[DocumentId, DocumentRecord]:
        """Returns the existing documents of `ids`. Raises Forbidden, CollectionNotFound."""
        self._trail.require(*READING, collection=collection)
        stored = [self._space.stored(id_) for id_ in ids]
        found = await self._node.components.catalog.documents_named(collection, stored)
        selects = await self._selects(collection)
        return {self._space.shown(id_): self._space.record(each) for id_, each in found.items() if selects(each)}

    async def chunks(
        self, collection: str, document_id: DocumentId, *, limit: int, cursor: str | None = None, first: int = 0
    ) -> ChunkPage:
        """See DocumentContents.chunks. The first page is recorded as an export. Raises Forbidden."""
        self._trail.require("search", collection=collection)
        stored = self._space.stored(document_id)
        async with self._reading(collection, stored):
            page = await self._node.contents.chunks(collection, stored, limit=limit, cursor=cursor, first=first)
        if cursor is None and first == 0:
            await self._trail.export("document.export", collection, stored)
        return self._space.chunk_page(page)

    async def text(self, collection: str, document_id: DocumentId, *, cursor: str | None = None) -> TextPage:
        """See DocumentContents.text. The first page is recorded as an export. Raises Forbidden."""
        self._trail.require("search", collection=collection)
        stored = self._space.stored(document_id)
        async with self._reading(collection, stored):
            page = await self._node.contents.text(collection, stored, cursor=cursor)
        if cursor is None:
            await self._trail.export("document.export", collection, stored)
        return self._space.text_page(page)

    async def whole_texts(self, collection: str, ids: Sequence[DocumentId]) -> Sequence[str]:
        """Returns the texts of a collection's documents; recorded as one export. Raises Forbidden, and the errors of
        DocumentContents.
        """
        self._trail.require("search", collection=collection)
        await self._trail.export("collection.export", collection, None)
        texts = []
        for stored in map(self._space.stored, ids):
            async with self._reading(collection, stored):
                texts.append(await self._node.contents.whole_text(collection, stored))
        return texts

    async def original(self, collection: str, document_id: DocumentId) -> tuple[Document, bytes]:
        """See IngestionService.original. Raises Forbidden."""
        self._trail.require("search", collection=collection)
        stored = self._space.stored(document_id)
        async with self._reading(collection, stored):
            document, data = await self._node.ingestion.original(collection, stored)
        await self._trail.export("document.export", collection, stored)
        return self._space.document(document), data

    async def ingest(
        self,
        collection: str,
        uploads: Sequence[Upload],
        options: IngestOptions | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> tuple[JobId, Sequence[Receipt]]:
        """See IngestionService.accept. Raises Forbidden."""
        async with self._trail.action("documents.ingest", collection) as recorded:
            recorded.count = len(uploads)
            self._trail.require("ingest", collection=collection)
            await self._require_writer(collection)
            await self._require_room(collection, uploads)
            job_id, receipts = await self._node.ingestion.accept(
                collection,
                uploads,
                options,
                idempotency_key=self._space.idempotency_key(idempotency_key),
                created_by=self._caller.key_id,
                tenant=self._caller.tenant,
            )
            recorded.subject, recorded.count = job_id, len(receipts)
            return job_id, self._space.receipts(receipts)

    async def ingest_again(self, collection: str, ids: Sequence[DocumentId]) -> JobId:
        """Ingests documents again from their originals, which stay. Raises Forbidden, DocumentNotFound, BlobMissing."""
        self._trail.require("ingest", collection=collection)
        await self._require_writer(collection)
        uploads = []
        for id_ in ids:
            found, data = await self._node.ingestion.original(collection, self._space.stored(id_))
            document = self._space.document(found)
            uploads.append(
                Upload(
                    data,
                    document.id,
                    None,
                    document.media_type,
                    document.title,
                    document.partition,
                    document.metadata,
                    document.groups or (),
                    document.language,
                )
            )
        # What came in a container has a document of its own.
        job_id, _ = await self.ingest(collection, uploads, IngestOptions(unpack=False))
        return job_id

    async def delete(self, collection: str, document_id: DocumentId) -> None:
        """See IngestionService.delete. Raises Forbidden."""
        stored = self._space.stored(document_id)
        async with self._trail.action("document.delete", collection, stored):
            self._trail.require("ingest", collection=collection)
            await self._require_writer(collection)
            await self._node.ingestion.delete(collection, stored)

    async def _require_writer(self, collection: str) -> None:
        """Raises Forbidden for a caller that reads by groups, in a collection with principals: receipts would tell of
        documents that it does not see. Raises CollectionNotFound.
        """
        if self._space.groups is not None and (await self._node.collections.get(collection)).principals:
            raise self._trail.only_reads(collection)

    async def _selects(self, collection: str) -> Selection:
        """See Space.selects. Raises CollectionNotFound."""
        if not self._space.selective:
            return EVERY
        return self._space.selects(await self._node.collections.get_recent(collection))

    async def _record(self, collection: str, stored: DocumentId) -> DocumentRecord:
        """Raises DocumentNotFound, CollectionNotFound."""
        record = await self._node.components.catalog.document(collection, stored)
        if not (await self._selects(collection))(record):
            raise document_not_found(collection, stored)
        return record

    @asynccontextmanager
    async def _reading(self, collection: str, stored: DocumentId) -> AsyncGenerator[None, None]:
        """Within it, a document that exists for the caller is read. With a filter, it has to be the version that the
        catalog describes: while a document is being replaced, the store holds texts of a version that the filter may
        not be true of. So it is where groups decide who reads it. Raises DocumentNotFound, DocumentBusy,
        CollectionNotFound.
        """
        if not self._space.selective:
            yield
            return
        before = await self._record(collection, stored)
        if self._space.filter is None and before.document.groups is None:
            yield
            return
        if before.state == "ready":
            yield
            after = await self._record(collection, stored)
            if (after.version, after.state) == (before.version, "ready"):
                return
        raise DocumentBusy(
            f"Document {stored!r} is {before.state}: an API key with a filter or groups reads it when its newest "
            "version is ready.",
            document_id=stored,
        )

    async def _require_room(self, collection: str, uploads: Sequence[Upload]) -> None:
        """Raises LimitReached where the key may not store so much more. Requests that come at the same moment may pass
        a limit together; what is in an archive counts once it is unpacked.
        """
        limits, catalog = self._caller.limits, self._node.components.catalog
        if limits.queued_jobs is not None and self._caller.key_id is not None:
            waiting = await catalog.unfinished_jobs(self._caller.key_id)
            if waiting >= limits.queued_jobs:
                raise LimitReached(
                    f"This API key has {waiting:,} jobs that have not ended; {limits.queued_jobs:,} are allowed. Wait "
                    "until one has ended.",
                    limit=limits.queued_jobs,
                    retry_after_s=JOB_RETRY_SECONDS,
                )
        if limits.documents is None and limits.bytes is None:
            return
        seen = [each.name for each in await self._node.collections.list() if self._caller.sees(each.name)]
        totals = (await catalog.totals(seen, prefix=self._space.prefix)).values()
        ids = [self._space.stored(upload.id or upload.filename or "") for upload in uploads]
        replaced = (await catalog.documents_named(collection, ids)).values()
        stored = sum(each.unfinished + each.ready + each.failed + each.cancelled for each in totals)
        for unit, limit, there, more in (
            ("documents", limits.documents, stored, len(uploads) - len(replaced)),
            (
                "bytes",
                limits.bytes,
                sum(each.size for each in totals),
                sum(len(upload.data) for upload in uploads) - sum(each.document.size for each in replaced),
            ),
        ):
            if limit is not None and more > 0 and there + more > limit:
                raise LimitReached(
                    f"This API key may store {limit:,} {unit}; there are {there:,}, and the request brings {more:,} "
                    "more. Delete documents, or ask for a higher limit.",
                    limit=limit,
                    retry_after_s=STORED_RETRY_SECONDS,
                )


class FilesView:
    """Uploads are their uploader's alone until they are in a collection."""

    def __init__(self, node: Node, caller: Caller, trail: Trail) -> None:
        self._space = caller.space
        self._files = (
            node.files
            if caller.unlimited
            else node.files.of(caller.key_id or "", caller.sees, caller.space.prefix or "", caller.space.selects)
        )
        self._trail = trail

    async def keep(self, filename: str, data: bytes, media_type: str | None) -> StoredFile:
        """See FileService.keep. Raises Forbidden."""
        async with self._trail.action("file.upload") as recorded:
            self._trail.require("ingest")
            kept = await self._files.keep(filename, data, media_type)
            recorded.subject = kept.id
            return kept

    async def find(self, id_: str) -> StoredFile:
        """Raises Forbidden, DocumentNotFound."""
        self._trail.require(*READING)
        return await self._files.find(id_)

    async def read(self, id_: str) -> tuple[StoredFile, bytes]:
        """See FileService.read. Raises Forbidden."""
        self._trail.require("search")
        found = await self._files.read(id_)
        await self._trail.export("document.export", None, id_)
        return found

    async def uploads(self, collection: str | None, wanted: Mapping[str, Attached]) -> Sequence[Upload]:
        """See FileService.uploads. Raises Forbidden."""
        self._trail.require("ingest")
        return await self._files.uploads(collection, wanted)

    async def delete(self, id_: str) -> None:
        """See FileService.delete. Raises Forbidden."""
        async with self._trail.action("file.delete", subject=id_):
            self._trail.require("ingest")
            if self._space.groups is not None:
                for collection, _ in await self._files.documents(id_):
                    if collection.principals:
                        raise self._trail.only_reads(collection.name)
            await self._files.delete(id_)

    async def page(self, after: str | None, limit: int) -> Sequence[StoredFile]:
        """See FileService.page. Raises Forbidden."""
        self._trail.require(*READING)
        return await self._files.page(after, limit)


class JobsView:
    def __init__(self, node: Node, caller: Caller, trail: Trail) -> None:
        self._node = node
        self._caller = caller
        self._trail = trail

    async def get(self, job_id: JobId) -> Job:
        """Raises Forbidden, JobNotFound."""
        self._trail.require("ingest", "manage")
        return await self._seen(await self._node.components.catalog.job(job_id))

    async def latest(self, *, limit: int) -> Sequence[Job]:
        """Returns the last accepted jobs, newest first. Raises Forbidden."""
        self._trail.require("ingest", "manage")
        return await self._node.components.catalog.latest_jobs(
            limit=limit,
            collections=None if self._caller.unlimited else await self._collections(),
            tenant=self._caller.tenant,
        )

    async def receipts(self, job_id: JobId, *, after: int = 0, limit: int = 1000) -> Sequence[Receipt]:
        """See Catalog.receipts. Raises Forbidden, JobNotFound."""
        self._trail.require("ingest", "manage")
        if not self._caller.unlimited:
            await self.get(job_id)
        found = await self._node.components.catalog.receipts(job_id, after=after, limit=limit)
        return self._caller.space.receipts(found)

    async def failed(self, job_id: JobId) -> tuple[Job, Sequence[DocumentId]]:
        """Returns the job, and its failed documents that still exist, to be ingested again. Raises Forbidden,
        JobNotFound.
        """
        self._trail.require("ingest")
        job, catalog = await self.get(job_id), self._node.components.catalog
        receipts = await catalog.receipts(job_id, limit=job.progress.documents)
        ids = [receipt.document_id for receipt in receipts if receipt.status == "failed"]
        there = await catalog.documents_named(job.collection, ids)
        return job, [self._caller.space.shown(id_) for id_ in there]

    async def wait(self, job_id: JobId, *, timeout_seconds: float) -> Job:
        """See IngestionService.wait. Raises Forbidden."""
        await self.get(job_id)
        return await self._node.ingestion.wait(job_id, timeout_seconds=timeout_seconds)

    async def watch(self, job_id: JobId, *, leaving: Callable[[], bool]) -> AsyncGenerator[Job, None]:
        """See IngestionService.watch. Raises Forbidden."""
        await self.get(job_id)
        async with aclosing(self._node.ingestion.watch(job_id, leaving=leaving)) as jobs:
            async for job in jobs:
                yield job

    async def cancel(self, job_id: JobId) -> Job:
        """See IngestionService.cancel. Raises Forbidden."""
        async with self._trail.action("job.cancel", subject=job_id):
            self._trail.require("ingest")
            await self._seen(await self._node.components.catalog.job(job_id))
            return await self._node.ingestion.cancel(job_id)

    async def _collections(self) -> list[str]:
        """Collections whose jobs exist for the caller: not those with principals for one that reads by groups, since
        receipts tell of every document."""
        by_groups = self._caller.space.groups is not None
        every = [each for each in await self._node.collections.list() if self._caller.sees(each.name)]
        return [each.name for each in every if not (by_groups and each.principals)]

    async def _seen(self, job: Job) -> Job:
        seen = self._caller.sees(job.collection) and self._caller.tenant in (None, job.tenant)
        if seen and self._caller.space.groups is not None:
            try:
                seen = not (await self._node.collections.get(job.collection)).principals
            except CollectionNotFound:
                seen = False
        if not seen:
            raise JobNotFound(f"There is no job {job.id!r}.", job_id=job.id)
        return job
