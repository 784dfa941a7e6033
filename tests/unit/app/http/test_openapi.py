"""What a route has to say of itself in the schema: a new one that says less fails here."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from app.errors import STATUS, meaning_of
from app.http.tags import TAGS
from tests.support.nodes.api import api, openapi_schema

Json = dict[str, Any]

NEVER_DOCUMENTED = {
    "unavailable",  # each answer is one of its kinds
    "caller_gone",  # nobody is left to read it
    "internal",  # a defect: told of in the description of the whole
    *("host_not_allowed", "origin_not_allowed"),  # before any route: likewise
    *("head_too_large", "malformed_request", "request_timeout", "too_many_connections"),
}


SCHEMA = openapi_schema(api_keys="key")
OPERATIONS: Mapping[str, Json] = {
    f"{method.upper()} {path}": operation
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
}
SHAPES = {tag.name: tag.errors for tag in TAGS}
OPEN = {"GET /health/live", "GET /health/ready"}
"""Asked without a key, while no node serves."""

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


def codes(operation: Json, status: int) -> set[str]:
    content = operation["responses"].get(str(status), {}).get("content", {})
    return {code for media in content.values() for code in media.get("examples", {})}


@every_operation
def test_has_summary_description_and_tag(operation: Json) -> None:
    assert operation["description"]
    assert operation["tags"][0] in {tag.name for tag in TAGS}
    # What FastAPI makes of the function's name is no summary.
    made_up = operation["operationId"].replace("_", " ").title()
    assert operation["summary"]
    assert operation["summary"] != made_up
    assert not operation["summary"].endswith(".")


@pytest.mark.parametrize(("root", "server"), [("", "/"), ("/team/rag", "/team/rag")])
async def test_the_one_server_is_the_path_that_the_caller_uses(root: str, server: str) -> None:
    transport = httpx.ASGITransport(api(), root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        found = (await http.get("/openapi.json")).json()
    assert found["servers"] == [{"url": server, "description": "This node"}]
    assert set(found["paths"]) == set(SCHEMA["paths"])


def test_operation_ids_are_names_of_functions_and_unique() -> None:
    found = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(found)) == len(found)
    assert [each for each in found if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", each)] == []


@every_operation
def test_successes_have_a_description_and_an_example(operation: Json) -> None:
    successes = {status: answer for status, answer in operation["responses"].items() if status < "300"}
    assert successes
    for status, answer in successes.items():
        assert answer["description"] != "Successful Response"
        assert bool(answer.get("content")) == (status != "204")
        for media in answer.get("content", {}).values():
            assert media["examples"]
            assert media.get("schema") or media["itemSchema"]


@every_operation
def test_request_bodies_have_examples(operation: Json) -> None:
    for media in operation.get("requestBody", {"content": {}})["content"].values():
        assert media["examples"]


@every_operation
def test_parameters_are_described_and_bounded(operation: Json) -> None:
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]
        kinds = parameter["schema"].get("anyOf", [parameter["schema"]])
        for kind in kinds:
            if kind["type"] == "integer":
                assert {"minimum", "maximum"} <= kind.keys(), parameter["name"]
            if kind["type"] == "string":
                assert {"maxLength", "pattern", "enum", "const"} & kind.keys(), parameter["name"]


def test_errors_that_follow_from_what_a_route_is_are_documented() -> None:
    for name, operation in OPERATIONS.items():
        expected = set()
        if name not in OPEN:
            assert operation["security"], name
            expected.add("unauthorized")
        if "requestBody" in operation:
            expected |= {"invalid_json", "too_large", "unsupported_media_type"}
        if "requestBody" in operation or "parameters" in operation:
            expected.add("invalid_request")
        for code in expected:
            assert code in codes(operation, SHAPES[operation["tags"][0]].status_of(code)), name


@every_operation
def test_errors_have_the_shape_of_their_tag_and_say_when_to_try_again(operation: Json) -> None:
    schema = {"$ref": f"#/components/schemas/{SHAPES[operation['tags'][0]].model.__name__}"}
    for status, answer in operation["responses"].items():
        assert "X-Request-ID" in answer["headers"]
        if status < "400" or not codes(operation, int(status)) <= STATUS.keys():
            continue
        assert answer["content"]["application/json"]["schema"] == schema
        assert ("Retry-After" in answer["headers"]) >= (status in ("429", "503"))
        assert ("WWW-Authenticate" in answer["headers"]) == (status == "401")
        assert "500" not in operation["responses"]


def test_every_code_is_documented_somewhere_under_its_status() -> None:
    told = set()
    for name, operation in OPERATIONS.items():
        for status in operation["responses"]:
            for code in codes(operation, int(status)) & STATUS.keys():
                assert SHAPES[operation["tags"][0]].status_of(code) == int(status), name
                told.add(code)
    assert told == STATUS.keys() - NEVER_DOCUMENTED


def test_every_code_has_a_meaning() -> None:
    for code in STATUS:
        assert meaning_of(code).endswith("."), code


def fields() -> Iterator[tuple[str, Json]]:
    for name, model in SCHEMA["components"]["schemas"].items():
        for field, declared in model.get("properties", {}).items():
            yield f"{name}.{field}", declared


def test_every_field_is_described() -> None:
    assert [name for name, field in fields() if not field.get("description")] == []


def test_models_have_the_same_name_in_requests_and_answers() -> None:
    assert [name for name in SCHEMA["components"]["schemas"] if not re.fullmatch(r"[A-Za-z0-9]+", name)] == []


def test_references_lead_somewhere() -> None:
    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for each in node.values():
                yield from references(each)
        elif isinstance(node, list):
            for each in node:
                yield from references(each)

    for reference in set(references(SCHEMA)):
        place: Any = SCHEMA
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert isinstance(place, dict)


def test_keys_are_optional_where_the_node_has_none() -> None:
    assert SCHEMA["paths"]["/search"]["post"]["security"] == [{"ApiKey": []}]
    assert openapi_schema()["paths"]["/search"]["post"]["security"] == [{}, {"ApiKey": []}]
