"""Reranking on the wire of Jina and vLLM (v1), of Cohere (v2), and vLLM's scoring of pairs.

Sources: the API references of Jina and Cohere, vLLM's pooling protocol, langchain-community and cohere-python.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.schemas.faces import Face, WholeText, example
from app.schemas.question import MAX_QUERY_CHARACTERS, Query
from app.schemas.wire import Text

MAX_DOCUMENTS = 1000
"""Of one request; also the most that Cohere advises."""


class DocumentText(Face):
    text: WholeText


class Rerank(Face):
    """What both versions ask."""

    model: Text | None = Field(None, description="The reranker of GET /v1/models, or `tandem`, or nothing.")
    query: Query
    documents: list[WholeText | DocumentText] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    top_n: int | None = Field(None, ge=1, description="Results to return. Default: all.")
    max_tokens_per_doc: int | None = Field(
        None, ge=1, description="Documents are cut after so many tokens. Default: what fits the model's window."
    )
    instruction: Text | None = Field(
        None, max_length=2000, description="What makes a document relevant. Default: the model's own."
    )

    @property
    def texts(self) -> Sequence[str]:
        return [each if isinstance(each, str) else each.text for each in self.documents]


EXAMPLE = {
    "model": "tandem",
    "query": "How hot is the kiln?",
    "documents": ["A celadon glaze needs iron.", "The kiln is held at 1280 degrees."],
    "top_n": 1,
}


class RerankIn(Rerank):
    model_config = example(**EXAMPLE)

    return_documents: bool | None = Field(None, description="Whether results hold their documents. Default: yes.")


class CohereRerankIn(Rerank):
    model_config = example(**EXAMPLE)

    return_documents: bool | None = Field(None, description="Whether results hold their documents. Default: no.")
    priority: int | None = Field(None, description="Without effect: all searches come before ingestion.")


class ResultOut(Face):
    index: int = Field(description="Of the document in the request.")
    relevance_score: float = Field(description="0 to 1. Of late interaction (minilm) it is no probability.")
    document: DocumentText | None = None


class RerankUsage(Face):
    total_tokens: int = Field(description="What the reranker read, query and prompt of each document included.")
    prompt_tokens: int
    truncated_tokens: int = Field(description="Of documents and query, what did not fit and was not read.")


class RerankOut(Face):
    id: str
    model: str
    usage: RerankUsage
    results: list[ResultOut] = Field(description="The most relevant first.")


class ApiVersion(Face):
    version: str = "2"


class CohereTokens(Face):
    input_tokens: int
    output_tokens: int = 0


class CohereMeta(Face):
    api_version: ApiVersion = ApiVersion()
    tokens: CohereTokens
    warnings: list[str] | None = Field(None, description="What was cut.")


class CohereRerankOut(Face):
    id: str
    results: list[ResultOut] = Field(description="The most relevant first.")
    meta: CohereMeta


Side = Annotated[WholeText, Field(max_length=MAX_QUERY_CHARACTERS)]
Sides = Side | Annotated[list[Side], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class ScoreIn(Face):
    model_config = example(
        model="tandem",
        text_1="How hot is the kiln?",
        text_2=["A celadon glaze needs iron.", "The kiln is held at 1280 degrees."],
    )

    model: Text | None = Field(None, description="The reranker of GET /v1/models, or `tandem`, or nothing.")
    text_1: Sides = Field(description="A query for all of `text_2`, or one for each.")
    text_2: Sides = Field(description="The passages.")
    instruction: Text | None = Field(None, max_length=2000, description="What makes a passage relevant.")

    @model_validator(mode="after")
    def _pairs(self) -> "ScoreIn":
        first, second = _listed(self.text_1), _listed(self.text_2)
        if len(first) not in (1, len(second)):
            raise PydanticCustomError(
                "pairs",
                "text_1 has {first} texts and text_2 {second}: there must be one, or as many",
                {"first": len(first), "second": len(second)},
            )
        return self

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        first, second = _listed(self.text_1), _listed(self.text_2)
        return list(zip(first if len(first) > 1 else first * len(second), second, strict=True))


class ScoreOf(Face):
    index: int
    object: Literal["score"] = "score"
    score: float = Field(description="0 to 1.")


class ScoreOut(Face):
    id: str
    object: Literal["list"] = "list"
    created: int = Field(description="Seconds since 1970.")
    model: str
    data: list[ScoreOf] = Field(description="In the order of the pairs.")
    usage: RerankUsage


def _listed(side: str | list[str]) -> list[str]:
    return [side] if isinstance(side, str) else side
