"""A node opens the data folder of an earlier release."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.models.fake_models import FakeEmbedder
from tests.support.models.other_engine import OtherEngine
from tests.support.nodes.node import running
from tests.support.stores.earlier_release import TEXTS, write_data_folder

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    embedder = FakeEmbedder()
    await embedder.start()
    await write_data_folder(tmp_path, embedder)
    return tmp_path


async def test_searches_takes_documents_and_moves(folder: Path) -> None:
    async with running(folder) as node:
        # What was there is found, by meaning and by words.
        found = (await node.http.get("/collections/docs")).json()
        assert (found["chunks"], found["vectors"]) == (len(TEXTS), {"agree": True, "cosine": 1.0})
        assert "engine" not in found["fingerprint"]
        for topic, text in TEXTS.items():
            for mode in ("hybrid", "dense", "sparse"):
                hits: Any = (await node.search(f"where is the {topic}", mode=mode))["hits"]
                assert (hits[0]["document_id"], hits[0]["text"]) == (topic, text)
        newer = {"type": "gte", "key": "metadata.year", "value": 2023}
        hits = (await node.search("yard", filter=newer))["hits"]
        assert [hit["document_id"] for hit in hits] == ["lathe"]
        job = (await node.http.get("/jobs/old")).json()
        assert (job["state"], job["progress"]["done"]) == ("succeeded", len(TEXTS))

        assert all(hit["language"] is None for hit in hits)
        of_language = await node.http.post("/search", json={"query": "yard", "languages": ["en"]})
        assert (of_language.status_code, "tandem reembed" in of_language.text) == (501, True)

        # It takes new documents, replaces old ones and deletes them.
        new = {"id": "vice", "text": "The vice is bolted to the bench."}
        assert (await node.ingest(new))["state"] == "succeeded"
        moved = {"id": "loom", "text": "The loom was carried to the attic."}
        again: Any = await node.ingest(moved)
        assert again["documents"][0]["status"] == "replaced"
        assert (await node.http.delete("/documents/anvil?collection=docs")).status_code in (200, 204)
        hits = (await node.search("where is the loom"))["hits"]
        assert [hit["text"] for hit in hits if hit["document_id"] == "loom"] == [moved["text"]]
        hits = (await node.search("where is the anvil"))["hits"]
        assert "anvil" not in [hit["document_id"] for hit in hits]
        audit = (await node.http.post("/audit", json={"collection": "docs"})).json()
        assert audit["clean"], audit

        # And its originals make a version with today's fields.
        answer = await node.http.post("/collections/docs/reembed", json={"gate": False})
        assert answer.status_code == 202, answer.text
        async with asyncio.timeout(60):
            while (await node.http.get("/collections/docs/reembed")).json()["phase"] in ("filling", "measuring"):
                await asyncio.sleep(0.05)
        assert (await node.http.get("/collections/docs/reembed")).json()["phase"] == "flipped"
        hits = (await node.search("where is the kiln"))["hits"]
        assert hits[0]["text"] == TEXTS["kiln"]
        hits = (await node.search("where is the kiln", languages=["en"]))["hits"]
        assert (hits[0]["text"], hits[0]["language"]) == (TEXTS["kiln"], "en")


async def test_its_vectors_are_compared_from_the_second_start_on(folder: Path) -> None:
    async with running(folder):
        pass
    async with running(folder, embedder=OtherEngine()) as node:
        assert not (await node.http.get("/collections/docs")).json()["vectors"]["agree"]
        refused = await node.http.post("/search", json={"query": "loom"})
        assert refused.json()["error"]["code"] == "fingerprint_mismatch"
