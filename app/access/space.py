"""Maps the ids that a caller uses to those that are stored: they differ for keys of a tenant (ingestion.tenants)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.errors import Forbidden
from ingestion.contents import ChunkPage, TextPage
from ingestion.tenants import partition_of, prefix_of
from ingestion.types import Document, DocumentRecord, Receipt
from retrieval.filters.tree import And, Compare, Filter, In, Not, Or, Value
from retrieval.search.query import Hit, SearchQuery, SearchResult
from retrieval.types import Chunk, DocumentId


@dataclass(frozen=True, slots=True)
class Space:
    tenant: str | None
    """None: all documents, under the ids that they are stored by."""

    @property
    def prefix(self) -> str | None:
        """Of all ids stored in this space."""
        return None if self.tenant is None else prefix_of(self.tenant)

    def stored(self, id_: str) -> DocumentId:
        return DocumentId((self.prefix or "") + id_)

    def shown(self, id_: str) -> DocumentId:
        return DocumentId(id_.removeprefix(self.prefix or ""))

    def document(self, document: Document) -> Document:
        if self.tenant is None:
            return document
        return replace(document, id=self.shown(document.id), partition=self.tenant)

    def record(self, record: DocumentRecord) -> DocumentRecord:
        return record if self.tenant is None else replace(record, document=self.document(record.document))

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
        if self.tenant is None:
            return page
        return replace(page, record=self.record(page.record), chunks=[self._chunk(each) for each in page.chunks])

    def text_page(self, page: TextPage) -> TextPage:
        return page if self.tenant is None else replace(page, record=self.record(page.record))

    def query(self, query: SearchQuery) -> SearchQuery:
        """The query within this space. Raises Forbidden for one that names another partition."""
        if self.tenant is None:
            return query
        if query.partition not in (None, self.tenant):
            raise Forbidden(
                f"partition: this API key searches {self.tenant!r} alone; leave the partition out.",
                partition=self.tenant,
            )
        filter = query.filter and self._filter(query.filter)
        return replace(query, partition=partition_of(self.tenant), filter=filter)

    def result(self, result: SearchResult) -> SearchResult:
        if self.tenant is None:
            return result
        return replace(result, hits=tuple(map(self._hit, result.hits)))

    def idempotency_key(self, key: str | None) -> str | None:
        return key if key is None or self.prefix is None else self.prefix + key

    def digest(self, digest: str) -> str:
        """Of a query, for its cursors: those of one tenant are no other's."""
        return digest if self.tenant is None else f"{digest} {self.prefix}"

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
