"""A search request to a collection, and the reports of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from retrieval.filters.tree import Filter, all_of
from retrieval.types import Candidate, ChunkId

Branch = Literal["dense", "sparse"]
"""The branches of recall: nearest vectors, or BM25."""
Mode = Literal["dense", "sparse", "hybrid"]

CANDIDATES = 50
"""Candidates of recall where the caller states no number."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """The fusion of hybrid recall's branches; see `retrieval.search.fusion.fuse`."""

    method: Literal["weighted", "rrf"] = "weighted"
    weights: Mapping[Branch, float] | None = None
    """Weights, not negative, at least one above 0. None: equal, but words have a lower weight if query and passages are
    written in different scripts; see `retrieval.search.fusion.weights_for`.
    """
    k: int = 60
    """Constant of `rrf`: the larger it is, the less the first ranks count."""


@dataclass(frozen=True, slots=True)
class Reranking:
    """The request to the second stage."""

    required: bool = False
    """Rather no answer than one that was not reranked."""
    any_language: bool = False
    """Also of a query in a language that the reranker was not made for."""
    instruction: str | None = None
    model: str | None = None
    """The only one that will do; None: the one that runs."""
    weight: float | None = None
    """Share of the rerank score in the order, in (0, 1]; the rest is the recall score's. None: the model's own."""


@dataclass(frozen=True, slots=True)
class Place:
    """The start of a page in the order that the first page fixed: the same pool, recalled and ranked in the
    same way.
    """

    offset: int
    """Hits on the pages before."""
    pool: int
    mode: Mode
    reranked: int
    """Hits of the pool that were reranked, which the pages are parts of; 0: all are in recall order."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    text: str
    variants: tuple[str, ...] = ()
    """Other phrasings of the question: recalled as well, and reranked against `text`."""
    mode: Mode | None = None
    """None: hybrid, where the server can."""
    fusion: Fusion = Fusion()
    top_k: int = 10
    candidates: int | None = None
    """Pool that recall brings and the reranker scores, and that pages are parts of; `top_k` where that is more. None:
    recall brings CANDIDATES, of which the reranker scores as many as fit the node's time for it, at least `top_k`.
    """
    place: Place | None = None
    """None: the first page."""
    reranking: Reranking | None = Reranking()
    """None: recall alone."""
    budget_ms: float | None = None
    """Budget of all stages, from the query's arrival. None: the server's deadline, which is never exceeded."""
    partition: str | None = None
    filter: Filter | None = None
    forced: Filter | None = None
    """What else has to be true of every chunk that is returned, those around hits included: what exists for the caller.
    """
    min_score: float | None = None
    """Compared with the reranker's score, or what its calibration makes of it; with `Hit.score` if nothing was
    reranked."""
    instruction: str | None = None
    by_document: bool = False
    """Whether only the best chunk of each document is returned, with references to the others."""
    diversity: float = 0.0
    """Weight of the similarity to earlier hits, in [0, 1]."""
    neighbors: int = 0
    """Chunks on either side that come with each hit as its context."""
    section_tokens: int = 0
    """Limit of the section that is returned as each hit's context, in tokens; 0: the context is not the section."""
    highlights: int = 0
    """Sentences of each hit to point out."""

    @property
    def condition(self) -> Filter | None:
        """What recall searches by: `forced` and `filter`."""
        return all_of(self.forced, self.filter)

    @property
    def pool(self) -> int:
        """Number of hits to recall. It is the same for every page: scores are scaled, and hits grouped, within the
        pool.
        """
        return self.place.pool if self.place else max(self.candidates or CANDIDATES, self.top_k)

    @property
    def offset(self) -> int:
        return self.place.offset if self.place else 0


@dataclass(frozen=True, slots=True)
class Member:
    """Another chunk of the document that a hit represents."""

    chunk_id: ChunkId
    score: float | None


@dataclass(frozen=True, slots=True)
class Context:
    """A hit with its neighbors. Overlapping text occurs once, white space between chunks becomes a line break. If it
    begins among the rows of a table, the table's header comes first.
    """

    text: str
    start: int
    end: int
    """Offsets in characters into the document's text."""


@dataclass(frozen=True, slots=True)
class Highlight:
    text: str
    start: int
    end: int
    """Offsets in characters into the document's text."""
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    candidate: Candidate
    score: float | None
    """The score that the order and `min_score` follow; None for one that the budget left unscored."""
    scores: Mapping[str, float]
    """Scores by stage: `dense` and `sparse` (branches of recall), `fused` (hybrid), `rerank`, `blended` (rerank and
    recall), `diverse`, `relevance`.
    """
    ranks: Mapping[str, int]
    """Ranks by stage, from 1."""
    truncated_tokens: int = 0
    """Tokens of the passage that the reranker did not see."""
    others: tuple[Member, ...] = ()
    context: Context | None = None
    highlights: tuple[Highlight, ...] | None = None
    """None if they were not requested, or if the reranker is away or late."""


@dataclass(frozen=True, slots=True)
class RecallReport:
    """Reports how recall ran, so that a partial recall is recognisable."""

    mode: Mode
    """The one that was carried out."""
    candidates: int
    reason: str | None = None
    """Why it is less than hybrid, where the caller left the choice: `no_sparse_index`, `engine_dead`, `budget` or
    `deadline` (the vectors came too late)…"""
    weights: Mapping[Branch, float] | None = None
    """Weight of each branch, if there were two."""


@dataclass(frozen=True, slots=True)
class RerankReport:
    """Reports how reranking ran, so that an unranked answer is recognisable."""

    applied: bool | Literal["partial"]
    candidates: int
    scored: int
    ms: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    hits: tuple[Hit, ...]
    recall: RecallReport
    rerank: RerankReport
    timings_ms: Mapping[str, float]
    """`embed`, `recall`, `rerank`, `total`; wall clock."""
    models: Mapping[str, str]
    score_name: str
    """The key of `Hit.scores` that `Hit.score` is."""
    relevance_name: str | None
    """Which of `Hit.scores` means how relevant a hit is, and `min_score` was compared with; None if nothing was
    reranked."""
    truncated_query_tokens: int
    next: Place | None
    """Place of the next page; None if the pool has no more hits, or if time ran out during reranking, since a partial
    order cannot be reproduced.
    """
