"""Collections on the wire."""

from datetime import datetime
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.http.schemas.wire import CollectionName, Instruction, Wire, WireRequest
from ingestion.types import Chunking, Collection, Duplicates
from retrieval.filters.metadata_keys import MAX_KEYS
from retrieval.filters.tree import KeyType
from retrieval.types import Language


class ChunkingIn(WireRequest):
    max_tokens: int = Field(512, ge=16, le=32_768, description="Longest chunk, in tokens of the embedding model.")
    overlap: int | None = Field(
        None, ge=0, description="Tokens that neighbouring chunks may share; default: an eighth of max_tokens."
    )

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.overlap is not None and self.overlap >= self.max_tokens:
            raise PydanticCustomError("overlap", "overlap must be below max_tokens")
        return self

    def to_chunking(self) -> Chunking:
        return Chunking(self.max_tokens, self.max_tokens // 8 if self.overlap is None else self.overlap)


class CollectionIn(WireRequest):
    name: CollectionName
    language: Language = Field("mixed", description="Of the documents; decides how the lexical index cuts words.")
    chunking: ChunkingIn = Field(ChunkingIn(), description="How its documents are cut, unless they say otherwise.")
    duplicates: Duplicates = Field(
        "store", description="What becomes of bytes that the collection holds under another id already."
    )
    metadata_keys: dict[str, KeyType] = Field(
        default_factory=dict,
        max_length=MAX_KEYS,
        description=f"Keys of documents' metadata and the types of their values, at most {MAX_KEYS}: filters on them "
        "are cheap, and documents with values of other types are refused.",
    )
    dimension: int | None = Field(
        None, ge=1, description="Of the vectors, where the model was trained for shorter ones. Default: all it has."
    )
    query_instruction: Instruction | None = Field(None, description="For the embedding of queries that bring none.")
    rerank_instruction: Instruction | None = Field(None, description="For the reranking of queries that bring none.")
    document_instruction: Instruction | None = Field(
        None,
        description="Put before every passage that is embedded, as it is, for models that were trained so "
        "(`passage: `). Qwen3-Embedding takes passages bare.",
    )


class FingerprintOut(Wire):
    model: str = Field(description="Public name of the model.")
    revision: str = Field(description="12 hexadecimal digits over the configuration and the identity of the weights.")
    dimension: int = Field(description="Numbers in a vector.")
    normalized: bool = Field(description="Whether vectors have unit length.")
    prompt_version: str = Field(description="Of what is put around queries and documents.")
    engine: str = Field(description="Engine and version class.")
    digest: str = Field(description="12 hexadecimal digits over all of it.")


class CollectionOut(Wire):
    name: str = Field(description="As created.")
    language: Language = Field(description="How the lexical index cuts words.")
    chunking: ChunkingIn = Field(description="How its documents are cut.")
    duplicates: Duplicates = Field(description="What becomes of bytes that it holds under another id already.")
    metadata_keys: dict[str, KeyType] = Field(
        description="Declared keys of documents' metadata, with the types of their values."
    )
    query_instruction: str | None = Field(description="For queries that bring none; null: the model's default.")
    rerank_instruction: str | None = Field(description="For queries that bring none; null: the model's default.")
    document_instruction: str | None = Field(description="What its passages are embedded behind.")
    fingerprint: FingerprintOut = Field(description="What makes its vectors comparable.")
    created_at: datetime = Field(description="When it was created.")
    chunks: int | None = Field(None, description="Chunks that a search can find; counted when one collection is asked.")

    @classmethod
    def of(cls, collection: Collection, chunks: int | None = None) -> Self:
        return cls.model_validate(collection).model_copy(update={"chunks": chunks})


class CollectionsOut(Wire):
    collections: list[CollectionOut] = Field(description="All of them.")
