"""A question and its answer."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from app.schemas.wire import CollectionName, FilledText, Text, Wire
from retrieval.types import Fusion, Hit, Mode, SearchResult

MAX_QUERY_CHARACTERS = 100_000


class WeightsIn(Wire):
    dense: float = Field(1.0, ge=0, le=1000)
    sparse: float = Field(1.0, ge=0, le=1000)

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if self.dense == self.sparse == 0:
            raise ValueError("one of dense and sparse has to be above 0")
        return self


class FusionIn(Wire):
    """How `hybrid` joins its branches."""

    method: Literal["weighted", "rrf"] = Field(
        "weighted", description="Mean of the scores, each scaled to 0..1 within its branch; or reciprocal rank fusion."
    )
    weights: WeightsIn = WeightsIn()
    k: int = Field(60, ge=1, le=10_000, description="Of `rrf`: the larger, the less the first ranks count.")

    def to_fusion(self) -> Fusion:
        return Fusion(self.method, {"dense": self.weights.dense, "sparse": self.weights.sparse}, self.k)


class SearchIn(Wire):
    query: Annotated[FilledText, Field(max_length=MAX_QUERY_CHARACTERS)]
    collection: CollectionName = "docs"
    top_k: int = Field(10, ge=1, le=100)
    candidates: int = Field(50, ge=1, le=400, description="Pool that recall brings and the reranker scores.")
    mode: Mode | None = Field(
        None, description="Recall by vectors, by words (BM25), or both; unless told: both, where the server has BM25."
    )
    fusion: FusionIn = FusionIn()
    rerank: bool = True
    partition: Text | None = None
    filter: dict[str, JsonValue] | None = Field(
        None,
        description='Condition on the chunks, before anything is ranked: `{"type": "eq", "key": "metadata.year", '
        '"value": 2024}`; also `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `contains`, `exists`; joined by `{"type": "and", '
        '"filters": […]}`, `or`, `not`. Keys: `document_id`, `title`, `media_type`, `partition`, `ordinal`, `page`, '
        "`ingested_at`, and `metadata.` with a key of the documents' metadata.",
    )
    min_score: float | None = Field(None, description="Applied to `score`, the one that hits are ordered by.")
    instruction: Annotated[FilledText, Field(max_length=2000)] | None = None
    rerank_instruction: Annotated[FilledText, Field(max_length=2000)] | None = None


class HitOut(Wire):
    chunk_id: str
    document_id: str
    title: str
    text: str
    start: int = Field(description="Offset in characters into the document's text.")
    end: int
    page: int | None
    partition: str
    media_type: str
    metadata: dict[str, JsonValue]
    score: float
    scores: dict[str, float] = Field(
        description="By stage: `dense` (cosine), `sparse` (BM25), `fused`, `rerank` (0 to 1)."
    )
    ranks: dict[str, int] = Field(description="By stage, from 1.")
    truncated_tokens: int = Field(description="Tokens of the passage that the reranker did not see.")

    @classmethod
    def of(cls, hit: Hit) -> Self:
        candidate, chunk = hit.candidate, hit.candidate.chunk
        return cls.model_validate(
            {
                "chunk_id": chunk.id,
                "document_id": chunk.document_id,
                "title": candidate.title,
                "text": chunk.text,
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "partition": candidate.partition,
                "media_type": candidate.media_type,
                "metadata": candidate.metadata,
                "score": hit.score,
                "scores": hit.scores,
                "ranks": hit.ranks,
                "truncated_tokens": hit.truncated_tokens,
            }
        )


class RecallOut(Wire):
    mode: Mode = Field(description="The one that was carried out.")
    candidates: int
    reason: str | None = Field(description="Why it is not `hybrid`: `no_sparse_index`, `engine_dead`…")


class RerankOut(Wire):
    applied: bool
    reason: str | None = Field(description="Why reranking was not applied: `not_requested`, `engine_dead`…")
    candidates: int
    scored: int
    ms: float


class TimingsOut(Wire):
    embed: float
    recall: float
    rerank: float
    total: float


class ModelsOut(Wire):
    embed: str
    rerank: str


class SearchOut(Wire):
    hits: list[HitOut]
    score_name: str = Field(description="Which of `scores` is `score`.")
    recall: RecallOut
    rerank: RerankOut
    timings_ms: TimingsOut
    models: ModelsOut
    truncated_query_tokens: int = Field(description="Tokens of the query that did not fit a model's window.")
    request_id: str

    @classmethod
    def of(cls, result: SearchResult, request_id: str) -> Self:
        report = result.rerank
        return cls(
            hits=[HitOut.of(hit) for hit in result.hits],
            score_name=result.score_name,
            recall=RecallOut.model_validate(result.recall, from_attributes=True),
            rerank=RerankOut(
                applied=report.applied,
                reason=report.reason,
                candidates=report.candidates,
                scored=report.scored,
                ms=report.ms,
            ),
            timings_ms=TimingsOut.model_validate(dict(result.timings_ms)),
            models=ModelsOut.model_validate(dict(result.models)),
            truncated_query_tokens=result.truncated_query_tokens,
            request_id=request_id,
        )
