"""Documents on their way in, and the jobs and receipts that answer them."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import Header
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from app.schemas.collections import ChunkingIn
from app.schemas.wire import Base64Content, CollectionName, ErrorOut, FilledText, Metadata, Text, Wire
from ingestion.types import Job, JobState, Receipt, ReceiptStatus


def _printable(key: str | None) -> str | None:
    if key is not None and not re.fullmatch(r"[ -~]{1,255}", key):
        raise PydanticCustomError("idempotency_key", "must be 1 to 255 printable ASCII characters")
    return key


IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Yours, new for each request, 1 to 255 printable characters. Sent again with the same request it "
        "makes no second job; with another one it is refused.",
    ),
    AfterValidator(_printable),
]


class DocumentIn(Wire):
    id: FilledText | None = Field(None, description="Yours. Without one it is derived from the content.")
    text: Text | None = None
    content_base64: Base64Content | None = Field(None, description="Bytes of a file, instead of `text`.")
    filename: Text | None = Field(None, description="With `content_base64`: its extension helps to tell the type.")
    title: Text = ""
    media_type: Text | None = Field(None, description="Found out from the content where absent.")
    partition: Text = Field("", description="Tenant or team; searches can be limited to one.")
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is None) == (self.content_base64 is None):
            raise PydanticCustomError("one_content", "needs either 'text' or 'content_base64', not both")
        return self


class IngestIn(Wire):
    collection: CollectionName = "docs"
    documents: list[DocumentIn] = Field(min_length=1)
    wait: bool = Field(False, description="Answer when the job has ended.")
    chunking: ChunkingIn | None = Field(None, description="For these documents; default: the collection's.")


class IngestForm(Wire):
    """The field `data` of a multipart request: what holds for all of its files."""

    collection: CollectionName = "docs"
    metadata: Metadata = Field(default_factory=dict)
    partition: Text = ""
    wait: bool = False
    chunking: ChunkingIn | None = None


class ReceiptOut(Wire):
    """Made from a Receipt."""

    id: str = Field(validation_alias="document_id")
    status: ReceiptStatus
    chunks: int
    tokens: int
    truncated_tokens: int
    reused_chunks: int = Field(description="Chunks whose vectors were taken from the version before.")
    searchable_at: datetime | None = Field(
        description="When a strongly consistent read of the store had found every chunk."
    )
    duplicate_of: str | None = Field(
        description="Another document with the same bytes. With status `duplicate_of` this one was left out."
    )
    error: ErrorOut | None


class AcceptedDocument(Wire):
    """Made from a Receipt."""

    id: str = Field(validation_alias="document_id")
    status: ReceiptStatus
    of: str | None = Field(validation_alias="duplicate_of", description="Another document with the same bytes.")


class IngestOut(Wire):
    job_id: str
    documents: list[AcceptedDocument]


class ProgressOut(Wire):
    documents: int
    done: int
    failed: int
    chunks: int
    tokens: int


class JobOut(Wire):
    job_id: str = Field(validation_alias="id")
    collection: str
    state: JobState
    progress: ProgressOut
    created_at: datetime
    documents: list[ReceiptOut] = Field(default_factory=list)
    next_cursor: str | None = Field(None, description="Pass it as `cursor` for the following receipts.")

    @classmethod
    def of(cls, job: Job, receipts: Sequence[Receipt] = (), next_cursor: str | None = None) -> Self:
        page = {"documents": [ReceiptOut.model_validate(each) for each in receipts], "next_cursor": next_cursor}
        return cls.model_validate(job).model_copy(update=page)
