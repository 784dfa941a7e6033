"""Schemas of OpenAI's embeddings and models. Source: OpenAI's API reference, and openai-python's types."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictInt, Tag

from app.http.compat.wire import CompatModel, CompatRequest, LongText
from app.http.schemas.wire import ModelName, Text
from retrieval.types import TextKind

MAX_INPUTS = 2048
MAX_TOKENS_OF_INPUT = 100_000

TokenId = Annotated[StrictInt, Field(ge=0, lt=2**32)]
TokenArray = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TOKENS_OF_INPUT, fail_fast=True)]


def _kind_of_input(value: object) -> str | None:
    if isinstance(value, str):
        return "text"
    if not isinstance(value, list) or not value:
        return None
    return {str: "texts", int: "tokens", list: "token_arrays"}.get(type(value[0]))


Input = Annotated[
    Annotated[LongText, Tag("text")]
    | Annotated[list[LongText], Tag("texts"), Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)]
    | Annotated[TokenArray, Tag("tokens")]
    | Annotated[list[TokenArray], Tag("token_arrays"), Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)],
    Discriminator(
        _kind_of_input,
        custom_error_type="input",
        custom_error_message="must be a text, a list of texts, a list of token ids or a list of such lists, not empty",
    ),
]

KINDS: dict[str, TextKind] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "search_document": "document",
}


class EmbeddingsIn(CompatRequest):
    input: Input = Field(
        description="Texts; or token ids of the served model's own vocabulary, with `own_token_ids`. Longer inputs "
        "than the model's window are cut at their end; `usage.truncated_tokens` says by how much."
    )
    own_token_ids: bool = Field(
        False,
        description="Whether token ids in `input` are of the served model's vocabulary. Clients that send ids by "
        "themselves mean another tokenizer's, so ids are refused otherwise, unless the node's TANDEM_OWN_TOKEN_IDS "
        "says that all are.",
    )
    model: ModelName | None = Field(
        None, description="Name of a model as in GET /v1/models, or `tandem`. Default: the served one."
    )
    encoding_format: Literal["float", "base64", "not_set"] = Field(
        "float", description="`base64`: little-endian float32. `not_set`, which some clients send, means `float`."
    )
    dimensions: int | None = Field(
        None,
        ge=1,
        description="Dimension of the vectors, for models trained with shorter ones. Default: the full dimension.",
    )
    input_type: Literal["query", "document", "search_query", "search_document"] | None = Field(
        None,
        description="`query` puts the model's instruction before the text, as Qwen3-Embedding wants its questions; "
        "`document` embeds the text as it is. Default: `document`. Most callers embed both sides through this route "
        "without saying which; Qwen3-Embedding was not trained for instructions before documents, and questions "
        "without one lose 1 to 5 % by its model card.",
    )
    instruction: Text | None = Field(
        None,
        max_length=2000,
        description="Instruction instead of the model's own: in the model's format for queries, put before the "
        "text as it is for documents.",
    )
    user: Annotated[str, Field(max_length=1000)] | None = Field(None, description="Ignored.")

    @property
    def kind(self) -> TextKind:
        return KINDS[self.input_type] if self.input_type else "document"

    @property
    def inputs(self) -> Sequence[str] | Sequence[Sequence[int]]:
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [self.input]  # a list whose first item is an id holds ids alone
        return self.input


class EmbeddingOut(CompatModel):
    object: Literal["embedding"] = Field("embedding", description="Type of this object.")
    index: int = Field(description="Index of the input.")
    embedding: list[float] | str = Field(description="Vector of unit length; a text with `base64`.")


class EmbeddingsUsage(CompatModel):
    prompt_tokens: int = Field(description="Tokens read, including instruction and special tokens.")
    total_tokens: int = Field(description="Same as `prompt_tokens`.")
    truncated_tokens: int = Field(description="Tokens that exceeded the model's window and were not read.")


class EmbeddingsOut(CompatModel):
    object: Literal["list"] = Field("list", description="Type of this object.")
    data: list[EmbeddingOut] = Field(description="Vectors in the order of the inputs.")
    model: str = Field(description="Name of the model that answered.")
    usage: EmbeddingsUsage = Field(description="Tokens read and not read.")


class ModelOut(CompatModel):
    id: str = Field(description="Name of the model.")
    object: Literal["model"] = Field("model", description="Type of this object.")
    created: int = Field(0, description="Always 0.")
    owned_by: str = Field("tandem", description="Always `tandem`.")
    kind: Literal["embedding", "rerank"] = Field(description="Kind of the model.")
    dimensions: int | None = Field(None, description="Dimension of the vectors; null for rerankers.")
    max_tokens: int | None = Field(
        None, description="Longest document that is embedded without truncation, in tokens; null for rerankers."
    )


class ModelsListOut(CompatModel):
    object: Literal["list"] = Field("list", description="Type of this object.")
    data: list[ModelOut] = Field(description="Models, embedding models first.")
