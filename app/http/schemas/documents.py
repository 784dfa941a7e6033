"""Documents in the catalog."""

from datetime import datetime
from typing import Any

from pydantic import AliasPath, Field, JsonValue

from app.http.schemas.ingest import ReadingOut
from app.http.schemas.wire import ErrorOut, Wire
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
    title: str = _document_field("title", "Title, from the request or the document; may be empty.")
    media_type: str = _document_field("media_type", "Media type, as detected from the content.")
    partition: str = _document_field("partition", "Partition; empty if it has none.")
    metadata: dict[str, JsonValue] = _document_field("metadata", "Metadata, as ingested.")
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
