"""A catalog, a vector store and a blob store in memory, with as much of each port as an audit needs, and things to
happen at a named moment in between."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingestion.audit.auditor import AuditOptions, Auditor
from ingestion.audit.report import AuditReport
from ingestion.blobs.gc import BlobCollector
from ingestion.errors import DocumentNotFound
from ingestion.notifications import Notifications
from ingestion.types import Claim, DocumentError, DocumentRecord, WorkerId, digest_of
from ingestion.types import Collection as CatalogCollection
from retrieval.embedders import Embedders
from retrieval.errors import CollectionNotFound
from retrieval.types import ChunkId, DocumentId, StoredText
from tests.support.models.fake_models import FakeEmbedder
from tests.support.stores.catalog import a_collection, a_document

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


class Moments:
    """What happens at the first call of a method: set `before["method"]` or `after["method"]`."""

    def __init__(self) -> None:
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.calls: list[str] = []

    def begins(self, method: str) -> None:
        self.calls.append(method)
        self.before.pop(method, lambda: None)()

    def ends(self, method: str) -> None:
        self.after.pop(method, lambda: None)()


class MemoryCatalog(Moments):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, CatalogCollection] = {}
        self.records: dict[tuple[str, str], DocumentRecord] = {}
        self.requeued: list[str] = []
        self.leased: set[str] = set()

    async def collections(self) -> Sequence[CatalogCollection]:
        self.begins("collections")
        return list(self.known.values())

    async def collection(self, name: str) -> CatalogCollection:
        if name not in self.known:
            raise CollectionNotFound(name)
        return self.known[name]

    async def documents(
        self, collection: str, *, after: DocumentId | None = None, limit: int = 100
    ) -> Sequence[DocumentRecord]:
        await self.collection(collection)
        names = sorted(id_ for name, id_ in self.records if name == collection and (after is None or id_ > after))
        return [self.records[collection, id_] for id_ in names[:limit]]

    async def documents_named(
        self, collection: str, ids: Collection[DocumentId]
    ) -> Mapping[DocumentId, DocumentRecord]:
        self.begins("documents_named")
        found = {id_: self.records[collection, id_] for id_ in ids if (collection, id_) in self.records}
        self.ends("documents_named")
        return found

    async def requeue(self, collection: str, versions: Mapping[DocumentId, int], *, now: datetime) -> int:
        queued = 0
        for id_, version in versions.items():
            record = self.records[collection, id_]
            if (record.state, record.version) == ("ready", version):
                self.records[collection, id_] = replace(record, state="queued", attempts=0)
                self.requeued.append(id_)
                queued += 1
        return queued

    async def blobs_in_use(self, hashes: Collection[str]) -> set[str]:
        self.begins("blobs_in_use")
        found = {record.document.sha256 for record in self.records.values()} & set(hashes)
        self.ends("blobs_in_use")
        return found

    async def claim_document(
        self, collection: str, document_id: DocumentId, worker: WorkerId, *, lease: timedelta, now: datetime
    ) -> Claim:
        self.begins("claim_document")
        if (collection, document_id) not in self.records:
            raise DocumentNotFound(document_id)
        self.leased.add(document_id)
        return Claim(self.records[collection, document_id], worker, now + lease, document_id)

    async def release(self, claims: Sequence[Claim]) -> None:
        self.leased -= {claim.token for claim in claims}


class MemoryStore(Moments):
    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, str]] = {}
        """Of each collection: chunk id to document id."""

    async def list_collections(self) -> Sequence[str]:
        self.begins("list_collections")
        names = list(self.rows)
        self.ends("list_collections")
        return names

    async def every(self, name: str) -> AsyncIterator[Sequence[tuple[ChunkId, DocumentId]]]:
        self.begins("every")
        for chunk_id, document_id in list(self._of(name).items()):
            yield [(ChunkId(chunk_id), DocumentId(document_id))]
        self.ends("every")

    async def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        self.begins("texts")
        yield [StoredText(ChunkId(id_), "") for id_, owner in self._of(name).items() if owner == document_id]
        self.ends("texts")

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        self.begins("delete")
        for id_ in ids:
            self._of(name).pop(id_, None)

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        rows = self._of(name)
        for id_ in [id_ for id_, owner in rows.items() if owner in keep and id_ not in keep[DocumentId(owner)]]:
            del rows[id_]

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        return set(ids) & {ChunkId(id_) for id_ in self._of(name)}

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        return sum(owner == document_id for owner in self._of(name).values())

    def _of(self, name: str) -> dict[str, str]:
        if name not in self.rows:
            raise CollectionNotFound(name)
        return self.rows[name]


class MemoryBlobs(Moments):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, tuple[bytes, datetime]] = {}

    async def every(self) -> AsyncIterator[Mapping[str, datetime]]:
        self.begins("every")
        for digest, (_, written) in list(self.kept.items()):
            yield {digest: written}

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        self.begins("get")
        return {digest: self.kept[digest][0] for digest in hashes if digest in self.kept}

    async def absent(self, hashes: Collection[str]) -> Collection[str]:
        return {digest for digest in hashes if digest not in self.kept}

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        self.kept.update({digest: (data, datetime.now(UTC)) for digest, data in blobs.items()})

    async def delete(self, sha256: str) -> None:
        self.kept.pop(sha256, None)


class Audited:
    """The three, and documents in them that agree until a test makes them differ."""

    def __init__(self) -> None:
        self.catalog, self.store, self.blobs = MemoryCatalog(), MemoryStore(), MemoryBlobs()
        self.add_collection("docs")

    def add_collection(self, name: str) -> None:
        self.catalog.known[name] = a_collection(name)
        self.store.rows[a_collection(name).store_name] = {}

    def rows(self, collection: str = "docs") -> dict[str, str]:
        return self.store.rows[a_collection(collection).store_name]

    def add(self, name: str, *, chunks: int = 3, collection: str = "docs", version: int = 1) -> list[str]:
        """A document that is ready, whole in every part; returns the ids of its chunks."""
        document = a_document(name, f"text of {name}", collection=collection)
        ids = [f"{hash((name, number)) % 2**128:032x}" for number in range(chunks)]
        self.rows(collection).update(dict.fromkeys(ids, name))
        self.blobs.kept[document.sha256] = (f"text of {name}".encode(), LONG_AGO)
        self.catalog.records[collection, name] = DocumentRecord(
            document=document,
            version=version,
            state="ready",
            attempts=1,
            chunks=chunks,
            tokens=30,
            truncated_tokens=0,
            ingested_at=LONG_AGO,
            searchable_at=LONG_AGO,
            error=None,
            chunk_digest=digest_of(ChunkId(id_) for id_ in ids),
        )
        return ids

    def change(self, name: str, collection: str = "docs", **fields: object) -> None:
        record = self.catalog.records[collection, name]
        self.catalog.records[collection, name] = replace(record, **fields)  # type: ignore[arg-type]

    def fail(self, name: str, *, searchable: bool = False) -> None:
        error = DocumentError("parse_failed", "It is damaged.")
        if searchable:
            self.change(name, state="failed", error=error)
        else:
            self.change(name, state="failed", error=error, searchable_at=None, chunks=0, chunk_digest="")


NO_TIME = AuditOptions(portion=3, settle=timedelta(0))


class OwnModel(FakeEmbedder):
    """Has the fingerprint of the collections that tests put into a catalog."""

    fingerprint = a_collection().fingerprint  # type: ignore[assignment]


@pytest.fixture
def audited() -> Audited:
    """Seven documents of three chunks each, in all parts."""
    parts = Audited()
    for number in range(7):
        parts.add(f"doc-{number}")
    return parts


def auditor(parts: Audited, *, options: AuditOptions = NO_TIME, embedder: FakeEmbedder | None = None) -> Auditor:
    catalog, store, blobs = parts.catalog, parts.store, parts.blobs
    return Auditor(
        catalog,  # type: ignore[arg-type]
        blobs,
        BlobCollector(catalog, blobs),  # type: ignore[arg-type]
        store,  # type: ignore[arg-type]
        Embedders(embedder or OwnModel()),
        work_arrived=Notifications(),
        options=options,
    )


def counts(report: AuditReport) -> Mapping[str, tuple[int, int]]:
    """Found and repaired, by kind."""
    return {finding.kind: (finding.count, finding.repaired) for finding in report.findings}


async def audit(parts: Audited, *, repair: bool = False, collection: str | None = None) -> AuditReport:
    return await auditor(parts).run(repair=repair, collection=collection)
