"""The deterministic doubles, started."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.models.fake_models import FakeEmbedder, FakeReranker


@pytest_asyncio.fixture
async def fake_embedder() -> AsyncIterator[FakeEmbedder]:
    embedder = FakeEmbedder()
    await embedder.start()
    yield embedder
    await embedder.close()


@pytest_asyncio.fixture
async def fake_reranker() -> AsyncIterator[FakeReranker]:
    reranker = FakeReranker()
    await reranker.start()
    yield reranker
    await reranker.close()
