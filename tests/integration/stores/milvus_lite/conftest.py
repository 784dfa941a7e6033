"""Milvus Lite as the node runs it, for one test that kills it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite.server import MilvusLiteServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MilvusLiteServer]:
    server = MilvusLiteServer(tmp_path / "milvus")
    yield server
    await server.close()


@pytest.fixture
async def store(server: MilvusLiteServer) -> AsyncIterator[MilvusStore]:
    store = MilvusStore(server)
    await store.start()
    yield store
    await store.close()
