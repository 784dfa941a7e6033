"""Requests that pass a bound of their schema: refused by name, and nothing of them comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.nodes.api import openapi_schema
from tests.support.nodes.node import NodeUnderTest

SCHEMA = openapi_schema()
MARK = "mark"
LONG = 3000


def parameters() -> Iterator[tuple[str, str, str, str, int]]:
    """Method, path, where, name and longest value of each text."""
    for path, operations in SCHEMA["paths"].items():
        for method, operation in operations.items():
            for each in operation.get("parameters", []):
                kinds = each["schema"].get("anyOf", [each["schema"]])
                longest = [kind["maxLength"] for kind in kinds if "maxLength" in kind]
                if longest:
                    yield method, path, each["in"], each["name"], longest[0]


EVERY = list(parameters())


@pytest.mark.parametrize(("method", "path", "where", "name", "longest"), EVERY)
async def test_long_parameters(
    node: NodeUnderTest, method: str, path: str, where: str, name: str, longest: int
) -> None:
    value = "a" * longest + MARK
    for placeholder in ("name", "document_id", "job_id", "file_id", "vector_store_id", "batch_id", "model"):
        path = path.replace(f"{{{placeholder}}}", value if (where, name) == ("path", placeholder) else "x")
    answer = await node.http.request(
        method,
        path,
        params={name: value} if where == "query" else {},
        headers={name: value} if where == "header" else {},
        json={"documents": [{"text": "w"}]} if method in ("post", "put") else None,
    )
    assert 400 <= answer.status_code < 500
    assert MARK not in answer.text
    assert len(answer.content) < LONG


def longer(schema: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Each field of an object that has a bound, with what is beyond it."""
    for name, of in schema.get("properties", {}).items():
        for kind in of.get("anyOf", [of]):
            if 0 < kind.get("maxLength", 0) < 2**20:
                yield name, "a" * kind["maxLength"] + MARK
            if 0 < kind.get("maxItems", 0) <= 10_000:
                yield name, [MARK] * (kind["maxItems"] + 1)
            if 0 < kind.get("maxProperties", 0) < 10_000:
                yield name, {f"key{number}": MARK for number in range(kind["maxProperties"] + 1)}


@pytest.mark.parametrize(
    "path",
    [
        path
        for path, operations in SCHEMA["paths"].items()
        if "application/json" in operations.get("post", {}).get("requestBody", {}).get("content", {})
    ],
)
async def test_long_fields_of_bodies(node: NodeUnderTest, path: str) -> None:
    schema = SCHEMA["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    found = list(longer(SCHEMA["components"]["schemas"][schema["$ref"].rpartition("/")[2]]))
    assert found or path == "/ingest"
    made_up = "k" * 100_000 + MARK
    for name, value in [*found, *([(made_up, 1)] if not path.startswith(("/v1", "/v2", "/score", "/retr")) else [])]:
        place = path.replace("{name}", "docs").replace("{vector_store_id}", "vs_docs")
        answer = await node.http.post(place, json={name: value})
        assert 400 <= answer.status_code < 500, name
        assert name[:80] in answer.text or "has more than 1,024 keys" in answer.text
        assert MARK not in answer.text
        assert len(answer.content) < LONG


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/search", {"query": "q", "exclude": {"documents": ["d" * 600 + MARK]}}, "exclude.documents.0"),
        ("/search", {"query": "q", "exclude": {"chunks": [MARK] * 501}}, "exclude.chunks"),
        ("/search", {"queries": ["q"] * 32 + [MARK]}, "queries"),
        ("/ingest", {"documents": [{"id": "i" * 600 + MARK, "text": "w"}]}, "documents.0.id"),
        ("/ingest", {"documents": [{"text": "w", "partition": "p" * 600 + MARK}]}, "documents.0.partition"),
        ("/v2/rerank", {"query": "q", "documents": ["d" * 1_000_001 + MARK]}, "documents.0"),
        ("/v1/embeddings", {"input": ["d" * 1_000_001 + MARK]}, "input"),
        ("/embed", {"kind": "query", "texts": ["d" * 262_145 + MARK]}, "texts.0"),
        ("/v1/vector_stores", {"file_ids": ["f" * 700 + MARK]}, "file_ids.0"),
        ("/v1/vector_stores", {"metadata": {"k": MARK}}, "metadata"),
    ],
)
async def test_what_lists_hold_is_bounded(node: NodeUnderTest, path: str, body: object, field: str) -> None:
    answer = await node.http.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert field in answer.text
    assert MARK not in answer.text


async def test_of_many_wrong_documents_the_first_is_told_with_all_that_is_wrong_with_it(node: NodeUnderTest) -> None:
    documents = [{"text": "w"}, {"title": 1, "partition": 2, "text": "w"}, *[{}] * 500]
    answer = await node.http.post("/ingest", json={"documents": documents})
    assert answer.status_code == 422
    fields = [each["field"] for each in answer.json()["error"]["detail"]["problems"]]
    assert fields == ["documents.1.title", "documents.1.partition"]
