"""Null for an optional field is the same as leaving it out, on every route: a new request without that fails here."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from app.http.compat.dify.schemas import RetrievalIn
from app.http.compat.openai.schemas.embeddings import EmbeddingsIn
from app.http.schemas.collections import CollectionIn
from app.http.schemas.ingest import IngestIn
from app.http.schemas.query import SearchIn
from app.http.schemas.wire import WireRequest
from app.mcp.schemas import IngestArguments, SearchArguments
from tests.support.nodes.api import openapi_schema

SCHEMA = openapi_schema()
COMPONENTS = SCHEMA["components"]["schemas"]
OPERATIONS = {
    f"{method} {path}": operation["requestBody"]
    for path, every in SCHEMA["paths"].items()
    for method, operation in every.items()
    if "requestBody" in operation
}


def without_null(schema: Mapping[str, Any], place: str, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the optional fields that do not take null."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if name not in seen:
            yield from without_null(COMPONENTS[name], place, (*seen, name))
        return
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from without_null(choice, place, seen)
    if "items" in schema:
        yield from without_null(schema["items"], f"{place}[]", seen)
    for name, field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()):
            kinds = [each.get("type") for each in field.get("anyOf", [field])]
            if "null" not in kinds and "const" not in field:
                yield f"{place}.{name}"
        yield from without_null(field, f"{place}.{name}", seen)


@pytest.mark.parametrize("body", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_optional_fields_take_null(body: Mapping[str, Any]) -> None:
    for media_type, media in body["content"].items():
        if media_type != "multipart/form-data":  # forms have no null
            assert list(without_null(media["schema"], "body")) == []


@pytest.mark.parametrize(
    ("request_model", "least"),
    [
        (SearchIn, {"query": "kiln"}),
        (CollectionIn, {"name": "docs"}),
        (IngestIn, {"documents": [{"text": "kiln"}]}),
        (EmbeddingsIn, {"input": "kiln"}),
        (RetrievalIn, {"knowledge_id": "docs", "query": "kiln", "retrieval_setting": {}}),
        (SearchArguments, {"query": "kiln"}),
        (IngestArguments, {"text": "kiln"}),
    ],
)
def test_null_is_absence(request_model: Any, least: dict[str, Any]) -> None:
    fields = request_model.model_fields
    nulls = dict.fromkeys(name for name in fields if not fields[name].is_required())
    assert request_model.model_validate(nulls | least) == request_model.model_validate(least)


def test_what_is_required_takes_no_null_and_unknown_names_are_no_more_known_with_null() -> None:
    class Asked(WireRequest):
        name: str
        count: int = 3

    assert Asked.model_validate({"name": "n", "count": None}).count == 3
    for wrong in ({"name": None}, {"name": "n", "colour": None}, {"count": None}):
        with pytest.raises(ValueError, match="validation error"):
            Asked.model_validate(wrong)
