"""all-MiniLM-L6-v2 as a second stage, started once per session."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from retrieval.engines.late_interaction import LateInteractionReranker
from tests.support.models.engines import engine_options


@pytest_asyncio.fixture(scope="session")
async def minilm_reranker(minilm_folder: Path) -> AsyncIterator[LateInteractionReranker]:
    options = engine_options("all-MiniLM-L6-v2", minilm_folder, "token_embed", max_model_len=256)
    reranker = LateInteractionReranker(options)
    await reranker.start()
    yield reranker
    await reranker.close()
