"""OpenAI's files and the files of its vector stores. Source: OpenAI's API reference and openai-python's types."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Generic, Literal, Self, TypeVar

from fastapi import UploadFile
from pydantic import AfterValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from app.http.compat.wire import CompatModel, CompatRequest
from app.http.schemas.collections import ChunkingIn
from app.http.schemas.ingest import GROUPS
from app.http.schemas.wire import Group, Metadata, Text
from ingestion.types import Chunking, DocumentRecord
from ingestion.uploads import Attached, StoredFile
from retrieval.filters.groups import MAX_GROUPS

MAX_ATTRIBUTES = 16
MAX_FILES = 500
"""Maximum number of files in a batch."""
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
Groups = Annotated[list[Group], Field(max_length=MAX_GROUPS)]
GROUPS_OF_FILE = GROUPS + " Default: those that it has in the store."
ATTRIBUTES = f"Become the document's metadata: at most {MAX_ATTRIBUTES} texts, numbers, true or false."


class StaticChunking(CompatRequest):
    max_chunk_size_tokens: int = Field(
        ge=16, le=32_768, description="Maximum length of a chunk in tokens of the embedding model."
    )
    chunk_overlap_tokens: int = Field(
        ge=0, description="Tokens that neighbouring chunks share; below the maximum length."
    )


class ChunkingStrategy(CompatRequest):
    type: Literal["auto", "static"] = Field(description="`auto`: the collection's chunking.")
    static: StaticChunking | None = Field(None, description="Chunking, with `static`.")

    @model_validator(mode="after")
    def _check_static(self) -> Self:
        if self.type == "static":
            if self.static is None:
                raise PydanticCustomError("chunking", "'static' needs max_chunk_size_tokens and chunk_overlap_tokens")
            if self.static.chunk_overlap_tokens >= self.static.max_chunk_size_tokens:
                raise PydanticCustomError("chunking", "chunk_overlap_tokens must be below max_chunk_size_tokens")
        return self


class ChunkingStrategyOut(CompatModel):
    type: Literal["static"] = Field("static", description="Always `static`.")
    static: StaticChunking = Field(description="Chunking of the file.")

    @classmethod
    def of(cls, chunking: Chunking) -> Self:
        static = StaticChunking(max_chunk_size_tokens=chunking.max_tokens, chunk_overlap_tokens=chunking.overlap)
        return cls(static=static)


MAX_FILE_ID_CHARACTERS = 600
"""The id of an upload contains its name."""
FileId = Annotated[
    Text, Field(max_length=MAX_FILE_ID_CHARACTERS, description="Id of an uploaded file or of a document.")
]
FileIds = Annotated[list[FileId], Field(max_length=MAX_FILES, fail_fast=True)]


class FileCounts(CompatModel):
    in_progress: int = Field(description="Files that wait or are being processed.")
    completed: int = Field(description="Files that are searchable.")
    failed: int = Field(description="Files that failed.")
    cancelled: int = Field(description="Files whose ingestion was cancelled.")
    total: int = Field(description="All files.")


class DeletedOut(CompatModel):
    id: str = Field(description="Id of the deleted object.")
    object: Literal["vector_store.deleted", "vector_store.file.deleted", "file"] = Field(
        description="Type of the deleted object."
    )
    deleted: Literal[True] = Field(True, description="Always true.")


class Listed(CompatModel):
    id: str


ListedT = TypeVar("ListedT", bound=Listed)


class Page(CompatModel, Generic[ListedT]):
    object: Literal["list"] = Field("list", description="Type of this object.")
    first_id: str | None = Field(description="Id of the first object of the page; null if the page is empty.")
    last_id: str | None = Field(
        description="Id of the last object of the page, which is `after` of the next page; null if the page is empty."
    )
    has_more: bool = Field(description="Whether there is another page.")
    data: list[ListedT]

    @classmethod
    def of(cls, data: Sequence[ListedT], *, has_more: bool) -> Self:
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return cls(first_id=first, last_id=last, has_more=has_more, data=list(data))


class StoreFileUpdateIn(CompatRequest):
    attributes: Attributes = Field(description=ATTRIBUTES + " They replace those it has.")
    groups: Groups | None = Field(None, description=GROUPS_OF_FILE)

    @property
    def attached(self) -> Attached:
        return Attached(self.attributes, self.groups)


class BatchFileIn(CompatRequest):
    file_id: FileId
    attributes: Attributes | None = Field(None, description=ATTRIBUTES)
    groups: Groups | None = Field(None, description=GROUPS_OF_FILE)

    @property
    def attached(self) -> Attached:
        return Attached(self.attributes or {}, self.groups)


class StoreFileIn(BatchFileIn):
    chunking_strategy: ChunkingStrategy | None = Field(None, description="Chunking. Default: the collection's.")


class BatchIn(CompatRequest):
    file_ids: FileIds | None = Field(None, description="Ids of uploaded files or of documents.")
    files: list[BatchFileIn] | None = Field(
        None, max_length=MAX_FILES, fail_fast=True, description="Files with individual attributes and groups."
    )
    attributes: Attributes | None = Field(None, description="Attributes of all `file_ids`.")
    groups: Groups | None = Field(None, description="Groups of all `file_ids`.")
    chunking_strategy: ChunkingStrategy | None = Field(None, description="Chunking of all files.")

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if bool(self.file_ids) == bool(self.files):
            raise PydanticCustomError("batch", "needs either 'file_ids' or 'files', not empty and not both")
        return self

    @property
    def entries(self) -> list[BatchFileIn]:
        if self.files:
            return self.files
        return [
            BatchFileIn(file_id=each, attributes=self.attributes, groups=self.groups) for each in self.file_ids or ()
        ]


class LastError(CompatModel):
    code: Literal["server_error", "unsupported_file", "invalid_file"] = Field(description="Class of the error.")
    message: str = Field(description="Message.")


FILE_ERRORS = {"parse_failed", "encrypted_document", "parse_limit", "no_text", "empty_text", "invalid_text"}


class StoreFileOut(Listed):
    id: str = Field(description="Id of the file, which is the id of the document.")
    object: Literal["vector_store.file"] = Field("vector_store.file", description="Type of this object.")
    created_at: int = Field(description="Time of the current version in seconds since 1970.")
    vector_store_id: str = Field(description="`vs_` followed by the name of the collection.")
    status: Status = Field(description="Status; `completed`: searchable.")
    usage_bytes: int = Field(description="Size of the original in bytes.")
    last_error: LastError | None = Field(description="Why ingestion failed; null if it did not.")
    attributes: dict[str, Scalar] = Field(description="Metadata of the document, without lists and objects.")
    groups: list[str] | None = Field(
        description="Groups that may read it; null in collections without principals, and for callers who read by "
        "groups."
    )
    chunking_strategy: ChunkingStrategyOut = Field(description="Chunking of the file.")

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
            created_at=unix_seconds(record.ingested_at),
            vector_store_id=STORE_PREFIX + document.collection,
            status=status,
            usage_bytes=document.size,
            last_error=problem,
            attributes=attributes_of(document.metadata),
            groups=None if document.groups is None else list(document.groups),
            chunking_strategy=ChunkingStrategyOut.of(document.chunking),
        )


class FileBatchOut(CompatModel):
    id: str = Field(description="`vsfb_` followed by the id of the job.")
    object: Literal["vector_store.files_batch"] = Field("vector_store.files_batch", description="Type of this object.")
    created_at: int = Field(description="Time of creation in seconds since 1970.")
    vector_store_id: str = Field(description="`vs_` followed by the name of the collection.")
    status: Status = Field(description="Status; `completed` even if some files failed.")
    file_counts: FileCounts = Field(description="Numbers of files by status.")


class StoreFilesOut(Page[StoreFileOut]):
    data: list[StoreFileOut] = Field(description="Files, ordered by id.")


class UploadForm(CompatRequest):
    file: UploadFile = Field(description="File with a name, of a type that can be ingested.")
    purpose: Literal["assistants", "user_data"] = Field(
        "assistants", description="Accepted for compatibility: all files are for vector stores."
    )
    expires_after: Annotated[str, Field(max_length=0)] | None = Field(
        None, alias="expires_after[anchor]", description="Must be absent: files do not expire."
    )


class FileOut(Listed):
    id: str = Field(
        description="Id of the file. The id of an upload contains its name and hash; that of another document is "
        "the document's id."
    )
    object: Literal["file"] = Field("file", description="Type of this object.")
    bytes: int = Field(description="Size of the original in bytes.")
    created_at: int = Field(description="Time of creation in seconds since 1970.")
    filename: str = Field(description="Name of the uploaded file; for other documents the title, else the id.")
    purpose: Literal["assistants"] = Field("assistants", description="Always `assistants`.")
    status: Literal["processed"] = Field(
        "processed", description="Always `processed`; the vector store reports the progress."
    )
    expires_at: None = Field(None, description="Always null: files do not expire.")

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        return cls(id=file.id, bytes=file.size, created_at=unix_seconds(file.created_at), filename=file.filename)


class FilesOut(Page[FileOut]):
    data: list[FileOut] = Field(description="Files, ordered by id.")


def chunking_of(strategy: ChunkingStrategy | None) -> Chunking | None:
    """The chunking that a strategy describes; None: the collection's."""
    if strategy is None or strategy.type == "auto" or strategy.static is None:
        return None
    static = strategy.static
    return ChunkingIn(max_tokens=static.max_chunk_size_tokens, overlap=static.chunk_overlap_tokens).to_chunking()


def unix_seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def attributes_of(metadata: Mapping[str, object]) -> dict[str, Scalar]:
    return {key: value for key, value in metadata.items() if isinstance(value, str | bool | int | float)}
