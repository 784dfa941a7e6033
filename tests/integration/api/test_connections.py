"""Connections, heads and bodies of callers who mean no good: bounded, and nobody else waits for them."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from app.http.server import connections as connections_module
from app.http.server.connections import ConnectionOptions, Connections
from app.http.server.occupancy import Occupancy
from app.http.server.run import server_config
from app.node import descriptors
from app.settings import load_settings
from app.telemetry.metrics import Metrics
from tests.support.waiting import until

OPTIONS = ConnectionOptions(request_seconds=0.4, reading_seconds=0.4, bytes_per_second=1000)
PATIENT = ConnectionOptions(request_seconds=60)
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
ECHO = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


@dataclass
class Bounded:
    port: int
    connections: Connections
    metrics: Metrics
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, data: bytes = b"", receive_buffer: int | None = None) -> "Caller":
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        caller = Caller(*await asyncio.open_connection(sock=sock))
        caller.writer.write(data)
        return caller

    async def exchange(self, data: bytes) -> "Answer":
        return await (await self.open(data)).answer()

    async def is_live(self) -> bool:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{self.port}/health/live")).status_code == 200

    def refused(self, reason: str) -> float:
        return self.metrics.registry.get_sample_value("tandem_http_refused_total", {"reason": reason}) or 0

    def open_now(self) -> float:
        return self.metrics.registry.get_sample_value("tandem_http_connections") or 0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


@dataclass
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        status, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        """Waits until the other end closes; whatever it still sends is read."""
        try:
            return await asyncio.wait_for(self.reader.read(), 20) is not None
        except ConnectionError:
            return True


def application(bounded: Callable[[], Bounded]) -> FastAPI:
    app = FastAPI()

    @app.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(str(len(await request.body())))

    @app.post("/refused")
    async def refused() -> Response:
        return Response(status_code=413, headers={"Connection": "close", "Content-Length": "0"})

    @app.get("/wait")
    async def wait() -> dict[str, bool]:
        await bounded().release.wait()
        return {"ok": True}

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * 20_000_000)

    return app


@asynccontextmanager
async def serving(
    options: ConnectionOptions = OPTIONS, *, total: int = 100, per_address: int = 100, **settings: Any
) -> AsyncIterator[Bounded]:
    metrics = Metrics()
    connections = Connections(Occupancy(total=total, per_address=per_address), options, metrics)
    app = application(lambda: found)
    config = server_config(app, load_settings(**settings), connections, stop_seconds=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        found = Bounded(listener.getsockname()[1], connections, metrics)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield found
        finally:
            found.release.set()
            server.should_exit = True
            await task


@pytest.fixture(autouse=True)
def _sweeps_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "SWEEP_SECONDS", 0.05)


TOO_LARGE = {
    "a header without end": GET + b"X: " + b"a" * 300_000,
    "a large header": GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "a header name without end": GET + b"X" * 300_000,
    "many headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n",
    "many headers without end": GET + b"X: aaaaaaaaaaaaaaaa\r\n" * 20_000,
    "large headers together": GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 10_000) for n in range(10)) + b"\r\n",
    "a request line without end": b"GET /" + b"a" * 300_000,
    "a long request line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "line breaks without end": b"\r\n" * 100_000,
    "trailers without end": ECHO + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"X: a\r\n" * 200,
    "a trailer without end": ECHO + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: " + b"a" * 300_000,
    "a chunk extension without end": ECHO + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 300_000,
}


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE.keys())
async def test_heads_are_bounded_before_they_are_kept(data: bytes) -> None:
    async with serving(PATIENT) as server:
        caller = await server.open(data)
        found = await caller.answer()
        assert (found.status, found.code) == (431, "head_too_large")
        assert found.headers["connection"] == "close"
        assert await caller.is_closed()
        assert await server.is_live()


async def test_heads_within_the_bounds_are_read_however_they_are_cut() -> None:
    data = GET + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 600) for number in range(90)) + b"\r\n"
    async with serving(PATIENT) as server:
        for size in (1, 1000, len(data)):
            caller = await server.open()
            for start in range(0, len(data), size):
                caller.writer.write(data[start : start + size])
                if size > 1 or start % 1000 == 0:
                    await caller.writer.drain()
            assert (await caller.answer()).status == 200


MALFORMED = {
    "a length and chunks": ECHO + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks that are not last": ECHO + b"Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": ECHO + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    "a negative length": ECHO + b"Content-Length: -5\r\n\r\n",
    "a chunk that is too large to count": ECHO + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "words": b"hello\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    async with serving(PATIENT) as server:
        caller = await server.open(data)
        found = await caller.answer()
        assert (found.status, found.code) == (400, "malformed_request")
        assert await caller.is_closed()


async def test_requests_that_wait_for_an_answer_are_bounded() -> None:
    async with serving(PATIENT) as server:
        caller = await server.open(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + (GET + b"\r\n") * 100)
        assert await caller.is_closed()
        few = await server.open((GET + b"\r\n") * 10)
        assert [(await few.answer()).status for _ in range(10)] == [200] * 10


@pytest.mark.parametrize(
    "data",
    [b"", b"GET", GET, GET + b"X-A: ", b"\r\n", GET + b"\r\n"],
    ids=["nothing", "a method", "half a head", "half a header", "a line break", "a line break after a request"],
)
async def test_a_head_that_does_not_come_ends_the_connection(data: bytes) -> None:
    async with serving(keep_alive_seconds=60) as server:
        caller = await server.open(data)
        if data.endswith(b"\r\n\r\n"):
            assert (await caller.answer()).status == 200
            caller.writer.write(b"\r\n")
        found = await caller.answer()
        assert (found.status, found.code) == (408, "request_timeout")
        assert await caller.is_closed()
        assert server.refused("request_timeout") == 1


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"]
)
@pytest.mark.parametrize("drip", [False, True])
async def test_a_body_that_does_not_come_ends_the_connection(framing: bytes, drip: bool) -> None:
    async with serving() as server:
        caller = await server.open(ECHO + framing)

        async def write() -> None:
            while drip:
                caller.writer.write(b"1\r\na\r\n")
                await asyncio.sleep(0.02)

        writing = asyncio.create_task(write())
        found = await caller.answer()
        writing.cancel()
        assert (found.status, found.code) == (408, "request_timeout")
        assert await server.is_live()


async def test_a_body_that_comes_slowly_enough_is_read() -> None:
    async with serving(replace(OPTIONS, bytes_per_second=100)) as server:
        caller = await server.open(ECHO + b"Content-Length: 1000\r\n\r\n")
        for _ in range(20):
            caller.writer.write(b"a" * 50)
            await asyncio.sleep(0.05)
        assert (await caller.answer()).body == b"1000"


async def test_an_answer_that_is_not_taken_ends_the_connection() -> None:
    async with serving() as server:
        caller = await server.open(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer=4096)
        await until(lambda: server.open_now() == 1)
        await until(lambda: server.open_now() == 0)
        assert server.refused("reading") == 1
        caller.writer.close()


async def test_a_slow_answer_of_ours_is_waited_for() -> None:
    async with serving() as server:
        caller = await server.open(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1)
        server.release.set()
        assert (await caller.answer()).status == 200


async def test_an_idle_connection_ends() -> None:
    async with serving(PATIENT, keep_alive_seconds=1) as server:
        caller = await server.open(GET + b"\r\n")
        assert (await caller.answer()).status == 200
        assert await caller.is_closed()


async def test_an_answer_before_the_whole_body_came_is_not_lost() -> None:
    """A reset would throw away what the caller has not read yet."""
    async with serving(PATIENT) as server:
        caller = await server.open(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(20):
            caller.writer.write(b"a" * 100_000)
            await asyncio.sleep(0.01)
        assert (await caller.answer()).status == 413
        assert await caller.is_closed()


async def test_connections_are_bounded_and_health_is_answered_all_the_same() -> None:
    async with serving(PATIENT, total=5) as server:
        held = [await server.open(GET) for _ in range(5)]
        await until(lambda: server.open_now() == 5)
        for _ in range(3):
            assert await server.is_live()
        found = await server.exchange(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (found.status, found.code) == (503, "too_many_connections")
        assert int(found.headers["retry-after"]) > 0
        # Those that are kept for health are not kept by others, either.
        more = [await server.open() for _ in range(connections_module.RESERVED)]
        await until(lambda: server.open_now() == 5 + connections_module.RESERVED)
        beyond = await server.open(GET + b"\r\n")
        assert (await beyond.answer()).status == 503
        assert await beyond.is_closed()
        await until(lambda: server.open_now() == 5)
        assert await server.is_live()
        for caller in (*held, *more):
            caller.writer.close()
        await until(lambda: server.open_now() == 0)
        assert (await server.exchange(ECHO + b"Content-Length: 1\r\n\r\na")).status == 200


async def test_what_is_left_of_file_descriptors_bounds_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(PATIENT, total=100) as server:
        assert server.connections.bound == 100
        monkeypatch.setattr(descriptors, "limit", lambda: 420)
        caller = await server.open(GET)
        await until(lambda: server.connections.bound == 20)
        caller.writer.close()
