"""Each finding planted by hand in a node's real store, catalog and originals: found, repaired, and then gone."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from ingestion.blobs.naming import path_of
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.support.nodes.node import NodeUnderTest, running

Report = Mapping[str, object]
Counts = Mapping[str, tuple[int, int]]


class Plant:
    """A node of its own, with one collection for each test."""

    def __init__(self, node: NodeUnderTest, folder: Path) -> None:
        self.node = node
        self.originals = folder / "originals"

    async def collection(self, name: str) -> StoreName:
        answer = await self.node.http.post("/collections", json={"name": name})
        assert answer.status_code == 201, answer.text
        return (await self.node.components.catalog.collection(name)).store_name

    async def ingest(self, collection: str, *texts: str) -> None:
        documents = [{"id": f"doc-{place}", "text": text} for place, text in enumerate(texts)]
        job = await self.node.ingest(*documents, collection=collection)
        assert job["state"] == "succeeded"

    async def audit(self, **body: object) -> tuple[Report, Counts]:
        answer = await self.node.http.post("/audit", json=body)
        assert answer.status_code == 200, answer.text
        report = answer.json()
        return report, {found["kind"]: (found["count"], found["repaired"]) for found in report["findings"]}

    async def upsert(self, store_name: StoreName, document_id: str, *ids: str) -> None:
        vector = np.eye(1, 384, dtype=np.float32)[0]
        chunks = [Chunk(ChunkId(id_), DocumentId(document_id), 0, "planted", 0, 7, 1) for id_ in ids]
        await self.node.components.store.upsert(store_name, [EmbeddedChunk(chunk, vector) for chunk in chunks])

    async def ids(self, store_name: StoreName, document_id: str) -> list[ChunkId]:
        pages = self.node.components.store.texts(store_name, DocumentId(document_id))
        return [stored.id async for page in pages for stored in page]

    async def queue_is_empty(self) -> None:
        for _ in range(600):
            if not await self.node.components.catalog.queue_depth():
                return
            await asyncio.sleep(0.05)
        raise TimeoutError


@pytest_asyncio.fixture(scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    folder = tmp_path_factory.mktemp("audited")
    async with running(folder) as node:
        yield Plant(node, folder)


async def test_a_node_as_it_is_is_clean(plant: Plant) -> None:
    await plant.collection("plain")
    await plant.ingest("plain", *(f"Text number {number}." for number in range(20)))
    report, findings = await plant.audit(collection="plain")
    assert findings == {}
    assert (report["clean"], report["documents"], report["chunks"], report["notes"]) == (True, 20, 20, [])
    assert (await plant.audit())[0]["clean"]


async def test_chunks_without_document(plant: Plant) -> None:
    name = await plant.collection("orphans")
    await plant.ingest("orphans", "One.", "Two.")
    await plant.upsert(name, "nobody's", *(f"{number:032x}" for number in range(1200)))
    report, findings = await plant.audit(collection="orphans")
    assert findings == {"chunks_without_document": (1200, 0)}
    assert not report["clean"]
    report, findings = await plant.audit(collection="orphans", repair=True)
    assert findings == {"chunks_without_document": (1200, 1200)}
    assert report["clean"]
    assert await plant.node.components.store.count(name) == 2
    assert (await plant.audit(collection="orphans"))[1] == {}


async def test_missing_and_outdated_chunks_are_written_anew(plant: Plant) -> None:
    name = await plant.collection("outdated")
    long = "\n\n".join(f"Paragraph {number} tells of cobalt and of ochre in many words." for number in range(40))
    job = await plant.node.ingest(
        {"id": "partly", "text": long}, collection="outdated", chunking={"max_tokens": 32, "overlap": 4}
    )
    await plant.ingest("outdated", "Wholly gone.", "With one too many.", "As it should be.")
    before = {document: set(await plant.ids(name, document)) for document in ("partly", "doc-0", "doc-1")}
    assert len(before["partly"]) == job["documents"][0]["chunks"] > 10  # type: ignore[index]
    lost = [*sorted(before["partly"])[:3], *before["doc-0"]]
    await plant.node.components.store.delete(name, lost)
    await plant.upsert(name, "doc-1", "ab" * 16)
    assert (await plant.audit(collection="outdated"))[1] == {"documents_outdated": (3, 0)}
    assert (await plant.audit(collection="outdated", repair=True))[1] == {"documents_outdated": (3, 3)}
    await plant.queue_is_empty()
    assert before == {document: set(await plant.ids(name, document)) for document in before}
    report, findings = await plant.audit(collection="outdated")
    assert (report["clean"], findings) == (True, {})


async def test_chunks_of_a_failed_document(plant: Plant) -> None:
    name = await plant.collection("failed")
    broken = {"id": "broken", "content_base64": b64encode(b"%PDF-1.7 broken").decode(), "filename": "a.pdf"}
    assert (await plant.node.ingest(broken, collection="failed"))["state"] == "failed"
    await plant.upsert(name, "broken", "ab" * 16)
    assert (await plant.audit(collection="failed", repair=True))[1] == {"failed_documents_with_chunks": (1, 1)}
    assert await plant.node.components.store.count(name) == 0
    record = await plant.node.components.catalog.document("failed", DocumentId("broken"))
    assert (record.state, record.attempts) == ("failed", 1)
    assert (await plant.audit(collection="failed"))[1] == {}


async def test_originals(plant: Plant) -> None:
    await plant.collection("originals")
    await plant.ingest("originals", "Kept.", "Its original gets lost.")
    blobs = plant.node.components.blobs
    old, young = b"nobody's, of long ago", b"nobody's yet"
    await blobs.put({sha256(data).hexdigest(): data for data in (old, young)})
    os.utime(plant.originals / path_of(sha256(old).hexdigest()), (0, 0))
    await blobs.delete(sha256(b"Its original gets lost.").hexdigest())
    report, findings = await plant.audit(repair=True)
    assert findings == {"originals_missing": (1, 0), "blobs_without_owner": (1, 1)}
    assert [found["examples"] for found in report["findings"]] == [["doc-1"], [sha256(old).hexdigest()]]
    assert not report["clean"]
    assert sha256(old).hexdigest() not in await blobs.get([sha256(old).hexdigest()])
    assert await blobs.get([sha256(young).hexdigest()])
    # What the report asks for.
    again = await plant.node.ingest({"id": "doc-1", "text": "Its original gets lost."}, collection="originals")
    assert [receipt["status"] for receipt in again["documents"]] == ["unchanged"]  # type: ignore[attr-defined]
    assert (await plant.audit())[1] == {}


async def test_collections_of_one_side(plant: Plant) -> None:
    store = plant.node.components.store
    await store.create_collection(StoreName("strange__0123456789ab"), CollectionSpec(8))
    await store.drop_collection(await plant.collection("lost"))
    findings = (await plant.audit(repair=True))[1]
    assert findings == {"collections_not_in_store": (1, 0), "collections_not_in_catalog": (1, 0)}
    assert "strange__0123456789ab" in await store.list_collections()
    await store.drop_collection(StoreName("strange__0123456789ab"))
    assert (await plant.node.http.delete("/collections/lost")).status_code == 204
    assert (await plant.audit())[1] == {}


async def test_audits_with_repair_do_no_harm_to_ingestion_deletes_and_replacements(plant: Plant) -> None:
    await plant.collection("busy")
    ended = False

    async def write(writer: int) -> None:
        for turn in range(8):
            documents = [
                {"id": f"{writer}-{number}", "text": f"Writer {writer}, document {number}, turn {turn}."}
                for number in range(6)
            ]
            assert (await plant.node.ingest(*documents, collection="busy"))["state"] in ("succeeded", "partial")
            await plant.node.http.delete(f"/documents/{writer}-{turn % 6}", params={"collection": "busy"})

    async def audit() -> int:
        times = 0
        while not ended:
            report, findings = await plant.audit(repair=True)
            assert findings == {}, report
            times += 1
        return times

    auditing = asyncio.create_task(audit())
    await asyncio.gather(*(write(writer) for writer in range(3)))
    ended = True
    assert await auditing >= 3
    report, findings = await plant.audit(collection="busy")
    assert (findings, report["notes"], report["documents"], report["chunks"]) == ({}, [], 15, 15)


async def test_a_second_audit_is_refused_and_an_unknown_collection_too(plant: Plant) -> None:
    first, second = await asyncio.gather(*(plant.node.http.post("/audit", json={}) for _ in range(2)))
    assert sorted((first.status_code, second.status_code)) == [200, 409]
    refused = first if first.status_code == 409 else second
    assert refused.json()["error"]["code"] == "audit_running"
    unknown = await plant.node.http.post("/audit", json={"collection": "nowhere"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "collection_not_found")
    assert (await plant.node.http.post("/audit", json={"repairs": True})).status_code == 422
