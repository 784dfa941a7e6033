"""Every example of the schema is what its own schema says, and some of them are Chinese."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from app.main import create_app
from app.settings import Settings

SCHEMA = create_app(Settings()).openapi()


def examples() -> Iterator[tuple[str, object, object]]:
    """Where it stands, its schema, and the value."""
    for path, methods in SCHEMA["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", []):
                for value in parameter["schema"].get("examples", []):
                    yield f"{name} {parameter['name']}", parameter["schema"], value
            places: dict[str, Any] = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for place, declared in places.items():
                for media in declared.get("content", {}).values():
                    for title, example in media["examples"].items():
                        found = resolved(example)
                        yield f"{name} {place} {title}", media.get("schema", {"type": "string"}), found["value"]


def resolved(example: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = example.get("$ref", "")
    return SCHEMA["components"]["examples"][reference.rpartition("/")[2]] if reference else example  # type: ignore[no-any-return]


EXAMPLES = [pytest.param(schema, value, id=name) for name, schema, value in examples()]


@cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    known = {**json.loads(schema), "components": SCHEMA["components"]}
    return jsonschema_rs.Draft202012Validator(known, validate_formats=True)


@pytest.mark.parametrize(("schema", "value"), EXAMPLES)
def test_example_is_what_its_schema_says(schema: Mapping[str, object], value: object) -> None:
    assert [error.message for error in validator(json.dumps(schema)).iter_errors(value)] == []


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
