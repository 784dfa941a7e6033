"""The schemas of Dify's external knowledge API, according to its documentation ("External Knowledge API") and its
services/external_knowledge_service.py.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue

from app.http.compat.wire import CompatModel, CompatRequest
from app.http.schemas.query import Query
from app.http.schemas.wire import Text
from retrieval.filters.parse import MAX_TEXT_CHARACTERS
from retrieval.search.query import Hit

DEFAULT_TOP_K = 4
"""Dify's default for knowledge bases without retrieval settings."""
MAX_CONDITIONS = 50

Operator = Literal[
    "contains",
    "not contains",
    "start with",
    "end with",
    "is",
    "is not",
    "in",
    "not in",
    "empty",
    "not empty",
    "=",
    "≠",
    ">",
    "<",
    "≥",
    "≤",
    "before",
    "after",
]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Value = Annotated[str, Field(max_length=32_768)] | int | float


class RetrievalSetting(CompatRequest):
    top_k: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description=f"Default: {DEFAULT_TOP_K}.")
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Minimum score of a record; 0 if the threshold is off in Dify."
    )


class Condition(CompatRequest):
    name: Name | Annotated[list[Name], Field(min_length=1, max_length=10)] = Field(
        description="Key of the documents' metadata, or `document_id`, `title`, `partition`, `media_type`, `page`, "
        "`ordinal`, `chunk_id`, `ingested_at`. A list, as older documentation has it, may hold one name."
    )
    comparison_operator: Operator = Field(
        description="`contains`, `not contains`, `start with` and `end with` compare parts of texts, with upper and "
        "lower case apart; `contains` also finds a value in a list."
    )
    value: (
        Value
        | Annotated[list[Annotated[Text, Field(max_length=MAX_TEXT_CHARACTERS)]], Field(max_length=500, fail_fast=True)]
        | None
    ) = Field(
        None,
        description="Value to compare with. A text is converted to the type that the collection declares for the "
        "key; for lists, to a list separated by commas.",
    )


class MetadataCondition(CompatRequest):
    logical_operator: Literal["and", "or"] | None = Field("and", description="How the conditions are combined.")
    conditions: Annotated[list[Condition], Field(max_length=MAX_CONDITIONS, fail_fast=True)] | None = Field(
        None, description="Conditions. A chunk without the key meets none of them but `empty`."
    )


class RetrievalIn(CompatRequest):
    knowledge_id: Annotated[Text, Field(max_length=200, description="Name of a collection.")]
    query: Query = Field(description="The query, as the user phrased it.")
    retrieval_setting: RetrievalSetting = Field(description="Number of records and their minimum score.")
    metadata_condition: MetadataCondition | None = Field(
        None, description="Condition on the documents' metadata. Default: all documents."
    )


class Record(CompatModel):
    content: str = Field(description="Text of the chunk.")
    score: float = Field(ge=0, le=1, description="Relevance, from 0 to 1; `metadata.score_name` names the score.")
    title: str = Field(description="Title of the document, or its id if it has none.")
    metadata: dict[str, JsonValue] = Field(
        description="Metadata of the document, with `document_id`, `chunk_id`, `page`, `score_name` and `reranked`."
    )

    @classmethod
    def of(cls, hit: Hit, score: float, score_name: str) -> Self:
        candidate, chunk = hit.candidate, hit.candidate.chunk
        own = {
            "document_id": chunk.document_id,
            "chunk_id": chunk.id,
            "page": chunk.page,
            "score_name": score_name,
            "reranked": "rerank" in hit.scores,
        }
        return cls(
            content=chunk.full_text,
            score=score,
            title=candidate.title or chunk.document_id,
            metadata={**candidate.metadata, **own},
        )


class RetrievalOut(CompatModel):
    records: list[Record] = Field(description="Records, best first.")


class DifyErrorOut(CompatModel):
    error_code: int = Field(
        description="1001: there is no `Bearer <key>` in the Authorization header. 1002: the key is unknown. "
        "2001: the collection does not exist. Otherwise the HTTP status."
    )
    error_msg: str = Field(description="Message, followed by this node's error code in brackets.")


def records(hits: Sequence[Hit], score_name: str, relevance_name: str | None, threshold: float) -> list[Record]:
    """Returns records with a score of at least `threshold`, in their order. The score is the one that means relevance;
    if nothing was reranked, the one that orders the hits, in 0 to 1: a BM25 score s becomes s / (1 + s), which keeps
    the order; a cosine below 0 becomes 0.
    """
    found = []
    for hit in hits:
        raw = max(0.0, (hit.scores.get(relevance_name) if relevance_name else hit.score) or 0.0)
        by_words = relevance_name is None and score_name == "sparse"
        score = raw / (1 + raw) if by_words else min(1.0, raw)
        if score >= threshold:
            found.append(Record.of(hit, score, relevance_name or score_name))
    return found
