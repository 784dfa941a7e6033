"""A node on a socket of its own that wants a key, for the client libraries of other products."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from tokenizers import Tokenizer, models

from app.main import create_app
from app.settings import Settings
from tests.support.models.fake_models import UNKNOWN, FakeEmbedder, FakeReranker, word_tokenizer
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

KEY = "a-key"
WORDS = ("the", "kiln", "is", "held", "hot", "for", "an", "hour")
"""Ids 1 to 8 of the embedder's vocabulary."""


@dataclass(frozen=True, slots=True)
class Face:
    url: str
    embedder: FakeEmbedder
    reranker: FakeReranker
    http: httpx.AsyncClient
    """With the key."""


def word_level_tokenizer() -> Tokenizer:
    """One token per word, of which it knows a few by an id of their own."""
    tokenizer = word_tokenizer()
    vocabulary = {UNKNOWN: 0} | {word: place for place, word in enumerate(WORDS, start=1)}
    tokenizer.model = models.WordLevel(vocabulary, unk_token=UNKNOWN)
    return tokenizer


@pytest.fixture(scope="session")
async def face(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Face]:
    """Shared by the session; tests keep apart by collections."""
    folder = tmp_path_factory.mktemp("face")
    embedder, reranker = FakeEmbedder(tokenizer=word_level_tokenizer()), FakeReranker()
    settings = Settings(data_dir=folder, selftest_margin=False, api_keys=KEY, max_body_mb=2, max_document_mb=1)  # type: ignore[arg-type]
    app = create_app(settings, real_but_for(embedder, reranker, folder))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        listening(app) as node,
        httpx.AsyncClient(base_url=node.url, headers=headers, timeout=60) as http,
    ):
        yield Face(node.url, embedder, reranker, http)
