"""Limits of a key, at a node: what is beyond them is 429 on every face, and nothing of it happens."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

ADMIN = "an-administrator-s-key"


@pytest.fixture(scope="module")
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path_factory.mktemp("limits"), store=InMemoryStore(), api_keys=ADMIN, workers=1) as node:
        node.http.headers["Authorization"] = f"Bearer {ADMIN}"
        yield node


async def key(node: NodeUnderTest, *, collections: tuple[str, ...] = ("*",), **limits: int) -> dict[str, str]:
    made = await node.http.post(
        "/keys",
        json={
            "name": "limited",
            "scopes": ["search", "ingest"],
            "collections": list(collections),
            "limits": limits,
        },
    )
    assert made.status_code == 201, made.text
    assert {name: value for name, value in made.json()["limits"].items() if value} == limits
    return {"Authorization": f"Bearer {made.json()['key']}"}


def refused(answer: httpx.Response) -> Any:
    assert answer.status_code == 429, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    error = answer.json()["error"]
    assert error["code"] == "limit_reached"
    return error


async def test_requests(limited: NodeUnderTest) -> None:
    headers = await key(limited, requests_per_minute=3)
    for left in (2, 1, 0):
        answer = await limited.http.get("/collections", headers=headers)
        assert answer.status_code == 200
        assert (answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == ("3", str(left))
    answer = await limited.http.post("/search", json={"query": "kiln"}, headers=headers)
    assert "3 requests a minute" in refused(answer)["message"]
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert "RateLimit-Limit" not in (await limited.http.get("/collections")).headers


async def test_texts_and_candidates_on_every_face(limited: NodeUnderTest) -> None:
    headers = await key(limited, texts_per_minute=4)
    texts = ["a", "b", "c"]
    assert (await limited.http.post("/v1/embeddings", json={"input": texts}, headers=headers)).status_code == 200
    refused(await limited.http.post("/embed", json={"texts": texts, "kind": "query"}, headers=headers))
    headers = await key(limited, candidates_per_minute=60)
    assert (await limited.http.post("/search", json={"query": "kiln"}, headers=headers)).status_code == 200
    refused(await limited.http.post("/search", json={"query": "kiln"}, headers=headers))
    passages = {"query": "kiln", "documents": ["a"] * 20}
    refused(await limited.http.post("/v1/rerank", json=passages, headers=headers))
    body = {"knowledge_id": "docs", "query": "kiln", "retrieval_setting": {"top_k": 5, "score_threshold": 0.0}}
    assert (await limited.http.post("/retrieval", json=body, headers=headers)).status_code == 429


async def test_documents_and_bytes(limited: NodeUnderTest) -> None:
    assert (await limited.http.post("/collections", json={"name": "small"})).status_code == 201
    headers = await key(limited, collections=("small",), documents=2)

    async def send(*documents: dict[str, str], **more: str) -> httpx.Response:
        body = {"collection": "small", "documents": list(documents), "wait": True}
        return await limited.http.post("/ingest", json=body, headers={**headers, **more})

    assert (await send({"id": "a", "text": "one"}, {"id": "b", "text": "two"})).status_code == 200
    error = refused(await send({"id": "c", "text": "three"}))
    assert "may store 2 documents" in error["message"]
    # What is there may be replaced, and what was deleted makes room.
    assert (await send({"id": "a", "text": "another"})).status_code == 200
    assert (await limited.http.delete("/documents/a?collection=small", headers=headers)).status_code == 204
    assert (await send({"id": "c", "text": "three"})).status_code == 200
    listed = (await limited.http.get("/documents", params={"collection": "small"})).json()["documents"]
    assert [each["id"] for each in listed] == ["b", "c"]
    headers = await key(limited, collections=("small",), bytes=20)
    assert "may store 20 bytes" in refused(await send({"id": "d", "text": "x" * 30}))["message"]


async def test_jobs_that_have_not_ended(limited: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = await key(limited, queued_jobs=2)

    async def waiting(_: str) -> int:
        return 2

    monkeypatch.setattr(limited.components.catalog, "unfinished_jobs", waiting)
    body = {"documents": [{"id": "waits", "text": "kiln"}]}
    assert (
        "2 jobs that have not ended"
        in refused(await limited.http.post("/ingest", json=body, headers=headers))["message"]
    )
    monkeypatch.undo()
    assert (await limited.http.post("/ingest", json=body, headers=headers)).status_code == 202
