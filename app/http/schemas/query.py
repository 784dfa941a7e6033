"""A question as it comes over the wire."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.http.schemas.wire import CollectionName, FilledText, FilterTree, Id, Instruction, WireRequest
from ingestion.types import Collection
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import BUILT_IN, And, Filter, In, KeyType, Not
from retrieval.search.query import Fusion, Mode, Place, Reranking, SearchQuery

MAX_QUERY_CHARACTERS = 100_000
MAX_QUERIES = 32
MAX_RERANKED = 400
MAX_CANDIDATES = 1000
"""Without reranking: how deep pages go."""
MAX_HIGHLIGHTED = 100
"""Hits of one request whose sentences are ranked, over all its queries."""


class WeightsIn(WireRequest):
    dense: float = Field(1.0, ge=0, le=1000, description="Of the vectors' scores.")
    sparse: float = Field(1.0, ge=0, le=1000, description="Of the words' scores (BM25).")

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if self.dense == self.sparse == 0:
            raise ValueError("one of dense and sparse has to be above 0")
        return self


class FusionIn(WireRequest):
    """How `hybrid` joins its branches."""

    method: Literal["weighted", "rrf"] = Field(
        "weighted", description="Mean of the scores, each scaled to 0..1 within its branch; or reciprocal rank fusion."
    )
    weights: WeightsIn = Field(WeightsIn(), description="How much each branch counts; one has to be above 0.")
    k: int = Field(60, ge=1, le=10_000, description="Of `rrf`: the larger, the less the first ranks count.")

    def to_fusion(self) -> Fusion:
        return Fusion(self.method, {"dense": self.weights.dense, "sparse": self.weights.sparse}, self.k)


Query = Annotated[FilledText, Field(max_length=MAX_QUERY_CHARACTERS)]


class ExcludeIn(WireRequest):
    """What is not to be found, because the caller has it already."""

    documents: list[Id] = Field(default_factory=list, max_length=500, fail_fast=True, description="Ids of documents.")
    chunks: list[Id] = Field(default_factory=list, max_length=500, fail_fast=True, description="Ids of chunks.")


class SearchIn(WireRequest):
    query: Query | None = Field(None, description="One question, in the words of whoever asks.")
    queries: Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)] | None = Field(
        None, description="Several questions at once, each answered as if asked alone."
    )
    collection: CollectionName = Field("docs", description="That is searched.")
    top_k: int = Field(10, ge=1, le=100, description="Hits in the answer, at most.")
    cursor: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="`next_cursor` of an answer: the hits after its last one, for the same question."
    )
    candidates: int = Field(
        50,
        ge=1,
        le=MAX_CANDIDATES,
        description="Pool that recall brings and the reranker scores; pages are its parts, and end with it. At most "
        f"{MAX_RERANKED}, or {MAX_CANDIDATES} with `rerank: false`.",
    )
    mode: Mode | None = Field(
        None, description="Recall by vectors, by words (BM25), or both; unless told: both, where the server has BM25."
    )
    fusion: FusionIn = Field(FusionIn(), description="How `hybrid` joins words and vectors.")
    rerank: bool | Literal["required"] | None = Field(
        None,
        description="Default: wherever the reranker was made for the query's language. `required`: an error rather "
        "than an answer in recall order.",
    )
    rerank_model: Annotated[str, Field(max_length=300)] | None = Field(
        None, description="The reranker that has to answer; another one that runs is an error."
    )
    rerank_weight: float | None = Field(
        None, gt=0, le=1, description="Share of the rerank score in the order; the rest is the recall score's."
    )
    budget_ms: float | None = Field(
        None,
        gt=0,
        le=600_000,
        description="Time for all of it: what is not reranked by then comes last, unscored; vectors that come too "
        "late leave recall to words. Default and most: the node's deadline.",
    )
    partition: Id | None = Field(None, description="Only documents of this one; default: all.")
    filter: FilterTree | None = Field(
        None,
        description='Condition on the chunks, before anything is ranked: `{"type": "eq", "key": "metadata.year", '
        '"value": 2024}`; also `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `contains`, `exists`; joined by `{"type": "and", '
        '"filters": […]}`, `or`, `not`. Keys: `chunk_id`, `document_id`, `title`, `media_type`, `partition`, '
        "`ordinal`, `page`, `ingested_at`, and `metadata.` with a key of the documents' metadata.",
    )
    exclude: ExcludeIn = Field(ExcludeIn(), description="What is not to be found.")
    min_score: float | None = Field(None, description="Applied to `score`, the one that hits are ordered by.")
    group_by: Literal["document"] | None = Field(None, description="Of each document its best chunk alone.")
    diversity: float = Field(0.0, ge=0, le=1, description="How much a hit loses by being like those before it.")
    neighbors: int = Field(0, ge=0, le=10, description="Chunks on either side, as the `context` of each hit.")
    highlights: int = Field(
        0,
        ge=0,
        le=10,
        description="Sentences of each hit to point out, the best first; of 100 hits in one request, at most.",
    )
    instruction: Instruction | None = Field(
        None, description="What the embedding model is told to look for; default: the collection's, or the model's own."
    )
    rerank_instruction: Instruction | None = Field(None, description="The same for the reranker.")

    @model_validator(mode="after")
    def _one_kind_of_question(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise PydanticCustomError("one_question", "needs either 'query' or 'queries', not both")
        if self.queries and self.cursor:
            raise PydanticCustomError("cursor", "'cursor' goes with 'query': ask for more of one answer at a time")
        return self

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.candidates > MAX_RERANKED and self.rerank is not False:
            raise PydanticCustomError(
                "candidates",
                "'candidates' is {asked}: at most {most} are reranked; ask for fewer, or for 'rerank': false",
                {"asked": self.candidates, "most": MAX_RERANKED},
            )
        hits = len(self.texts) * self.top_k
        if self.highlights and hits > MAX_HIGHLIGHTED:
            raise PydanticCustomError(
                "highlights",
                "'highlights' of {hits} hits ('top_k' of each query): at most {most} in one request",
                {"hits": hits, "most": MAX_HIGHLIGHTED},
            )
        return self

    @property
    def texts(self) -> list[str]:
        return self.queries or [self.query or ""]

    def digest(self) -> str:
        """Of the question and all that decides the order of its hits; the size of a page does not."""
        question = self.model_dump_json(exclude={"cursor", "top_k", "neighbors", "highlights"})
        return sha256(question.encode()).hexdigest()[:16]

    def to_query(self, text: str, collection: Collection, place: Place | None = None) -> SearchQuery:
        """`place` is that of `cursor`. Raises InvalidRequest for a filter that is none."""
        reranking = Reranking(
            # A page is reranked as the first one was, or not at all.
            required=place.reranked if place else self.rerank == "required",
            any_language=self.rerank is True,
            instruction=self.rerank_instruction or collection.rerank_instruction,
            model=self.rerank_model,
            weight=self.rerank_weight,
        )
        return SearchQuery(
            text=text,
            mode=place.mode if place else self.mode,
            fusion=self.fusion.to_fusion(),
            top_k=self.top_k,
            candidates=self.candidates,
            place=place,
            budget_ms=self.budget_ms,
            reranking=reranking if (place.reranked if place else self.rerank is not False) else None,
            partition=self.partition,
            filter=self._filter(collection.metadata_keys),
            min_score=self.min_score,
            instruction=self.instruction or collection.query_instruction,
            by_document=self.group_by == "document",
            diversity=self.diversity,
            neighbors=self.neighbors,
            highlights=self.highlights,
        )

    def _filter(self, declared: Mapping[str, KeyType]) -> Filter | None:
        wanted = [] if self.filter is None else [parse_filter(self.filter, declared)]
        for key, ids in (("document_id", self.exclude.documents), ("chunk_id", self.exclude.chunks)):
            if ids:
                wanted.append(Not(In(BUILT_IN[key], tuple(ids))))
        return And(tuple(wanted)) if len(wanted) > 1 else next(iter(wanted), None)
