"""A worker goes on while its node is replaced by one whose engine computes other vectors of the same model."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.node.workers import WorkerParts, Workers
from app.settings import Settings
from ingestion.catalog.catalog import SqlCatalog
from ingestion.collections.vector_agreement import VectorAgreement
from ingestion.notifications import Notifications
from ingestion.worker import WorkerOptions
from retrieval.embedders import Embedders
from retrieval.engines.remote_node.embedder import NodeEmbedder, NodeServerOptions
from retrieval.types import DocumentId
from tests.support.models.fake_models import FakeEmbedder, FakeReranker, word_tokenizer
from tests.support.models.other_engine import OtherEngine
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for
from tests.support.stores.memory_store import InMemoryStore
from tests.support.waiting import free_port

pytestmark = pytest.mark.timeout(120)

OPTIONS = WorkerOptions(
    batch=8,
    lease=timedelta(seconds=60),
    max_attempts=2,
    poll=timedelta(milliseconds=20),
    backoff=timedelta(milliseconds=1),
)


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    store: InMemoryStore
    port: int

    @asynccontextmanager
    async def node(self, embedder: FakeEmbedder) -> AsyncIterator[httpx.AsyncClient]:
        components = replace(real_but_for(embedder, FakeReranker(), self.folder), store=self.store)
        settings = Settings(data_dir=self.folder, selftest_margin=False, workers=0)
        async with (
            listening(create_app(settings, components), self.port) as node,
            httpx.AsyncClient(base_url=node.url, timeout=60) as http,
        ):
            yield http

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[SqlCatalog]:
        server = NodeServerOptions(f"http://127.0.0.1:{self.port}", probe_seconds=0.05)
        embedder = NodeEmbedder(word_tokenizer(), server)
        parts = real_but_for(FakeEmbedder(), FakeReranker(), self.folder)
        catalog = SqlCatalog(f"sqlite:///{self.folder / 'catalog.sqlite'}")
        for part in (catalog, parts.blobs, parts.parser, embedder):
            await part.start()
        embedders = Embedders(embedder)
        await VectorAgreement(catalog, embedders).check()
        workers = Workers(
            WorkerParts(embedders, self.store, catalog, parts.blobs, parts.parser),
            OPTIONS,
            slots=1,
            drain=timedelta(seconds=5),
            work_arrived=Notifications(),
            notifications=Notifications(),
        )
        workers.start()
        yield catalog
        await workers.stop()
        for part in (embedder, parts.parser, parts.blobs, catalog):
            await part.close()


async def ingested(http: httpx.AsyncClient, name: str) -> dict[str, Any]:
    documents = [{"id": name, "text": f"The {name} stands in the yard."}]
    answer = await http.post("/ingest", json={"documents": documents, "wait": True})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["documents"][0])


async def chunks(store: InMemoryStore) -> set[str]:
    (name,) = await store.list_collections()
    return {str(document) async for page in store.every(name) for _, document in page}


async def test_nothing_that_another_engine_computes_is_written(tmp_path: Path) -> None:
    place = Place(tmp_path, InMemoryStore(), free_port())
    async with AsyncExitStack() as worker:
        async with place.node(FakeEmbedder()) as http:
            catalog = await worker.enter_async_context(place.worker())
            assert (await ingested(http, "kiln"))["status"] == "ready"
        async with place.node(OtherEngine()) as http:
            receipt = await ingested(http, "loom")
            assert (receipt["status"], receipt["error"]["code"]) == ("failed", "fingerprint_mismatch")
            assert "tandem reembed --no-gate" in receipt["error"]["message"]
            record = await catalog.document("docs", DocumentId("loom"))
            assert record.attempts == OPTIONS.max_attempts  # it was handed back in between
            assert await chunks(place.store) == {"kiln"}
        async with place.node(FakeEmbedder()) as http:
            assert (await ingested(http, "loom"))["status"] == "ready"
            assert await chunks(place.store) == {"kiln", "loom"}
