"""Responses of routes in the OpenAPI schema. Errors that follow from the route itself (key, body, parameters, a serving
node) are added by app.http.openapi."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from fastapi.openapi.models import Example

from app.errors import STATUS
from app.http.schemas.wire import CollectionName

CODES = "x-codes"
"""Key of a response's error codes until app.http.openapi replaces it."""

CATALOG = ("catalog_unavailable",)
STORE = ("store_unavailable", "store_failed")
STORE_WRITES = (*STORE, "store_full")
EMBEDDER = ("engine_dead", "engine_failed")
"""Errors of calls to the embedder or reranker."""

CollectionPath = Annotated[CollectionName, Path(description="Name of the collection.", examples=["docs", "manuals"])]

Responses = dict[int | str, dict[str, Any]]


def failures(*codes: str) -> Responses:
    """Returns `responses=` for the errors of a route, by status. Raises KeyError for a code that is never an answer."""
    found: Responses = {}
    for code in codes:
        found.setdefault(STATUS[code], {CODES: []})[CODES].append(code)
    return found


def named(examples: Mapping[str, object]) -> dict[str, Example]:
    """Returns `Body(openapi_examples=)`: values by the title that readers see."""
    return {name: Example(value=value) for name, value in examples.items()}


def answer(
    examples: Mapping[str, object],
    description: str,
    *,
    media_type: str = "application/json",
    item: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Returns `responses={200: …}`: a description and examples by title. `item` is the schema of each part
    of a stream.
    """
    content: dict[str, Any] = {"examples": named(examples)}
    if item:
        content["itemSchema"] = item
    elif media_type != "application/json":
        content["schema"] = {"type": "string"}  # of JSON, FastAPI knows more
    return {"description": description, "content": {media_type: content}}
