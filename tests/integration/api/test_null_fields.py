"""Null for an optional field of a request is answered as the request without that field: on every route that takes
JSON, for every optional field that its schema has, nested ones included."""

import copy
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from tests.support.nodes.api import openapi_schema
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

ADMIN = "an-administrator-s-key"
SCHEMA = openapi_schema()
COMPONENTS = SCHEMA["components"]["schemas"]

CHUNKING = {"max_tokens": 64}
STRATEGY = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 10}}
PASSAGES = ["The kiln is hot.", {"text": "The glaze is mixed."}]
YEAR = {"comparison_operator": "=", "name": "year", "value": 2024}

BODIES: Mapping[str, list[dict[str, Any]]] = {
    "post /ingest": [
        {"documents": [{"text": "Words of NEW."}], "wait": True, "chunking": CHUNKING},
    ],
    "post /collections": [{"name": "NEW", "chunking": CHUNKING}],
    "put /collections/{name}/golden": [{"queries": [{"query": "kiln", "relevant": ["kiln"]}]}],
    "post /collections/{name}/reembed": [
        {"chunking": CHUNKING, "gate": False, "golden": [{"query": "kiln", "relevant": ["kiln"]}]}
    ],
    "post /audit": [{}],
    "post /keys": [{"name": "of a test", "scopes": ["search"], "limits": {"requests_per_minute": 9}}],
    "post /search": [
        {"query": "kiln", "fusion": {"weights": {"dense": 2}}, "exclude": {"documents": ["other"]}},
        {"queries": ["kiln", "glaze"]},
    ],
    "post /embed": [{"texts": ["kiln"], "kind": "query"}],
    "post /v1/embeddings": [{"input": "kiln"}],
    "post /v1/vector_stores": [{"name": "NEW", "chunking_strategy": STRATEGY}],
    "post /v1/vector_stores/{vector_store_id}": [{}],
    "post /v1/vector_stores/{vector_store_id}/search": [{"query": "kiln", "ranking_options": {}}],
    "post /v1/vector_stores/{vector_store_id}/files": [{"file_id": "FILE", "chunking_strategy": STRATEGY}],
    "post /v1/vector_stores/{vector_store_id}/files/{file_id}": [{"attributes": {"year": 2024}}],
    "post /v1/vector_stores/{vector_store_id}/file_batches": [
        {"file_ids": ["FILE"], "chunking_strategy": STRATEGY},
        {"files": [{"file_id": "FILE", "chunking_strategy": STRATEGY}]},
    ],
    "post /v1/rerank": [{"query": "kiln", "documents": PASSAGES}],
    "post /v2/rerank": [{"query": "kiln", "documents": PASSAGES}],
    "post /score": [{"text_1": "kiln", "text_2": ["The kiln is hot."]}],
    "post /retrieval": [
        {
            "knowledge_id": "docs",
            "query": "kiln",
            "retrieval_setting": {"top_k": 2},
            "metadata_condition": {"conditions": [YEAR]},
        }
    ],
}
"""Requests that are accepted, with an instance of every nested object."""

VOLATILE = frozenset(
    {
        *("request_id", "id", "job_id", "key", "prefix", "timings_ms", "ms", "seconds"),
        *("created_at", "searchable_at", "started_at"),
    }
)
"""Parts of answers that differ between two equal requests."""


def schema_of(operation: str) -> Mapping[str, Any]:
    method, path = operation.split()
    return dict(SCHEMA["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"])


def test_every_route_that_takes_json_is_here() -> None:
    taking_json = {
        f"{method} {path}"
        for path, every in SCHEMA["paths"].items()
        for method, operation in every.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert taking_json == BODIES.keys()


def shapes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the schemas that a value may have, without references."""
    if reference := schema.get("$ref"):
        yield from shapes(COMPONENTS[reference.rpartition("/")[2]])
    elif choices := [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
        for choice in choices:
            yield from shapes(choice)
    else:
        yield schema


def optional_fields(schema: Mapping[str, Any], value: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the places of all optional fields of the objects in `value`, whether the field is there or not."""
    for shape in shapes(schema):
        if isinstance(value, list) and "items" in shape:
            for index, item in enumerate(value):
                yield from optional_fields(shape["items"], item, (*place, index))
        if isinstance(value, dict) and "properties" in shape and value.keys() <= shape["properties"].keys():
            for name, field in shape["properties"].items():
                if name not in shape.get("required", ()):
                    yield (*place, name)
                if name in value:
                    yield from optional_fields(field, value[name], (*place, name))


def changed(body: Mapping[str, Any], place: tuple[Any, ...], *, null: bool) -> dict[str, Any]:
    """Returns the body with null at a place, or with nothing there."""
    copied = copy.deepcopy(dict(body))
    *path, name = place
    parent: Any = copied
    for step in path:
        parent = parent[step]
    parent.pop(name, None)
    if null:
        parent[name] = None
    return copied


def stable(answer: object) -> object:
    if isinstance(answer, dict):
        return {name: stable(value) for name, value in answer.items() if name not in VOLATILE}
    return [stable(each) for each in answer] if isinstance(answer, list) else answer


@pytest.fixture(scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path_factory.mktemp("nulls"), store=InMemoryStore(), api_keys=ADMIN) as node:
        node.http.headers["Authorization"] = f"Bearer {ADMIN}"
        await node.ingest(
            {"id": "kiln", "text": "The kiln is hot.", "metadata": {"year": 2024}},
            {"id": "glaze", "text": "The glaze is mixed."},
        )
        yield node


class Sender:
    """Sends requests to places of their own, so that none finds what another has made."""

    def __init__(self, node: NodeUnderTest) -> None:
        self._http = node.http

    async def send(self, operation: str, body: Mapping[str, Any]) -> tuple[int, object]:
        method, path = operation.split()
        new = f"new{uuid4().hex}"
        file_id = ""
        if "FILE" in json.dumps(body) or "{file_id}" in path:
            sent = {"file": (f"{new}.txt", f"Words of {new}.".encode())}
            file_id = (await self._http.post("/v1/files", files=sent, data={"purpose": "assistants"})).json()["id"]
        if "{name}" in path:
            await self._http.post("/collections", json={"name": new})
        store = ""
        if "{vector_store_id}" in path:
            store = (await self._http.post("/v1/vector_stores", json={"name": new})).json()["id"]
        if "{file_id}" in path:
            await self._http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file_id})
        where = path.replace("{name}", new).replace("{vector_store_id}", store).replace("{file_id}", file_id)
        what = json.loads(json.dumps(body).replace("NEW", new).replace("FILE", file_id))
        answer = await self._http.request(method, where, json=what)
        # Ids of what this request made or used are in messages, too.
        text = answer.text
        for mine, common in ((new, "NEW"), (store, "STORE"), (file_id, "FILE")):
            text = text.replace(mine, common) if mine else text
        text = re.sub(r"(NEW|store)_[0-9a-f]{8}", "NEW", text)
        return answer.status_code, stable(json.loads(text or "null"))


@pytest.mark.parametrize(
    ("operation", "body"),
    [(operation, body) for operation, bodies in BODIES.items() for body in bodies],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_null_is_answered_as_absence(filled: NodeUnderTest, operation: str, body: Mapping[str, Any]) -> None:
    sender = Sender(filled)
    whole = await sender.send(operation, body)
    assert whole[0] in (200, 201, 202, 204), whole
    for place in dict.fromkeys(optional_fields(schema_of(operation), body)):
        absent = await sender.send(operation, changed(body, place, null=False))
        null = await sender.send(operation, changed(body, place, null=True))
        assert null == absent, place
        assert absent[0] < 500, place


async def test_null_in_the_options_of_a_form_is_answered_as_absence(filled: NodeUnderTest) -> None:
    answers = []
    for names in ((), COMPONENTS["IngestForm"]["properties"]):
        files = [("files", ("kiln.txt", b"The kiln is hot."))]
        options = ("data", (None, json.dumps(dict.fromkeys(names)).encode(), "application/json"))
        answer = await filled.http.post("/ingest", files=[*files, options])
        assert answer.status_code == 202, answer.text
        answers.append(answer.json()["documents"][0]["id"])
    assert answers == ["kiln.txt", "kiln.txt"]
