"""Slow, broken and hostile clients by the hundred, while others search."""

import asyncio

import psutil
import pytest

from tests.support.faults.chaos import Figure
from tests.support.faults.hostile import asking, attacking, dripping, leaving, listening_on, pouring, request, silent
from tests.support.nodes.ingesting import CHUNKING, a_text
from tests.support.nodes.load import a_question, closed_loop
from tests.support.nodes.served_node import API_KEY, REQUEST_S, SEARCH_DEADLINE_S, ServedNodeUnderLoad

NORMAL_CLIENTS = 3
WORST_SEARCH_S = 2.0
"""In the long form, with four times as many of them, it is the deadline that every search has."""
MARGIN_S = 3.0
"""For a machine that is busy with other things."""
MOST_GROWTH_MB = 150
KEY = f"Authorization: Bearer {API_KEY}"
MB = 2**20


def bodied(path: str, body: bytes, *headers: str) -> bytes:
    """A whole request."""
    return request(path, f"Content-Length: {len(body)}", *headers) + b"\r\n" + body


def wide(unit: bytes, size: int) -> bytes:
    return b"[" + unit * (size // len(unit)) + unit[:-1] + b"]"


@pytest.mark.timeout(600)
async def test_searches_go_on_while_hostile_clients_do_what_they_can(
    outside: ServedNodeUnderLoad, long_form: bool, figure: Figure
) -> None:
    seconds = 60 if long_form else 5
    scale = 4 if long_form else 1
    process = psutil.Process(outside.process.pid)
    async with outside.client() as http:
        names = [f"attack {number}" for number in range(4)]
        await outside.ingest(http, {name: a_text(name, 20) for name in names})
        alone = await closed_loop(http, clients=NORMAL_CLIENTS, seconds=1)
        outside.models.document_seconds = 3600.0
        # Of several chunks: models keep only those waiting.
        body = {"documents": [{"id": "waiting", "text": a_text("waiting", 20)}], "chunking": CHUNKING}
        job = (await http.post("/ingest", json=body)).json()["job_id"]
        before, files = outside.megabytes(), process.num_fds()
        question = str(dict(a_question())).replace("'", '"').encode()
        attacks = {
            "connections that say nothing": (30 * scale, silent()),
            "headers byte by byte": (50 * scale, dripping(request("/search") + b"X-Slow: ")),
            "bodies byte by byte, no key": (
                30 * scale,
                dripping(request("/search", "Content-Length: 1000000") + b'\r\n{"'),
            ),
            "bodies byte by byte": (
                10 * scale,
                dripping(request("/search", "Content-Length: 1000000", KEY) + b'\r\n{"'),
            ),
            "headers without end": (2, pouring(request("/search"), b"X-Many: " + b"a" * 1000 + b"\r\n", 50 * MB)),
            "one header without end": (2, pouring(request("/search") + b"X-Long: ", b"a" * 65536, 50 * MB)),
            "bodies without end, no key": (
                2,
                pouring(
                    request("/ingest", "Transfer-Encoding: chunked") + b"\r\n",
                    b"10000\r\n" + b"[" * 65536 + b"\r\n",
                    50 * MB,
                ),
            ),
            "wide JSON, no key": (1, asking(bodied("/search", b'{"queries":' + wide(b"[],", 10 * MB) + b"}"))),
            "wide JSON": (1, asking(bodied("/search", b'{"queries":' + wide(b"[],", 10 * MB) + b"}", KEY))),
            "wide JSON within the bound": (
                1,
                asking(bodied("/search", b'{"queries":' + wide(b'"",', MB // 2) + b"}", KEY)),
            ),
            "many empty documents": (1, asking(bodied("/ingest", b'{"documents":' + wide(b"{},", MB) + b"}", KEY))),
            "deep JSON": (1, asking(bodied("/search", b'{"query":"x","filter":' + b'{"a":' * 50_000 + b"1", KEY))),
            "searches that nobody waits for": (2, leaving(bodied("/search", question, KEY))),
            "streams of one job": (
                60 * scale,
                listening_on(request(f"/jobs/{job}/events", KEY, method="GET") + b"\r\n"),
            ),
        }
        async with attacking(int(outside.url.rpartition(":")[2]), attacks) as met:
            await asyncio.sleep(0.5)
            attacked = await closed_loop(http, clients=NORMAL_CLIENTS, seconds=seconds)
            watched = (await http.get(f"/jobs/{job}")).json()
            growth = outside.megabytes() - before
            held = process.num_fds() - files
        outside.models.document_seconds = 0.0
        after = await closed_loop(http, clients=NORMAL_CLIENTS, seconds=1)
        await asyncio.sleep(1)
        left = process.num_fds() - files
        await outside.delete_when_done(http, job, "waiting")
        await outside.check(http)
    figure(f"{NORMAL_CLIENTS} clients alone", str(alone))
    figure("the same among hostile clients", str(attacked))
    for name, what in met.items():
        figure(f"  {attacks[name][0]} x {name}", str(what))
    figure("files held open by hostile clients, and after they left", f"{held}, {left}")
    figure("memory that they cost", f"{growth:+.0f} MB")
    assert not attacked.refused, attacked
    assert attacked.slowest < (SEARCH_DEADLINE_S if long_form else WORST_SEARCH_S)
    assert not after.refused, after
    assert growth < MOST_GROWTH_MB
    for name, what in met.items():
        if name.endswith("no key"):
            assert set(what.ends) <= {"401", "413", "closed"}, (name, what)
            assert what.ends["401"], (name, what)
    for name in ("headers byte by byte", "bodies byte by byte"):
        assert met[name].ends, (name, met[name])
        assert met[name].longest_s < REQUEST_S + MARGIN_S, (name, met[name])
    assert watched["state"] in ("queued", "running"), watched  # a job that has ended has no streams
    assert met["streams of one job"].ends["429"], met["streams of one job"]
