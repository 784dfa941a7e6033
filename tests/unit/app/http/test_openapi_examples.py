"""Every example of the schema is what its own schema says, and some of them are Chinese."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from tests.support.nodes.api import openapi_schema

SCHEMA = openapi_schema()


OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    f"{method.upper()} {path}": operation
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
}


def examples(operation: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Yields where each example stands, its schema, and its value."""
    for parameter in operation.get("parameters", []):
        for value in parameter["schema"].get("examples", []):
            yield parameter["name"], parameter["schema"], value
    places: dict[str, Any] = {"request": operation.get("requestBody", {}), **operation["responses"]}
    for place, declared in places.items():
        for media in declared.get("content", {}).values():
            for title, example in media["examples"].items():
                yield f"{place} {title}", media.get("schema", {"type": "string"}), resolved(example)["value"]


def resolved(example: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = example.get("$ref", "")
    return SCHEMA["components"]["examples"][reference.rpartition("/")[2]] if reference else example  # type: ignore[no-any-return]


@cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    known = {**json.loads(schema), "components": SCHEMA["components"]}
    return jsonschema_rs.Draft202012Validator(known, validate_formats=True)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_examples_are_what_their_schemas_say(operation: Mapping[str, Any]) -> None:
    found = list(examples(operation))
    assert found
    wrong = [
        (place, error.message)
        for place, schema, value in found
        for error in validator(json.dumps(schema)).iter_errors(value)
    ]
    assert wrong == []


FACES = [
    path
    for path, methods in SCHEMA["paths"].items()
    if {"openai", "rerank", "cohere", "dify"}.intersection(methods.get("post", {}).get("tags", ()))
    and "requestBody" in methods["post"]
    and path != "/v1/vector_stores/{vector_store_id}"  # takes a collection's name alone
]


@pytest.mark.parametrize("path", ["/search", "/ingest", "/collections", "/embed", *FACES])
def test_examples_speak_english_and_chinese(path: str) -> None:
    [body, *_] = (media["examples"] for media in SCHEMA["paths"][path]["post"]["requestBody"]["content"].values())
    texts = [json.dumps(example["value"], ensure_ascii=False) for example in body.values()]
    chinese = [any("\u4e00" <= character <= "\u9fff" for character in text) for text in texts]
    assert any(chinese)
    assert any(text.isascii() for text in texts)
