"""A job's events over a real socket. No worker runs: the tests themselves move the documents on in the catalog."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx
import pytest
from httpx_sse import aconnect_sse

import app.http.job_events
from app.cli.client.node_client import Client
from app.main import create_app
from app.node.node import Components
from app.settings import Settings
from ingestion.ports import Catalog
from ingestion.types import Claim, Outcome, WorkerId
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import Listening, listening
from tests.support.nodes.node import real_but_for
from tests.support.waiting import free_port, until

KEY = {"Authorization": "Bearer right"}


@dataclass(frozen=True, slots=True)
class Idle:
    """A node without workers, on a socket."""

    http: httpx.AsyncClient
    components: Components
    listening: Listening

    async def accept(self, documents: int) -> str:
        """A job of new documents."""
        texts = [{"id": uuid4().hex, "text": f"words {uuid4().hex}"} for _ in range(documents)]
        answer = await self.http.post("/ingest", json={"documents": texts})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def events(self, job_id: str) -> AsyncIterator[dict[str, object]]:
        async with aconnect_sse(self.http, "GET", f"/jobs/{job_id}/events") as source:
            async for event in source.aiter_sse():
                assert event.event == "job"
                yield event.json()

    async def open_streams(self) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        return float(next(line for line in lines if line.startswith("tandem_http_streams ")).split()[1])


async def begin(catalog: Catalog, documents: int) -> Sequence[Claim]:
    """What a worker would do with the oldest documents."""
    now = datetime.now(UTC)
    claims = await catalog.claim(WorkerId("test"), limit=documents, lease=timedelta(minutes=5), now=now)
    assert len(claims) == documents
    return claims


async def finish(catalog: Catalog, claims: Sequence[Claim]) -> None:
    now = datetime.now(UTC)
    await catalog.complete([Outcome(claim, chunks=1, tokens=2, searchable_at=now) for claim in claims])


async def work(catalog: Catalog, documents: int) -> None:
    await finish(catalog, await begin(catalog, documents))


async def drain(catalog: Catalog) -> None:
    while depth := await catalog.queue_depth():
        await work(catalog, depth)


def application(folder: Path) -> tuple[Components, object]:
    components = real_but_for(FakeEmbedder(), FakeReranker(), folder)
    settings = Settings(data_dir=folder, selftest_margin=False, workers=0, api_keys="right")  # type: ignore[arg-type]
    return components, create_app(settings, components)


@pytest.fixture(scope="module")
async def idle(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Idle]:
    components, application_ = application(tmp_path_factory.mktemp("idle"))
    async with (
        listening(application_) as found,  # type: ignore[arg-type]
        httpx.AsyncClient(base_url=found.url, headers=KEY, timeout=30) as http,
    ):
        yield Idle(http, components, found)


async def test_a_job_is_told_at_once_at_each_change_and_to_its_end(idle: Idle) -> None:
    catalog = idle.components.catalog
    await drain(catalog)
    job_id = await idle.accept(3)
    told: list[tuple[object, object]] = []
    claims: Sequence[Claim] = ()
    began = monotonic()
    async for job in idle.events(job_id):
        told.append((job["state"], job["progress"]["done"]))  # type: ignore[index]
        assert job.keys() == {"job_id", "collection", "state", "progress", "created_at"}
        if len(told) == 1:
            assert monotonic() - began < 1
            claims = await begin(catalog, 1)
        elif len(told) == 2:
            await work(catalog, 2)
        elif len(told) == 3:
            await finish(catalog, claims)
    assert told == [("queued", 0), ("running", 0), ("running", 2), ("succeeded", 3)]


async def test_the_last_event_is_the_job_that_has_ended(idle: Idle) -> None:
    job_id = await idle.accept(1)
    await idle.http.post(f"/jobs/{job_id}/cancel")
    assert [job["state"] async for job in idle.events(job_id)] == ["cancelled"]


async def test_no_watcher_misses_the_end_however_fast_it_comes(idle: Idle) -> None:
    catalog = idle.components.catalog
    await drain(catalog)
    job_id = await idle.accept(30)

    async def watch() -> list[dict[str, object]]:
        return [job async for job in idle.events(job_id)]

    watching = [asyncio.create_task(watch()) for _ in range(20)]
    for _ in range(10):
        await work(catalog, 1)
        await asyncio.sleep(0.01)
    await idle.http.post(f"/jobs/{job_id}/cancel")
    async with asyncio.timeout(10):
        for told in await asyncio.gather(*watching):
            done = [job["progress"]["done"] for job in told]  # type: ignore[index]
            assert done == sorted(set(done))
            assert (told[-1]["state"], done[-1]) == ("cancelled", 30)
            assert all(job["state"] in ("queued", "running") for job in told[:-1])


async def test_an_unknown_job_is_an_error_of_the_usual_shape(idle: Idle) -> None:
    answer = await idle.http.get("/jobs/none/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


async def test_streams_are_bounded_in_all_and_by_address(idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await idle.accept(1)
    streams = idle.listening.server.config.app.state.streams  # type: ignore[union-attr]
    monkeypatch.setattr(streams, "total", streams.used + 2)
    async with (
        idle.http.stream("GET", f"/jobs/{job_id}/events") as first,
        idle.http.stream("GET", f"/jobs/{job_id}/events"),
    ):
        assert first.status_code == 200
        refused = await idle.http.get(f"/jobs/{job_id}/events")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
    await until(lambda: streams.used < streams.total - 1)
    async with idle.http.stream("GET", f"/jobs/{job_id}/events") as again:
        assert again.status_code == 200
    await idle.http.post(f"/jobs/{job_id}/cancel")


async def test_events_are_guarded_by_keys(idle: Idle) -> None:
    job_id = await idle.accept(1)
    async with httpx.AsyncClient(base_url=idle.listening.url) as stranger:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = await stranger.get(f"/jobs/{job_id}/events", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
            answer = await stranger.post(f"/jobs/{job_id}/cancel", headers=headers)
            assert answer.status_code == 401


async def test_a_client_that_leaves_is_forgotten(idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    job = idle.components.catalog.job

    async def counted(job_id: object) -> object:
        nonlocal asked
        asked += 1
        return await job(job_id)  # type: ignore[arg-type]

    job_id = await idle.accept(1)
    monkeypatch.setattr(idle.components.catalog, "job", counted)
    async with aclosing(idle.events(job_id)) as events:  # type: ignore[type-var]
        await anext(events)  # type: ignore[call-overload]
        assert await idle.open_streams() == 1
    async with asyncio.timeout(5):
        while open_streams := await idle.open_streams():
            assert open_streams == 1
            await asyncio.sleep(0.05)
    before = asked
    await asyncio.sleep(1.5)
    assert asked == before > 0


async def test_a_silent_stream_is_kept_alive(idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.http.job_events, "PING_SECONDS", 0.1)
    job_id = await idle.accept(1)
    async with asyncio.timeout(10), idle.http.stream("GET", f"/jobs/{job_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in _until_pings(stream.aiter_lines(), 3)]
    assert lines[0] == "event: job"
    assert sum(line.startswith(": ping") for line in lines) == 3


async def _until_pings(lines: AsyncIterator[str], pings: int) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        pings -= line.startswith(": ping")
        if not pings:
            return


async def test_a_node_that_stops_ends_its_streams_and_a_watcher_goes_on_with_the_next(tmp_path: Path) -> None:
    port = free_port()
    components, first = application(tmp_path)
    told: list[dict[str, object]] = []

    def watch(job_id: str) -> None:
        with Client(f"http://127.0.0.1:{port}", "right") as client:
            told.extend(client.watch(job_id))

    async with (
        listening(first, port) as found,  # type: ignore[arg-type]
        httpx.AsyncClient(base_url=found.url, headers=KEY, timeout=30) as http,
    ):
        job_id = await Idle(http, components, found).accept(2)
        watching = asyncio.create_task(asyncio.to_thread(watch, job_id))
        await until(lambda: bool(told))
        async with http.stream("GET", f"/jobs/{job_id}/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: job"
            began = monotonic()
            found.server.should_exit = True
            rest = [line async for line in lines]  # raises where the stream is cut off
            assert not any("succeeded" in line for line in rest)
        await found.stop()
        assert monotonic() - began < 8
    components, second = application(tmp_path)
    async with listening(second, port):  # type: ignore[arg-type]
        await work(components.catalog, 2)
        async with asyncio.timeout(30):
            await watching
    assert [job["state"] for job in told][-1] == "succeeded"
    assert told[0]["state"] == "queued"
