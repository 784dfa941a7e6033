"""The embedder of a node against nodes that misbehave, change or are away; a sound one is in the contract suite."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

import httpx
import numpy as np
import orjson
import pytest

from retrieval.engines.remote_node.embedder import NodeChanged, NodeEmbedder, NodeServerOptions
from retrieval.engines.remote_node.replies import tokenizer_digest
from retrieval.errors import (
    ConfigurationError,
    EngineDead,
    EngineFailed,
    InvalidText,
    NotReady,
    StoreFailed,
    TandemError,
    Unavailable,
)
from retrieval.types import Fingerprint, Lane, StoreName
from retrieval.vectors_for import vectors_for
from tests.support.models.fake_models import word_tokenizer
from tests.support.waiting import until

MADE = Fingerprint("model", "0123456789ab", 2, True, "1")
TEXTS = ["a", "b", "c"]


def described(fingerprint: Fingerprint = MADE, **changes: object) -> dict[str, object]:
    tokenizer = tokenizer_digest(word_tokenizer())
    return {
        "fingerprint": asdict(fingerprint) | {"digest": fingerprint.digest},
        "max_tokens": 9,
        "tokenizer": tokenizer,
    } | changes


def embedded(texts: Sequence[str], fingerprint: Fingerprint = MADE, **changes: object) -> dict[str, object]:
    """Each text as the direction of (its first character, its length)."""
    rows = np.array([[ord(text[0]), len(text)] for text in texts], dtype="<f4")
    return {
        "vectors": b64encode(rows.tobytes()).decode(),
        "tokens": [len(text) for text in texts],
        "truncated_tokens": [0] * len(texts),
        "fingerprint": asdict(fingerprint),
    } | changes


def refused(code: str, status: int, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json={"error": {"code": code, "message": "so it is", "detail": {"a": 1}}}, headers=headers
    )


class Node:
    """`describes` and `answers` are what it says next; keeps what it was asked."""

    def __init__(self) -> None:
        self.describes: Callable[[], httpx.Response] = lambda: httpx.Response(200, json=described())
        self.answers: Callable[[list[str]], httpx.Response] = lambda texts: httpx.Response(200, json=embedded(texts))
        self.asked: list[dict[str, object]] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/embed"
        self.requests.append(request)
        if request.method == "GET":
            return self.describes()
        body = orjson.loads(request.content)
        self.asked.append(body)
        return self.answers(body["texts"])


@asynccontextmanager
async def embedding(node: Node, **options: object) -> AsyncIterator[NodeEmbedder]:
    told: list[TandemError] = []
    embedder = NodeEmbedder(
        word_tokenizer(),
        NodeServerOptions("http://node.test", **options),  # type: ignore[arg-type]
        on_changed=told.append,
        transport=httpx.MockTransport(node),
    )
    await embedder.start()
    yield embedder
    await embedder.close()
    assert len(told) == (embedder.failure is not None and "start this process again" in embedder.failure)


async def test_texts_go_in_bounded_requests_and_come_back_in_order() -> None:
    node = Node()
    texts = ["aa", "bb", "cc", "d" * 30, "eé", "f"]
    async with embedding(node, texts_per_request=2, bytes_per_request=10, api_key="secret") as embedder:
        result = await embedder.embed(texts, kind="query", lane=Lane.INTERACTIVE, instruction="Find")
    assert [row.tolist() for row in result.vectors] == [[ord(text[0]), len(text)] for text in texts]
    assert (result.tokens, result.truncated_tokens) == (tuple(map(len, texts)), (0,) * 6)
    assert result.vectors.dtype == np.float32
    assert sorted(body["texts"] for body in node.asked) == [["aa", "bb"], ["cc"], ["d" * 30], ["eé", "f"]]  # type: ignore[type-var]
    assert {key: value for key, value in node.asked[0].items() if key != "texts"} == {
        "kind": "query",
        "lane": "interactive",
        "instruction": "Find",
    }
    assert {request.headers["Authorization"] for request in node.requests} == {"Bearer secret"}
    assert "secret" not in repr(NodeServerOptions("http://node.test", "secret"))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (refused("engine_dead", 503), EngineDead),
        (refused("engine_failed", 502), EngineFailed),
        (refused("not_ready", 503), NotReady),
        (refused("invalid_text", 422), InvalidText),
        (refused("store_failed", 502), StoreFailed),
        (refused("unauthorized", 401), Unavailable),  # a key that was changed is no document's fault
        (refused("internal", 500), Unavailable),
        (refused("too_large", 413), EngineFailed),
        (httpx.Response(404, json={"detail": "Not Found"}), EngineFailed),
        (httpx.Response(502, html="<h1>Bad Gateway</h1>"), Unavailable),
        (httpx.Response(504, json=["?"]), Unavailable),
        (httpx.Response(400, json={"error": "no"}), EngineFailed),
    ],
)
async def test_errors_are_raised_as_what_they_were(response: httpx.Response, error: type[TandemError]) -> None:
    node = Node()
    node.answers = lambda texts: response
    async with embedding(node) as embedder:
        with pytest.raises(error) as caught:
            await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        assert type(caught.value) is error
        assert caught.value.detail["status"] == response.status_code
        assert "http://node.test" in caught.value.message
        assert (embedder.failure is not None) == caught.value.retryable
        node.answers = lambda texts: httpx.Response(200, json=embedded(texts))
        await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        assert embedder.failure is None


@pytest.mark.parametrize(
    ("raised", "error"),
    [(httpx.ConnectError, EngineDead), (httpx.ReadError, EngineDead), (httpx.ReadTimeout, Unavailable)],
)
async def test_a_broken_connection_is_retryable(raised: type[httpx.RequestError], error: type[TandemError]) -> None:
    def fail(texts: list[str]) -> httpx.Response:
        raise raised("gone")

    node = Node()
    node.answers = fail
    async with embedding(node) as embedder:
        with pytest.raises(error):
            await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        assert (embedder.failure is not None) == (error is EngineDead)


async def test_bulk_work_comes_back_to_a_busy_node_and_questions_do_not() -> None:
    node = Node()
    busy = [refused("overloaded", 429, **{"Retry-After": "0"})]
    node.answers = lambda texts: busy.pop() if busy else httpx.Response(200, json=embedded(texts))
    async with embedding(node) as embedder:
        assert len((await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)).vectors) == 3
        assert len(node.asked) == 2
        busy.append(refused("overloaded", 429, **{"Retry-After": "1"}))
        with pytest.raises(Unavailable, match="429"):
            await embedder.embed(TEXTS, kind="query", lane=Lane.INTERACTIVE)
        assert embedder.failure is None  # busy is not away


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (embedded(TEXTS[:2]), "3 vectors"),
        (embedded(TEXTS, tokens=[1]), "1 texts"),
        (embedded(TEXTS, vectors="%%%"), "3 vectors"),
        (embedded(TEXTS, vectors=b64encode(np.full(6, np.nan, "<f4").tobytes()).decode()), "not finite"),
        (embedded(TEXTS) | {"fingerprint": {"model": "x"}}, "3 vectors"),
        (embedded(TEXTS) | {"fingerprint": asdict(MADE) | {"dimension": "2"}}, "3 vectors"),
        ([], "3 vectors"),
    ],
)
async def test_a_malformed_reply_is_refused(reply: object, words: str) -> None:
    node = Node()
    node.answers = lambda texts: httpx.Response(200, json=reply)
    async with embedding(node) as embedder:
        with pytest.raises(EngineFailed, match=words):
            await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)


async def test_another_model_in_an_answer_is_noticed_for_good() -> None:
    node = Node()
    async with embedding(node) as embedder:
        node.answers = lambda texts: httpx.Response(200, json=embedded(texts, replace(MADE, revision="ba9876543210")))
        with pytest.raises(NodeChanged, match="start this process again") as raised:
            await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        node.answers = lambda texts: httpx.Response(200, json=embedded(texts))
        with pytest.raises(NodeChanged):
            await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        assert raised.value.retryable  # the documents are handed back
        assert "start this process again" in (embedder.failure or "")


async def test_a_node_that_computes_other_vectors_of_the_model_is_no_document_s_fault() -> None:
    node = Node()
    async with embedding(node, texts_per_request=2) as embedder:
        with vectors_for(StoreName("docs__é&")):
            await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
            assert [request.url.params.get("store_name") for request in node.requests[1:]] == ["docs__é&"] * 2
            node.answers = lambda texts: refused("fingerprint_mismatch", 409)
            with pytest.raises(NodeChanged, match="so it is") as raised:
                await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        assert (raised.value.retryable, raised.value.code) == (True, "fingerprint_mismatch")
        assert embedder.failure is None  # it serves other collections
        node.answers = lambda texts: httpx.Response(200, json=embedded(texts))
        await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
        assert node.requests[-1].url.query == b""


@pytest.mark.parametrize("now", [described(replace(MADE, model="other")), described(max_tokens=4)])
async def test_another_model_or_window_is_noticed_by_the_probe(now: dict[str, object]) -> None:
    node = Node()
    async with embedding(node, probe_seconds=0.001) as embedder:
        node.describes = lambda: httpx.Response(200, json=now)
        await until(lambda: embedder.failure is not None, seconds=5)
        assert "start this process again" in (embedder.failure or "")


async def test_failure_follows_the_node() -> None:
    node = Node()
    async with embedding(node, probe_seconds=0.001) as embedder:
        node.describes = lambda: refused("engine_dead", 503)
        await until(lambda: embedder.failure is not None, seconds=5)
        assert "so it is" in (embedder.failure or "")
        node.describes = lambda: httpx.Response(200, json=described())
        await until(lambda: embedder.failure is None, seconds=5)


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (refused("not_ready", 503), NotReady, "so it is"),
        (refused("unauthorized", 401), ConfigurationError, "TANDEM_ENGINE_API_KEY"),
        (refused("route_not_found", 404), ConfigurationError, "TANDEM_NODE_URL"),
        (httpx.Response(200, html="<h1>It works!</h1>"), ConfigurationError, "TANDEM_NODE_URL"),
        (httpx.Response(200, json=described(tokenizer="another")), ConfigurationError, "TANDEM_MODELS"),
    ],
)
async def test_a_start_that_cannot_be_can_be_tried_again(
    response: httpx.Response, error: type[TandemError], words: str
) -> None:
    node = Node()
    node.describes = lambda: response
    embedder = NodeEmbedder(
        word_tokenizer(), NodeServerOptions("http://node.test"), transport=httpx.MockTransport(node)
    )
    with pytest.raises(error, match=words):
        await embedder.start()
    assert embedder.failure is not None
    with pytest.raises(NotReady):
        await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    node.describes = lambda: httpx.Response(200, json=described())
    await embedder.start()
    assert (embedder.failure, embedder.fingerprint, embedder.max_tokens) == (None, MADE, 9)
    await embedder.close()
    await embedder.close()
    with pytest.raises(EngineDead):
        await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
