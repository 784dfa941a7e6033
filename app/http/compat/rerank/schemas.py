"""Reranking on the wire of Jina and vLLM (v1), of Cohere (v2), and vLLM's scoring of pairs.

Sources: the API references of Jina and Cohere, vLLM's pooling protocol, langchain-community and cohere-python.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.http.compat.wire import CompatModel, CompatRequest, LongText, WholeText
from app.http.schemas.query import MAX_QUERY_CHARACTERS, Query
from app.http.schemas.wire import ModelName, Text

MAX_DOCUMENTS = 1000
"""Of one request; also the most that Cohere advises."""


class PassageIn(CompatRequest):
    text: LongText = Field(description="Of the document.")


class PassageOut(CompatModel):
    text: str = Field(description="As it was sent.")


class Rerank(CompatRequest):
    """What both versions ask."""

    model: ModelName | None = Field(None, description="The reranker of GET /v1/models, or `tandem`, or nothing.")
    query: Query = Field(description="One question, in the words of whoever asks.")
    documents: list[LongText | PassageIn] = Field(
        min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True, description="The passages, bare or as `text`."
    )
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


class RerankIn(Rerank):
    return_documents: bool | None = Field(None, description="Whether results hold their documents. Default: yes.")


class CohereRerankIn(Rerank):
    return_documents: bool | None = Field(None, description="Whether results hold their documents. Default: no.")
    priority: int | None = Field(None, description="Without effect: all searches come before ingestion.")


class ResultOut(CompatModel):
    index: int = Field(description="Of the document in the request.")
    relevance_score: float = Field(description="0 to 1. Of late interaction (minilm) it is no probability.")
    document: PassageOut | None = Field(None, description="With `return_documents`.")


class RerankUsage(CompatModel):
    total_tokens: int = Field(description="What the reranker read, query and prompt of each document included.")
    prompt_tokens: int = Field(description="The same.")
    truncated_tokens: int = Field(description="Of documents and query, what did not fit and was not read.")


class RerankedOut(CompatModel):
    id: str = Field(description="`rerank-` and the id of the request.")
    model: str = Field(description="The one that answered.")
    usage: RerankUsage = Field(description="What was read, and what was not.")
    results: list[ResultOut] = Field(description="The most relevant first.")


class ApiVersion(CompatModel):
    version: str = Field("2", description="Of Cohere's API.")


class CohereTokens(CompatModel):
    input_tokens: int = Field(description="What the reranker read.")
    output_tokens: int = Field(0, description="A reranker writes none.")


class CohereMeta(CompatModel):
    api_version: ApiVersion = Field(ApiVersion(), description="Whose wire this is.")
    tokens: CohereTokens = Field(description="What was read.")
    warnings: list[str] | None = Field(None, description="What was cut.")


class CohereRerankOut(CompatModel):
    id: str = Field(description="Of the request.")
    results: list[ResultOut] = Field(description="The most relevant first.")
    meta: CohereMeta = Field(description="What it took.")


Side = Annotated[WholeText, Field(max_length=MAX_QUERY_CHARACTERS)]
Sides = Side | Annotated[list[Side], Field(min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True)]


class ScoreIn(CompatRequest):
    model: ModelName | None = Field(None, description="The reranker of GET /v1/models, or `tandem`, or nothing.")
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


class ScoreOf(CompatModel):
    index: int = Field(description="Of the pair.")
    object: Literal["score"] = Field("score", description="What this is.")
    score: float = Field(description="0 to 1.")


class ScoreOut(CompatModel):
    id: str = Field(description="`score-` and the id of the request.")
    object: Literal["list"] = Field("list", description="What this is.")
    created: int = Field(description="Seconds since 1970.")
    model: str = Field(description="The one that answered.")
    data: list[ScoreOf] = Field(description="In the order of the pairs.")
    usage: RerankUsage = Field(description="What was read, and what was not.")


def _listed(side: str | list[str]) -> list[str]:
    return [side] if isinstance(side, str) else side
