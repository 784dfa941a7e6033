"""Compares the chunks of one collection with its documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from ingestion.audit.repair import Repairer
from ingestion.audit.report import ReportBuilder
from ingestion.ports import Catalog
from ingestion.types import Collection, DocumentRecord, DocumentState
from retrieval.ports import VectorStore
from retrieval.types import ChunkId, DocumentId

PAGE = 1000

Tally = tuple[int, int]
"""The number of chunks, and the exclusive or of their ids."""
NO_CHUNKS: Tally = (0, 0)


@dataclass(frozen=True, slots=True)
class Mark:
    """The fields of a document's record that stay the same while no worker processes the document."""

    version: int
    state: DocumentState
    attempts: int
    chunks: int
    digest: str
    ingested_at: datetime
    searchable_at: datetime | None

    @classmethod
    def of(cls, record: DocumentRecord) -> "Mark":
        return cls(
            record.version,
            record.state,
            record.attempts,
            record.chunks,
            record.chunk_digest,
            record.ingested_at,
            record.searchable_at,
        )

    @property
    def settled(self) -> bool:
        return self.state in ("ready", "failed")

    def agrees(self, tally: Tally) -> bool:
        """Returns whether the store holds what the last success wrote."""
        if self.searchable_at is None:
            return tally == NO_CHUNKS
        return tally[0] == self.chunks and self.digest in ("", f"{tally[1]:032x}")


class ChunkAudit:
    """Checks `portion` documents at a time, in the order of their ids, and reads the whole store for each portion:
    memory depends on `portion`, not on the size of the collection.

    It takes no locks. A difference counts only if a second read of this document alone shows it again, and the
    document's record is unchanged by then.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: VectorStore,
        repairer: Repairer | None,
        builder: ReportBuilder,
        *,
        portion: int,
        late: timedelta,
    ) -> None:
        """Without a `repairer`, nothing is changed. Documents that have been waiting for longer than `late`
        are noted.
        """
        self._catalog = catalog
        self._store = store
        self._repairer = repairer
        self._builder = builder
        self._portion = portion
        self._late = late

    async def run(self, collection: Collection) -> None:
        """Audits the collection. Raises CollectionNotFound if catalog or store do not have it."""
        after: DocumentId | None = None
        while True:
            marks, end = await self._read_portion(collection.name, after)
            tallies = await self._count(collection, marks, after, end)
            for document_id, mark in marks.items():
                if mark.settled and not mark.agrees(tallies.pop(document_id, NO_CHUNKS)):
                    await self._look_again(collection, document_id, mark)
                tallies.pop(document_id, None)
            for document_id in tallies:
                await self._look_for_owner(collection, document_id)
            if end is None:
                return
            after = end

    async def _read_portion(
        self, name: str, after: DocumentId | None
    ) -> tuple[dict[DocumentId, Mark], DocumentId | None]:
        """Returns the documents after `after`, and the last one's id if more may follow."""
        marks: dict[DocumentId, Mark] = {}
        late = datetime.now(UTC) - self._late
        while len(marks) < self._portion:
            page = await self._catalog.documents(name, after=after, limit=min(PAGE, self._portion - len(marks)))
            if not page:
                return marks, None
            for record in page:
                marks[record.document.id] = Mark.of(record)
                self._note(name, record, late)
            after = page[-1].document.id
            self._builder.documents += len(page)
            self._builder.log_progress(f"documents of {name}")
        return marks, after

    def _note(self, name: str, record: DocumentRecord, late: datetime) -> None:
        document_id = record.document.id
        if record.state in ("queued", "processing"):
            self._builder.noted("documents_moving", document_id, collection=name)
            if record.ingested_at < late:
                self._builder.noted("documents_waiting_long", document_id, collection=name)
        elif record.searchable_at is not None and not record.chunk_digest:
            self._builder.noted("documents_counted_only", document_id, collection=name)

    async def _count(
        self, collection: Collection, marks: Mapping[DocumentId, Mark], after: DocumentId | None, end: DocumentId | None
    ) -> dict[DocumentId, Tally]:
        """Counts the chunks that the store holds of the documents from `after` to `end`, and of unknown documents
        between them."""
        tallies: dict[DocumentId, Tally] = {}
        unknown = 0
        async for page in self._store.every(collection.store_name):
            for chunk_id, document_id in page:
                if (after is not None and document_id <= after) or (end is not None and document_id > end):
                    continue
                self._builder.chunks += 1
                tally = tallies.get(document_id)
                if tally is None:
                    if document_id not in marks:
                        if unknown == self._portion:
                            self._builder.noted("chunks_not_judged", document_id, collection=collection.name)
                            continue
                        unknown += 1
                    tally = NO_CHUNKS
                tallies[document_id] = (tally[0] + 1, tally[1] ^ _number(chunk_id))
            self._builder.log_progress(f"chunks of {collection.name}")
        return tallies

    async def _look_again(self, collection: Collection, document_id: DocumentId, before: Mark) -> None:
        name = collection.name
        held = await self._held(collection, document_id)
        record = (await self._catalog.documents_named(name, [document_id])).get(document_id)
        self._builder.log_progress(f"second look at documents of {name}")
        if record is None or Mark.of(record) != before:
            self._builder.noted("documents_moving", document_id, collection=name)
            return
        if before.agrees(_tally(held)):
            return
        if before.searchable_at is None:
            cleared = self._repairer is not None and await self._repairer.clear(collection, record)
            self._builder.found("failed_documents_with_chunks", document_id, collection=name, repaired=int(cleared))
        else:
            queued = self._repairer is not None and await self._repairer.requeue(collection, record)
            self._builder.found("documents_outdated", document_id, collection=name, repaired=int(queued))

    async def _look_for_owner(self, collection: Collection, document_id: DocumentId) -> None:
        """Handles chunks of a document that the catalog did not list when the documents were read."""
        name = collection.name
        held = await self._held(collection, document_id)
        self._builder.log_progress(f"chunks without a document in {name}")
        if not held or await self._catalog.documents_named(name, [document_id]):
            return
        if (await self._catalog.collection(name)).store_name != collection.store_name:
            return  # its documents were moved to another version meanwhile
        gone = await self._repairer.delete(collection, document_id, held) if self._repairer else 0
        self._builder.found("chunks_without_document", document_id, collection=name, count=len(held), repaired=gone)

    async def _held(self, collection: Collection, document_id: DocumentId) -> list[ChunkId]:
        return [stored.id async for page in self._store.texts(collection.store_name, document_id) for stored in page]


def _tally(ids: list[ChunkId]) -> Tally:
    digest = 0
    for chunk_id in ids:
        digest ^= _number(chunk_id)
    return len(ids), digest


def _number(chunk_id: ChunkId) -> int:
    try:
        return int(chunk_id, 16)
    except ValueError:
        # Written by another process: any number that changes the sum will do.
        return int.from_bytes(sha256(chunk_id.encode()).digest()[:16])
