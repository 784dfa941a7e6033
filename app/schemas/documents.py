"""Documents as the catalog has them."""

from datetime import datetime
from typing import Any

from pydantic import AliasPath, Field, JsonValue

from app.schemas.wire import ErrorOut, Wire
from ingestion.types import DocumentState


def _of_document(name: str) -> Any:
    return Field(validation_alias=AliasPath("document", name))


class DocumentOut(Wire):
    """Made from a DocumentRecord."""

    id: str = _of_document("id")
    collection: str = _of_document("collection")
    state: DocumentState
    version: int
    title: str = _of_document("title")
    media_type: str = _of_document("media_type")
    partition: str = _of_document("partition")
    metadata: dict[str, JsonValue] = _of_document("metadata")
    sha256: str = _of_document("sha256")
    size: int = _of_document("size")
    chunks: int
    tokens: int
    truncated_tokens: int
    ingested_at: datetime
    searchable_at: datetime | None
    error: ErrorOut | None


class DocumentsOut(Wire):
    documents: list[DocumentOut]
    next_cursor: str | None = None
