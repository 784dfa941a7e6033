"""What the documentation shows as requests, sent to a node: each is taken."""

from collections.abc import AsyncIterator

import pytest

from app.examples import audit, collections, embed, ingest, reembed, search
from retrieval.engines.fake import FakeEmbedder
from retrieval.ports import Embedder
from tests.support.node import NodeUnderTest, running


async def open_embedder(models: str) -> Embedder:
    assert models == "qwen3-4b"
    return FakeEmbedder(dimension=512)


@pytest.fixture(scope="module")
async def documented(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A node in which every collection and document of the examples is."""
    async with running(tmp_path_factory.mktemp("documented"), open_embedder=open_embedder) as node:
        for body in collections.CREATE.values():
            answer = await node.http.post("/collections", json=body)
            assert answer.status_code == 201, answer.text
        for body in ingest.REQUESTS.values():
            answer = await node.http.post("/ingest", json={**body, "wait": True})
            assert answer.json()["state"] == "succeeded", answer.text
        yield node


@pytest.mark.parametrize("title", ingest.REQUESTS)
async def test_ingestion(documented: NodeUnderTest, title: str) -> None:
    answer = await documented.http.post("/ingest", json=ingest.REQUESTS[title])
    assert answer.status_code in (200, 202), answer.text


@pytest.mark.parametrize("title", ingest.FORMS)
async def test_forms(documented: NodeUnderTest, title: str) -> None:
    form = ingest.FORMS[title]
    files = [("files", (name, b"Words of a file.")) for name in ("a.txt", "报告.md")]
    data = ("data", (None, documented.http.build_request("POST", "/", json=form["data"]).content, "application/json"))
    answer = await documented.http.post("/ingest", files=[*files, data])
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("title", search.QUESTIONS)
async def test_questions_find_something(documented: NodeUnderTest, title: str) -> None:
    answer = await documented.http.post("/search", json=search.QUESTIONS[title])
    assert answer.status_code == 200, answer.text
    for each in answer.json().get("results", [answer.json()]):
        assert each["hits"] or "kiln" not in title


@pytest.mark.parametrize("title", embed.REQUESTS)
async def test_embedding(documented: NodeUnderTest, title: str) -> None:
    answer = await documented.http.post("/embed", json=embed.REQUESTS[title])
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("title", audit.REQUESTS)
async def test_audits(documented: NodeUnderTest, title: str) -> None:
    answer = await documented.http.post("/audit", json=audit.REQUESTS[title])
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("title", reembed.REQUESTS)
async def test_moves(documented: NodeUnderTest, title: str) -> None:
    name = f"moving{list(reembed.REQUESTS).index(title)}"
    assert (await documented.http.post("/collections", json={"name": name})).status_code == 201
    for golden in reembed.GOLDEN.values():
        assert (await documented.http.put(f"/collections/{name}/golden", json=golden)).status_code == 204
    answer = await documented.http.post(f"/collections/{name}/reembed", json=reembed.REQUESTS[title])
    assert answer.status_code == 202, answer.text
