"""A collection moves to another chunking or model, through the node's interface and on real stores."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from retrieval.errors import ModelUnavailable
from retrieval.ports import Embedder
from retrieval.types import Embeddings, Lane, TextKind
from tests.support.models.fake_models import FakeEmbedder
from tests.support.nodes.node import NodeUnderTest, running

pytestmark = pytest.mark.timeout(180)

TOPICS = ["kiln", "glaze", "loom", "dye", "anvil", "bellows", "lathe", "chisel"]
LONG = " ".join(["It is used every day in the workshop and has to be cleaned and kept dry."] * 6)


class ForgetfulEmbedder(FakeEmbedder):
    """Good enough for the self-test's short texts; all longer ones look alike to it."""

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        shortened = [text if len(text) < 400 else LONG for text in texts]
        return await super().embed(shortened, kind=kind, lane=lane, instruction=instruction)


async def open_embedder(models: str) -> Embedder:
    known = {"wide": FakeEmbedder(dimension=512), "forgetful": ForgetfulEmbedder(dimension=64)}
    if models not in known:
        raise ModelUnavailable(f"{models!r} is neither a folder nor an id of the form organisation/name.")
    return known[models]


@pytest.fixture(scope="module")
async def moving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path_factory.mktemp("moving"), open_embedder=open_embedder) as node:
        yield node


@pytest.fixture
async def collection(moving: NodeUnderTest) -> str:
    """Eight documents, one for each topic, and a golden query for each."""
    name = f"c{uuid4().hex[:8]}"
    answer = await moving.http.post("/collections", json={"name": name, "chunking": {"max_tokens": 128}})
    assert answer.status_code == 201, answer.text
    documents = [{"id": topic, "text": f"The {topic} stands in the yard. {LONG}"} for topic in TOPICS]
    assert (await moving.ingest(*documents, collection=name))["state"] == "succeeded"
    golden = {"queries": [{"query": f"where is the {topic}", "relevant": [topic]} for topic in TOPICS]}
    assert (await moving.http.put(f"/collections/{name}/golden", json=golden)).status_code == 204
    assert (await moving.http.get(f"/collections/{name}/golden")).json() == golden
    return name


async def finish(node: NodeUnderTest, name: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            status = dict((await node.http.get(f"/collections/{name}/reembed")).json())
            if status["phase"] not in ("filling", "measuring"):
                return status
            await asyncio.sleep(0.05)


async def chunks(node: NodeUnderTest, name: str) -> int:
    return int((await node.http.get(f"/collections/{name}")).json()["chunks"])


async def test_another_chunking_and_back(moving: NodeUnderTest, collection: str) -> None:
    before = await chunks(moving, collection)
    answer = await moving.http.post(f"/collections/{collection}/reembed", json={"chunking": {"max_tokens": 32}})
    assert answer.status_code == 202, answer.text
    status = await finish(moving, collection)
    assert status["phase"] == "flipped", status
    assert status["verdict"]["queries"] == len(TOPICS)
    assert status["verdict"]["before_reranked"] == pytest.approx(1.0)
    after = await chunks(moving, collection)
    assert after > before
    assert (await moving.http.get(f"/collections/{collection}")).json()["chunking"]["max_tokens"] == 32
    hits = (await moving.search("where is the loom", collection=collection))["hits"]
    assert hits[0]["document_id"] == "loom"  # type: ignore[index]

    # What happens to the collection after the exchange is there after the way back, too.
    await moving.ingest({"id": "vice", "text": "The vice is bolted to the bench."}, collection=collection)
    gone = await moving.http.delete(f"/documents/dye?collection={collection}")
    assert gone.status_code in (200, 204), gone.text
    assert (await moving.http.post(f"/collections/{collection}/rollback")).status_code == 202
    assert (await finish(moving, collection))["phase"] == "flipped"
    documents = (await moving.http.get(f"/documents?collection={collection}")).json()["documents"]
    assert {document["id"] for document in documents} == {*TOPICS, "vice"} - {"dye"}
    hits = (await moving.search("where is the vice bolted", collection=collection))["hits"]
    assert hits[0]["document_id"] == "vice"  # type: ignore[index]
    assert not [hit for hit in hits if hit["document_id"] == "dye"]  # type: ignore[attr-defined,index]
    audit = (await moving.http.post("/audit", json={"collection": collection})).json()
    assert audit["clean"], audit


async def test_declared_metadata_keys_and_instructions_stay(moving: NodeUnderTest) -> None:
    name = f"c{uuid4().hex[:8]}"
    instructions = {"query_instruction": "Find tools", "document_instruction": "passage: "}
    await moving.http.post("/collections", json={"name": name, "metadata_keys": {"year": "int"}, **instructions})
    await moving.ingest(
        {"id": "old", "text": "An old anvil.", "metadata": {"year": 1900}},
        {"id": "new", "text": "A new anvil.", "metadata": {"year": 2020}},
        collection=name,
    )
    plan = {"models": "wide", "gate": False}
    assert (await moving.http.post(f"/collections/{name}/reembed", json=plan)).status_code == 202
    assert (await finish(moving, name))["phase"] == "flipped"
    described = (await moving.http.get(f"/collections/{name}")).json()
    assert (described["metadata_keys"], described["fingerprint"]["dimension"]) == ({"year": "int"}, 512)
    assert {key: described[key] for key in instructions} == instructions
    filter = {"type": "lt", "key": "metadata.year", "value": 2000}
    hits: Any = (await moving.search("anvil", collection=name, filter=filter))["hits"]
    assert [hit["document_id"] for hit in hits] == ["old"]


async def test_another_model_takes_over_while_the_collection_changes(moving: NodeUnderTest, collection: str) -> None:
    answer = await moving.http.post(f"/collections/{collection}/reembed", json={"models": "wide"})
    assert answer.status_code == 202, answer.text
    await moving.ingest({"id": "late", "text": "The late saw hangs on the wall."}, collection=collection)
    await moving.http.delete(f"/documents/anvil?collection={collection}")
    status = await finish(moving, collection)
    assert status["phase"] == "flipped", status
    described = (await moving.http.get(f"/collections/{collection}")).json()
    assert described["fingerprint"]["dimension"] == 512
    for query, document in (("where is the late saw", "late"), ("where is the loom", "loom")):
        hits = (await moving.search(query, collection=collection))["hits"]
        assert hits[0]["document_id"] == document  # type: ignore[index]
    documents = (await moving.http.get(f"/documents?collection={collection}")).json()["documents"]
    assert {document["id"] for document in documents} == {*TOPICS, "late"} - {"anvil"}
    assert (await moving.ingest({"id": "new", "text": "A new rasp."}, collection=collection))["state"] == "succeeded"


async def test_a_worse_model_is_refused(moving: NodeUnderTest, collection: str) -> None:
    before = (await moving.http.get(f"/collections/{collection}")).json()
    await moving.http.post(f"/collections/{collection}/reembed", json={"models": "forgetful"})
    status = await finish(moving, collection)
    assert status["phase"] == "refused"
    assert status["verdict"]["after"] < status["verdict"]["before"] - 0.1
    assert "not within" in status["message"]
    assert (await moving.http.get(f"/collections/{collection}")).json() == before
    assert (await moving.search("where is the loom", collection=collection))["hits"][0]["document_id"] == "loom"  # type: ignore[index]


async def test_what_cannot_begin_says_why(moving: NodeUnderTest, collection: str) -> None:
    url = f"/collections/{collection}"
    assert (await moving.http.get(f"{url}/reembed")).status_code == 404
    assert (await moving.http.post(f"{url}/rollback")).status_code == 404
    folder = await moving.http.post(f"{url}/reembed", json={"models": "/models/mine"})
    assert folder.status_code == 422
    await moving.http.put(f"{url}/golden", json={"queries": []})
    blind = await moving.http.post(f"{url}/reembed", json={"chunking": {"max_tokens": 32}})
    assert blind.status_code == 422
    assert "nothing to compare" in blind.json()["error"]["message"]
    assert (await moving.http.post("/collections/none/reembed", json={})).status_code == 404


async def test_a_deleted_collection_takes_its_second_version_along(moving: NodeUnderTest, collection: str) -> None:
    await moving.http.post(f"/collections/{collection}/reembed", json={"chunking": {"max_tokens": 32}})
    await finish(moving, collection)
    assert (await moving.http.delete(f"/collections/{collection}")).status_code == 204
    left = [name for name in await moving.components.store.list_collections() if name.startswith(collection)]
    assert left == []


async def test_a_model_that_is_not_to_be_had_is_the_callers_mistake(moving: NodeUnderTest, collection: str) -> None:
    answer = await moving.http.post(f"/collections/{collection}/reembed", json={"models": "nonsense"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_request")
    assert error["message"].startswith("models: 'nonsense' is neither")
