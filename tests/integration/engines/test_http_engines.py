"""The HTTP adapters against real `vllm serve` processes: the same numbers as in-process, and what an outage does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.http.dialects.vllm import VLLM_EMBED, VLLM_EMBED_BASE64
from retrieval.engines.http.server import HttpServerOptions
from retrieval.engines.http.tokens import HttpEmbedder, HttpReranker
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.errors import EngineDead, EngineFailed
from retrieval.evaluation.selftest import run_selftest
from retrieval.types import Lane, TextKind

TEXTS = ["The capital of France is Paris.", "北京是中华人民共和国的首都。", "def f(x): return {'a': x}", "word " * 900]
QUERY = "what is the capital of China"


class Relay:
    """A port of its own in front of a server, which can be closed and opened again: an outage without a restart."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname, target.port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def relay(embedding_server: HttpServerOptions) -> AsyncIterator[Relay]:
    relay = Relay(embedding_server.url)
    await relay.open()
    yield relay
    await relay.close()


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    similarity: np.ndarray = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    return similarity


@pytest.mark.parametrize(("kind", "instruction"), [("document", None), ("query", None), ("query", "Find the code")])
async def test_vectors_are_those_of_the_engine_in_this_process(
    http_embedder: HttpEmbedder, tiny_embedder: VllmEmbedder, kind: TextKind, instruction: str | None
) -> None:
    here = await tiny_embedder.embed(TEXTS, kind=kind, lane=Lane.BULK, instruction=instruction)
    there = await http_embedder.embed(TEXTS, kind=kind, lane=Lane.BULK, instruction=instruction)
    assert cosine(here.vectors, there.vectors).min() >= 0.999
    assert (there.tokens, there.truncated_tokens) == (here.tokens, here.truncated_tokens)
    assert here.truncated_tokens[3] > 0
    assert replace(here.fingerprint, model=there.fingerprint.model) == there.fingerprint


async def test_bytes_and_base64_carry_the_same_vectors(
    http_embedder: HttpEmbedder, embedding_server: HttpServerOptions, tiny_embedding_folder: Path
) -> None:
    older = HttpEmbedder(tiny_embedding_folder, embedding_server, VLLM_EMBED_BASE64)
    await older.start()
    as_bytes = await http_embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    as_base64 = await older.embed(TEXTS, kind="document", lane=Lane.BULK)
    await older.close()
    assert http_embedder.engine.dialect is VLLM_EMBED  # the server took it, nothing fell back
    assert cosine(as_bytes.vectors, as_base64.vectors).min() >= 0.999


async def test_scores_are_those_of_the_engine_in_this_process(
    http_reranker: HttpReranker, tiny_reranker: CrossEncoderReranker
) -> None:
    here = await tiny_reranker.rerank(QUERY, TEXTS, lane=Lane.INTERACTIVE, instruction="Find code")
    there = await http_reranker.rerank(QUERY, TEXTS, lane=Lane.INTERACTIVE, instruction="Find code")
    assert there.scores == pytest.approx(here.scores, abs=0.01)
    assert (there.tokens, there.truncated_tokens) == (here.tokens, here.truncated_tokens)
    assert max(here.scores) - min(here.scores) > 0.02  # the passages do differ


async def test_reduced_vectors_are_the_first_components_normalised_again(
    http_embedder: HttpEmbedder, embedding_server: HttpServerOptions, tiny_embedding_folder: Path
) -> None:
    reduced = HttpEmbedder(tiny_embedding_folder, embedding_server, VLLM_EMBED, dimension=32)
    await reduced.start()
    whole = await http_embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    part = await reduced.embed(TEXTS, kind="document", lane=Lane.BULK)
    await reduced.close()
    assert part.vectors.shape == (len(TEXTS), 32)
    assert cosine(whole.vectors[:, :32], part.vectors).min() >= 0.999
    np.testing.assert_allclose(np.linalg.norm(part.vectors, axis=1), 1, atol=1e-3)


async def test_many_requests_come_back_in_order(http_embedder: HttpEmbedder) -> None:
    texts = [f"Passage number {number} about {number * 7}." for number in range(100)]
    together = await http_embedder.embed(texts, kind="document", lane=Lane.BULK)
    last = await http_embedder.embed(texts[-2:], kind="document", lane=Lane.INTERACTIVE)
    assert cosine(together.vectors[-2:], last.vectors).min() >= 0.999
    assert (together.vectors @ last.vectors.T).argmax(axis=0).tolist() == [98, 99]


async def test_the_self_test_passes(http_embedder: HttpEmbedder, http_reranker: HttpReranker) -> None:
    report = await run_selftest(http_embedder, http_reranker, check_margin=False, languages=["en", "zh"])
    assert report.passed, [check for check in report.checks if not check.passed]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"api_key": "another"}, "401"),
        ({"model": "another"}, "404.*another"),
        ({"max_model_len": 4096}, "400.*512"),
    ],
)
async def test_what_the_server_refuses_is_told_in_its_words(
    embedding_server: HttpServerOptions, tiny_embedding_folder: Path, change: dict[str, str], words: str
) -> None:
    embedder = HttpEmbedder(tiny_embedding_folder, replace(embedding_server, **change), VLLM_EMBED)  # type: ignore[arg-type]
    await embedder.start()
    with pytest.raises(EngineFailed, match=words) as caught:
        await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    await embedder.close()
    assert not caught.value.retryable
    assert len(caught.value.message) < 500


async def test_an_outage_fails_at_once_and_passes(
    embedding_server: HttpServerOptions, tiny_embedding_folder: Path, relay: Relay
) -> None:
    embedder = HttpEmbedder(tiny_embedding_folder, replace(embedding_server, url=relay.url), VLLM_EMBED)
    await embedder.start()
    before = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    assert embedder.failure is None
    await relay.close()
    for _ in range(2):
        with pytest.raises(EngineDead) as caught:
            await asyncio.wait_for(embedder.embed(TEXTS, kind="document", lane=Lane.BULK), 5)
        assert caught.value.retryable
    assert "does not answer" in (embedder.failure or "")
    await relay.open()
    after = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    assert embedder.failure is None
    assert cosine(before.vectors, after.vectors).min() >= 0.999
    await embedder.close()


async def test_a_server_that_comes_later_is_found(
    embedding_server: HttpServerOptions, tiny_embedding_folder: Path, relay: Relay
) -> None:
    await relay.close()
    embedder = HttpEmbedder(
        tiny_embedding_folder, replace(embedding_server, url=relay.url, probe_seconds=0.05), VLLM_EMBED
    )
    await embedder.start()
    assert "does not answer" in (embedder.failure or "")
    await relay.open()
    for _ in range(200):
        await asyncio.sleep(0.05)
        if embedder.failure is None:
            break
    assert embedder.failure is None
    await embedder.close()


async def test_closing_ends_the_calls_that_wait(
    embedding_server: HttpServerOptions, tiny_embedding_folder: Path
) -> None:
    embedder = HttpEmbedder(tiny_embedding_folder, replace(embedding_server, requests_at_once=1), VLLM_EMBED)
    await embedder.start()
    call = asyncio.create_task(embedder.embed(TEXTS * 200, kind="document", lane=Lane.BULK))
    await asyncio.sleep(0.5)
    await embedder.close()
    with pytest.raises(EngineDead):
        await asyncio.wait_for(call, 10)
