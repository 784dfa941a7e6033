"""The part of the collections that exists for a caller: the documents of a tenant, those that the filter of a key
selects, those that the caller's groups may read, or all. Maps the ids that a caller uses to those that are stored: they
differ for keys of a tenant (ingestion.access.tenants).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from app.errors import Forbidden
from ingestion.access.tenants import partition_of, prefix_of
from ingestion.contents import ChunkPage, TextPage
from ingestion.selection import EVERY, Selection
from ingestion.types import Collection, Document, DocumentRecord, Receipt
from retrieval.errors import InvalidRequest
from retrieval.filters.evaluate import matches
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import And, Compare, Filter, In, InGroups, Not, Or, Value, all_of
from retrieval.search.query import Hit, SearchQuery, SearchResult
from retrieval.types import Candidate, Chunk, ChunkId, DocumentId


@dataclass(frozen=True, slots=True)
class Space:
    tenant: str | None
    """None: all documents, under the ids that they are stored by."""
    filter: Mapping[str, object] | None = None
    """Tree of the documents of this space; None: all of the tenant, or of everybody."""
    groups: tuple[str, ...] | None = None
    """In collections with principals it has the documents that any of these may read; None: all."""

    @property
    def whole(self) -> bool:
        """Whether it has all documents."""
        return self.tenant is None and not self.selective

    @property
    def selective(self) -> bool:
        """Whether documents are selected by what they hold: then each is looked at before it is returned."""
        return self.filter is not None or self.groups is not None

    def has_all_of(self, collection: Collection) -> bool:
        by_groups = self.groups is not None and collection.principals
        return self.tenant is None and self.filter is None and not by_groups

    @property
    def prefix(self) -> str | None:
        """Of all ids stored in this space."""
        return None if self.tenant is None else prefix_of(self.tenant)

    def stored(self, id_: str) -> DocumentId:
        return DocumentId((self.prefix or "") + id_)

    def shown(self, id_: str) -> DocumentId:
        return DocumentId(id_.removeprefix(self.prefix or ""))

    def document(self, document: Document) -> Document:
        if self.groups is not None:
            # Who else reads it is not the reader's to know.
            document = replace(document, groups=None)
        if self.tenant is None:
            return document
        return replace(document, id=self.shown(document.id), partition=self.tenant)

    def record(self, record: DocumentRecord) -> DocumentRecord:
        return replace(record, document=self.document(record.document))

    def receipts(self, receipts: Sequence[Receipt]) -> Sequence[Receipt]:
        if self.tenant is None:
            return receipts
        return [
            replace(
                each,
                document_id=self.shown(each.document_id),
                duplicate_of=each.duplicate_of and self.shown(each.duplicate_of),
            )
            for each in receipts
        ]

    def chunk_page(self, page: ChunkPage) -> ChunkPage:
        return replace(page, record=self.record(page.record), chunks=[self._chunk(each) for each in page.chunks])

    def text_page(self, page: TextPage) -> TextPage:
        return replace(page, record=self.record(page.record))

    def forced(self, collection: Collection) -> Filter | None:
        """What selects this space's chunks of the collection, on stored ids. Raises Forbidden where the filter does not
        fit the collection's keys.
        """
        groups = None if self.groups is None or not collection.principals else InGroups(self.groups)
        return all_of(groups, self._forced_filter(collection))

    def _forced_filter(self, collection: Collection) -> Filter | None:
        """Raises Forbidden."""
        if self.filter is None:
            return None
        try:
            return self._filter(parse_filter(self.filter, collection.metadata_keys))
        except InvalidRequest as error:
            raise Forbidden(
                f"The filter of this API key does not fit collection {collection.name!r}: {error.message} Ask the "
                "key's issuer for another one.",
                collection=collection.name,
            ) from error

    def selects(self, collection: Collection) -> Selection:
        """The stored documents of the collection that this space has, but for the tenant. A filter that does not fit
        the collection is true of none. The groups are compared wherever a document has them, whatever is known of the
        collection.
        """
        if not self.selective:
            return EVERY
        try:
            filter = self._forced_filter(collection)
        except Forbidden:
            return Selection(self._reads, empty=True)

        def holds(record: DocumentRecord) -> bool:
            return self._reads(record) and (filter is None or matches(filter, _as_row(record)))

        return Selection(holds, self.groups, filter)

    def readable(self, result: SearchResult, records: Mapping[DocumentId, DocumentRecord]) -> SearchResult:
        """The result without hits in documents that no group of this space may read, by `records`."""
        read = {id_ for id_, record in records.items() if self._reads(record)}
        return replace(result, hits=tuple(hit for hit in result.hits if hit.candidate.chunk.document_id in read))

    def _reads(self, record: DocumentRecord) -> bool:
        groups = record.document.groups
        return self.groups is None or groups is None or not set(self.groups).isdisjoint(groups)

    def query(self, query: SearchQuery, collection: Collection) -> SearchQuery:
        """The query within this space. Raises Forbidden for one that names another partition."""
        if self.tenant is not None:
            query = self._of_tenant(query, self.tenant)
        return replace(query, forced=self.forced(collection))

    def _of_tenant(self, query: SearchQuery, tenant: str) -> SearchQuery:
        if query.partition not in (None, tenant):
            raise Forbidden(
                f"partition: this API key searches {tenant!r} alone; leave the partition out.",
                partition=tenant,
            )
        filter = query.filter and self._filter(query.filter)
        return replace(query, partition=partition_of(tenant), filter=filter)

    def result(self, result: SearchResult) -> SearchResult:
        if self.tenant is None:
            return result
        return replace(result, hits=tuple(map(self._hit, result.hits)))

    def idempotency_key(self, key: str | None) -> str | None:
        return key if key is None or self.prefix is None else self.prefix + key

    def digest(self, digest: str) -> str:
        """Of a query, for its cursors: those of one tenant, filter or set of groups are no other's."""
        if self.whole:
            return digest
        selection = json.dumps([self.filter, self.groups], sort_keys=True)
        return f"{digest} {self.prefix} {sha256(selection.encode()).hexdigest()[:16]}"

    def _hit(self, hit: Hit) -> Hit:
        candidate = replace(hit.candidate, chunk=self._chunk(hit.candidate.chunk), partition=self.tenant or "")
        return replace(hit, candidate=candidate)

    def _chunk(self, chunk: Chunk) -> Chunk:
        return replace(chunk, document_id=self.shown(chunk.document_id))

    def _filter(self, filter: Filter) -> Filter:
        match filter:
            case Compare(operator=operator, field=field, value=value) if field.name == "document_id":
                return filter if field.metadata else Compare(operator, field, self._value(value))
            case In(field=field, values=values) if field.name == "document_id" and not field.metadata:
                return In(field, tuple(map(self._value, values)))
            case And(filters=filters):
                return And(tuple(map(self._filter, filters)))
            case Or(filters=filters):
                return Or(tuple(map(self._filter, filters)))
            case Not(filter=inner):
                return Not(self._filter(inner))
        return filter

    def _value(self, value: Value) -> Value:
        return self.stored(value) if isinstance(value, str) else value


def _as_row(record: DocumentRecord) -> Candidate:
    """The document as a filter on FILTER_FIELDS and metadata sees any of its chunks."""
    document = record.document
    return Candidate(
        chunk=Chunk(ChunkId(""), document.id, 0, "", 0, 0, 0),
        score=0.0,
        title=document.title,
        media_type=document.media_type,
        partition=document.partition,
        metadata=document.metadata,
        ingested_at=record.ingested_at,
    )
