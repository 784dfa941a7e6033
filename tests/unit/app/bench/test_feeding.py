"""The feeder against a node that finishes so many documents between two polls."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.cli.bench.load import feeding
from app.cli.bench.load.corpus import MadeUpCorpus
from app.cli.bench.load.feeding import LEAST_AHEAD, Feeder, Feeding, FeedingFailed
from app.cli.bench.measures import Point
from app.cli.bench.node import least_ahead
from app.settings import Settings

CORPUS = MadeUpCorpus(words=5)


class Node:
    """Takes jobs in order, and finishes `pace` documents with every poll of the oldest unfinished one."""

    def __init__(self, pace: int, *, refuse: int = 0, fail: bool = False) -> None:
        self.pace = pace
        self.refuse = refuse
        self.fail = fail
        self.jobs: dict[str, list[str]] = {}
        self.done: dict[str, int] = {}
        self.cancelled: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/ingest":
            if self.refuse:
                self.refuse -= 1
                return httpx.Response(429, headers={"Retry-After": "0"})
            name = f"job{len(self.jobs)}"
            self.jobs[name] = [each["id"] for each in json.loads(request.content)["documents"]]
            self.done[name] = 0
            return httpx.Response(202, json={"job_id": name})
        name = path.split("/")[2]
        if path.endswith("/cancel"):
            self.cancelled.append(name)
            return httpx.Response(200, json={})
        oldest = next((job for job, ids in self.jobs.items() if self.done[job] < len(ids)), None)
        if name == oldest:
            self.done[name] = min(len(self.jobs[name]), self.done[name] + self.pace)
        done = self.done[name]
        progress = {"done": done, "failed": int(self.fail and done > 0), "chunks": 2 * done, "tokens": 7 * done}
        receipts = [{"id": "d0", "error": {"code": "parse_failed"}}]
        return httpx.Response(200, json={"progress": progress, "documents": receipts})


async def feed(node: Callable[[httpx.Request], httpx.Response], count: int | None) -> tuple[Feeder, list[Point]]:
    points: list[Point] = []
    http = httpx.AsyncClient(transport=httpx.MockTransport(node), base_url="http://node")
    asked = Feeding("http://node", None, "docs", CORPUS.spec(), first=100, count=count, documents=20, least_ahead=100)
    feeder = Feeder(http, asked, CORPUS, points.append)
    await feeder.run()
    return feeder, points


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "POLL_SECONDS", 0)
    monkeypatch.setattr(feeding, "LAST_POLL_SECONDS", 0)
    monkeypatch.setattr(feeding, "AHEAD_SECONDS", 0)


async def test_every_document_is_sent_once_and_the_last_receipt_ends_it() -> None:
    node = Node(pace=30)
    _, points = await feed(node, 350)
    sent = [name for ids in node.jobs.values() for name in ids]
    assert sorted(sent) == sorted(f"d{number}" for number in range(100, 450))
    assert (points[-1].documents, points[-1].chunks, points[-1].tokens) == (350, 700, 2450)
    assert points[-1].waiting == 0
    assert points[0].documents == 0
    progress = [point.documents for point in points]
    assert progress == sorted(progress)


async def test_no_more_is_under_way_than_keeps_the_node_busy() -> None:
    _, points = await feed(Node(pace=5), 400)
    waiting = [point.waiting for point in points]
    # Each of the senders that find room sends one request more.
    assert max(waiting) <= 100 + feeding.SENDERS * 20
    steady = [point.waiting for point in points if 50 < point.documents < 250]
    assert min(steady) >= 100 - 20


@pytest.mark.parametrize(("least_ahead", "senders"), [(LEAST_AHEAD, feeding.SENDERS), (9216, 9)])
async def test_the_more_is_to_be_under_way_the_more_requests_are_sent_at_once(least_ahead: int, senders: int) -> None:
    node, sent = Node(pace=1000), 0
    all_sent = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        if request.method == "POST":
            sent += 1
            if sent == senders:
                await asyncio.sleep(0.01)  # for those that would be too many
                assert sent == senders
                all_sent.set()
            await all_sent.wait()
        return node(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(slow), base_url="http://node") as http:
        asked = Feeding("http://node", None, "docs", CORPUS.spec(), 0, 1000, documents=20, least_ahead=least_ahead)
        await asyncio.wait_for(Feeder(http, asked, CORPUS, lambda _: None).run(), 10)


@pytest.mark.parametrize(
    ("documents", "rate", "seconds"), [(1000, 0.0, 0.5), (1000, 100.0, 0.5), (300, 100.0, 0.3), (20, 100.0, 0.1)]
)
def test_it_asks_more_often_towards_the_end(
    monkeypatch: pytest.MonkeyPatch, documents: int, rate: float, seconds: float
) -> None:
    monkeypatch.undo()  # the real intervals
    assert feeding.until_next_poll(documents, rate) == pytest.approx(seconds)


async def test_a_full_queue_is_waited_for() -> None:
    node = Node(pace=50, refuse=3)
    _, points = await feed(node, 100)
    assert points[-1].documents == 100
    assert sum(map(len, node.jobs.values())) == 100


async def test_a_document_that_fails_ends_it() -> None:
    with pytest.raises(FeedingFailed, match=r"1 documents failed, 'd0' with .*parse_failed"):
        await feed(Node(pace=10, fail=True), 100)


async def test_a_refusal_ends_it() -> None:
    with pytest.raises(FeedingFailed, match="answered 404 to /ingest"):
        await feed(lambda _: httpx.Response(404, text="no collection"), 10)


@pytest.mark.parametrize(
    ("changed", "documents"),
    [
        ({"workers": 3}, LEAST_AHEAD),
        ({"worker_processes": 24, "workers": 4, "worker_batch": 64, "milvus_uri": "http://milvus:19530"}, 12_288),
    ],
)
def test_twice_of_what_workers_hold_is_under_way(changed: dict[str, Any], documents: int) -> None:
    assert least_ahead(Settings(**changed)) == documents


def test_of_a_node_with_unknown_settings_a_fixed_number_is_under_way() -> None:
    assert least_ahead(None) == LEAST_AHEAD
