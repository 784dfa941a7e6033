"""An embedder that asks a node over a socket: the real application, with the deterministic double as its model."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.main import create_app
from app.settings import Settings
from retrieval.engines.remote_node.embedder import NodeEmbedder, NodeServerOptions
from tests.support.models.fake_models import FakeEmbedder, FakeReranker, word_tokenizer
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for


@pytest_asyncio.fixture(scope="session")
async def node_embedder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeEmbedder]:
    folder: Path = tmp_path_factory.mktemp("embedding-node")
    settings = Settings(data_dir=folder, selftest_margin=False, workers=0)
    app = create_app(settings, real_but_for(FakeEmbedder(), FakeReranker(), folder))
    async with listening(app) as node:
        # So few texts a request that one call makes several.
        embedder = NodeEmbedder(word_tokenizer(), NodeServerOptions(node.url, texts_per_request=3))
        await embedder.start()
        yield embedder
        await embedder.close()
