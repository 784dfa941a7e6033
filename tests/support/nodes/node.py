"""A node within the test process: real store, catalog, originals and parser; the models are the deterministic doubles,
for tests whose subject is not what the models say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.node.node import Components, OpenEmbedder
from app.settings import Settings
from ingestion.blobs.folder import FolderBlobStore
from ingestion.catalog.catalog import SqlCatalog
from ingestion.parsers.process import ProcessParser
from retrieval.device.devices import Devices
from retrieval.ports import VectorStore
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from tests.support.models.fake_models import FakeEmbedder, FakeReranker


@dataclass(frozen=True, slots=True)
class NodeUnderTest:
    http: httpx.AsyncClient
    components: Components
    embedder: FakeEmbedder
    reranker: FakeReranker

    async def ingest(self, *documents: dict[str, object], **body: object) -> dict[str, object]:
        """Ingests and waits; returns the finished job."""
        answer = await self.http.post("/ingest", json={"documents": list(documents), "wait": True, **body})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def search(self, query: str, **body: object) -> dict[str, object]:
        answer = await self.http.post("/search", json={"query": query, **body})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def real_but_for(embedder: FakeEmbedder, reranker: FakeReranker, folder: Path) -> Components:
    """The components that wiring would build with its data in `folder`, but for the models."""
    return Components(
        embedder=embedder,
        reranker=reranker,
        store=MilvusStore(MilvusLiteServer(folder / "milvus")),
        catalog=SqlCatalog(f"sqlite:///{folder / 'catalog.sqlite'}"),
        blobs=FolderBlobStore(folder / "originals"),
        parser=ProcessParser(processes=1),
    )


@asynccontextmanager
async def running(
    folder: Path,
    *,
    open_embedder: OpenEmbedder | None = None,
    store: VectorStore | None = None,
    devices: Devices | None = None,
    embedder: FakeEmbedder | None = None,
    **settings: object,
) -> AsyncIterator[NodeUnderTest]:
    """A node whose data lies in `folder`; `settings` as in app.settings, with the profile that reads English alone.
    `store`: None for Milvus Lite."""
    settings = {"models": "minilm", **settings}
    embedder, reranker = embedder or FakeEmbedder(), FakeReranker()
    components = replace(real_but_for(embedder, reranker, folder), open_embedder=open_embedder, devices=devices)
    if store is not None:
        components = replace(components, store=store)
    app = create_app(Settings(data_dir=folder, selftest_margin=False, **settings), components)  # type: ignore[arg-type]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60) as http,
    ):
        async with asyncio.timeout(60):
            while (ready := await http.get("/health/ready")).status_code != 200:
                assert "unable to start" not in ready.text
                await asyncio.sleep(0.05)
        yield NodeUnderTest(http, components, embedder, reranker)


@pytest.fixture(scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """Shared by the session; tests keep apart by document ids and collections."""
    async with running(tmp_path_factory.mktemp("node"), max_body_mb=2, max_document_mb=1, max_documents=50) as node:
        yield node
