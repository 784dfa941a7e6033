"""Languages of documents, from ingestion to search. Real store, catalog and parser."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.nodes.node import NodeUnderTest

ENGLISH = "The kiln is fired with beech wood and cools overnight."
GERMAN = "Der Ofen wird mit Buchenholz geheizt und kühlt über Nacht ab."
CHINESE = "窑炉用山毛榉木烧制，夜间冷却。"


@pytest.fixture
async def kilns(node: NodeUnderTest) -> AsyncIterator[str]:
    """A collection of three languages, and a document of none."""
    name = f"kilns_{uuid4().hex[:8]}"
    await node.http.post("/collections", json={"name": name})
    await node.ingest(
        {"id": "en", "text": ENGLISH},
        {"id": "de", "text": GERMAN},
        {"id": "zh", "text": CHINESE},
        {"id": "none", "text": "1280 960 1310.5"},
        {"id": "stated", "text": ENGLISH + " Twice.", "language": "pt"},
        collection=name,
    )
    yield name
    await node.http.delete(f"/collections/{name}")


async def found(node: NodeUnderTest, collection: str, **body: object) -> dict[str, str | None]:
    """Languages of the hits, by document."""
    answer: Any = await node.search("kiln", collection=collection, rerank=False, **body)
    return {hit["document_id"]: hit["language"] for hit in answer["hits"]}


async def test_are_detected_or_stated_and_counted(node: NodeUnderTest, kilns: str) -> None:
    expected = {"en": "en", "de": "de", "zh": "zh", "none": None, "stated": "pt"}
    listed = (await node.http.get("/documents", params={"collection": kilns})).json()["documents"]
    assert {each["id"]: each["language"] for each in listed} == expected
    assert await found(node, kilns, mode="dense") == expected
    collection = (await node.http.get(f"/collections/{kilns}")).json()
    assert collection["languages"] == {"de": 1, "en": 1, "pt": 1, "zh": 1}
    every = (await node.http.get("/collections")).json()["collections"]
    assert all(each["languages"] is None for each in every)
    await node.http.post("/collections", json={"name": f"{kilns}_empty"})
    every = (await node.http.get("/collections", params={"languages": "true"})).json()["collections"]
    counted = {each["name"]: each["languages"] for each in every}
    assert counted[kilns] == {"de": 1, "en": 1, "pt": 1, "zh": 1}
    assert counted[f"{kilns}_empty"] == {}
    await node.http.delete(f"/collections/{kilns}_empty")


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
async def test_searches_keep_to_them(node: NodeUnderTest, kilns: str, mode: str) -> None:
    assert (await found(node, kilns, mode=mode, languages=["zh", "de"])).keys() == {"zh", "de"}
    only_german = {"type": "eq", "key": "language", "value": "de"}
    assert (await found(node, kilns, mode=mode, filter=only_german)).keys() == {"de"}
    assert (await found(node, kilns, mode=mode, filter=only_german, languages=["zh"])) == {}
    unknown = {"type": "not", "filters": [{"type": "exists", "key": "language"}]}
    assert (await found(node, kilns, mode="dense", filter=unknown)).keys() == {"none"}


async def test_another_statement_is_another_version(node: NodeUnderTest, kilns: str) -> None:
    job: Any = await node.ingest({"id": "en", "text": ENGLISH}, collection=kilns)
    assert job["documents"][0]["status"] == "unchanged"
    job = await node.ingest({"id": "en", "text": ENGLISH, "language": "fr"}, collection=kilns)
    [receipt] = job["documents"]
    assert (receipt["status"], receipt["reused_chunks"]) == ("replaced", 1)
    assert (await found(node, kilns, mode="dense"))["en"] == "fr"
    assert (await node.http.get(f"/collections/{kilns}")).json()["languages"]["fr"] == 1


async def test_of_a_form_are_those_of_all_its_files(node: NodeUnderTest, kilns: str) -> None:
    data = json.dumps({"collection": kilns, "language": "nl", "wait": True})
    files = [("files", (f"{name}.txt", name.encode())) for name in ("eins", "zwei")]
    answer = await node.http.post("/ingest", data={"data": data}, files=files)
    assert answer.status_code == 200, answer.text
    assert (await node.http.get(f"/collections/{kilns}")).json()["languages"]["nl"] == 2


@pytest.mark.parametrize("language", ["EN", "english", "e", "zh-Hant", ""])
async def test_other_words_are_refused(node: NodeUnderTest, kilns: str, language: str) -> None:
    document = {"text": ENGLISH, "language": language}
    answer = await node.http.post("/ingest", json={"collection": kilns, "documents": [document]})
    assert answer.status_code == 422, answer.text
    answer = await node.http.post("/search", json={"query": "kiln", "collection": kilns, "languages": [language]})
    assert answer.status_code == 422, answer.text
