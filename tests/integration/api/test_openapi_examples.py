"""What the documentation shows as requests, sent to a node: each is taken."""

import json
from collections.abc import AsyncIterator

import pytest

from app.http.compat.dify import examples as dify
from app.http.compat.openai.examples import embeddings, vector_stores
from app.http.compat.openai.examples import files as store_files
from app.http.compat.rerank import examples as rerank
from app.http.examples import audit, collections, embed, ingest, reembed, search
from retrieval.ports import Embedder
from tests.support.models.fake_models import FakeEmbedder
from tests.support.nodes.node import NodeUnderTest, running


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


POSTS = {
    "/v1/embeddings": embeddings.REQUESTS,
    "/v1/rerank": rerank.REQUESTS,
    "/v2/rerank": rerank.REQUESTS,
    "/score": rerank.PAIRS,
    "/retrieval": dify.REQUESTS,
}


@pytest.mark.parametrize("path", POSTS)
async def test_models_and_knowledge_for_other_products(documented: NodeUnderTest, path: str) -> None:
    for body in POSTS[path].values():
        answer = await documented.http.post(path, json=body)
        assert answer.status_code == 200, answer.text


async def test_vector_stores(documented: NodeUnderTest) -> None:
    stores = "/v1/vector_stores"
    uploaded: list[str] = []
    for body in store_files.UPLOAD.values():
        file = ("kiln.txt", body["file"].encode())
        answer = await documented.http.post("/v1/files", files={"file": file}, data={"purpose": body["purpose"]})
        assert answer.status_code == 200, answer.text
        uploaded.append(answer.json()["id"])
    for body in vector_stores.CREATE.values():
        answer = await documented.http.post(stores, json=body)
        assert answer.status_code == 200, answer.text
    store = f"{stores}/vs_kiln_logs"
    mine = uploaded[0]
    made = await documented.http.post("/collections", json={"name": "of_groups", "principals": True})
    assert made.status_code == 201, made.text
    requests: list[tuple[str, object]] = [
        (f"{stores}/vs_of_groups/files" if "groups" in body else f"{store}/files", body)
        for body in store_files.ADD.values()
    ]
    requests += [(f"{store}/file_batches", body) for body in store_files.ADD_BATCH.values()]
    requests += [(f"{store}/files/{store_files.FILE_ID}", body) for body in store_files.UPDATE.values()]
    requests += [(store, body) for body in vector_stores.UPDATE.values()]
    requests += [(f"{store}/search", body) for body in vector_stores.QUESTIONS.values()]
    for path, body in requests:
        sent = json.loads(json.dumps(body).replace(store_files.FILE_ID, mine))
        answer = await documented.http.post(path.replace(store_files.FILE_ID, mine), json=sent)
        assert answer.status_code == 200, (path, answer.text)
