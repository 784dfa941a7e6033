"""Search requests."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.http.schemas.answer import OPTIONAL_PARTS, HitPart
from app.http.schemas.wire import CollectionName, FilledText, FilterTree, Id, Instruction, LanguageCode, WireRequest
from ingestion.types import Collection
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import BUILT_IN, And, Filter, In, KeyType, Not
from retrieval.search.query import CANDIDATES, Fusion, Mode, Place, Reranking, SearchQuery

MAX_QUERY_CHARACTERS = 100_000
MAX_QUERIES = 32
MAX_VARIANTS = 8
MAX_LANGUAGES = 16
MAX_RERANKED = 400
MAX_CANDIDATES = 1000
"""Maximum without reranking."""
MAX_EXPANDED = 100
MAX_HIGHLIGHTED = 100
"""Maximum number of hits with highlights in one request, over all its queries."""


class WeightsIn(WireRequest):
    dense: float = Field(1.0, ge=0, le=1000, description="Weight of the dense scores.")
    sparse: float = Field(1.0, ge=0, le=1000, description="Weight of the sparse scores (BM25).")

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if self.dense == self.sparse == 0:
            raise ValueError("one of dense and sparse must be above 0")
        return self


class FusionIn(WireRequest):
    """The fusion of `hybrid`'s branches."""

    method: Literal["weighted", "rrf"] = Field(
        "weighted",
        description="`weighted`: mean of the scores, each scaled to 0..1 within its branch. `rrf`: reciprocal "
        "rank fusion.",
    )
    weights: WeightsIn | None = Field(
        None,
        description="Weights of the branches; at least one must be above 0. Default: equal, but words count less "
        "where query and passages are written in different scripts.",
    )
    k: int = Field(
        60, ge=1, le=10_000, description="Constant of `rrf`: larger values reduce the influence of the first ranks."
    )

    def to_fusion(self) -> Fusion:
        weights = self.weights
        return Fusion(self.method, {"dense": weights.dense, "sparse": weights.sparse} if weights else None, self.k)


Query = Annotated[FilledText, Field(max_length=MAX_QUERY_CHARACTERS)]


class ExcludeIn(WireRequest):
    """Documents and chunks to leave out, for example because the caller has them already."""

    documents: list[Id] = Field(
        default_factory=list, max_length=500, fail_fast=True, description="Ids of documents to leave out."
    )
    chunks: list[Id] = Field(
        default_factory=list, max_length=500, fail_fast=True, description="Ids of chunks to leave out."
    )


class SearchIn(WireRequest):
    query: Query | None = Field(None, description="The query, as the user phrased it.")
    queries: Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)] | None = Field(
        None, description="Several queries, each answered independently."
    )
    variants: Annotated[list[Query], Field(min_length=1, max_length=MAX_VARIANTS, fail_fast=True)] | None = Field(
        None,
        description="Other phrasings of `query`: each is recalled, and the candidates of all are reranked once, "
        "against `query`.",
    )
    collection: CollectionName = Field("docs", description="Collection to search.")
    top_k: int = Field(10, ge=1, le=100, description="Maximum number of hits.")
    cursor: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="`next_cursor` of an answer to the same query, for the hits after it."
    )
    candidates: int | None = Field(
        None,
        ge=1,
        le=MAX_CANDIDATES,
        description="Pool that recall brings and the reranker scores; pages are its parts, and end with it. At most "
        f"{MAX_RERANKED}, or {MAX_CANDIDATES} with `rerank: false`. Default: recall brings {CANDIDATES}, of which the "
        "reranker scores as many as fit the node's time for it (`TANDEM_RERANK_SECONDS`), at least `top_k`.",
    )
    mode: Mode | None = Field(
        None,
        description="Recall by vectors (`dense`), by words (`sparse`, BM25) or by both (`hybrid`). Default: "
        "`hybrid`, if the server supports BM25.",
    )
    fusion: FusionIn = Field(FusionIn(), description="How `hybrid` combines words and vectors.")
    rerank: bool | Literal["required"] | None = Field(
        None,
        description="Whether to rerank. Default: yes, if the reranker supports the language of the query. "
        "`required`: fail instead of answering in recall order.",
    )
    rerank_model: Annotated[str, Field(max_length=300)] | None = Field(
        None, description="Name of the reranker that must answer; the request fails if another one runs."
    )
    rerank_weight: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Weight of the rerank score in the order, from 0 to 1; the recall score has the rest.",
    )
    budget_ms: float | None = Field(
        None,
        gt=0,
        le=600_000,
        description="Time limit of the search in milliseconds. Candidates not reranked in time come last, without"
        " a score; if the query cannot be embedded in time, recall uses words alone. Default and "
        "maximum: the node's deadline.",
    )
    partition: Id | None = Field(None, description="Partition to search. Default: all.")
    filter: FilterTree | None = Field(
        None,
        description='Condition on the chunks, before anything is ranked: `{"type": "eq", "key": "metadata.year", '
        '"value": 2024}`; also `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `contains`, `starts_with`, `ends_with`, `exists`; '
        'joined by `{"type": "and", '
        '"filters": […]}`, `or`, `not`. Keys: `chunk_id`, `document_id`, `title`, `media_type`, `language`, '
        "`partition`, `ordinal`, `page`, `ingested_at`, and `metadata.` with a key of the documents' metadata.",
    )
    languages: Annotated[list[LanguageCode], Field(min_length=1, max_length=MAX_LANGUAGES)] | None = Field(
        None,
        description="Only documents in these languages, as codes of ISO 639: `en`, `zh`. Default: all.",
    )
    exclude: ExcludeIn = Field(ExcludeIn(), description="Documents and chunks to leave out.")
    min_score: float | None = Field(
        None,
        description="Minimum relevance of a hit: of the score that `relevance_name` names; of `score` if nothing was "
        "reranked.",
    )
    group_by: Literal["document"] | None = Field(
        None, description="`document`: return only the best chunk of each document."
    )
    diversity: float = Field(
        0.0, ge=0, le=1, description="How much similarity to better hits lowers a hit's score, from 0 to 1."
    )
    neighbors: int = Field(
        0, ge=0, le=10, description="Number of chunks on each side of a hit to return as its `context`."
    )
    expand: Literal["section"] | None = Field(
        None,
        description="`section`: return the section of each hit as its `context`, for at most 100 hits of a request.",
    )
    expand_tokens: int = Field(
        2048,
        ge=1,
        le=8192,
        description="Limit of a `context` by `expand`, in tokens of the embedding model. The text nearest to the hit "
        "is kept.",
    )
    highlights: int = Field(
        0,
        ge=0,
        le=10,
        description="Number of sentences of each hit to return as highlights, for at most 100 hits of a request.",
    )
    include: Annotated[list[HitPart], Field(max_length=len(OPTIONAL_PARTS))] | None = Field(
        None,
        description="The optional parts of a hit to return: `title`, `text`, `section`, `metadata`, `scores`, `ranks`. "
        "Default: all. The other fields of a hit are always returned.",
    )
    instruction: Instruction | None = Field(
        None, description="Instruction for the embedding model. Default: the collection's, else the model's."
    )
    rerank_instruction: Instruction | None = Field(
        None, description="Instruction for the reranker. Default: the collection's, else the model's."
    )

    @model_validator(mode="after")
    def _one_kind_of_question(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise PydanticCustomError("one_question", "needs either 'query' or 'queries', not both")
        if self.queries and self.variants:
            raise PydanticCustomError("variants", "'variants' requires 'query', not 'queries'")
        if self.queries and self.cursor:
            raise PydanticCustomError(
                "cursor", "'cursor' requires 'query', not 'queries': request the pages of each query separately"
            )
        return self

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.candidates is not None and self.candidates > MAX_RERANKED and self.rerank is not False:
            raise PydanticCustomError(
                "candidates",
                "'candidates' is {asked}: at most {most} can be reranked; request fewer, or 'rerank': false",
                {"asked": self.candidates, "most": MAX_RERANKED},
            )
        if self.expand and self.neighbors:
            raise PydanticCustomError(
                "expand", "'expand' and 'neighbors' both fill the 'context' of hits: request one of them"
            )
        hits = len(self.texts) * self.top_k
        if self.expand and hits > MAX_EXPANDED:
            raise PydanticCustomError(
                "expand",
                "'expand' for {hits} hits ('top_k' of each query): at most {most} in one request",
                {"hits": hits, "most": MAX_EXPANDED},
            )
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
        """Digest of the query and everything that determines the order of its hits; the page size does not."""
        presentation = {"cursor", "top_k", "neighbors", "expand", "expand_tokens", "highlights", "include"}
        question = self.model_dump(exclude=presentation)
        # With escapes: a filter is checked later, and may hold what UTF-8 cannot write.
        return sha256(json.dumps(question).encode()).hexdigest()[:16]

    def to_query(self, text: str, collection: Collection, place: Place | None = None) -> SearchQuery:
        """Returns the query. `place` is the position in `cursor`. Raises InvalidRequest for an invalid filter."""
        reranking = Reranking(
            # A page is reranked as the first one was, or not at all.
            required=place.reranked > 0 if place else self.rerank == "required",
            any_language=self.rerank is True,
            instruction=self.rerank_instruction or collection.rerank_instruction,
            model=self.rerank_model,
            weight=self.rerank_weight,
        )
        return SearchQuery(
            text=text,
            variants=tuple(self.variants or ()),
            mode=place.mode if place else self.mode,
            fusion=self.fusion.to_fusion(),
            top_k=self.top_k,
            candidates=self.candidates,
            place=place,
            budget_ms=self.budget_ms,
            reranking=reranking if (place.reranked > 0 if place else self.rerank is not False) else None,
            partition=self.partition,
            filter=self._filter(collection.metadata_keys),
            min_score=self.min_score,
            instruction=self.instruction or collection.query_instruction,
            by_document=self.group_by == "document",
            diversity=self.diversity,
            neighbors=self.neighbors,
            section_tokens=self.expand_tokens if self.expand else 0,
            highlights=self.highlights,
        )

    def _filter(self, declared: Mapping[str, KeyType]) -> Filter | None:
        wanted = [] if self.filter is None else [parse_filter(self.filter, declared)]
        if self.languages:
            wanted.append(In(BUILT_IN["language"], tuple(self.languages)))
        for key, ids in (("document_id", self.exclude.documents), ("chunk_id", self.exclude.chunks)):
            if ids:
                wanted.append(Not(In(BUILT_IN[key], tuple(ids))))
        return And(tuple(wanted)) if len(wanted) > 1 else next(iter(wanted), None)
