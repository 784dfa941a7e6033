"""A node starts with another engine, which computes other vectors of the same model than its collections hold."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from retrieval.device.devices import Device, Devices, chosen_device
from retrieval.device.gate import Gate, GateOptions
from retrieval.types import Embeddings, Lane, TextKind
from tests.support.models.other_engine import OtherEngine
from tests.support.nodes.node import NodeUnderTest, running
from tests.support.stores.memory_store import InMemoryStore

pytestmark = pytest.mark.timeout(180)

TOPICS = ["kiln", "loom", "anvil"]


async def filled(folder: Path, store: InMemoryStore) -> None:
    async with running(folder, store=store) as node:
        documents = [{"id": topic, "text": f"The {topic} stands in the yard."} for topic in TOPICS]
        assert (await node.ingest(*documents))["state"] == "succeeded"
        golden = {"queries": [{"query": f"where is the {topic}", "relevant": [topic]} for topic in TOPICS]}
        assert (await node.http.put("/collections/docs/golden", json=golden)).status_code == 204
        assert (await described(node))["vectors"] == {"agree": True, "cosine": 1.0}


async def described(node: NodeUnderTest) -> dict[str, Any]:
    return dict((await node.http.get("/collections/docs")).json())


async def moved(node: NodeUnderTest) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            status = dict((await node.http.get("/collections/docs/reembed")).json())
            if status["phase"] not in ("filling", "measuring"):
                return status
            await asyncio.sleep(0.05)


async def test_an_engine_that_computes_the_same(tmp_path: Path) -> None:
    store = InMemoryStore()
    await filled(tmp_path, store)
    async with running(tmp_path, store=store, embedder=OtherEngine(by=0.01)) as node:
        vectors = (await described(node))["vectors"]
        assert vectors["agree"]
        assert 0.99 < vectors["cosine"] < 1
        assert "vectors" not in (await node.http.get("/health/ready")).json()["checks"]
        hits: Any = (await node.search("where is the loom"))["hits"]
        assert hits[0]["document_id"] == "loom"


class OtherwiseOnOneDevice(OtherEngine):
    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        device = chosen_device()
        self._by = 1.0 if device and device.name == "1" else 0.0
        return await super().embed(texts, kind=kind, lane=lane, instruction=instruction)


async def test_one_device_of_several_that_computes_otherwise(tmp_path: Path) -> None:
    store = InMemoryStore()
    await filled(tmp_path, store)
    devices = Devices([Device(name, Gate(GateOptions())) for name in ("0", "1", "2")])
    async with running(tmp_path, store=store, embedder=OtherwiseOnOneDevice(), devices=devices) as node:
        assert not (await described(node))["vectors"]["agree"]
        assert not (await node.http.get("/health/ready")).json()["checks"]["vectors"]["ok"]


async def test_an_engine_that_computes_otherwise(tmp_path: Path) -> None:
    store = InMemoryStore()
    await filled(tmp_path, store)
    async with running(tmp_path, store=store, embedder=OtherEngine()) as node:
        # The verdict, wherever one looks for it; the node serves other collections.
        ready = (await node.http.get("/health/ready")).json()
        assert ready["ready"]
        assert not ready["checks"]["vectors"]["ok"]
        assert "those of 1 collections" in ready["checks"]["vectors"]["detail"]
        found = await described(node)
        assert not found["vectors"]["agree"]
        assert found["vectors"]["cosine"] < 0.95
        (listed,) = (await node.http.get("/collections")).json()["collections"]
        assert listed["vectors"] == found["vectors"]

        assert "not those of the running engine" in (await node.http.get("/ui/collections/docs")).text

        refused = await node.http.post("/search", json={"query": "loom"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "fingerprint_mismatch")
        assert "tandem reembed --no-gate" in refused.json()["error"]["message"]
        job: Any = await node.ingest({"id": "dye", "text": "The dye stands in the yard."})
        assert job["documents"][0]["error"]["code"] == "fingerprint_mismatch"
        assert (await node.http.delete("/documents/dye?collection=docs")).status_code in (200, 204)

        # A gate would compare with what cannot be searched: said before anything is filled.
        gated = await node.http.post("/collections/docs/reembed", json={})
        assert (gated.status_code, gated.json()["error"]["code"]) == (409, "fingerprint_mismatch")
        assert (await node.http.get("/collections/docs/reembed")).status_code == 404

        answer = await node.http.post("/collections/docs/reembed", json={"gate": False})
        assert answer.status_code == 202, answer.text
        status = await moved(node)
        assert status["phase"] == "flipped", status
        assert (await described(node))["vectors"] == {"agree": True, "cosine": 1.0}
        assert "vectors" not in (await node.http.get("/health/ready")).json()["checks"]
        hits: Any = (await node.search("where is the loom"))["hits"]
        assert hits[0]["document_id"] == "loom"
        assert (await node.ingest({"id": "dye", "text": "The dye stands in the yard."}))["state"] == "succeeded"
        back = await node.http.post("/collections/docs/rollback")
        assert (back.status_code, back.json()["error"]["code"]) == (409, "fingerprint_mismatch")
    async with running(tmp_path, store=store, embedder=OtherEngine()) as node:
        assert (await described(node))["vectors"]["agree"]
        assert "vectors" not in (await node.http.get("/health/ready")).json()["checks"]
