"""Requests and answers about collections."""

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.http.schemas.wire import CollectionName, Instruction, Wire, WireRequest
from ingestion.types import Chunking, Collection, Duplicates
from retrieval.embedders import has_section_prefix
from retrieval.evaluation.golden_vectors import Agreement
from retrieval.filters.metadata_keys import MAX_KEYS
from retrieval.filters.tree import KeyType
from retrieval.types import Language


class ChunkingIn(WireRequest):
    max_tokens: int = Field(
        512, ge=16, le=32_768, description="Maximum length of a chunk in tokens of the embedding model."
    )
    overlap: int | None = Field(
        None, ge=0, description="Tokens that neighbouring chunks may share. Default: an eighth of max_tokens."
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
    language: Language = Field(
        "mixed", description="Language of the documents. Words of every language are found in each collection."
    )
    chunking: ChunkingIn = Field(
        ChunkingIn(), description="Chunking of documents that are sent without one of their own."
    )
    duplicates: Duplicates = Field(
        "store", description="Treatment of documents whose bytes the collection already holds under another id."
    )
    metadata_keys: dict[str, KeyType] = Field(
        default_factory=dict,
        max_length=MAX_KEYS,
        description=f"Keys of documents' metadata and the types of their values, at most {MAX_KEYS}: filters on them "
        "are cheap, and documents with values of other types are refused.",
    )
    dimension: int | None = Field(
        None,
        ge=1,
        description="Dimension of the vectors, for models trained with shorter ones. Default: the full dimension.",
    )
    query_instruction: Instruction | None = Field(
        None, description="Embedding instruction for queries that bring none."
    )
    rerank_instruction: Instruction | None = Field(
        None, description="Reranking instruction for queries that bring none."
    )
    document_instruction: Instruction | None = Field(
        None,
        description="Text put before every passage when it is embedded, for models that were trained so "
        "(`passage: `). Qwen3-Embedding takes passages without one.",
    )
    section_prefix: bool = Field(
        False,
        description="Whether the headings above a chunk are put before its text when it is embedded, searched by words "
        "and reranked.",
    )
    principals: bool = Field(
        False,
        description="Whether documents state the groups that may read them, and callers read by their groups alone. "
        "Documents without groups are then read only by keys with `manage`.",
    )


PRINCIPALS = "Whether documents state the groups that may read them, and callers read by their groups alone."


class FingerprintOut(Wire):
    model: str = Field(description="Name of the model.")
    revision: str = Field(
        description="12 hexadecimal digits of a digest of the configuration and the weights' identity."
    )
    dimension: int = Field(description="Length of the vectors.")
    normalized: bool = Field(description="Whether the vectors have unit length.")
    prompt_version: str = Field(description="Version of the prompts around queries and documents.")
    digest: str = Field(description="12 hexadecimal digits of a digest of all these values.")


class VectorsOut(Wire):
    agree: bool = Field(
        description="Whether the running engine computes the vectors that the collection holds; if not, searches and "
        "documents are refused until it is re-embedded."
    )
    cosine: float = Field(description="Lowest cosine between golden vectors, stored and fresh.")

    @classmethod
    def of(cls, agreement: Agreement) -> Self:
        return cls(agree=agreement.agrees, cosine=agreement.cosine)


class CollectionOut(Wire):
    name: str = Field(description="Name of the collection.")
    language: Language = Field(
        description="Language of the documents. Words of every language are found in each collection."
    )
    chunking: ChunkingIn = Field(description="Default chunking of its documents.")
    duplicates: Duplicates = Field(description="Treatment of documents whose bytes it already holds under another id.")
    metadata_keys: dict[str, KeyType] = Field(description="Declared metadata keys and the types of their values.")
    query_instruction: str | None = Field(
        description="Embedding instruction for queries that bring none; null: the model's default."
    )
    rerank_instruction: str | None = Field(
        description="Reranking instruction for queries that bring none; null: the model's default."
    )
    document_instruction: str | None = Field(description="Text put before every passage when it is embedded.")
    section_prefix: bool = Field(
        False, description="Whether the headings above a chunk are put before its text for the models and for words."
    )
    principals: bool = Field(description=PRINCIPALS)
    fingerprint: FingerprintOut = Field(
        description="Identity of the vectors: only vectors with equal fingerprints are comparable."
    )
    vectors: VectorsOut | None = Field(
        None, description="Comparison of golden vectors; null if the collection's model is not running."
    )
    created_at: datetime = Field(description="Time of creation.")
    chunks: int | None = Field(None, description="Number of searchable chunks; null in lists, where it is not counted.")
    languages: dict[str, int] | None = Field(
        None,
        description="Number of searchable documents by their language (ISO 639), the most frequent first, without "
        "those of unknown language; null in lists, unless requested.",
    )

    @classmethod
    def of(
        cls,
        collection: Collection,
        agreement: Agreement | None,
        chunks: int | None = None,
        languages: Mapping[str, int] | None = None,
    ) -> Self:
        more = {
            "chunks": chunks,
            "languages": None if languages is None else _most_first(languages),
            "section_prefix": has_section_prefix(collection.fingerprint),
            "vectors": VectorsOut.of(agreement) if agreement else None,
        }
        return cls.model_validate(collection).model_copy(update=more)


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


class CollectionsOut(Wire):
    collections: list[CollectionOut] = Field(description="All collections.")
