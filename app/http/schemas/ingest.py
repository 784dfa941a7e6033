"""Documents on their way in, and the jobs and receipts that answer them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from fastapi import Header
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.http.schemas.collections import ChunkingIn
from app.http.schemas.wire import (
    Base64Content,
    CollectionName,
    ErrorOut,
    FilledId,
    Id,
    Metadata,
    Text,
    Wire,
    WireRequest,
)
from ingestion.service import Upload
from ingestion.types import Job, JobState, OcrMode, Receipt, ReceiptStatus

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Yours, new for each request, 1 to 255 printable characters. Sent again with the same request it "
        "makes no second job; with another one it is refused.",
        pattern=r"^[ -~]{1,255}$",
        max_length=255,
        examples=["2026-03-02-manuals-7"],
    ),
]

MAX_DOCUMENT = 2**31
"""Bytes, and hence characters: the most that TANDEM_MAX_DOCUMENT_MB can be. What it is, the service checks."""
MAX_DOCUMENTS = 100_000
"""The most that TANDEM_MAX_DOCUMENTS can be, likewise."""
MAX_TITLE_CHARACTERS = 4096
"""Longer ones than a chunk can be stored with are cut."""

OCR = (
    "Pages that OCR reads: those without text of their own (`auto`), none (`never`), every one (`always`); "
    "default: the node's."
)


class DocumentIn(WireRequest):
    id: FilledId | None = Field(None, description="Yours. Without one it is derived from the content.")
    text: Text | None = Field(None, max_length=MAX_DOCUMENT, description="Plain text or Markdown.")
    content_base64: Base64Content | None = Field(
        None, max_length=MAX_DOCUMENT, description="Bytes of a file, instead of `text`."
    )
    filename: Id | None = Field(None, description="With `content_base64`: its extension helps to tell the type.")
    title: Annotated[Text, Field(max_length=MAX_TITLE_CHARACTERS)] = Field(
        "", description="Shown with hits; read from the document where absent."
    )
    media_type: Annotated[Text, Field(max_length=255)] | None = Field(
        None, description="Found out from the content where absent."
    )
    partition: Id = Field("", description="Tenant or team; searches can be limited to one.")
    metadata: Metadata = Field(
        default_factory=dict, description="Yours, returned with hits and filtered on: JSON of at most 32,768 bytes."
    )

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is None) == (self.content_base64 is None):
            raise PydanticCustomError("one_content", "needs either 'text' or 'content_base64', not both")
        return self

    def to_upload(self) -> Upload:
        data = self.content_base64 if self.text is None else self.text.encode()
        assert data is not None
        return Upload(
            data=data,
            id=self.id,
            filename=self.filename,
            media_type=self.media_type or ("text/plain" if self.text is not None else None),
            title=self.title,
            partition=self.partition,
            metadata=self.metadata,
        )


class IngestIn(WireRequest):
    collection: CollectionName = Field("docs", description="That the documents go to; `docs` is there from the start.")
    documents: list[DocumentIn] = Field(
        # After a wrong one the others are not looked at: what is wrong with each of a thousand nobody reads.
        min_length=1,
        max_length=MAX_DOCUMENTS,
        fail_fast=True,
        description="All are taken or none.",
    )
    wait: bool = Field(False, description="Answer when the job has ended.")
    chunking: ChunkingIn | None = Field(None, description="For these documents; default: the collection's.")
    ocr: OcrMode | None = Field(None, description=OCR)

    def uploads(self) -> list[Upload]:
        return [document.to_upload() for document in self.documents]


class IngestForm(WireRequest):
    """The field `data` of a multipart request: what holds for all of its files."""

    collection: CollectionName = Field("docs", description="That the files go to; `docs` is there from the start.")
    metadata: Metadata = Field(default_factory=dict, description="Of all files: JSON of at most 32,768 bytes.")
    partition: Id = Field("", description="Tenant or team; searches can be limited to one.")
    wait: bool = Field(False, description="Answer when the job has ended.")
    chunking: ChunkingIn | None = Field(None, description="For these files; default: the collection's.")
    ocr: OcrMode | None = Field(None, description=OCR)


class ReadingOut(Wire):
    """Made from a ReadingReport."""

    pages: int = Field(description="Of the document; 0 where it has none.")
    pages_without_text: list[int] = Field(description="Numbers of pages of which nothing could be read.")
    ocr_pages: list[int] = Field(description="Numbers of pages that OCR read.")
    ocr_confidence: float | None = Field(description="Mean confidence of OCR on these pages, 0 to 1.")
    warnings: list[str] = Field(description="In words: what was not read, or perhaps wrongly.")


class ReceiptOut(Wire):
    """Made from a Receipt."""

    id: str = Field(validation_alias="document_id", description="Of the document.")
    status: ReceiptStatus = Field(description="What became of it; `queued` while it waits or is being worked on.")
    chunks: int = Field(description="How many it was cut into.")
    tokens: int = Field(description="Of all chunks.")
    truncated_tokens: int = Field(description="Tokens that did not fit the embedding model's window.")
    reused_chunks: int = Field(description="Chunks whose vectors were taken from the version before.")
    searchable_at: datetime | None = Field(
        description="When a strongly consistent read of the store had found every chunk."
    )
    duplicate_of: str | None = Field(
        description="Another document with the same bytes. With status `duplicate_of` this one was left out."
    )
    error: ErrorOut | None = Field(description="Why it failed; null where it did not.")
    report: ReadingOut = Field(description="How it was read.")


class AcceptedDocument(Wire):
    """Made from a Receipt."""

    id: str = Field(validation_alias="document_id", description="Yours, or derived from the content.")
    status: ReceiptStatus = Field(
        description="`queued`; `unchanged` where the collection holds this very version; `duplicate_of` where its "
        "bytes were left out."
    )
    of: str | None = Field(validation_alias="duplicate_of", description="Another document with the same bytes.")


class IngestOut(Wire):
    job_id: str = Field(description="For GET /jobs/{job_id}.")
    documents: list[AcceptedDocument] = Field(description="In the order of the request.")


class ProgressOut(Wire):
    documents: int = Field(description="Of the job.")
    done: int = Field(description="Ended, well or badly.")
    failed: int = Field(description="Of those done.")
    chunks: int = Field(description="Of the documents done.")
    tokens: int = Field(description="Of the documents done.")


class JobEventOut(Wire):
    """A job without its receipts."""

    job_id: str = Field(validation_alias="id", description="As POST /ingest answered.")
    collection: str = Field(description="That its documents go to.")
    state: JobState = Field(description="`partial`: some documents failed.")
    progress: ProgressOut = Field(description="How far it is.")
    created_at: datetime = Field(description="When it was accepted.")


class JobOut(JobEventOut):
    documents: list[ReceiptOut] = Field(
        default_factory=list, description="A page of receipts, in the order of the job's documents."
    )
    next_cursor: str | None = Field(None, description="Pass it as `cursor` for the following receipts.")

    @classmethod
    def of(cls, job: Job, receipts: Sequence[Receipt] = (), next_cursor: str | None = None) -> Self:
        page = {"documents": [ReceiptOut.model_validate(each) for each in receipts], "next_cursor": next_cursor}
        return cls.model_validate(job).model_copy(update=page)
