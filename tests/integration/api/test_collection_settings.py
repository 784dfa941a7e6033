"""What a collection decides for its documents and queries, through HTTP: the length of vectors, instructions."""

import asyncio
from uuid import uuid4

import numpy as np
import pytest

from retrieval.errors import InvalidRequest
from retrieval.types import Lane
from tests.support.models.fake_models import FakeEmbedder
from tests.support.nodes.node import NodeUnderTest


async def created(node: NodeUnderTest, **settings: object) -> str:
    name = f"c{uuid4().hex[:8]}"
    answer = await node.http.post("/collections", json={"name": name, **settings})
    assert answer.status_code == 201, answer.text
    return name


async def dimension(node: NodeUnderTest, name: str) -> int:
    return int((await node.http.get(f"/collections/{name}")).json()["fingerprint"]["dimension"])


async def test_shorter_vectors_are_written_and_searched(node: NodeUnderTest) -> None:
    name = await created(node, dimension=96)
    texts = {"kiln": "The kiln is lit at dawn.", "loom": "The loom stands by the window."}
    await node.ingest(*({"id": key, "text": text} for key, text in texts.items()), collection=name)
    answer = await node.search("when is the kiln lit", collection=name, mode="dense", rerank=False)
    assert [hit["document_id"] for hit in answer["hits"]] == ["kiln", "loom"]
    assert await dimension(node, name) == 96
    collection = await node.components.catalog.collection(name)
    chunk = answer["hits"][0]["chunk_id"]
    stored = (await node.components.store.vectors(collection.store_name, [chunk]))[chunk]
    whole = await node.embedder.embed([texts["kiln"]], kind="document", lane=Lane.BULK)
    prefix = whole.vectors[0][:96]
    np.testing.assert_allclose(stored, prefix / np.linalg.norm(prefix), atol=1e-6)


async def test_their_length_stays_when_chunks_change_and_can_be_changed(node: NodeUnderTest) -> None:
    name = await created(node, dimension=96)
    await node.ingest({"id": "kiln", "text": "The kiln is lit at dawn. " * 30}, collection=name)
    for plan, expected in (({"chunking": {"max_tokens": 32}}, 96), ({"dimension": 64}, 64), ({"dimension": 384}, 384)):
        await node.http.post(f"/collections/{name}/reembed", json={**plan, "gate": False})
        async with asyncio.timeout(60):
            while (status := (await node.http.get(f"/collections/{name}/reembed")).json())["phase"] == "filling":
                await asyncio.sleep(0.05)
        assert status["phase"] == "flipped", status
        assert await dimension(node, name) == expected
        assert (await node.search("kiln", collection=name))["hits"]


@pytest.mark.parametrize(("wrong", "code"), [(385, "invalid_request"), (31, "invalid_request"), (0, "invalid_request")])
async def test_a_length_that_the_model_has_not_is_refused(node: NodeUnderTest, wrong: int, code: str) -> None:
    answer = await node.http.post("/collections", json={"name": "wrong", "dimension": wrong})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert "dimension" in answer.json()["error"]["message"]


async def test_a_model_that_was_not_trained_for_it_has_one_length(
    node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEmbedder, "reducible", False)
    answer = await node.http.post("/collections", json={"name": "wrong", "dimension": 96})
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "unsupported")
    assert (await node.http.post("/collections", json={"name": f"w{uuid4().hex}", "dimension": 384})).status_code == 201


async def test_instructions_of_the_collection_hold_unless_the_query_brings_its_own(
    node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    instructions = {"query_instruction": "Find kilns", "rerank_instruction": "Judge kilns"}
    name = await created(node, **instructions)
    await node.ingest({"id": "kiln", "text": "The kiln is lit at dawn."}, collection=name)
    described = (await node.http.get(f"/collections/{name}")).json()
    assert {key: described[key] for key in instructions} == instructions
    seen: list[object] = []
    for model, method in ((node.embedder, "embed"), (node.reranker, "rerank")):
        original = getattr(model, method)

        async def spy(*texts: object, original: object = original, **arguments: object) -> object:
            seen.append(arguments["instruction"])
            return await original(*texts, **arguments)  # type: ignore[operator]

        monkeypatch.setattr(model, method, spy)
    await node.search("kiln", collection=name)
    await node.search("kiln", collection=name, instruction="Find fires", rerank_instruction="Judge fires")
    assert seen == ["Find kilns", "Judge kilns", "Find fires", "Judge fires"]


async def test_documents_are_embedded_behind_the_collection_s_instruction(node: NodeUnderTest) -> None:
    text = "The kiln is lit at dawn."
    name = await created(node, document_instruction="kiln, kiln: ")
    assert (await node.http.get(f"/collections/{name}")).json()["document_instruction"] == "kiln, kiln: "
    await node.ingest({"id": "kiln", "text": text}, collection=name)
    told = await node.embedder.embed([text], kind="document", lane=Lane.BULK, instruction="kiln, kiln: ")
    question = await node.embedder.embed(["kiln"], kind="query", lane=Lane.INTERACTIVE)
    [hit] = (await node.search("kiln", collection=name, mode="dense", rerank=False))["hits"]
    assert hit["score"] == pytest.approx(float(told.vectors[0] @ question.vectors[0]), abs=1e-4)
    bare = await node.embedder.embed([text], kind="document", lane=Lane.BULK)
    assert hit["score"] != pytest.approx(float(bare.vectors[0] @ question.vectors[0]), abs=1e-3)


async def test_an_instruction_without_end_is_refused(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def embed(*_: object, **arguments: object) -> None:
        raise InvalidRequest(f"{arguments['instruction']} leaves no room")

    monkeypatch.setattr(node.embedder, "embed", embed)
    answer = await node.http.post("/collections", json={"name": "wordy", "document_instruction": "too long"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "too long leaves no room")
    assert (await node.http.get("/collections/wordy")).status_code == 404


async def test_names_in_any_script(node: NodeUnderTest) -> None:
    """Each name is a collection of its own, whatever the store makes of it."""
    names = ["产品手册", "产品-手册", "產品.手册", "a-b", "a.b", "a_b", "Übersicht-2.0", "re\u0301sume\u0301"]
    for number, name in enumerate(names):
        answer = await node.http.post("/collections", json={"name": name})
        assert answer.status_code == 201, answer.text
        await node.ingest({"id": f"d{number}", "text": f"The kiln of number {number}."}, collection=name)
    for number, name in enumerate(names):
        assert [hit["document_id"] for hit in (await node.search("kiln", collection=name))["hits"]] == [f"d{number}"]
        assert (await node.http.get(f"/collections/{name}")).json()["chunks"] == 1
    # Composed and decomposed letters are one name.
    assert (await node.http.get("/collections/r\u00e9sum\u00e9")).json()["chunks"] == 1
    assert (await node.http.delete("/collections/a-b")).status_code == 204
    assert [(await node.http.get(f"/collections/{name}")).status_code for name in ("a-b", "a.b", "a_b")] == [
        404,
        200,
        200,
    ]
    await node.http.post("/collections/产品手册/reembed", json={"chunking": {"max_tokens": 32}, "gate": False})
    async with asyncio.timeout(60):
        while (status := (await node.http.get("/collections/产品手册/reembed")).json())["phase"] == "filling":
            await asyncio.sleep(0.05)
    assert status["phase"] == "flipped", status
    assert (await node.search("kiln", collection="产品手册"))["hits"]
