"""The chunks and the text of a document, read from the store, where search finds them. Nothing is parsed or chunked
again, so this is always the searchable version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ingestion.errors import DocumentBusy
from ingestion.ports import Catalog
from ingestion.types import DocumentRecord
from retrieval.errors import InvalidRequest
from retrieval.ports import VectorStore
from retrieval.types import Chunk, DocumentId, StoreName

MAX_TEXT_CHARACTERS: Final = 1_000_000
"""Length after which a page of a text ends, with the chunk in which it is reached."""
_READ_CHUNKS: Final = 64
"""Chunks that are read at a time: 4 MB where each is as long as can be."""
_BLANK_LINES: Final = 3
"""Line breaks in a row, at most, that stand for white space between chunks."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The position at which the next page begins."""

    ordinal: int
    offset: int
    """End of the previous page, in characters."""
    chunk_digest: str
    """Digest of the version that is read."""

    def __str__(self) -> str:
        return f"{self.ordinal}.{self.offset}.{self.chunk_digest}"

    @classmethod
    def parse(cls, cursor: str) -> "Mark":
        """Raises InvalidRequest."""
        ordinal, _, rest = cursor.partition(".")
        offset, _, digest = rest.partition(".")
        if not (_is_number(ordinal) and _is_number(offset) and digest):
            raise InvalidRequest(f"cursor: {cursor[:80]!r} is none of this route: give a 'next_cursor' as it was.")
        return cls(int(ordinal), int(offset), digest)


@dataclass(frozen=True, slots=True)
class ChunkPage:
    record: DocumentRecord
    chunks: Sequence[Chunk]
    next: Mark | None
    """None: there are no more."""


@dataclass(frozen=True, slots=True)
class TextPage:
    record: DocumentRecord
    text: str
    start: int
    end: int
    """Offsets in characters into the document's text."""
    next: Mark | None


class DocumentContents:
    """Every method raises CollectionNotFound, DocumentNotFound, InvalidRequest (a cursor of another version),
    DocumentBusy (chunks are not there: the document is being replaced, or the store lost some), StoreUnavailable."""

    def __init__(self, catalog: Catalog, store: VectorStore) -> None:
        self._catalog = catalog
        self._store = store

    async def chunks(
        self, collection: str, document_id: DocumentId, *, limit: int, cursor: str | None = None, first: int = 0
    ) -> ChunkPage:
        """Returns at most `limit` chunks in order, from number `first` or from the cursor on."""
        record, mark = await self._begin(collection, document_id, cursor)
        first = mark.ordinal if mark else first
        chunks = await self._read(record, first, first + limit)
        end = first + len(chunks)
        following = Mark(end, chunks[-1].end, record.chunk_digest) if chunks and end < record.chunks else None
        return ChunkPage(record, chunks, following)

    async def text(self, collection: str, document_id: DocumentId, *, cursor: str | None = None) -> TextPage:
        """The text as its chunks hold it, overlaps once. The white space between two chunks, which no chunk holds, is
        of its length again but for its kind: line breaks. So offsets are those of the text that was chunked."""
        record, mark = await self._begin(collection, document_id, cursor)
        ordinal, start = (mark.ordinal, mark.offset) if mark else (0, 0)
        parts, end = [], start
        while ordinal < record.chunks and end - start < MAX_TEXT_CHARACTERS:
            for chunk in await self._read(record, ordinal, ordinal + _READ_CHUNKS):
                parts += [_space(chunk.start - end), chunk.text[max(end - chunk.start, 0) :]]
                end = max(end, chunk.end)
                ordinal += 1
                if end - start >= MAX_TEXT_CHARACTERS:
                    break
        following = Mark(ordinal, end, record.chunk_digest) if ordinal < record.chunks else None
        return TextPage(record, "".join(parts), start, end, following)

    async def whole_text(self, collection: str, document_id: DocumentId) -> str:
        page = await self.text(collection, document_id)
        parts = [page.text]
        while page.next:
            page = await self.text(collection, document_id, cursor=str(page.next))
            parts.append(page.text)
        return "".join(parts)

    async def _begin(
        self, collection: str, document_id: DocumentId, cursor: str | None
    ) -> tuple[DocumentRecord, Mark | None]:
        mark = Mark.parse(cursor) if cursor else None
        record = await self._catalog.document(collection, document_id)
        if mark and mark.chunk_digest != record.chunk_digest:
            raise InvalidRequest(
                f"cursor: document {document_id!r} was replaced since the page before was read. Begin again, without a "
                "cursor."
            )
        return record, mark

    async def _read(self, record: DocumentRecord, first: int, end: int) -> list[Chunk]:
        """Returns the existing chunks with ordinals from `first` to before `end`."""
        ordinals = range(first, min(end, record.chunks))
        if not ordinals:
            return []
        # Of the catalog as it is now: a collection that was re-embedded has another name in the store.
        store_name: StoreName = (await self._catalog.collection(record.document.collection)).store_name
        found = await self._store.chunks(store_name, {record.document.id: ordinals})
        if missing := len(ordinals) - len(found):
            raise DocumentBusy(
                f"{missing} of {len(ordinals)} chunks of document {record.document.id!r} are not in the store. Try "
                "again, since the document may have been replaced just now; if they stay missing, run `tandem audit "
                "--repair`.",
                missing=missing,
            )
        return sorted(found.values(), key=lambda chunk: chunk.ordinal)


def _space(characters: int) -> str:
    """Returns white space of the given length: a few line breaks, then blanks."""
    return "\n" * min(characters, _BLANK_LINES) + " " * (characters - _BLANK_LINES)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12
