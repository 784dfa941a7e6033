"""An answer as it goes over the wire."""

from typing import Literal, Self

from pydantic import Field, JsonValue

from app.http.schemas.wire import Wire
from retrieval.search.query import Hit, Mode, SearchResult


class MemberOut(Wire):
    chunk_id: str = Field(description="Of another hit in the same document.")
    score: float | None = Field(description="As `score` of a hit.")


class ContextOut(Wire):
    text: str = Field(description="What overlaps is there once; white space between chunks is a line break.")
    start: int = Field(description="Offset in characters into the document's text.")
    end: int = Field(description="Offset in characters behind the last one.")


class HighlightOut(Wire):
    text: str = Field(description="One sentence.")
    start: int = Field(description="Offset in characters into the document's text.")
    end: int = Field(description="Offset in characters behind the last one.")
    score: float = Field(description="Late-interaction or rerank score; the higher, the better it answers.")


class HitOut(Wire):
    chunk_id: str = Field(description="Follows from document, place, text and model: the same chunk keeps its id.")
    document_id: str = Field(description="As it was ingested.")
    title: str = Field(description="Of the document; empty where it has none.")
    text: str = Field(description="Of the chunk.")
    start: int = Field(description="Offset in characters into the document's text.")
    end: int = Field(description="Offset in characters behind the last one.")
    page: int | None = Field(description="From 1, where the document has pages.")
    partition: str = Field(description="Of the document; empty where it has none.")
    media_type: str = Field(description="Of the document.")
    metadata: dict[str, JsonValue] = Field(description="Of the document, as ingested.")
    score: float | None = Field(description="None for a hit that was not reranked in time.")
    scores: dict[str, float] = Field(
        description="By stage: `dense` (cosine), `sparse` (BM25), `fused`, `rerank` (0 to 1), `blended`, `diverse`."
    )
    ranks: dict[str, int] = Field(description="By stage, from 1.")
    truncated_tokens: int = Field(description="Tokens of the passage that the reranker did not see.")
    others: list[MemberOut] = Field(description="With `group_by`: the document's other hits.")
    context: ContextOut | None = Field(description="With `neighbors`: the hit with the chunks around it.")
    highlights: list[HighlightOut] | None = Field(
        description="None where not asked for, or the reranker is away or late."
    )

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
                "others": hit.others,
                "context": hit.context,
                "highlights": hit.highlights,
            },
            from_attributes=True,
        )


class RecallOut(Wire):
    mode: Mode = Field(description="The one that was carried out.")
    candidates: int = Field(description="Chunks that recall found, before reranking.")
    reason: str | None = Field(
        description="Why it is not `hybrid`: `no_sparse_index`, `engine_dead`, `budget` or `deadline` (no time left)…"
    )


class RerankOut(Wire):
    applied: bool | Literal["partial"] = Field(
        description="Whether the order is the reranker's; `partial` where time ran out on the way."
    )
    reason: str | None = Field(
        description="Why not all was reranked: `not_requested`, `budget` or `deadline` (time was up), `engine_dead`…"
    )
    candidates: int = Field(description="Chunks that were to be reranked.")
    scored: int = Field(description="Chunks that were.")
    ms: float = Field(description="Milliseconds that it took.")


class TimingsOut(Wire):
    embed: float = Field(description="Milliseconds of embedding the query.")
    recall: float = Field(description="Milliseconds of the search in the store.")
    rerank: float = Field(description="Milliseconds of reranking.")
    total: float = Field(description="Milliseconds from the question to the answer.")


class ModelsOut(Wire):
    embed: str = Field(description="Name of the embedding model.")
    rerank: str = Field(description="Name of the reranking model.")


class SearchOut(Wire):
    hits: list[HitOut] = Field(description="Best first, at most `top_k`.")
    score_name: str = Field(description="Which of `scores` is `score`.")
    recall: RecallOut = Field(description="What the first stage did.")
    rerank: RerankOut = Field(description="What the second stage did.")
    timings_ms: TimingsOut = Field(description="Wall clock, by stage.")
    models: ModelsOut = Field(description="Those that answered.")
    truncated_query_tokens: int = Field(description="Tokens of the query that did not fit a model's window.")
    next_cursor: str | None = Field(
        description="For the hits after the last one; None where the pool has no more, or was reranked in part."
    )
    request_id: str = Field(description="As in the header X-Request-ID.")

    @classmethod
    def of(cls, result: SearchResult, next_cursor: str | None, request_id: str) -> Self:
        return cls(
            hits=[HitOut.of(hit) for hit in result.hits],
            score_name=result.score_name,
            recall=RecallOut.model_validate(result.recall, from_attributes=True),
            rerank=RerankOut.model_validate(result.rerank, from_attributes=True),
            timings_ms=TimingsOut.model_validate(dict(result.timings_ms)),
            models=ModelsOut.model_validate(dict(result.models)),
            truncated_query_tokens=result.truncated_query_tokens,
            next_cursor=next_cursor,
            request_id=request_id,
        )


class BatchOut(Wire):
    results: list[SearchOut] = Field(description="One for each of `queries`, in their order.")
