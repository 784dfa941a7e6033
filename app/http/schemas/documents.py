"""Documents as the catalog has them."""

from datetime import datetime
from typing import Any

from pydantic import AliasPath, Field, JsonValue

from app.http.schemas.ingest import ReadingOut
from app.http.schemas.wire import ErrorOut, Wire
from ingestion.types import DocumentState


def _document_field(name: str, description: str) -> Any:
    return Field(validation_alias=AliasPath("document", name), description=description)


class DocumentOut(Wire):
    """Made from a DocumentRecord."""

    id: str = _document_field("id", "As ingested, or derived from the content.")
    collection: str = _document_field("collection", "That it belongs to.")
    state: DocumentState = Field(
        description="`ready`: searchable. `failed`: a version from before, if any, stays searchable."
    )
    version: int = Field(description="Grows by one with every accepted change.")
    title: str = _document_field("title", "From the request or the document; may be empty.")
    media_type: str = _document_field("media_type", "As found out from the content.")
    partition: str = _document_field("partition", "Empty where it has none.")
    metadata: dict[str, JsonValue] = _document_field("metadata", "As ingested.")
    sha256: str = _document_field("sha256", "Of the original, in hexadecimal digits.")
    size: int = _document_field("size", "Bytes of the original.")
    chunks: int = Field(description="How many the store holds.")
    tokens: int = Field(description="Of all chunks.")
    truncated_tokens: int = Field(description="Tokens that did not fit the embedding model's window.")
    ingested_at: datetime = Field(description="When the current version was accepted.")
    searchable_at: datetime | None = Field(description="Since when it is searchable; null where it never was.")
    error: ErrorOut | None = Field(description="Why it failed; null where it did not.")
    report: ReadingOut = Field(description="How the version that search finds was read.")


class DocumentsOut(Wire):
    documents: list[DocumentOut] = Field(description="By id.")
    next_cursor: str | None = Field(
        None, description="For the documents after the last one; null where there are none."
    )
