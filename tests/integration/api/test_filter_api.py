"""Filters through HTTP: what a collection declares, what documents then may hold, what a search finds."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from app.cli import main as cli
from app.cli.client.node_client import Client
from tests.support.nodes.node import NodeUnderTest

KEYS = {"year": "int", "tag": "text", "price": "float", "draft": "bool"}
BOOKS: Mapping[str, Mapping[str, Any]] = {
    "a": {"year": 2020, "tag": "kiln", "price": 5, "draft": False, "languages": ["en", "zh"], "shelf": 3},
    "b": {"year": 2024, "tag": "loom", "price": 7.5, "draft": True, "shelf": "3"},
    "c": {"year": None, "languages": ["en"], "shelf": None},
    "d": {},
}


@pytest.fixture(scope="module")
async def books(node: NodeUnderTest) -> NodeUnderTest:
    made = await node.http.post("/collections", json={"name": "books", "metadata_keys": KEYS})
    assert made.status_code == 201, made.text
    assert made.json()["metadata_keys"] == KEYS
    documents = (
        {"id": name, "text": f"Book {name}.", "partition": "even" if name in "bd" else "odd", "metadata": metadata}
        for name, metadata in BOOKS.items()
    )
    await node.ingest(*documents, collection="books")
    return node


def leaf(type_: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": type_, "key": key, "value": value}


YEAR = {"type": "exists", "key": "metadata.year"}


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        (leaf("gte", "metadata.year", 2021), "b"),
        (leaf("ne", "metadata.year", 2020), "b"),
        (YEAR, "ab"),
        ({"type": "not", "filters": [YEAR]}, "cd"),
        ({"type": "not", "filters": [leaf("eq", "metadata.tag", "kiln")]}, "bcd"),
        (leaf("in", "metadata.tag", ["kiln", "x"]), "a"),
        (leaf("lt", "metadata.price", 7.5), "a"),
        (leaf("eq", "metadata.draft", True), "b"),
        (leaf("contains", "metadata.languages", "en"), "ac"),
        (leaf("eq", "metadata.shelf", "3"), "b"),
        (leaf("ne", "metadata.shelf", 3), "b"),
        (leaf("in", "document_id", ["a", "d"]), "ad"),
        (leaf("gt", "ingested_at", "2026-01-01T00:00:00Z"), "abcd"),
        (leaf("eq", "title", 'x" or 1 == 1 or title == "'), ""),
        ({"type": "or", "filters": [leaf("eq", "partition", "odd"), leaf("eq", "metadata.shelf", "3")]}, "abc"),
    ],
)
@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
async def test_a_search_stays_behind_its_filter(
    books: NodeUnderTest, filter: dict[str, Any], found: str, mode: str
) -> None:
    answer: Any = await books.search("book", collection="books", filter=filter, mode=mode)
    assert "".join(sorted(hit["document_id"] for hit in answer["hits"])) == found
    assert answer["rerank"]["candidates"] == len(found)


async def test_a_filter_and_a_partition(books: NodeUnderTest) -> None:
    either = {"type": "or", "filters": [YEAR, leaf("eq", "document_id", "c")]}
    answer: Any = await books.search("book", collection="books", filter=either, partition="odd")
    assert sorted(hit["document_id"] for hit in answer["hits"]) == ["a", "c"]


async def test_metadata_comes_back_without_the_keys_that_are_null(books: NodeUnderTest) -> None:
    answer: Any = await books.search("book", collection="books")
    assert {hit["document_id"]: hit["metadata"] for hit in answer["hits"]} == {
        name: {key: value for key, value in metadata.items() if value is not None} for name, metadata in BOOKS.items()
    }


@pytest.mark.parametrize(
    ("filter", "complaint"),
    [
        (leaf("eq", "year", 2020), "filter.key: there is no field 'year'"),
        (leaf("eq", "metadata.year", "2020"), "filter.value: metadata.year is a whole number, which '2020' is not"),
        ({"type": "not", "filters": [leaf("eq", 'metadata.x"] == 1', 1)]}, "filter.filters.0.key: "),
        ({}, "filter.type: must be one of"),
        ([], "filter: Input should be a valid dictionary"),
    ],
)
async def test_what_is_wrong_with_a_filter_is_told(books: NodeUnderTest, filter: object, complaint: str) -> None:
    answer = await books.http.post("/search", json={"query": "x", "collection": "books", "filter": filter})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert answer.json()["error"]["message"].startswith(complaint)


async def test_a_filter_that_is_nested_without_end_is_refused(books: NodeUnderTest) -> None:
    body = '{"query": "x", "filter": ' + '{"type":"not","filters":[' * 5000 + "]}" * 5000 + "}"
    answer = await books.http.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_document_with_a_value_of_another_type_is_refused(books: NodeUnderTest) -> None:
    good = {"id": "good", "text": "Good.", "metadata": {"year": 1999}}
    wrong = {"id": "wrong", "text": "Wrong.", "metadata": {"year": "1999"}}
    answer = await books.http.post("/ingest", json={"collection": "books", "documents": [good, wrong]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    message = answer.json()["error"]["message"]
    assert message.startswith("Document 'wrong': metadata.year is '1999'; the collection declares it as int")
    assert (await books.http.get("/documents/good?collection=books")).status_code == 404
    files = {"files": ("f.txt", b"text"), "data": (None, json.dumps({"collection": "books", "metadata": {"draft": 1}}))}
    assert (await books.http.post("/ingest", files=files)).status_code == 422


async def test_what_is_declared_is_told_and_checked(books: NodeUnderTest) -> None:
    assert (await books.http.get("/collections/books")).json()["metadata_keys"] == KEYS
    listed = (await books.http.get("/collections")).json()["collections"]
    assert KEYS in [each["metadata_keys"] for each in listed]
    for keys in ({"a-b": "int"}, {"a": "date"}, {f"k{number}": "int" for number in range(17)}, ["a"]):
        name = f"c{uuid4().hex[:8]}"
        answer = await books.http.post("/collections", json={"name": name, "metadata_keys": keys})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
        assert answer.json()["error"]["message"].startswith("metadata_keys")
        assert (await books.http.get(f"/collections/{name}")).status_code == 404


def test_the_command_line_sends_a_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def search(self: Client, query: str, **request: Any) -> dict[str, Any]:
        asked.append(request)
        recall, rerank = {"mode": "hybrid", "reason": None}, {"applied": False, "reason": "no_candidates"}
        timings = {"embed": 1, "recall": 1, "rerank": 0}
        return {"hits": [], "recall": recall, "rerank": rerank, "timings_ms": timings, "truncated_query_tokens": 0}

    monkeypatch.setattr(Client, "search", search)
    run = CliRunner().invoke
    assert run(cli.app, ["search", "x", "--filter", json.dumps(YEAR)]).exit_code == 0
    assert run(cli.app, ["search", "x"]).exit_code == 0
    assert [request["filter"] for request in asked] == [YEAR, None]
    wrong = run(cli.app, ["search", "x", "--filter", "year=2020"])
    assert wrong.exit_code == 2
    assert "--filter: not JSON" in wrong.output
