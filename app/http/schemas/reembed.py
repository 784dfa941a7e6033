"""Golden queries, and the re-embedding of collections."""

from typing import Self

from pydantic import Field

from app.http.schemas.collections import ChunkingIn
from app.http.schemas.query import Query
from app.http.schemas.wire import FilledId, ModelName, Wire, WireRequest
from ingestion.collections.reembedding import Phase, Status
from ingestion.types import GoldenQuery
from retrieval.types import DocumentId

MAX_QUERIES = 10_000


class GoldenQueryIn(WireRequest):
    """A query and the ids of all documents that answer it."""

    query: Query = Field(description="The query, as a user would phrase it.")
    relevant: list[FilledId] = Field(
        min_length=1, max_length=1000, fail_fast=True, description="Ids of all documents that answer it."
    )

    def to_query(self) -> GoldenQuery:
        return GoldenQuery(self.query, tuple(DocumentId(id_) for id_ in self.relevant))


class GoldenQueries(WireRequest):
    queries: list[GoldenQueryIn] = Field(
        max_length=MAX_QUERIES, fail_fast=True, description="Golden queries, which replace all earlier ones."
    )


class ReembedIn(WireRequest):
    models: ModelName | None = Field(
        None,
        description="Model pair or embedding model, as in TANDEM_MODELS. Default: the collection's model if it "
        "runs on this node, else the node's.",
    )
    dimension: int | None = Field(None, ge=1, description="Dimension of the new vectors. Default: the full dimension.")
    chunking: ChunkingIn | None = Field(
        None, description="Chunking of all documents. Default: each document keeps its own."
    )
    section_prefix: bool | None = Field(
        None,
        description="Whether the headings above a chunk are put before its text, as for new collections. Default: as "
        "the collection has it.",
    )
    golden: list[GoldenQueryIn] | None = Field(
        None,
        min_length=1,
        max_length=MAX_QUERIES,
        fail_fast=True,
        description="Golden queries. Default: those stored with the collection.",
    )
    tolerance: float = Field(0.01, ge=0, le=1, description="Decrease of nDCG@10 that is accepted.")
    gate: bool = Field(True, description="Whether to compare both versions first; false switches without measuring.")


class VerdictOut(Wire):
    """nDCG@10 of both versions, of recall and after reranking."""

    queries: int = Field(description="Number of golden queries.")
    before: float = Field(description="nDCG@10 of recall in the current version.")
    after: float = Field(description="nDCG@10 of recall in the new version.")
    before_reranked: float = Field(description="nDCG@10 after reranking in the current version.")
    after_reranked: float = Field(description="nDCG@10 after reranking in the new version.")
    tolerance: float = Field(description="Decrease of nDCG@10 that was accepted.")
    passed: bool = Field(description="Whether the new version passed.")


class ReembedOut(Wire):
    collection: str = Field(description="Collection that is re-embedded.")
    phase: Phase = Field(description="`flipped`: the new version serves. `refused`: it did not pass the comparison.")
    documents: int = Field(description="Number of documents to re-embed.")
    done: int = Field(description="Number of documents done.")
    failed: int = Field(description="Number of documents that failed.")
    verdict: VerdictOut | None = Field(description="Result of the comparison; null until both versions were measured.")
    message: str = Field(description="Explanation; may be empty.")

    @classmethod
    def of(cls, status: Status) -> Self:
        return cls.model_validate(status)
