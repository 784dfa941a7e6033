"""Dify's external knowledge API, asked as Dify asks: the requests of its ExternalDatasetService, with the settings of
deploy/docs/en/dify.md."""

import json
import re
from typing import Any, get_args
from urllib.parse import urlsplit

import httpx
import pytest

from app.http.compat.dify.schemas import Operator
from app.main import create_app
from app.settings import Settings
from retrieval.errors import EngineDead
from tests.support.docs.pages import json_blocks, table
from tests.support.nodes.node import NodeUnderTest

API, KNOWLEDGE, CONDITION, EMBEDDING, RERANK = json_blocks("dify.md")
COLLECTION = "dify_manuals"


def request_of_dify(
    query: str, metadata_condition: dict[str, Any] | None = None, **retrieval_model: Any
) -> dict[str, Any]:
    """Arguments of the POST that Dify makes of its settings: fetch_external_knowledge_retrieval."""
    model = KNOWLEDGE["external_retrieval_model"] | retrieval_model
    threshold = model.get("score_threshold", 0.0) if model.get("score_threshold_enabled") else 0.0
    body: dict[str, Any] = {
        "retrieval_setting": {"top_k": model.get("top_k"), "score_threshold": threshold},
        "query": query,
        "knowledge_id": COLLECTION,
    }
    if metadata_condition:
        body["metadata_condition"] = metadata_condition
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {API['api_key']}"}
    return {"url": "/retrieval", "headers": headers, "content": json.dumps(body)}


@pytest.fixture(scope="module")
async def manuals(node: NodeUnderTest) -> NodeUnderTest:
    declared = {"name": COLLECTION, "metadata_keys": {"year": "int"}}
    assert (await node.http.post("/collections", json=declared)).status_code == 201
    await node.ingest(
        {"id": "kiln", "text": "The kiln is held at 1280 degrees.", "title": "Kilns", "metadata": {"year": 2025}},
        {"id": "glaze", "text": "The glaze dries for a day.", "metadata": {"year": 2024, "kind": "manual"}},
        {"id": "clay", "text": "Clay rests for a week.", "metadata": {"year": 1999, "kind": "manual"}},
        collection=COLLECTION,
    )
    return node


async def records(node: NodeUnderTest, request: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await node.http.post(**request)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"records"}
    return list(answer.json()["records"])


async def test_records_are_what_dify_reads(manuals: NodeUnderTest) -> None:
    found = await records(manuals, request_of_dify("How hot is the kiln?", top_k=3))
    first = found[0]
    assert first.keys() == {"content", "score", "title", "metadata"}
    assert (first["content"], first["title"]) == ("The kiln is held at 1280 degrees.", "Kilns")
    assert first["metadata"].items() >= {"year": 2025, "document_id": "kiln", "reranked": True, "page": None}.items()
    assert len(found) == 3
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    assert all(0 <= each["score"] <= 1 for each in found)
    assert {each["title"] for each in found} == {"Kilns", "glaze", "clay"}  # the id, where there is no title


async def test_top_k_and_threshold_hold(manuals: NodeUnderTest) -> None:
    everything = await records(manuals, request_of_dify("kiln", top_k=10))
    assert len(await records(manuals, request_of_dify("kiln", top_k=1))) == 1
    bound = everything[1]["score"]
    assert everything[0]["score"] > bound > everything[2]["score"]
    above = await records(
        manuals, request_of_dify("kiln", top_k=10, score_threshold=bound, score_threshold_enabled=True)
    )
    assert above == everything[:2]
    # Dify's retrieval settings are null in a knowledge base that was made by its API without them.
    assert await records(manuals, request_of_dify("kiln", top_k=None)) == everything


async def test_scores_stay_within_bounds_without_the_models(
    manuals: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(manuals.reranker, "fail_with", EngineDead("gone"))
        by_both = await records(manuals, request_of_dify("the kiln"))
        patched.setattr(manuals.embedder, "fail_with", EngineDead("gone"))
        by_words = await records(manuals, request_of_dify("the kiln"))
    for found, name in ((by_both, "fused"), (by_words, "sparse")):
        assert found[0]["metadata"]["document_id"] == "kiln"
        assert {(each["metadata"]["score_name"], each["metadata"]["reranked"]) for each in found} == {(name, False)}
        assert all(0 <= each["score"] <= 1 for each in found)
    assert 0 < by_words[0]["score"] < 1


async def test_metadata_conditions_of_the_page_filter(manuals: NodeUnderTest) -> None:
    found = await records(manuals, request_of_dify("clay", CONDITION))
    assert [each["metadata"]["document_id"] for each in found] == ["glaze"]


async def test_the_page_tells_of_every_operator(manuals: NodeUnderTest) -> None:
    rows = table("dify.md", "operator")
    operators = [operator for cell, _ in rows for operator in re.findall(r"`(.+?)`", cell)]
    assert sorted(operators) == sorted(get_args(Operator))
    of_texts = ("contains", "not contains", "start with", "end with")
    for cell, _ in rows:
        for operator in re.findall(r"`(.+?)`", cell):
            value = "1" if operator not in ("empty", "not empty") else None
            name = "kind" if operator in of_texts else "year"
            condition = {"name": name, "comparison_operator": operator, "value": value}
            answer = await manuals.http.post(**request_of_dify("clay", {"conditions": [condition]}))
            assert answer.status_code == 200, answer.text


async def test_conditions_that_cannot_be_carried_out_are_told(manuals: NodeUnderTest) -> None:
    condition = {"name": "year", "comparison_operator": "contains", "value": "20"}
    answer = await manuals.http.post(**request_of_dify("clay", {"logical_operator": "or", "conditions": [condition]}))
    assert answer.status_code == answer.json()["error_code"] == 422
    assert "metadata_condition.conditions.0: filter.key: metadata.year holds" in answer.json()["error_msg"]


@pytest.mark.parametrize("knowledge_id", ["nowhere", "no such name!", ""])
async def test_an_unknown_knowledge_is_2001(node: NodeUnderTest, knowledge_id: str) -> None:
    body = {"knowledge_id": knowledge_id, "query": "x", "retrieval_setting": {"top_k": 1, "score_threshold": 0.0}}
    answer = await node.http.post("/retrieval", json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (404, 2001)


async def test_registration_of_the_endpoint_is_let_through(node: NodeUnderTest) -> None:
    """Dify posts nothing at all and goes by the status: 403, 404 and 502 are shown as errors."""
    answer = await node.http.post("/retrieval", headers={"Authorization": f"Bearer {API['api_key']}"})
    assert answer.status_code == answer.json()["error_code"] == 415


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 422),
        (b'{"knowledge_id": "docs", "query": " ", "retrieval_setting": {}}', 422),
        (b'{"knowledge_id": "docs", "query": "x", "retrieval_setting": {"top_k": 0}}', 422),
        (b'{"knowledge_id": "docs", "query": "x", "retrieval_setting": {"score_threshold": 2}}', 422),
        (b'{"knowledge_id": "docs\\u0000", "query": "x", "retrieval_setting": {}}', 422),
    ],
)
async def test_wrong_requests_are_told_in_dify_s_shape(node: NodeUnderTest, content: bytes, status: int) -> None:
    answer = await node.http.post("/retrieval", content=content, headers={"Content-Type": "application/json"})
    assert answer.json().keys() == {"error_code", "error_msg"}
    assert (answer.status_code, answer.json()["error_code"]) == (status, status), answer.text


@pytest.mark.parametrize(
    ("authorization", "code"), [(None, 1001), ("Basic eDp5", 1001), ("Bearer", 1001), ("Bearer wrong", 1002)]
)
async def test_keys_are_asked_for_with_dify_s_codes(authorization: str | None, code: int) -> None:
    """The node need not run: the key comes first."""
    app = create_app(Settings(api_keys="right"))  # type: ignore[arg-type]  # as the environment has it
    headers = {"Authorization": authorization} if authorization else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        answer = await http.post("/retrieval", headers=headers, json={})
    assert (answer.status_code, answer.json()["error_code"]) == (403, code)


def at_node(block: dict[str, str], path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the POST that Dify's plugin OpenAI-API-compatible makes for a model."""
    endpoint = urlsplit(block["endpoint_url"].rstrip("/") + path).path
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {block['api_key']}"}
    return {"url": endpoint, "headers": headers, "json": {"model": block["model"], **body}}


async def test_embeddings_for_dify(node: NodeUnderTest) -> None:
    batch = ["The kiln.", "The glaze."]
    assert int(EMBEDDING["max_chunks"]) >= len(batch)
    body = {"input": batch, "encoding_format": EMBEDDING["encoding_format"]}
    answer = await node.http.post(**at_node(EMBEDDING, "/embeddings", body))
    assert answer.status_code == 200, answer.text
    assert len({len(each["embedding"]) for each in answer.json()["data"]}) == 1
    assert len(answer.json()["data"]) == 2
    assert answer.json()["usage"]["total_tokens"] > 0


async def test_reranking_for_dify(node: NodeUnderTest) -> None:
    documents = ["The glaze dries.", "The kiln is hot."]
    body = {"query": "How hot is the kiln?", "documents": documents, "top_n": 2}
    answer = await node.http.post(**at_node(RERANK, "/rerank", body))
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [each["index"] for each in results] == [1, 0]
    assert all(0 <= each["relevance_score"] <= 1 for each in results)


async def test_a_node_that_is_away_says_when_to_come_again(
    manuals: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise EngineDead("The engine is being restarted.")

    monkeypatch.setattr("retrieval.search.service.SearchService.search", gone)
    answer = await manuals.http.post(**request_of_dify("kiln"))
    assert answer.status_code == answer.json()["error_code"] == 503
    assert answer.json()["error_msg"] == "The engine is being restarted. (engine_dead)"
    assert int(answer.headers["retry-after"]) > 0
