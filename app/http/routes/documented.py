"""What a route says of its answers in the OpenAPI schema. The errors that follow from the route itself (a key, a body,
parameters, a node that has to serve) app.http.openapi adds."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from fastapi.openapi.models import Example

from app.errors import STATUS
from app.http.schemas.wire import CollectionName

CODES = "x-codes"
"""Where a response holds its error codes until app.http.openapi writes them out."""

CATALOG = ("catalog_unavailable",)
STORE = ("store_unavailable", "store_failed")
STORE_WRITES = (*STORE, "store_full")
EMBEDDER = ("engine_dead", "engine_failed")
"""What a call of the embedder or reranker ends with, beside its answer."""

CollectionPath = Annotated[CollectionName, Path(description="Name of the collection.", examples=["docs", "manuals"])]

Responses = dict[int | str, dict[str, Any]]


def failures(*codes: str) -> Responses:
    """For `responses=`: the errors that the route ends with, by their status. Raises KeyError for a code that is never
    an answer."""
    found: Responses = {}
    for code in codes:
        found.setdefault(STATUS[code], {CODES: []})[CODES].append(code)
    return found


def named(examples: Mapping[str, object]) -> dict[str, Example]:
    """For `Body(openapi_examples=)`: values by what a reader sees in the list of examples."""
    return {name: Example(value=value) for name, value in examples.items()}


def answer(
    examples: Mapping[str, object],
    description: str,
    *,
    media_type: str = "application/json",
    item: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """For `responses={200: …}`: what the answer is, and values by what a reader sees in the list of examples. `item` is
    the schema of each part of a stream."""
    content: dict[str, Any] = {"examples": named(examples)}
    if item:
        content["itemSchema"] = item
    elif media_type != "application/json":
        content["schema"] = {"type": "string"}  # of JSON, FastAPI knows more
    return {"description": description, "content": {media_type: content}}
