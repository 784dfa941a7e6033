"""Documents on their way in, and the jobs and receipts that answer them."""

from datetime import datetime
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.schemas.collections import ChunkingIn
from app.schemas.wire import Base64Content, CollectionName, ErrorOut, FilledText, Metadata, Text, Wire
from ingestion.types import Job, JobState, Receipt, ReceiptStatus


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
    id: str
    status: ReceiptStatus
    chunks: int
    tokens: int
    truncated_tokens: int
    searchable_at: datetime | None = Field(
        description="When a strongly consistent read of the store had found every chunk."
    )
    error: ErrorOut | None = None

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        error = ErrorOut(code=receipt.error.code, message=receipt.error.message) if receipt.error else None
        return cls(
            id=receipt.document_id,
            status=receipt.status,
            chunks=receipt.chunks,
            tokens=receipt.tokens,
            truncated_tokens=receipt.truncated_tokens,
            searchable_at=receipt.searchable_at,
            error=error,
        )


class AcceptedDocument(Wire):
    id: str
    status: ReceiptStatus


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
    job_id: str
    collection: str
    state: JobState
    progress: ProgressOut
    created_at: datetime
    documents: list[ReceiptOut]
    next_cursor: str | None = Field(None, description="Pass it as `cursor` for the following receipts.")

    @classmethod
    def of(cls, job: Job, receipts: list[ReceiptOut], next_cursor: str | None) -> Self:
        progress = job.progress
        return cls(
            job_id=job.id,
            collection=job.collection,
            state=job.state,
            progress=ProgressOut(
                documents=progress.documents,
                done=progress.done,
                failed=progress.failed,
                chunks=progress.chunks,
                tokens=progress.tokens,
            ),
            created_at=job.created_at,
            documents=receipts,
            next_cursor=next_cursor,
        )
