"""Dify's external knowledge API on the wire, as its documentation ("External Knowledge API") and its
services/external_knowledge_service.py have it."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictFloat, StrictInt, StrictStr

from app.schemas.question import Query
from app.schemas.wire import Text
from retrieval.questions import Hit

DEFAULT_TOP_K = 4
"""Dify's own, where a knowledge base was made without retrieval settings."""
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
Value = StrictStr | StrictInt | StrictFloat


class DifyWire(BaseModel):
    """Fields that a later Dify may add are passed over."""

    model_config = ConfigDict(extra="ignore")


class RetrievalSetting(DifyWire):
    top_k: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description=f"Default: {DEFAULT_TOP_K}.")
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Least score of a record; 0 where Dify's threshold is off."
    )


class Condition(DifyWire):
    name: Name | Annotated[list[Name], Field(min_length=1)] = Field(
        description="Key of the documents' metadata, or `document_id`, `title`, `partition`, `media_type`, `page`, "
        "`ordinal`, `chunk_id`, `ingested_at`. A list, as older documentation has it, may hold one name."
    )
    comparison_operator: Operator = Field(
        description="`contains`, `not contains`, `start with` and `end with` compare parts of texts, which the store "
        "cannot: they are refused."
    )
    value: Value | Annotated[list[Text], Field(max_length=500)] | None = None


class MetadataCondition(DifyWire):
    logical_operator: Literal["and", "or"] | None = "and"
    conditions: Annotated[list[Condition], Field(max_length=MAX_CONDITIONS)] | None = None


class RetrievalIn(DifyWire):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "knowledge_id": "docs",
                    "query": "how hot is the kiln?",
                    "retrieval_setting": {"top_k": 4, "score_threshold": 0.5},
                    "metadata_condition": {
                        "logical_operator": "and",
                        "conditions": [{"name": "year", "comparison_operator": "≥", "value": 2024}],
                    },
                }
            ]
        }
    )

    knowledge_id: Annotated[Text, Field(max_length=200, description="Name of a collection.")]
    query: Query
    retrieval_setting: RetrievalSetting
    metadata_condition: MetadataCondition | None = None


class Record(BaseModel):
    content: str
    score: float = Field(ge=0, le=1)
    title: str
    metadata: dict[str, JsonValue] = Field(
        description="The document's metadata, and `document_id`, `chunk_id`, `page`, `score_name` and `reranked`."
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
            content=chunk.text,
            score=score,
            title=candidate.title or chunk.document_id,
            metadata={**candidate.metadata, **own},
        )


class RetrievalOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "records": [
                        {
                            "content": "The kiln is held at 1280 degrees for an hour.",
                            "score": 0.97,
                            "title": "Kilns",
                            "metadata": {"year": 2025, "document_id": "kiln", "reranked": True, "score_name": "rerank"},
                        }
                    ]
                }
            ]
        }
    )

    records: list[Record]


class DifyErrorOut(BaseModel):
    """1001: no `Bearer <key>` in the Authorization header; 1002: the key is unknown; 2001: there is no such
    collection; otherwise the HTTP status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error_code": 2001,
                    "error_msg": "There is no collection 'manuals'. (collection_not_found)",
                }
            ]
        }
    )

    error_code: int
    error_msg: str


def records(hits: Sequence[Hit], score_name: str, threshold: float) -> list[Record]:
    """Those of at least `threshold`, in their order. Scores of every stage are brought into 0 to 1: BM25's by
    s / (1 + s), which keeps their order; a cosine below 0 is 0."""
    found = []
    for hit in hits:
        raw = max(0.0, hit.score or 0.0)
        score = raw / (1 + raw) if score_name == "sparse" else min(1.0, raw)
        if score >= threshold:
            found.append(Record.of(hit, score, score_name))
    return found
