"""Schemas of reranking by Jina and vLLM (v1) and by Cohere (v2), and of vLLM's scoring of pairs.

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
"""Maximum number of documents in a request, which is also what Cohere recommends."""


class PassageIn(CompatRequest):
    text: LongText = Field(description="Text of the document.")


class PassageOut(CompatModel):
    text: str = Field(description="Text of the document, as sent.")


class Rerank(CompatRequest):
    """Fields that both versions of the API share."""

    model: ModelName | None = Field(
        None, description="Name of the reranker as in GET /v1/models, or `tandem`. Default: the served one."
    )
    query: Query = Field(description="The query, as the user phrased it.")
    documents: list[LongText | PassageIn] = Field(
        min_length=1,
        max_length=MAX_DOCUMENTS,
        fail_fast=True,
        description="Documents, as texts or as objects with `text`.",
    )
    top_n: int | None = Field(None, ge=1, description="Maximum number of results. Default: all.")
    max_tokens_per_doc: int | None = Field(
        None,
        ge=1,
        description="Maximum number of tokens of a document; longer ones are truncated. Default: the model's window.",
    )
    instruction: Text | None = Field(
        None, max_length=2000, description="Instruction: what makes a document relevant. Default: the model's own."
    )

    @property
    def texts(self) -> Sequence[str]:
        return [each if isinstance(each, str) else each.text for each in self.documents]


class RerankIn(Rerank):
    return_documents: bool | None = Field(None, description="Whether results contain their documents. Default: true.")


class CohereRerankIn(Rerank):
    return_documents: bool | None = Field(None, description="Whether results contain their documents. Default: false.")
    priority: int | None = Field(None, description="Ignored: searches always take precedence over ingestion.")


class ResultOut(CompatModel):
    index: int = Field(description="Index of the document in the request.")
    relevance_score: float = Field(
        description="Relevance from 0 to 1. With late interaction (e5, minilm) it is not a probability."
    )
    document: PassageOut | None = Field(None, description="The document, with `return_documents`.")


class RerankUsage(CompatModel):
    total_tokens: int = Field(description="Tokens read, including query and prompt of every document.")
    prompt_tokens: int = Field(description="Same as `total_tokens`.")
    truncated_tokens: int = Field(
        description="Tokens of documents and query that exceeded the window and were not read."
    )


class RerankedOut(CompatModel):
    id: str = Field(description="`rerank-` followed by the request id.")
    model: str = Field(description="Name of the model that answered.")
    usage: RerankUsage = Field(description="Tokens read and not read.")
    results: list[ResultOut] = Field(description="Results, most relevant first.")


class ApiVersion(CompatModel):
    version: str = Field("2", description="Version of Cohere's API.")


class CohereTokens(CompatModel):
    input_tokens: int = Field(description="Tokens read.")
    output_tokens: int = Field(0, description="Always 0: a reranker generates no text.")


class CohereMeta(CompatModel):
    api_version: ApiVersion = Field(ApiVersion(), description="Version of the API.")
    tokens: CohereTokens = Field(description="Tokens read.")
    warnings: list[str] | None = Field(None, description="Warnings about truncated documents.")


class CohereRerankOut(CompatModel):
    id: str = Field(description="Id of the request.")
    results: list[ResultOut] = Field(description="Results, most relevant first.")
    meta: CohereMeta = Field(description="Version, tokens and warnings.")


Side = Annotated[WholeText, Field(max_length=MAX_QUERY_CHARACTERS)]
Sides = Side | Annotated[list[Side], Field(min_length=1, max_length=MAX_DOCUMENTS, fail_fast=True)]


class ScoreIn(CompatRequest):
    model: ModelName | None = Field(
        None, description="Name of the reranker as in GET /v1/models, or `tandem`. Default: the served one."
    )
    text_1: Sides = Field(description="A query for all of `text_2`, or one query for each of them.")
    text_2: Sides = Field(description="The passages.")
    instruction: Text | None = Field(
        None, max_length=2000, description="Instruction: what makes a passage relevant. Default: the model's own."
    )

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
    index: int = Field(description="Index of the pair.")
    object: Literal["score"] = Field("score", description="Type of this object.")
    score: float = Field(description="Score from 0 to 1.")


class ScoreOut(CompatModel):
    id: str = Field(description="`score-` followed by the request id.")
    object: Literal["list"] = Field("list", description="Type of this object.")
    created: int = Field(description="Time of the answer in seconds since 1970.")
    model: str = Field(description="Name of the model that answered.")
    data: list[ScoreOf] = Field(description="Scores in the order of the pairs.")
    usage: RerankUsage = Field(description="Tokens read and not read.")


def _listed(side: str | list[str]) -> list[str]:
    return [side] if isinstance(side, str) else side
