"""Nothing that a request brings is of any size: a new field without a bound fails here."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from app.cli.client.node_client import Client
from app.errors import MAX_PROBLEMS, validation_error
from app.mcp.backends import HttpBackend
from app.mcp.schemas import IngestArguments, NoArguments, SearchArguments
from app.mcp.tools import Tools
from tests.support.docs.bounds import unbounded
from tests.support.nodes.api import openapi_schema

SCHEMA = openapi_schema()
COMPONENTS = SCHEMA["components"]["schemas"]
OPERATIONS = {f"{method} {path}": found for path, every in SCHEMA["paths"].items() for method, found in every.items()}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_parameters_and_bodies_are_bounded(operation: dict[str, Any]) -> None:
    found = []
    for parameter in operation.get("parameters", []):
        found += unbounded(parameter["schema"], COMPONENTS, parameter["name"])
    for media in operation.get("requestBody", {}).get("content", {}).values():
        found += unbounded(media["schema"], COMPONENTS, "body")
    assert found == []


def test_arguments_of_tools_are_bounded() -> None:
    tools = Tools(HttpBackend(Client("http://node"))).described
    assert len(tools) >= len((SearchArguments, IngestArguments, NoArguments))
    for tool in tools:
        assert list(unbounded(tool.input_schema, tool.input_schema.get("$defs", {}), tool.name)) == []


class Inner(BaseModel):
    name: str


class Every(BaseModel):
    text: str
    maybe: str | None = None
    texts: list[Annotated[str, Field(max_length=3)]]
    names: Annotated[list[str], Field(max_length=3)]
    free: dict[str, int]
    wide: Annotated[dict[str, str], Field(max_length=3)]
    inner: Annotated[list[Inner], Field(max_length=3)]
    anything: Any
    known: Annotated[str, Field(max_length=3)]


def test_the_test_sees_what_is_unbounded() -> None:
    schema = TypeAdapter(Every).json_schema()
    assert list(unbounded(schema, schema["$defs"], "body")) == [
        "body.text: a text",
        "body.maybe: a text",
        "body.texts: a list",
        "body.names[]: a text",
        "body.free: an object",
        "body.wide{}: a text",
        "body.inner[].name: a text",
        "body.anything: of any type",
    ]


def test_names_that_the_caller_made_up_are_shown_in_part() -> None:
    wrong = {"type": "extra_forbidden", "loc": ("body", "k" * 100_000), "msg": "Extra inputs are not permitted"}
    error = validation_error([wrong] * 1000)
    problems = error.detail["problems"]
    assert isinstance(problems, list)
    assert len(problems) == MAX_PROBLEMS
    assert len(error.message) < 5000
