"""The search options of a retriever as fields, and their override by calls."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import Field

from langchain_tandem.connection import Connection

OPTIONS = (
    "collection",
    "k",
    "candidates",
    "mode",
    "fusion",
    "rerank",
    "rerank_weight",
    "budget_ms",
    "partition",
    "languages",
    "filter",
    "min_score",
    "group_by",
    "diversity",
    "neighbors",
    "expand",
    "expand_tokens",
    "highlights",
    "include",
    "instruction",
    "rerank_instruction",
)


class SearchFields(Connection):
    """The fields of the node's `POST /search`, where `k` is `top_k`. None stands for the default of the node or the
    collection.
    """

    collection: str = "docs"
    k: int = Field(10, ge=1, description="Hits to return.")
    candidates: int | None = Field(None, description="Pool that is recalled and reranked.")
    mode: Literal["hybrid", "dense", "sparse"] | None = Field(None, description="Recall by vectors, words or both.")
    fusion: dict[str, Any] | None = Field(None, description="How hybrid recall joins its branches.")
    rerank: bool | Literal["required"] | None = Field(None, description="Required: an error where it cannot be done.")
    rerank_weight: float | None = Field(None, description="Share of the rerank score in the order.")
    budget_ms: float | None = Field(
        None, description="Time limit of the search; candidates not reranked in time come last."
    )
    partition: str | None = None
    languages: list[str] | None = Field(None, description="Only documents in these languages (ISO 639): en, zh.")
    filter: dict[str, Any] | None = Field(None, description='{"type": "eq", "key": "metadata.year", "value": 2024}')
    min_score: float | None = Field(None, description="Least relevance of a hit, from 0 to 1.")
    group_by: Literal["document"] | None = Field(None, description="Of each document its best chunk alone.")
    diversity: float | None = Field(None, description="How much a hit loses by being like those before it.")
    neighbors: int | None = Field(None, description="Chunks on either side of a hit, as its context.")
    expand: Literal["section"] | None = Field(None, description="The section of a hit, as its context.")
    expand_tokens: int | None = Field(None, description="Limit of that section in tokens.")
    highlights: int | None = Field(None, description="Sentences of each hit to point out.")
    include: list[str] | None = Field(
        None,
        description="Optional parts of a hit to send: title, section, metadata, scores, ranks. None: all. The text "
        "always comes.",
    )
    instruction: str | None = Field(None, description="Instruction for the embedding model.")
    rerank_instruction: str | None = Field(None, description="Instruction for the reranker.")

    def options(self, overrides: Mapping[str, Any], needed: Collection[str] = ("text",)) -> dict[str, Any]:
        """Returns the options for a client's `search`. `needed` are the parts of a hit that come whatever `include`
        names. The node refuses a name that is not a field of `POST /search`.
        """
        options = {name: getattr(self, name) for name in OPTIONS} | dict(overrides)
        options.setdefault("top_k", options.pop("k"))
        if options["include"] is not None:
            options["include"] = list(dict.fromkeys([*options["include"], *needed]))
        return options
