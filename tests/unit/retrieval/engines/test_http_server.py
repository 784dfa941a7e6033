"""The HTTP engine against servers that misbehave; sound servers are real ones, in the contract suites."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence

import httpx
import numpy as np
import orjson
import pytest

from retrieval.engines.http.connection import MAX_FAILED_PROBES, HttpConnection
from retrieval.engines.http.dialects.dialect import Dialect
from retrieval.engines.http.dialects.vllm import VLLM_EMBED, VLLM_RERANK
from retrieval.engines.http.server import HttpEngine, HttpServerOptions
from retrieval.errors import EngineDead, EngineFailed, NotReady, TandemError, Unavailable
from retrieval.types import Lane, TokenIds

Handler = Callable[[httpx.Request], httpx.Response]
PROMPTS = [[1, 2, 3], [4], [5, 6]]
BYTES = {"encoding_format": "bytes_only", "endianness": "little"}
VECTORS = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]


def _base64(vector: Sequence[float]) -> str:
    return b64encode(np.array(vector, dtype="<f4").tobytes()).decode()


def _reply(embeddings: Sequence[object], indices: Sequence[int] | None = None) -> dict[str, object]:
    order = range(len(embeddings)) if indices is None else indices
    return {"data": [{"index": index, "embedding": vector} for index, vector in zip(order, embeddings, strict=True)]}


def _probs(*scores: object) -> dict[str, object]:
    return {"data": [{"index": index, "probs": score} for index, score in enumerate(scores)]}


class Server:
    """Answers /health with 200 and everything else by `handler`; keeps the requests' bodies."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            return httpx.Response(200)
        self.requests.append(request)
        return self.handler(request)

    @property
    def bodies(self) -> list[dict[str, object]]:
        return [orjson.loads(request.content) for request in self.requests]


async def _engine(server: Handler, dialect: Dialect[TokenIds] = VLLM_EMBED, **options: object) -> HttpEngine[TokenIds]:
    settings = HttpServerOptions(url="http://model.test", model="tiny", **options)  # type: ignore[arg-type]
    engine = HttpEngine(settings, dialect, transport=httpx.MockTransport(server))
    await engine.start()
    return engine


async def _encode(response: httpx.Response, dialect: Dialect[TokenIds] = VLLM_EMBED) -> list[np.ndarray]:
    engine = await _engine(Server(lambda request: response), dialect)
    try:
        return await engine.encode(PROMPTS, lane=Lane.BULK)
    finally:
        await engine.close()


async def test_vectors_come_back_in_the_order_of_the_prompts() -> None:
    shuffled = _reply([_base64(VECTORS[2]), _base64(VECTORS[0]), _base64(VECTORS[1])], indices=[2, 0, 1])
    outputs = await _encode(httpx.Response(200, json=shuffled))
    np.testing.assert_allclose(np.stack(outputs), VECTORS, rtol=1e-6)
    assert all(output.dtype == np.float32 and output.flags.writeable for output in outputs)


async def test_a_server_without_base64_may_answer_numbers() -> None:
    numbers = _reply([[2.0, 0.0], [0.0, 0.5], [3.0, 4.0]])  # nor need it normalise
    np.testing.assert_allclose(np.stack(await _encode(httpx.Response(200, json=numbers))), VECTORS, rtol=1e-6)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (_reply([_base64(vector) for vector in VECTORS[:2]]), "2 results"),
        (_reply([_base64(vector) for vector in VECTORS], indices=[0, 1, 1]), "3 inputs"),
        (_reply([_base64([1.0, float("nan")])] * 3), "not finite"),
        (_reply([_base64([1.0, 0.0]), _base64([1.0, 0.0]), _base64([1.0])]), "dimensions"),
        (_reply(["%%%"] * 3), "base64"),
        (_reply([b64encode(b"abcde").decode()] * 3), "base64"),
        (_reply([""] * 3), "shape"),
        (_reply([[[1.0]]] * 3), "shape"),
        (_reply([[0.0, 0.0]] * 3), "direction"),
        (_reply([None] * 3), "numbers|shape|not finite"),
        ({"data": None}, "JSON"),
        ({"data": [{"embedding": "AAAA"}] * 3}, "JSON"),
        ({"object": "list"}, "JSON"),
        ([], "JSON"),
    ],
)
async def test_a_malformed_embedding_reply_is_refused(reply: object, words: str) -> None:
    with pytest.raises(EngineFailed, match=words):
        await _encode(httpx.Response(200, content=orjson.dumps(reply)))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (_probs([0.2, 0.8], [0.1, 0.9], [0.5, 0.5]), "hf_overrides"),
        (_probs([0.2], [0.3], [1.5]), "1.5"),
        (_probs([0.2], [0.3], [None]), "nan"),
        (_probs([0.2], [0.3], ["high"]), "not a number"),
        (_probs([0.2], [0.3], 0.4), "one probability"),
    ],
)
async def test_a_malformed_classification_is_refused(reply: object, words: str) -> None:
    with pytest.raises(EngineFailed, match=words):
        await _encode(httpx.Response(200, content=orjson.dumps(reply)), VLLM_RERANK)


async def test_a_page_instead_of_an_answer_is_refused() -> None:
    with pytest.raises(EngineFailed, match="model server"):
        await _encode(httpx.Response(200, html="<html><body>It works!</body></html>"))


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (httpx.Response(400, json={"error": {"message": "maximum context length is 512"}}), EngineFailed, "length is"),
        (httpx.Response(401, json={"error": "Unauthorized"}), EngineFailed, "401: Unauthorized"),
        (httpx.Response(404, json={"detail": "Not Found"}), EngineFailed, "404: Not Found"),
        (httpx.Response(422, text="no"), EngineFailed, "422: no"),
        (httpx.Response(429, text="busy"), Unavailable, "429: busy"),
        (httpx.Response(500, html="<h1>Oops</h1>"), Unavailable, "500"),
        (httpx.Response(503, json={"message": "warming up"}), Unavailable, "warming up"),
    ],
)
async def test_statuses_become_errors_with_the_server_s_words(
    response: httpx.Response, error: type[TandemError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        await _encode(response)
    assert type(caught.value) is error


async def test_overload_tells_when_to_come_back() -> None:
    with pytest.raises(Unavailable) as caught:
        await _encode(httpx.Response(429, headers={"Retry-After": "7"}))
    assert caught.value.retryable
    assert caught.value.detail["retry_after"] == 7
    with pytest.raises(Unavailable) as caught:
        await _encode(httpx.Response(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}))
    assert "retry_after" not in caught.value.detail


async def test_the_server_s_words_are_cut() -> None:
    with pytest.raises(EngineFailed) as caught:
        await _encode(httpx.Response(400, text="x" * 10_000))
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ConnectError, EngineDead),
        (httpx.RemoteProtocolError, EngineDead),
        (httpx.ReadError, EngineDead),
        (httpx.ReadTimeout, Unavailable),
        (httpx.ConnectTimeout, Unavailable),
        (httpx.DecodingError, Unavailable),
    ],
)
async def test_a_broken_connection_is_retryable(raised: type[httpx.RequestError], error: type[TandemError]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise raised("gone")

    engine = await _engine(Server(fail))
    with pytest.raises(error) as caught:
        await engine.encode(PROMPTS, lane=Lane.BULK)
    assert caught.value.retryable
    assert (engine.failure is not None) == (error is EngineDead)
    await engine.close()


def _echo(request: httpx.Request) -> httpx.Response:
    """Answers each prompt with the direction of (its first token, its length)."""
    prompts = orjson.loads(request.content)["input"]
    return httpx.Response(200, json=_reply([_base64([ids[0], len(ids)]) for ids in prompts]))


async def test_requests_are_bounded_in_inputs_and_tokens_and_joined_in_order() -> None:
    server = Server(_echo)
    engine = await _engine(server, inputs_per_request=3, tokens_per_request=10)
    lengths = [2, 2, 2, 2, 9, 30, 1, 1]
    prompts = [[number] * length for number, length in enumerate(lengths)]
    outputs = await engine.encode(prompts, lane=Lane.BULK)
    assert [output[0] / output[1] * length for output, length in zip(outputs, lengths, strict=True)] == pytest.approx(
        list(range(len(lengths)))
    )
    sizes = sorted([len(ids) for ids in body["input"]] for body in server.bodies)  # type: ignore[attr-defined]
    assert sizes == sorted([[2, 2, 2], [2], [9], [30], [1, 1]])
    await engine.close()


async def test_nothing_to_encode_asks_nothing() -> None:
    server = Server(_echo)
    engine = await _engine(server)
    assert await engine.encode([], lane=Lane.BULK) == []
    assert server.requests == []
    await engine.close()


async def test_what_a_request_carries() -> None:
    server = Server(_echo)
    engine = await _engine(server, api_key="secret", send_priority=True)
    await engine.encode([[7, 8]], lane=Lane.BULK, dimensions=2)
    await engine.encode([[7, 8]], lane=Lane.INTERACTIVE)
    assert server.bodies == [
        {"model": "tiny", "input": [[7, 8]], **BYTES, "dimensions": 2, "priority": 1},
        {"model": "tiny", "input": [[7, 8]], **BYTES, "priority": 0},
    ]
    assert server.requests[0].url.path == "/v1/embeddings"
    assert server.requests[0].headers["Authorization"] == "Bearer secret"
    assert "secret" not in repr(engine.options)
    await engine.close()


async def test_priority_is_not_sent_unless_the_server_takes_it() -> None:
    server = Server(_echo)
    engine = await _engine(server)
    await engine.encode([[7]], lane=Lane.BULK)
    assert "priority" not in server.bodies[0]
    await engine.close()


async def test_bulk_work_never_holds_the_search_back() -> None:
    release = asyncio.Event()
    waiting = 0

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal waiting
        if request.url.path != "/health" and orjson.loads(request.content)["priority"] == Lane.BULK:
            waiting += 1
            await release.wait()
        return httpx.Response(200) if request.url.path == "/health" else _echo(request)

    engine = HttpEngine(
        HttpServerOptions(
            url="http://model.test",
            model="tiny",
            inputs_per_request=1,
            requests_at_once=2,
            send_priority=True,
        ),
        VLLM_EMBED,
        transport=httpx.MockTransport(handle),
    )
    await engine.start()
    bulk = asyncio.create_task(engine.encode([[number] for number in range(1, 6)], lane=Lane.BULK))
    assert len(await engine.encode([[9]], lane=Lane.INTERACTIVE)) == 1
    assert waiting == 2
    release.set()
    assert [output[0] / output[1] for output in await bulk] == pytest.approx([1, 2, 3, 4, 5])
    await engine.close()


async def test_failure_follows_the_server() -> None:
    probes = 0
    seen = asyncio.Event()

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal probes
        probes += 1
        if probes == 3:
            seen.set()  # the answer to the second probe has been taken in
        return httpx.Response(503 if probes == 1 else 404)  # away, then alive without such a path

    engine = HttpEngine(
        HttpServerOptions(url="http://model.test", model="tiny", probe_seconds=0.001),
        VLLM_EMBED,
        transport=httpx.MockTransport(handle),
    )
    with pytest.raises(NotReady):
        await engine.encode(PROMPTS, lane=Lane.BULK)
    assert engine.failure is not None
    await engine.start()
    assert "503" in (engine.failure or "")
    await asyncio.wait_for(seen.wait(), 5)
    assert engine.failure is None
    await engine.close()
    await engine.close()
    assert "closed" in (engine.failure or "")
    with pytest.raises(EngineDead):
        await engine.encode(PROMPTS, lane=Lane.BULK)


async def test_a_server_that_hangs_is_asked_nothing_until_it_answers_a_probe() -> None:
    hangs = False

    def handle(request: httpx.Request) -> httpx.Response:
        if hangs:
            raise httpx.ReadTimeout("hangs")
        return httpx.Response(200)

    server = Server(_echo)
    connection = HttpConnection(
        "http://model.test",
        api_key=None,
        requests_at_once=1,
        timeout_seconds=60,
        probe_path="/health",
        probe_seconds=60,
        check=lambda response: None,
        transport=httpx.MockTransport(lambda request: handle(request) if request.method == "GET" else server(request)),
    )
    connection.open()
    body = b'{"input": [[1]]}'
    await connection.post("/v1/embeddings", body, Lane.INTERACTIVE)
    hangs = True
    for _ in range(MAX_FAILED_PROBES):
        await connection.post("/v1/embeddings", body, Lane.INTERACTIVE)  # alive, whatever becomes of probes
        await connection.look()
    assert connection.failure is not None
    for _ in range(MAX_FAILED_PROBES):
        await connection.look()
    with pytest.raises(EngineDead, match="it hangs"):
        await connection.post("/v1/embeddings", body, Lane.INTERACTIVE)
    assert len(server.requests) == 1 + MAX_FAILED_PROBES
    hangs = False
    await connection.look()
    assert connection.failure is None
    await connection.post("/v1/embeddings", body, Lane.INTERACTIVE)
    await connection.close()


async def test_an_answer_that_never_ends_is_late() -> None:
    """Though each of its pieces comes in time."""

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0)

    engine = await _engine(Server(lambda request: httpx.Response(200, content=pieces())), timeout_seconds=0.01)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await engine.encode(PROMPTS, lane=Lane.INTERACTIVE)
    await engine.close()
