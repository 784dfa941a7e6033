"""OpenAI's vector stores on the wire. Source: OpenAI's API reference, and openai-python's types."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from app.http.compat.openai.schemas.files import (
    MAX_ATTRIBUTES,
    STORE_PREFIX,
    ChunkingStrategy,
    FileCounts,
    FileIds,
    Listed,
    Page,
    Scalar,
    unix_seconds,
)
from app.http.compat.wire import CompatModel, CompatRequest
from app.http.schemas.answer import RecallOut, RerankOut
from app.http.schemas.query import MAX_QUERIES, Query
from app.http.schemas.wire import FilterTree, Text
from ingestion.types import Collection, Totals
from retrieval.filters.parse import MAX_DEPTH
from retrieval.filters.tree import METADATA
from retrieval.search.query import SearchResult


def _must_be_empty(value: object) -> object:
    """What a collection has no place for is refused, not forgotten."""
    if value:
        raise PydanticCustomError("not_stored", "cannot be stored: a vector store is a collection, which has none")
    return value


def _not_rewritten(wanted: bool) -> bool:
    if wanted:
        raise PydanticCustomError("not_rewritten", "cannot be true: queries are asked as they are")
    return wanted


Unstored = Annotated[str, Field(max_length=10_000)]
UnstoredObject = Annotated[dict[str, Unstored], Field(max_length=MAX_ATTRIBUTES)]


class _NotStored(CompatRequest):
    metadata: Annotated[UnstoredObject | None, AfterValidator(_must_be_empty)] = Field(
        None, description="Must be empty: it cannot be stored."
    )
    expires_after: None = Field(None, description="Must be absent: nothing expires.")


class StoreIn(_NotStored):
    name: Text | None = Field(
        None, max_length=256, description="Becomes the collection's: other signs than letters and digits become _."
    )
    file_ids: FileIds = Field(default_factory=list, description="Of uploaded files, to be put into it.")
    chunking_strategy: ChunkingStrategy | None = Field(None, description="For these files.")
    description: Annotated[Unstored | None, AfterValidator(_must_be_empty)] = Field(
        None, description="Must be empty: it cannot be stored."
    )


class StoreUpdateIn(_NotStored):
    name: Text | None = Field(None, max_length=256, description="Only the one it has: collections keep their names.")


class StoreOut(Listed):
    id: str = Field(description="`vs_` and the name of the collection.")
    object: Literal["vector_store"] = Field("vector_store", description="What this is.")
    created_at: int = Field(description="Seconds since 1970.")
    name: str = Field(description="Of the collection.")
    usage_bytes: int = Field(description="Of the originals.")
    file_counts: FileCounts = Field(description="Its files by status.")
    status: Literal["in_progress", "completed"] = Field(description="`completed`: no file is waiting.")
    expires_after: None = Field(None, description="Nothing expires.")
    expires_at: None = Field(None, description="Nothing expires.")
    last_active_at: int | None = Field(None, description="Not known here.")
    metadata: dict[str, str] = Field(default_factory=dict, description="Always empty.")

    @classmethod
    def of(cls, collection: Collection, totals: Totals) -> Self:
        counts = FileCounts(
            in_progress=totals.unfinished,
            completed=totals.ready,
            failed=totals.failed,
            cancelled=totals.cancelled,
            total=totals.unfinished + totals.ready + totals.failed + totals.cancelled,
        )
        return cls(
            id=STORE_PREFIX + collection.name,
            created_at=unix_seconds(collection.created_at),
            name=collection.name,
            usage_bytes=totals.size,
            file_counts=counts,
            status="in_progress" if counts.in_progress else "completed",
        )


class StoresOut(Page[StoreOut]):
    data: list[StoreOut] = Field(description="By the time of their creation.")


class RankingOptions(CompatRequest):
    ranker: Literal["none", "auto", "default-2024-11-15"] = Field("auto", description="`none`: without reranking.")
    score_threshold: float | None = Field(None, ge=0, le=1, description="Applied to the score that results have.")


class StoreSearchIn(CompatRequest):
    query: Query | Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)] = Field(
        description="Of several, each chunk counts with its best score."
    )
    max_num_results: int = Field(10, ge=1, le=50, description="Chunks in the answer, at most.")
    filters: FilterTree | None = Field(
        None,
        description='`{"type": "eq", "key": "year", "value": 2024}`; also ne, gt, gte, lt, lte, in, nin; joined by '
        '`{"type": "and", "filters": […]}` and or. Keys are those of attributes.',
    )
    ranking_options: RankingOptions = Field(RankingOptions(), description="Whether to rerank, and what to leave out.")
    rewrite_query: Annotated[bool, AfterValidator(_not_rewritten)] = Field(
        False, description="Must not be true: queries are asked as they are."
    )

    @property
    def queries(self) -> list[str]:
        return self.query if isinstance(self.query, list) else [self.query]


class ContentOut(CompatModel):
    type: Literal["text"] = Field("text", description="What this is.")
    text: str = Field(description="Of the chunk.")


class FoundOut(CompatModel):
    file_id: str = Field(description="Of the file that the chunk is from; the id of the document.")
    filename: str = Field(description="Of the upload; of other documents the title, or else the id.")
    score: float = Field(description="The one that results are ordered by; `stages` names it.")
    attributes: dict[str, Scalar] = Field(description="The document's metadata, but for lists and objects.")
    content: list[ContentOut] = Field(description="The chunk.")


class StagesOut(CompatModel):
    """What was done for one query."""

    score_name: str = Field(description="Which score its results have: `rerank`, `fused`…")
    recall: RecallOut = Field(description="What the first stage did.")
    rerank: RerankOut = Field(description="What the second stage did.")

    @classmethod
    def of(cls, result: SearchResult) -> Self:
        return cls(
            score_name=result.score_name,
            recall=RecallOut.model_validate(result.recall),
            rerank=RerankOut.model_validate(result.rerank),
        )


class StoreSearchOut(CompatModel):
    object: Literal["vector_store.search_results.page"] = Field(
        "vector_store.search_results.page", description="What this is."
    )
    search_query: list[str] = Field(description="The queries, as they were asked.")
    data: list[FoundOut] = Field(description="Best first, at most `max_num_results`.")
    has_more: bool = Field(False, description="All is on the one page.")
    next_page: str | None = Field(None, description="There is none.")
    stages: list[StagesOut] = Field(description="For each query, as POST /search tells it: what was not done, and why.")


def with_metadata_keys(tree: JsonValue, depth: int = 1) -> JsonValue:
    """A filter on attributes as one on metadata. What is no filter stays as it is: the parser says what is wrong."""
    if not isinstance(tree, dict) or depth > MAX_DEPTH:
        return tree
    changed: dict[str, Any] = dict(tree)
    if isinstance(inner := tree.get("filters"), list):
        changed["filters"] = [with_metadata_keys(each, depth + 1) for each in inner]
    if isinstance(key := tree.get("key"), str):
        changed["key"] = METADATA + key
    if tree.get("type") == "nin":
        return {"type": "not", "filters": [{**changed, "type": "in"}]}
    return changed
