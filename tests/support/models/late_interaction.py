"""all-MiniLM-L6-v2 as a second stage, on the engine of the embedder, as a node builds it."""

from pathlib import Path

import pytest

from retrieval.engines.late_interaction import LateInteractionReranker, SharedEngine
from retrieval.engines.vllm.models import VllmEmbedder
from tests.support.models.engines import engine_options


@pytest.fixture(scope="session")
def minilm_reranker(minilm_folder: Path, minilm_embedder: VllmEmbedder) -> LateInteractionReranker:
    options = engine_options("all-MiniLM-L6-v2", minilm_folder, "token_embed", max_model_len=256)
    return LateInteractionReranker(options, shared=SharedEngine(minilm_embedder.engine))
