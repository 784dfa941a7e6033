"""The answer to a search request."""

from collections.abc import Collection
from typing import Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, JsonValue

from app.http.schemas.wire import Wire
from retrieval.search.query import Branch, Hit, Mode, SearchResult

HitPart = Literal["title", "text", "section", "metadata", "scores", "ranks"]
OPTIONAL_PARTS: frozenset[str] = frozenset(get_args(HitPart))
"""The fields of a hit that `include` chooses from."""


class MemberOut(Wire):
    chunk_id: str = Field(description="Id of another hit of the same document.")
    score: float | None = Field(description="Score of that hit, as `score` of a hit.")


class ContextOut(Wire):
    text: str = Field(
        description="Text of the hit and its neighbouring chunks; overlaps appear once, and white space between "
        "chunks is a line break."
    )
    start: int = Field(description="Offset of the first character in the document's text.")
    end: int = Field(description="Offset after the last character in the document's text.")


class HighlightOut(Wire):
    text: str = Field(description="One sentence.")
    start: int = Field(description="Offset of the first character in the document's text.")
    end: int = Field(description="Offset after the last character in the document's text.")
    score: float = Field(description="Late-interaction or rerank score; higher is better.")


def _without_optional_parts(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["required"] if name not in OPTIONAL_PARTS]


class HitOut(Wire):
    """A hit. With `include`, those of `title`, `text`, `section`, `metadata`, `scores` and `ranks` are missing that it
    does not name.
    """

    model_config = ConfigDict(json_schema_extra=_without_optional_parts)

    chunk_id: str = Field(
        description="Id derived from document, position, text and model: an unchanged chunk keeps its id."
    )
    document_id: str = Field(description="Id of the document, as ingested.")
    title: str = Field(description="Title of the document; empty if it has none.")
    text: str = Field(
        description="Text of the chunk. If it begins among the rows of a table, the table's header comes first, and "
        "`start` and `end` are of the rest."
    )
    start: int = Field(description="Offset of the first character in the document's text.")
    end: int = Field(description="Offset after the last character in the document's text.")
    page: int | None = Field(description="Page, counted from 1; null for documents without pages.")
    section: list[str] = Field(
        description="Headings above the chunk, the outermost first; empty without headings, and in a collection that "
        "was made before sections were kept."
    )
    partition: str = Field(description="Partition of the document; empty if it has none.")
    media_type: str = Field(description="Media type of the document.")
    language: str | None = Field(
        description="Language of the document, as a code of ISO 639; null if it is not known, and in a collection that "
        "was made before languages were kept."
    )
    metadata: dict[str, JsonValue] = Field(description="Metadata of the document, as ingested.")
    score: float | None = Field(description="Score that orders the hits; null for a hit that was not reranked in time.")
    scores: dict[str, float] = Field(
        description="Scores by stage: `dense` (cosine), `sparse` (BM25), `fused`, `rerank` (0 to 1), `relevance` "
        "(0 to 1, with late interaction), `blended`, `diverse`."
    )
    ranks: dict[str, int] = Field(description="Ranks by stage, counted from 1.")
    truncated_tokens: int = Field(
        description="Tokens of the passage that exceeded the reranker's window and were not read."
    )
    others: list[MemberOut] = Field(description="Other hits of the same document, with `group_by`.")
    context: ContextOut | None = Field(
        description="The hit with its neighbouring chunks (`neighbors`) or its section (`expand`)."
    )
    highlights: list[HighlightOut] | None = Field(
        description="The best sentences, with `highlights`; null if they were not requested or the reranker was "
        "not available in time."
    )

    @classmethod
    def of(cls, hit: Hit) -> Self:
        candidate, chunk = hit.candidate, hit.candidate.chunk
        return cls.model_validate(
            {
                "chunk_id": chunk.id,
                "document_id": chunk.document_id,
                "title": candidate.title,
                "text": chunk.full_text,
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "section": chunk.section,
                "partition": candidate.partition,
                "media_type": candidate.media_type,
                "language": candidate.language or None,
                "metadata": candidate.metadata,
                "score": hit.score,
                "scores": hit.scores,
                "ranks": hit.ranks,
                "truncated_tokens": hit.truncated_tokens,
                "others": hit.others,
                "context": hit.context,
                "highlights": hit.highlights,
            },
            from_attributes=True,
        )


class RecallOut(Wire):
    mode: Mode = Field(description="The recall mode that was used.")
    candidates: int = Field(description="Number of chunks that recall found, before reranking.")
    reason: str | None = Field(
        description="Why the mode is not `hybrid`: `no_sparse_index`, `engine_dead`, `budget` or `deadline` (no "
        "time left)…"
    )
    weights: dict[Branch, float] | None = Field(None, description="Weights of the branches in `hybrid`.")


class RerankOut(Wire):
    applied: bool | Literal["partial"] = Field(
        description="Whether the reranker ordered the hits; `partial` if time ran out before all candidates were "
        "scored."
    )
    reason: str | None = Field(
        description="Why not all candidates were reranked: `not_requested`, `budget` or `deadline` (time ran "
        "out), `engine_dead`…"
    )
    candidates: int = Field(
        description="Number of candidates to rerank: fewer than recall found if the request states no `candidates` and "
        "all of them would exceed the node's time for it (`TANDEM_RERANK_SECONDS`)."
    )
    scored: int = Field(description="Number of candidates that were reranked.")
    ms: float = Field(description="Duration in milliseconds.")


class TimingsOut(Wire):
    embed: float = Field(description="Embedding of the query, in milliseconds.")
    recall: float = Field(description="Search in the vector store, in milliseconds.")
    rerank: float = Field(description="Reranking, in milliseconds.")
    total: float = Field(description="The whole search, in milliseconds.")


class ModelsOut(Wire):
    embed: str = Field(description="Name of the embedding model.")
    rerank: str = Field(description="Name of the reranking model.")


class SearchOut(Wire):
    hits: list[HitOut] = Field(description="Hits, best first, at most `top_k`.")
    score_name: str = Field(description="Name of the entry of `scores` that is `score`.")
    relevance_name: str | None = Field(
        description="Name of the entry of `scores` that means how relevant a hit is, from 0 to 1, whatever else was "
        "found: `min_score` is compared with it. Null if nothing was reranked."
    )
    recall: RecallOut = Field(description="Result of the first stage.")
    rerank: RerankOut = Field(description="Result of the second stage.")
    timings_ms: TimingsOut = Field(description="Durations by stage.")
    models: ModelsOut = Field(description="The models that were used.")
    truncated_query_tokens: int = Field(
        description="Tokens of the query that exceeded a model's window and were not read."
    )
    next_cursor: str | None = Field(
        description="Cursor of the next page; null if the pool has no more hits or was only partly reranked."
    )
    request_id: str = Field(description="Same as the header X-Request-ID.")

    @classmethod
    def of(cls, result: SearchResult, next_cursor: str | None, request_id: str) -> Self:
        return cls(
            hits=[HitOut.of(hit) for hit in result.hits],
            score_name=result.score_name,
            relevance_name=result.relevance_name,
            recall=RecallOut.model_validate(result.recall, from_attributes=True),
            rerank=RerankOut.model_validate(result.rerank, from_attributes=True),
            timings_ms=TimingsOut.model_validate(dict(result.timings_ms)),
            models=ModelsOut.model_validate(dict(result.models)),
            truncated_query_tokens=result.truncated_query_tokens,
            next_cursor=next_cursor,
            request_id=request_id,
        )

    def as_json(self, include: Collection[HitPart] | None = None) -> str:
        """Returns the answer as JSON; of the optional parts of its hits those of `include`, None: all."""
        return self.model_dump_json(exclude=_left_out(include))


class BatchOut(Wire):
    results: list[SearchOut] = Field(description="One answer per query, in their order.")

    def as_json(self, include: Collection[HitPart] | None = None) -> str:
        """Returns the answers as JSON, as SearchOut does."""
        return self.model_dump_json(exclude={"results": {"__all__": _left_out(include)}})


def _left_out(include: Collection[HitPart] | None) -> dict[str, Any]:
    """Returns what pydantic leaves out of an answer."""
    return {} if include is None else {"hits": {"__all__": set(OPTIONAL_PARTS.difference(include))}}
