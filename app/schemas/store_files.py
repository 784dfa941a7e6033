"""Files of OpenAI's vector stores on the wire, and what the stores share with them. Source: OpenAI's API reference, and
openai-python's types."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from app.schemas.collections import ChunkingIn
from app.schemas.faces import Face, example
from app.schemas.wire import Metadata, Text
from ingestion.files import StoredFile
from ingestion.types import Chunking, DocumentRecord

MAX_ATTRIBUTES = 16
MAX_FILES = 500
"""Of one batch."""
STORE_PREFIX = "vs_"
BATCH_PREFIX = "vsfb_"

Status = Literal["in_progress", "completed", "failed", "cancelled"]
Scalar = str | bool | int | float


def _scalars(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if len(attributes) > MAX_ATTRIBUTES:
        raise PydanticCustomError("attributes", f"at most {MAX_ATTRIBUTES} are taken")
    if any(value is None or isinstance(value, list | dict) for value in attributes.values()):
        raise PydanticCustomError("attributes", "must be texts, numbers, true or false")
    return attributes


Attributes = Annotated[Metadata, AfterValidator(_scalars)]


class StaticChunking(Face):
    max_chunk_size_tokens: int = Field(ge=16, le=32_768, description="Tokens of the embedding model.")
    chunk_overlap_tokens: int = Field(ge=0)


class ChunkingStrategy(Face):
    type: Literal["auto", "static"] = Field(description="`auto`: as the collection has it.")
    static: StaticChunking | None = None

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.type == "static":
            if self.static is None:
                raise PydanticCustomError("chunking", "'static' needs max_chunk_size_tokens and chunk_overlap_tokens")
            if self.static.chunk_overlap_tokens >= self.static.max_chunk_size_tokens:
                raise PydanticCustomError("chunking", "chunk_overlap_tokens must be below max_chunk_size_tokens")
        return self

    def to_chunking(self) -> Chunking | None:
        if self.type == "auto" or self.static is None:
            return None
        return ChunkingIn(
            max_tokens=self.static.max_chunk_size_tokens, overlap=self.static.chunk_overlap_tokens
        ).to_chunking()

    @classmethod
    def of(cls, chunking: Chunking) -> Self:
        static = StaticChunking(max_chunk_size_tokens=chunking.max_tokens, chunk_overlap_tokens=chunking.overlap)
        return cls(type="static", static=static)


FileIds = Annotated[list[Text], Field(max_length=MAX_FILES)]


class FileCounts(Face):
    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class DeletedOut(Face):
    id: str
    object: Literal["vector_store.deleted", "vector_store.file.deleted", "file"]
    deleted: Literal[True] = True


class Page(Face):
    object: Literal["list"] = "list"
    first_id: str | None
    last_id: str | None
    has_more: bool


class StoreFileIn(Face):
    model_config = example(file_id="file-afRdgM3-…", attributes={"year": 2024})

    file_id: Text
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class StoreFileUpdateIn(Face):
    model_config = example(attributes={"year": 2025})

    attributes: Attributes


class BatchFileIn(Face):
    file_id: Text
    attributes: Attributes | None = None


class BatchIn(Face):
    model_config = example(file_ids=["file-afRdgM3-…"], attributes={"year": 2024})

    file_ids: FileIds | None = None
    files: list[BatchFileIn] | None = Field(None, max_length=MAX_FILES, description="Each with attributes of its own.")
    attributes: Attributes | None = Field(None, description="For all of `file_ids`.")
    chunking_strategy: ChunkingStrategy | None = Field(None, description="For all of them.")

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if bool(self.file_ids) == bool(self.files):
            raise PydanticCustomError("batch", "needs either 'file_ids' or 'files', not empty and not both")
        return self

    @property
    def wanted(self) -> list[BatchFileIn]:
        if self.files:
            return self.files
        return [BatchFileIn(file_id=each, attributes=self.attributes) for each in self.file_ids or ()]


class LastError(Face):
    code: Literal["server_error", "unsupported_file", "invalid_file"]
    message: str


FILE_ERRORS = {"parse_failed", "encrypted_document", "parse_limit", "no_text", "empty_text", "invalid_text"}


class StoreFileOut(Face):
    id: str = Field(description="Of the file; the id of the document.")
    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    vector_store_id: str
    status: Status
    usage_bytes: int = Field(description="Of the original.")
    last_error: LastError | None
    attributes: dict[str, Scalar] = Field(description="The document's metadata, but for lists and objects.")
    chunking_strategy: ChunkingStrategy

    @classmethod
    def of(cls, record: DocumentRecord) -> Self:
        document, error = record.document, record.error
        status: Status = "in_progress"
        if record.state == "ready":
            status = "completed"
        elif record.state == "failed":
            status = "cancelled" if error and error.code == "cancelled" else "failed"
        problem = None
        if error and status == "failed":
            code = "invalid_file" if error.code in FILE_ERRORS else "server_error"
            problem = LastError.model_validate({"code": code, "message": error.message})
        return cls(
            id=document.id,
            created_at=seconds(record.ingested_at),
            vector_store_id=STORE_PREFIX + document.collection,
            status=status,
            usage_bytes=document.size,
            last_error=problem,
            attributes=attributes_of(document.metadata),
            chunking_strategy=ChunkingStrategy.of(document.chunking),
        )


class BatchOut(Face):
    id: str = Field(description="`vsfb_` and the id of the job.")
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: Status
    file_counts: FileCounts


class StoreFilesOut(Page):
    data: list[StoreFileOut]


class FileOut(Face):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["assistants"] = "assistants"
    status: Literal["processed"] = "processed"
    expires_at: None = None

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        return cls(id=file.id, bytes=file.size, created_at=seconds(file.created_at), filename=file.filename)


class FilesOut(Page):
    data: list[FileOut]


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def attributes_of(metadata: Mapping[str, object]) -> dict[str, Scalar]:
    return {key: value for key, value in metadata.items() if isinstance(value, str | bool | int | float)}
