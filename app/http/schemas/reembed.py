"""Golden queries, and a collection's move to another model or chunking."""

from typing import Self

from pydantic import Field

from app.http.schemas.collections import ChunkingIn
from app.http.schemas.query import Query
from app.http.schemas.wire import FilledId, ModelName, Wire, WireRequest
from ingestion.reembedding import Phase, Status
from ingestion.types import GoldenQuery
from retrieval.types import DocumentId

MAX_QUERIES = 10_000


class GoldenQueryIn(WireRequest):
    """A question and the ids of all documents that answer it."""

    query: Query = Field(description="As somebody would ask it.")
    relevant: list[FilledId] = Field(
        min_length=1, max_length=1000, fail_fast=True, description="Ids of all documents that answer it."
    )

    def to_query(self) -> GoldenQuery:
        return GoldenQuery(self.query, tuple(DocumentId(id_) for id_ in self.relevant))


class GoldenQueries(WireRequest):
    queries: list[GoldenQueryIn] = Field(
        max_length=MAX_QUERIES, fail_fast=True, description="In the place of all earlier ones."
    )


class ReembedIn(WireRequest):
    models: ModelName | None = Field(
        None,
        description="Pair or embedding model to move to, as in TANDEM_MODELS. Default: the collection's, where it runs "
        "on this node; else the node's own.",
    )
    dimension: int | None = Field(None, ge=1, description="Of the new vectors. Default: all that the model has.")
    chunking: ChunkingIn | None = Field(None, description="For all documents. Default: each keeps its own.")
    golden: list[GoldenQueryIn] | None = Field(
        None,
        min_length=1,
        max_length=MAX_QUERIES,
        fail_fast=True,
        description="Default: those stored with the collection.",
    )
    tolerance: float = Field(0.01, ge=0, le=1, description="By how much nDCG@10 may fall.")
    gate: bool = Field(True, description="False: exchange without measuring.")


class VerdictOut(Wire):
    """nDCG@10, as recalled and after reranking."""

    queries: int = Field(description="How many were asked.")
    before: float = Field(description="As recalled, in the version that serves.")
    after: float = Field(description="As recalled, in the new one.")
    before_reranked: float = Field(description="After reranking, in the version that serves.")
    after_reranked: float = Field(description="After reranking, in the new one.")
    tolerance: float = Field(description="By how much nDCG@10 may fall.")
    passed: bool = Field(description="Whether the new version is as good.")


class ReembedOut(Wire):
    collection: str = Field(description="That moves.")
    phase: Phase = Field(description="`flipped`: the new version serves. `refused`: it was not as good.")
    documents: int = Field(description="To be made anew.")
    done: int = Field(description="Of them, so far.")
    failed: int = Field(description="Of those done.")
    verdict: VerdictOut | None = Field(description="Once both versions were measured.")
    message: str = Field(description="In words; may be empty.")

    @classmethod
    def of(cls, status: Status) -> Self:
        return cls.model_validate(status)
