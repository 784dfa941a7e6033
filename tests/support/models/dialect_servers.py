"""Model servers of other kinds without a model, which hold requests and their own answers against the published schemas
in dialects/. Every answer follows from the tokens that a model would see: ids as they come, text as the server's own
tokenizer has it."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from zlib import crc32

import httpx
import numpy as np
import orjson
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator
from tokenizers import Tokenizer

from retrieval.engines.http.dialects.sglang import SGLANG_EMBED, sglang_rerank
from retrieval.engines.http.dialects.tei import TEI_EMBED, TEI_RERANK
from retrieval.engines.http.server import HttpServerOptions
from retrieval.engines.http.texts import HttpPairReranker, HttpTextEmbedder
from retrieval.engines.http.tokens import HttpEmbedder, HttpReranker
from retrieval.models.folder import read_tokenizer
from retrieval.text.qwen3_tokenizer import embedding_tokenizer
from tests.support.models.hub import safetensors

SCHEMAS = Path(__file__).with_name("dialects")
DIMENSION = 64
WINDOW = 256


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DialectServer:
    """One of `kind`, a name in dialects/; a handler for httpx.MockTransport."""

    def __init__(self, kind: str, tokenizer: Tokenizer, *, window: int = WINDOW) -> None:
        self._schemas = json.loads((SCHEMAS / f"{kind}.json").read_text())
        self._tokenizer = tokenizer
        self._window = window
        self._answers: dict[tuple[str, str], Callable[[dict[str, object]], object]] = {
            ("sglang", "/v1/embeddings"): self._sglang_embed,
            ("sglang", "/v1/score"): self._sglang_score,
            ("tei", "/embed"): self._tei_embed,
            ("tei", "/rerank"): self._tei_rerank,
            ("infinity", "/embeddings"): self._infinity_embed,
            ("infinity", "/rerank"): self._infinity_rerank,
        }
        self._kind = kind
        self.bodies: list[dict[str, object]] = []
        self.cut_tokens = 0
        """What it cut without a word."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            return httpx.Response(200)
        answer = self._answers.get((self._kind, request.url.path))
        if request.method != "POST" or answer is None:
            return httpx.Response(404, json={"detail": f"no {request.method} {request.url.path} here"})
        schemas = self._schemas[request.url.path]
        body = orjson.loads(request.content)
        self.bodies.append(body)
        for error in Draft202012Validator(schemas["request"]).iter_errors(body):
            return httpx.Response(422, json={"detail": f"{error.json_path}: {error.message[:200]}"})
        try:
            found = answer(body)
        except Refused as error:
            return httpx.Response(error.status, json={"error": str(error), "error_type": "Validation"})
        Draft202012Validator(schemas["answer"]).validate(found)
        return httpx.Response(200, json=found)

    def _sglang_embed(self, body: dict[str, object]) -> object:
        vectors = [vector(self._fitting(ids)) for ids in body["input"]]  # type: ignore[attr-defined]
        size = body.get("dimensions") or DIMENSION
        data = [
            {"object": "embedding", "index": place, "embedding": found[:size].tolist()}  # type: ignore[misc]
            for place, found in enumerate(vectors)
        ]
        return {"object": "list", "model": "served", "data": data, "usage": None}

    def _sglang_score(self, body: dict[str, object]) -> object:
        items: list[list[int]] = body["items"]  # type: ignore[assignment]
        shares = [score([*body["query"], *self._fitting(ids)]) for ids in items]  # type: ignore[misc]
        rows = [[1 - share, share] for share in shares]
        return {"object": "scoring", "model": "served", "scores": rows, "usage": None}

    def _tei_embed(self, body: dict[str, object]) -> object:
        assert body["truncate"] is False  # it would cut, or not, as it was started
        return [vector(self._fitting(self._ids(text))).tolist() for text in body["inputs"]]  # type: ignore[attr-defined]

    def _tei_rerank(self, body: dict[str, object]) -> object:
        assert body["truncate"] is False
        pairs = [self._ids(body["query"], text) for text in body["texts"]]  # type: ignore[attr-defined]
        ranks = [{"index": place, "score": score(self._fitting(ids))} for place, ids in enumerate(pairs)]
        return sorted(ranks, key=lambda rank: -rank["score"])

    def _infinity_embed(self, body: dict[str, object]) -> object:
        size = body.get("dimensions") or DIMENSION
        found = [vector(self._cut(self._ids(text.strip())))[:size] for text in body["input"]]  # type: ignore[attr-defined,misc]
        data = [
            {"object": "embedding", "index": place, "embedding": b64encode(each.tobytes()).decode()}
            for place, each in enumerate(found)
        ]
        return {"object": "list", "model": "served", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}

    def _infinity_rerank(self, body: dict[str, object]) -> object:
        query, documents = str(body["query"]).strip(), body["documents"]
        pairs = [self._ids(query, text.strip()) for text in documents]  # type: ignore[attr-defined]
        results = [{"index": place, "relevance_score": score(self._cut(ids))} for place, ids in enumerate(pairs)]
        results.sort(key=lambda result: -result["relevance_score"])
        return {
            "object": "rerank",
            "model": "served",
            "results": results,
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }

    def _ids(self, text: object, other: str | None = None) -> Sequence[int]:
        return self._tokenizer.encode(str(text), other).ids

    def _fitting(self, ids: Sequence[int]) -> Sequence[int]:
        if len(ids) > self._window:
            raise Refused(413, f"`inputs` must have less than {self._window} tokens. Given: {len(ids)}")
        return ids

    def _cut(self, ids: Sequence[int]) -> Sequence[int]:
        self.cut_tokens += max(0, len(ids) - self._window)
        return ids[: self._window]


def vector(ids: Sequence[int]) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.random.default_rng(_hash(ids)).standard_normal(DIMENSION, dtype=np.float32)


def score(ids: Sequence[int]) -> float:
    return _hash(ids) / 2**32


def _hash(ids: Sequence[int]) -> int:
    return crc32(np.asarray(ids, dtype=np.int64).tobytes())


def options(**notifications: object) -> HttpServerOptions:
    given = {"url": "http://model.test", "model": "served", "max_model_len": WINDOW, **notifications}
    return HttpServerOptions(**given)  # type: ignore[arg-type]


def model_folder(folder: Path, tokenizer: Tokenizer, **config: object) -> Path:
    """What an adapter needs of a model that a server has; the weights are a stand-in."""
    (folder / "config.json").write_text(json.dumps({"hidden_size": DIMENSION, **config}))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.safetensors").write_bytes(safetensors(100))
    return folder


@pytest.fixture(scope="session")
def qwen3_embedding_folder(tmp_path_factory: pytest.TempPathFactory, qwen3_embedding_tokenizer: Tokenizer) -> Path:
    return model_folder(tmp_path_factory.mktemp("qwen3-embedding"), qwen3_embedding_tokenizer, model_type="qwen3")


@pytest.fixture(scope="session")
def qwen3_reranker_folder(tmp_path_factory: pytest.TempPathFactory, qwen3_tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("qwen3-reranker")
    return model_folder(folder, qwen3_tokenizer, model_type="qwen3", architectures=["Qwen3ForCausalLM"])


@pytest.fixture(scope="session")
def small_qwen3_embedding_folder(tmp_path_factory: pytest.TempPathFactory, small_qwen3_tokenizer: Tokenizer) -> Path:
    tokenizer = embedding_tokenizer(small_qwen3_tokenizer)
    return model_folder(tmp_path_factory.mktemp("small-qwen3-embedding"), tokenizer, model_type="qwen3")


@pytest.fixture(scope="session")
def small_qwen3_reranker_folder(tmp_path_factory: pytest.TempPathFactory, small_qwen3_tokenizer: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("small-qwen3-reranker")
    return model_folder(folder, small_qwen3_tokenizer, model_type="qwen3", architectures=["Qwen3ForCausalLM"])


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory, minilm_folder: Path) -> Path:
    return model_folder(
        tmp_path_factory.mktemp("cross-encoder"),
        read_tokenizer(minilm_folder),
        model_type="bert",
        architectures=["BertForSequenceClassification"],
        id2label={"0": "LABEL_0"},
    )


@pytest_asyncio.fixture(scope="session")
async def sglang_embedder(qwen3_embedding_folder: Path) -> AsyncIterator[HttpEmbedder]:
    server = DialectServer("sglang", read_tokenizer(qwen3_embedding_folder))
    embedder = HttpEmbedder(qwen3_embedding_folder, options(), SGLANG_EMBED, transport=httpx.MockTransport(server))
    await embedder.start()
    yield embedder
    await embedder.close()


@pytest_asyncio.fixture(scope="session")
async def tei_embedder(qwen3_embedding_folder: Path) -> AsyncIterator[HttpTextEmbedder]:
    server = DialectServer("tei", read_tokenizer(qwen3_embedding_folder))
    embedder = HttpTextEmbedder(qwen3_embedding_folder, options(), TEI_EMBED, transport=httpx.MockTransport(server))
    await embedder.start()
    yield embedder
    await embedder.close()


@pytest_asyncio.fixture(scope="session")
async def sglang_reranker(qwen3_reranker_folder: Path) -> AsyncIterator[HttpReranker]:
    tokenizer = read_tokenizer(qwen3_reranker_folder)
    server = httpx.MockTransport(DialectServer("sglang", tokenizer))
    reranker = HttpReranker(qwen3_reranker_folder, options(), sglang_rerank(tokenizer), transport=server)
    await reranker.start()
    yield reranker
    await reranker.close()


@pytest_asyncio.fixture(scope="session")
async def tei_reranker(cross_encoder_folder: Path) -> AsyncIterator[HttpPairReranker]:
    server = httpx.MockTransport(DialectServer("tei", read_tokenizer(cross_encoder_folder)))
    reranker = HttpPairReranker(cross_encoder_folder, options(), TEI_RERANK, transport=server)
    await reranker.start()
    yield reranker
    await reranker.close()
