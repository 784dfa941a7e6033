"""OpenAI's vector stores. Source: OpenAI's API reference and openai-python's types."""

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
    """Refuses options that a collection cannot store, instead of ignoring them."""
    if value:
        raise PydanticCustomError(
            "not_stored", "cannot be stored: a vector store is a collection, which has no such field"
        )
    return value


def _not_rewritten(wanted: bool) -> bool:
    if wanted:
        raise PydanticCustomError("not_rewritten", "cannot be true: queries are not rewritten")
    return wanted


Unstored = Annotated[str, Field(max_length=10_000)]
UnstoredObject = Annotated[dict[str, Unstored], Field(max_length=MAX_ATTRIBUTES)]


class _NotStored(CompatRequest):
    metadata: Annotated[UnstoredObject | None, AfterValidator(_must_be_empty)] = Field(
        None, description="Must be empty: a collection cannot store it."
    )
    expires_after: None = Field(None, description="Must be absent: collections do not expire.")


class StoreIn(_NotStored):
    name: Text | None = Field(
        None,
        max_length=256,
        description="Name of the store, which becomes the collection's name; characters other than letters, "
        "digits, `-` and `.` become `_`.",
    )
    file_ids: FileIds = Field(default_factory=list, description="Ids of uploaded files to add.")
    chunking_strategy: ChunkingStrategy | None = Field(None, description="Chunking of these files.")
    description: Annotated[Unstored | None, AfterValidator(_must_be_empty)] = Field(
        None, description="Must be empty: a collection cannot store it."
    )


class StoreUpdateIn(_NotStored):
    name: Text | None = Field(
        None, max_length=256, description="Must be the current name: collections cannot be renamed."
    )


class StoreOut(Listed):
    id: str = Field(description="`vs_` followed by the name of the collection.")
    object: Literal["vector_store"] = Field("vector_store", description="Type of this object.")
    created_at: int = Field(description="Time of creation in seconds since 1970.")
    name: str = Field(description="Name of the collection.")
    usage_bytes: int = Field(description="Size of the originals in bytes.")
    file_counts: FileCounts = Field(description="Numbers of files by status.")
    status: Literal["in_progress", "completed"] = Field(description="`completed`: no file is waiting.")
    expires_after: None = Field(None, description="Always null: collections do not expire.")
    expires_at: None = Field(None, description="Always null: collections do not expire.")
    last_active_at: int | None = Field(None, description="Always null.")
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
    data: list[StoreOut] = Field(description="Stores, ordered by the time of creation.")


class RankingOptions(CompatRequest):
    ranker: Literal["none", "auto", "default-2024-11-15"] = Field("auto", description="`none`: without reranking.")
    score_threshold: float | None = Field(
        None, ge=0, le=1, description="Minimum of `score`, which is the relevance of a result."
    )


class StoreSearchIn(CompatRequest):
    query: Query | Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)] = Field(
        description="One or several queries; with several, each chunk counts with its best score."
    )
    max_num_results: int = Field(10, ge=1, le=50, description="Maximum number of results.")
    filters: FilterTree | None = Field(
        None,
        description='`{"type": "eq", "key": "year", "value": 2024}`; also ne, gt, gte, lt, lte, in, nin; joined by '
        '`{"type": "and", "filters": […]}` and or. Keys are those of attributes.',
    )
    ranking_options: RankingOptions = Field(RankingOptions(), description="Reranking and minimum score.")
    rewrite_query: Annotated[bool, AfterValidator(_not_rewritten)] = Field(
        False, description="Must be false: queries are not rewritten."
    )

    @property
    def queries(self) -> list[str]:
        return self.query if isinstance(self.query, list) else [self.query]


class ContentOut(CompatModel):
    type: Literal["text"] = Field("text", description="Type of this object.")
    text: str = Field(description="Text of the chunk.")


class FoundOut(CompatModel):
    file_id: str = Field(description="Id of the file, which is the id of the document.")
    filename: str = Field(description="Name of the uploaded file; for other documents the title, else the id.")
    score: float = Field(
        description="Relevance of the result, from 0 to 1; without reranking, the score that orders the results."
    )
    attributes: dict[str, Scalar] = Field(description="Metadata of the document, without lists and objects.")
    content: list[ContentOut] = Field(description="The chunk.")


class StagesOut(CompatModel):
    """The stages of the search for one query."""

    score_name: str = Field(description="Name of the score of its results: `rerank`, `fused`…")
    recall: RecallOut = Field(description="Result of the first stage.")
    rerank: RerankOut = Field(description="Result of the second stage.")

    @classmethod
    def of(cls, result: SearchResult) -> Self:
        return cls(
            score_name=result.score_name,
            recall=RecallOut.model_validate(result.recall),
            rerank=RerankOut.model_validate(result.rerank),
        )


class StoreSearchOut(CompatModel):
    object: Literal["vector_store.search_results.page"] = Field(
        "vector_store.search_results.page", description="Type of this object."
    )
    search_query: list[str] = Field(description="The queries.")
    data: list[FoundOut] = Field(description="Results, best first, at most `max_num_results`.")
    has_more: bool = Field(False, description="Always false: there is only one page.")
    next_page: str | None = Field(None, description="Always null.")
    stages: list[StagesOut] = Field(
        description="The stages of each query, as in an answer of POST /search: what was not done, and why."
    )


def with_metadata_keys(tree: JsonValue, depth: int = 1) -> JsonValue:
    """Converts a filter on attributes to one on metadata. Leaves invalid filters unchanged: the parser reports them."""
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
