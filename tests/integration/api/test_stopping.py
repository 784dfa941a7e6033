"""How a server ends: what is under way is answered, what is new is sent elsewhere, and the end comes in time."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from app.http import error_handlers
from app.http.server.in_flight import InFlightMiddleware, InFlightRequests
from app.http.server.run import Server, connections_of, server_config
from app.node.last_resort import descendants
from app.settings import load_settings
from app.telemetry.metrics import Metrics
from tests.support.waiting import until


@dataclass
class Stopping:
    http: httpx.AsyncClient
    server: Server
    in_flight: InFlightRequests
    task: "asyncio.Task[None]"
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop(self) -> None:
        self.server.should_exit = True
        await until(lambda: self.in_flight.stopping)


def application(node: "list[Stopping]") -> FastAPI:
    app = FastAPI()
    error_handlers.install(app)

    @app.get("/wait")
    async def wait() -> dict[str, bool]:
        node[0].reached.set()
        await node[0].release.wait()
        return {"ok": True}

    @app.get("/stream")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            node[0].reached.set()
            await node[0].release.wait()
            yield b"last"

        return StreamingResponse(parts())

    @app.get("/stubborn")
    async def stubborn() -> None:
        node[0].reached.set()
        while not node[0].release.is_set():
            try:
                await node[0].release.wait()
            except asyncio.CancelledError:
                continue

    @app.get("/health/live")
    @app.post("/embed")
    async def answered() -> dict[str, bool]:
        return {"ok": True}

    return app


@asynccontextmanager
async def serving(drain_seconds: float) -> AsyncIterator[Stopping]:
    node: list[Stopping] = []
    app, in_flight = application(node), InFlightRequests()
    app.add_middleware(InFlightMiddleware, in_flight=in_flight)
    settings, metrics = load_settings(), Metrics()

    async def drain() -> None:
        await node[0].drained.wait()

    config = server_config(app, settings, connections_of(settings, metrics), stop_seconds=1)
    server = Server(config, in_flight, drain, drain_seconds=drain_seconds)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            node.append(Stopping(http, server, in_flight, asyncio.create_task(server.serve(sockets=[listener]))))
            await until(lambda: server.started)
            try:
                yield node[0]
            finally:
                node[0].release.set()
                node[0].drained.set()
                server.should_exit = True
                await node[0].task


async def test_what_is_under_way_is_answered_and_what_is_new_sent_elsewhere() -> None:
    async with serving(drain_seconds=60) as node:
        assert (await node.http.get("/health/live")).headers.get("connection") != "close"  # a connection that is kept
        asking = asyncio.create_task(node.http.get("/wait"))
        await node.reached.wait()
        await node.stop()
        for method, path in (("GET", "/wait"), ("POST", "/search"), ("GET", "/")):
            refused = await node.http.request(method, path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
            assert refused.headers["connection"] == "close"
            assert int(refused.headers["retry-after"]) > 0
        for method, path in (("GET", "/health/live"), ("POST", "/embed")):
            assert (await node.http.request(method, path)).status_code == 200
        node.release.set()
        answer = await asking
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        node.drained.set()
        await asyncio.wait_for(node.task, 10)


async def test_what_is_not_done_in_time_is_told_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with serving(drain_seconds=0.2) as node:
            asking = asyncio.create_task(node.http.get("/wait"))
            await node.reached.wait()
            await node.stop()
            answer = await asking
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
            assert answer.headers["connection"] == "close"
            assert int(answer.headers["retry-after"]) > 0
            node.drained.set()
            await asyncio.wait_for(node.task, 10)
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_answer_that_has_begun_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        async with serving(drain_seconds=0.2) as node, node.http.stream("GET", "/stream") as answer:
            await node.reached.wait()
            await node.stop()
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
            node.drained.set()
            await asyncio.wait_for(node.task, 10)
    assert not [record for record in caplog.records if record.exc_info]


async def test_work_that_cannot_be_cancelled_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.server.in_flight.CANCEL_SECONDS", 0.1)
    async with serving(drain_seconds=0.1) as node:
        asking = asyncio.create_task(node.http.get("/stubborn"))
        await node.reached.wait()
        node.drained.set()
        await node.stop()
        await asyncio.wait_for(node.task, 10)
        asking.cancel()


STUCK = """
import subprocess, sys, threading
from app.node.last_resort import end_after
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
end_after(0.5)
def compute():
    while True:
        pass
threading.Thread(target={work}).start()
"""
KEEPS_PYTHONS_LOCK = "lambda: sum(iter(int, 1))"


def stuck(work: str) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-c", STUCK.format(work=work)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_a_process_whose_library_keeps_the_lock_ends_all_the_same() -> None:
    process = stuck(KEEPS_PYTHONS_LOCK)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert process.wait(30) == -signal.SIGALRM
    os.kill(child, signal.SIGKILL)


def test_a_process_that_a_thread_holds_up_ends_with_its_children() -> None:
    process = stuck("compute")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert child in descendants(process.pid)
    assert process.wait(30) == 1
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # no file of ours
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
