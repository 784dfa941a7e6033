"""Golden queries, and a collection's move to another model or chunking."""

from typing import Self

from pydantic import Field

from app.schemas.collections import ChunkingIn
from app.schemas.wire import FilledText, Text, Wire
from ingestion.reembedding import Phase, Status
from ingestion.types import GoldenQuery
from retrieval.types import DocumentId

MAX_QUERIES = 10_000


class GoldenQueryIn(Wire):
    """A question and the ids of all documents that answer it."""

    query: FilledText
    relevant: list[FilledText] = Field(min_length=1, max_length=1000)

    def to_query(self) -> GoldenQuery:
        return GoldenQuery(self.query, tuple(DocumentId(id_) for id_ in self.relevant))


class GoldenQueries(Wire):
    queries: list[GoldenQueryIn] = Field(max_length=MAX_QUERIES)


class ReembedIn(Wire):
    models: Text | None = Field(
        None,
        description="Pair or embedding model to move to, as in TANDEM_MODELS. Default: the collection's, where it runs "
        "on this node; else the node's own.",
    )
    dimension: int | None = Field(None, ge=1, description="Of the new vectors. Default: all that the model has.")
    chunking: ChunkingIn | None = Field(None, description="For all documents. Default: each keeps its own.")
    golden: list[GoldenQueryIn] | None = Field(
        None, min_length=1, max_length=MAX_QUERIES, description="Default: those stored with the collection."
    )
    tolerance: float = Field(0.01, ge=0, le=1, description="By how much nDCG@10 may fall.")
    gate: bool = Field(True, description="False: exchange without measuring.")


class VerdictOut(Wire):
    """nDCG@10, as recalled and after reranking."""

    queries: int
    before: float
    after: float
    before_reranked: float
    after_reranked: float
    tolerance: float
    passed: bool


class ReembedOut(Wire):
    collection: str
    phase: Phase
    documents: int = Field(description="To be made anew.")
    done: int
    failed: int
    verdict: VerdictOut | None
    message: str

    @classmethod
    def of(cls, status: Status) -> Self:
        return cls.model_validate(status)
