"""Documents as the catalog has them."""

from datetime import datetime
from typing import Self

from pydantic import JsonValue

from app.schemas.wire import ErrorOut, Wire
from ingestion.types import DocumentRecord, DocumentState


class DocumentOut(Wire):
    id: str
    collection: str
    state: DocumentState
    version: int
    title: str
    media_type: str
    partition: str
    metadata: dict[str, JsonValue]
    sha256: str
    size: int
    chunks: int
    tokens: int
    truncated_tokens: int
    ingested_at: datetime
    searchable_at: datetime | None
    error: ErrorOut | None

    @classmethod
    def of(cls, record: DocumentRecord) -> Self:
        document = record.document
        error = ErrorOut(code=record.error.code, message=record.error.message) if record.error else None
        return cls.model_validate(
            {
                "id": document.id,
                "collection": document.collection,
                "state": record.state,
                "version": record.version,
                "title": document.title,
                "media_type": document.media_type,
                "partition": document.partition,
                "metadata": document.metadata,
                "sha256": document.sha256,
                "size": document.size,
                "chunks": record.chunks,
                "tokens": record.tokens,
                "truncated_tokens": record.truncated_tokens,
                "ingested_at": record.ingested_at,
                "searchable_at": record.searchable_at,
                "error": error,
            }
        )


class DocumentsOut(Wire):
    documents: list[DocumentOut]
    next_cursor: str | None = None
