"""Documents in the catalog."""

from datetime import datetime
from typing import Any, Self

from pydantic import AliasPath, Field, JsonValue

from app.http.schemas.ingest import ReadingOut
from app.http.schemas.wire import ErrorOut, Wire
from ingestion.contents import ChunkPage, TextPage
from ingestion.types import DocumentState


def _document_field(name: str, description: str) -> Any:
    return Field(validation_alias=AliasPath("document", name), description=description)


class DocumentOut(Wire):
    """The record of a document in the catalog."""

    id: str = _document_field("id", "Id, as ingested or derived from the content.")
    collection: str = _document_field("collection", "Collection of the document.")
    state: DocumentState = Field(
        description="`ready`: searchable. `failed`: the previous version, if any, stays searchable."
    )
    version: int = Field(description="Version, which each accepted change increases by one.")
    title: str = Field(description="Title, from the request or the document; may be empty.")
    media_type: str = _document_field("media_type", "Media type, as detected from the content.")
    language: str | None = Field(
        description="Language of the version that search finds, as a code of ISO 639, stated or detected; null if it "
        "is not known."
    )
    partition: str = _document_field("partition", "Partition; empty if it has none.")
    metadata: dict[str, JsonValue] = _document_field("metadata", "Metadata, as ingested.")
    groups: list[str] | None = _document_field(
        "groups", "Groups that may read it; null in collections without principals, and for callers who read by groups."
    )
    sha256: str = _document_field("sha256", "SHA-256 of the original in hexadecimal digits.")
    size: int = _document_field("size", "Size of the original in bytes.")
    chunks: int = Field(description="Number of chunks in the store.")
    tokens: int = Field(description="Tokens of all chunks.")
    truncated_tokens: int = Field(
        description="Tokens that exceeded the embedding model's window and were not embedded."
    )
    ingested_at: datetime = Field(description="Time at which the current version was accepted.")
    searchable_at: datetime | None = Field(description="Time since which it is searchable; null if it never was.")
    error: ErrorOut | None = Field(description="Why ingestion failed; null if it did not.")
    report: ReadingOut = Field(description="How the version that search finds was read.")


class DocumentsOut(Wire):
    documents: list[DocumentOut] = Field(description="Documents, ordered by id.")
    next_cursor: str | None = Field(None, description="Cursor of the next page; null on the last one.")


class DocumentTextOut(Wire):
    """Text of a document, as it was read and chunked."""

    id: str = Field(description="Id of the document.")
    collection: str = Field(description="Collection of the document.")
    title: str = Field(description="Title, from the request or the document; may be empty.")
    media_type: str = Field(description="Media type of the original.")
    searchable_at: datetime | None = Field(description="Time since which this version is searchable; null if none is.")
    text: str = Field(
        description="The text, Markdown where the original has structure. White space between two chunks is given as "
        "line breaks of the same length."
    )
    start: int = Field(description="Offset of the first character in the document's text.")
    end: int = Field(description="Offset after the last character in the document's text.")
    next_cursor: str | None = Field(description="Cursor of the next part; null on the last one.")

    @classmethod
    def of(cls, page: TextPage) -> Self:
        document = page.record.document
        return cls(
            id=document.id,
            collection=document.collection,
            title=page.record.title,
            media_type=document.media_type,
            searchable_at=page.record.searchable_at,
            text=page.text,
            start=page.start,
            end=page.end,
            next_cursor=str(page.next) if page.next else None,
        )


class ChunkOut(Wire):
    chunk_id: str = Field(validation_alias="id", description="Id of the chunk, as in hits.")
    ordinal: int = Field(description="Place among the document's chunks, counted from 0.")
    text: str = Field(
        validation_alias="full_text",
        description="Text of the chunk. If it begins among the rows of a table, the table's header comes first, and "
        "`start` and `end` are of the rest.",
    )
    start: int = Field(description="Offset of the first character in the document's text.")
    end: int = Field(description="Offset after the last character; the next chunk may begin before it (overlap).")
    page: int | None = Field(description="Page, counted from 1; null for documents without pages.")
    section: list[str] = Field(description="Headings above the chunk, the outermost first.")
    tokens: int = Field(description="Tokens of the text by the embedding model's tokenizer.")


class DocumentChunksOut(Wire):
    """Chunks of a document, as search finds them."""

    id: str = Field(description="Id of the document.")
    collection: str = Field(description="Collection of the document.")
    searchable_at: datetime | None = Field(description="Time since which this version is searchable; null if none is.")
    total: int = Field(description="Number of chunks of the document.")
    chunks: list[ChunkOut] = Field(description="Chunks in the order of the text.")
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last one.")

    @classmethod
    def of(cls, page: ChunkPage) -> Self:
        record = page.record
        return cls(
            id=record.document.id,
            collection=record.document.collection,
            searchable_at=record.searchable_at,
            total=record.chunks,
            chunks=[ChunkOut.model_validate(chunk, from_attributes=True) for chunk in page.chunks],
            next_cursor=str(page.next) if page.next else None,
        )
