"""Requests to ingest documents, and the jobs and receipts that answer them."""

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
    Group,
    Id,
    LanguageCode,
    Metadata,
    Text,
    Wire,
    WireRequest,
)
from ingestion.types import Boilerplate, Job, JobState, OcrMode, Receipt, ReceiptStatus, Upload
from retrieval.filters.groups import MAX_GROUPS

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A unique key per request, 1 to 255 printable characters. A repeated request with the same "
        "key creates no second job; another request with the same key is refused.",
        pattern=r"^[ -~]{1,255}$",
        max_length=255,
        examples=["2026-03-02-manuals-7"],
    ),
]

MAX_DOCUMENT = 2**31
"""Upper bound of TANDEM_MAX_DOCUMENT_MB in bytes, and hence in characters. The service checks the actual limit."""
MAX_DOCUMENTS = 100_000
"""Upper bound of TANDEM_MAX_DOCUMENTS. The service checks the actual limit."""
MAX_TITLE_CHARACTERS = 4096
"""Titles longer than a chunk can store are truncated."""

OCR = (
    "Pages that OCR reads: those without text of their own (`auto`), none (`never`), every one (`always`); "
    "default: the node's."
)


BOILERPLATE = (
    "Menus, headers, footers, sidebars and notices of HTML: read with the text (`keep`), or left out (`drop`)."
)
GROUPS = (
    f"Names of the groups that may read it, at most {MAX_GROUPS}, in a collection with `principals`. Without any, only "
    "keys with `manage` read it."
)
LANGUAGE = "Language of the text, as a code of ISO 639 (`en`, `zh`). Default: detected."
SPLIT_LINES = "Make every line of JSONL files a document of its own, named by the record's `id` or the line's number."


class DocumentIn(WireRequest):
    id: FilledId | None = Field(None, description="Id of the document. Default: derived from the content.")
    text: Text | None = Field(None, max_length=MAX_DOCUMENT, description="Plain text or Markdown.")
    content_base64: Base64Content | None = Field(
        None, max_length=MAX_DOCUMENT, description="Bytes of a file, instead of `text`."
    )
    filename: Id | None = Field(
        None, description="File name, with `content_base64`; its extension helps to detect the type."
    )
    title: Annotated[Text, Field(max_length=MAX_TITLE_CHARACTERS)] = Field(
        "", description="Title shown with hits. Default: read from the document."
    )
    media_type: Annotated[Text, Field(max_length=255)] | None = Field(
        None, description="Media type. Default: detected from the content."
    )
    partition: Id = Field("", description="Tenant or team; searches can be limited to one partition.")
    language: LanguageCode | None = Field(None, description=LANGUAGE)
    metadata: Metadata = Field(
        default_factory=dict,
        description="Metadata, returned with hits and available to filters: JSON of at most 32,768 bytes.",
    )
    groups: list[Group] | None = Field(
        None, max_length=MAX_GROUPS, description=GROUPS + " Default: those of the request."
    )

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is None) == (self.content_base64 is None):
            raise PydanticCustomError("one_content", "needs either 'text' or 'content_base64', not both")
        return self

    def to_upload(self, groups: Sequence[str] = ()) -> Upload:
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
            groups=tuple(groups if self.groups is None else self.groups),
            language=self.language,
        )


class IngestIn(WireRequest):
    collection: CollectionName = Field("docs", description="Collection to ingest into; `docs` exists from the start.")
    documents: list[DocumentIn] = Field(
        # After a wrong one the others are not looked at: what is wrong with each of a thousand nobody reads.
        min_length=1,
        max_length=MAX_DOCUMENTS,
        fail_fast=True,
        description="Documents. The node accepts all of them or none.",
    )
    groups: list[Group] = Field(
        default_factory=list, max_length=MAX_GROUPS, description="Groups of the documents that state none of their own."
    )
    wait: bool = Field(False, description="Wait for the end of the job before answering.")
    chunking: ChunkingIn | None = Field(None, description="Chunking of these documents. Default: the collection's.")
    ocr: OcrMode | None = Field(None, description=OCR)
    boilerplate: Boilerplate = Field("keep", description=BOILERPLATE)
    split_lines: bool = Field(False, description=SPLIT_LINES)

    def uploads(self) -> list[Upload]:
        return [document.to_upload(self.groups) for document in self.documents]


class IngestForm(WireRequest):
    """The field `data` of a multipart request: options of all its files."""

    collection: CollectionName = Field("docs", description="Collection to ingest into; `docs` exists from the start.")
    metadata: Metadata = Field(default_factory=dict, description="Metadata of all files: JSON of at most 32,768 bytes.")
    partition: Id = Field("", description="Tenant or team; searches can be limited to one partition.")
    groups: list[Group] = Field(default_factory=list, max_length=MAX_GROUPS, description=GROUPS)
    language: LanguageCode | None = Field(None, description=LANGUAGE)
    wait: bool = Field(False, description="Wait for the end of the job before answering.")
    chunking: ChunkingIn | None = Field(None, description="Chunking of these files. Default: the collection's.")
    ocr: OcrMode | None = Field(None, description=OCR)
    boilerplate: Boilerplate = Field("keep", description=BOILERPLATE)
    split_lines: bool = Field(False, description=SPLIT_LINES)


class ReadingOut(Wire):
    """The wire format of a ReadingReport."""

    pages: int = Field(description="Of the document; 0 where it has none.")
    pages_without_text: list[int] = Field(description="Numbers of pages of which nothing could be read.")
    ocr_pages: list[int] = Field(description="Numbers of pages that OCR read.")
    ocr_confidence: float | None = Field(description="Mean confidence of OCR on these pages, 0 to 1.")
    warnings: list[str] = Field(description="In words: what was not read, or perhaps wrongly.")


class ReceiptOut(Wire):
    """The result of one document of a job."""

    id: str = Field(validation_alias="document_id", description="Id of the document.")
    status: ReceiptStatus = Field(description="Result; `queued` while the document waits or is being processed.")
    chunks: int = Field(description="Number of chunks.")
    tokens: int = Field(description="Tokens of all chunks.")
    truncated_tokens: int = Field(
        description="Tokens that exceeded the embedding model's window and were not embedded."
    )
    reused_chunks: int = Field(description="Number of chunks whose vectors were reused from the previous version.")
    searchable_at: datetime | None = Field(
        description="Time at which a strongly consistent read of the store found every chunk."
    )
    duplicate_of: str | None = Field(
        description="Id of another document with the same bytes. With status `duplicate_of` this document was not"
        " stored."
    )
    error: ErrorOut | None = Field(description="Why ingestion failed; null if it did not.")
    report: ReadingOut = Field(description="How it was read.")


class AcceptedDocument(Wire):
    """One document of an accepted request."""

    id: str = Field(
        validation_alias="document_id", description="Id of the document, as sent or derived from the content."
    )
    status: ReceiptStatus = Field(
        description="`queued`; `unchanged` if the collection holds this version already; `duplicate_of` if its "
        "bytes were not stored because another document has them."
    )
    of: str | None = Field(validation_alias="duplicate_of", description="Id of another document with the same bytes.")


class IngestOut(Wire):
    job_id: str = Field(description="Id of the job, for GET /jobs/{job_id}.")
    documents: list[AcceptedDocument] = Field(
        description="Documents in the order of the request; those that an archive or a mail holds follow in its place."
    )


class ProgressOut(Wire):
    documents: int = Field(description="Number of documents of the job.")
    done: int = Field(description="Number of documents that have ended, including failed ones.")
    failed: int = Field(description="Number of documents that failed.")
    chunks: int = Field(description="Chunks of the documents that have ended.")
    tokens: int = Field(description="Tokens of the documents that have ended.")


class JobEventOut(Wire):
    """A job without its receipts."""

    job_id: str = Field(validation_alias="id", description="Id of the job, as answered by POST /ingest.")
    collection: str = Field(description="Collection of the job's documents.")
    state: JobState = Field(description="State of the job; `partial`: some documents failed.")
    progress: ProgressOut = Field(description="Progress of the job.")
    created_at: datetime = Field(description="Time at which the job was accepted.")


class SkippedOut(Wire):
    """The wire format of a SkippedPart."""

    name: str = Field(description="The id that it would have had.")
    reason: str = Field(description="Why it is no document.")


class JobOut(JobEventOut):
    documents: list[ReceiptOut] = Field(
        default_factory=list, description="A page of receipts in the order of the job's documents."
    )
    next_cursor: str | None = Field(None, description="Cursor of the next page of receipts; null on the last one.")
    skipped: list[SkippedOut] = Field(
        default_factory=list, description="What came in archives and mail and became no document; 1,000 at most."
    )

    @classmethod
    def of(cls, job: Job, receipts: Sequence[Receipt] = (), next_cursor: str | None = None) -> Self:
        page = {"documents": [ReceiptOut.model_validate(each) for each in receipts], "next_cursor": next_cursor}
        return cls.model_validate(job).model_copy(update=page)
