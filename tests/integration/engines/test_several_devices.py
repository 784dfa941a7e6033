"""A node on two devices, for which two groups of real engines on the CPU stand."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.main import create_app
from app.node.node import Node
from app.settings import Settings

pytestmark = [pytest.mark.timeout(900), pytest.mark.many_engines]
BACK_WITHIN_S = 300


@dataclass(frozen=True, slots=True)
class TwoDevices:
    http: httpx.AsyncClient
    node: Node

    @property
    def pids(self) -> dict[str, list[int]]:
        """Of the engines' processes, by device."""
        assert self.node.components.devices
        return {
            device.name: [pid for engine in device.engines.values() for pid in engine.pids]
            for device in self.node.components.devices
        }

    @property
    def embedding(self) -> bool:
        """Whether documents are being embedded."""
        assert self.node.components.devices
        return any(device.gate.bulk_tokens for device in self.node.components.devices)

    async def health(self) -> tuple[int, dict[str, bool], dict[str, int]]:
        """Status, and which devices are well, and their restarts."""
        answer = await self.http.get("/health/ready")
        devices = answer.json()["devices"]
        return (
            answer.status_code,
            {each["name"]: each["ok"] for each in devices},
            {each["name"]: each["restarts"] for each in devices},
        )

    async def up(self) -> dict[str, float]:
        lines = (await self.http.get("/metrics")).text.splitlines()
        found = [line for line in lines if line.startswith("tandem_device_up{")]
        return {line.split('"')[1]: float(line.split()[-1]) for line in found}

    async def search(self) -> dict[str, Any]:
        answer = await self.http.post("/search", json={"query": "which text is it?", "candidates": 10})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert body["rerank"]["applied"] is True, body["rerank"]
        return body

    async def ingest(self, first: int, count: int) -> None:
        documents = [{"id": f"d{number}", "text": f"Text {number}: " + "of words " * 40} for number in
                     range(first, first + count)]  # fmt: skip
        answer = await self.http.post("/ingest", json={"documents": documents, "wait": True})
        assert answer.json()["state"] == "succeeded", answer.text


@pytest.fixture(scope="module")
async def two(
    tmp_path_factory: pytest.TempPathFactory, tiny_embedding_folder: Path, tiny_reranker_folder: Path
) -> AsyncIterator[TwoDevices]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("two"),
        embed_model=str(tiny_embedding_folder),
        rerank_model=str(tiny_reranker_folder),
        devices="2",  # type: ignore[arg-type]  # as the environment has it
        max_model_len=1024,
        enforce_eager=True,
        selftest_margin=False,
        engine_stall_seconds=60,
    )
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=120) as http,
    ):
        runner = app.state.runner
        try:
            async with asyncio.timeout(400):
                while runner.node is None or runner.phase != "serving":
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError((await http.get("/health/ready")).text) from None
        yield TwoDevices(http, runner.node)


async def away_and_back(two: TwoDevices, fail: Callable[[list[int]], None]) -> None:
    """Device 1 fails under searches and ingestion: they go on, and it comes back."""
    restarts = (await two.health())[2]["1"]
    stop = asyncio.Event()

    async def searching() -> int:
        answered = 0
        while not stop.is_set():
            await two.search()
            answered += 1
        return answered

    async def well(wanted: bool) -> None:
        async with asyncio.timeout(BACK_WITHIN_S):
            while True:
                status, devices, _ = await two.health()
                assert status == 200
                assert devices["0"]
                if devices["1"] is wanted:
                    return
                await asyncio.sleep(0.2)

    searches = [asyncio.create_task(searching()) for _ in range(2)]
    first = 1000 * (restarts + 1)
    ingesting = asyncio.create_task(two.ingest(first, 200))
    while not two.embedding:
        await asyncio.sleep(0.01)
    fail(two.pids["1"])
    await well(False)
    assert await two.up() == {"0": 1, "1": 0}
    await two.search()
    await well(True)
    assert (await two.health())[2]["1"] > restarts
    await ingesting
    stop.set()
    assert all(answered > 0 for answered in await asyncio.gather(*searches))
    assert await two.up() == {"0": 1, "1": 1}


async def test_both_devices_serve_and_each_engine_has_its_own_cores(two: TwoDevices) -> None:
    await two.ingest(0, 100)
    await two.search()
    assert await two.health() == (200, {"0": True, "1": True}, {"0": 0, "1": 0})
    cores = [{psutil.Process(pid).environ()["VLLM_CPU_OMP_THREADS_BIND"] for pid in pids} for pids in two.pids.values()]
    assert [len(each) for each in cores] == [1, 1]
    if len(os.sched_getaffinity(0)) > 1:
        assert cores[0] != cores[1]


async def test_a_device_whose_engines_are_killed_takes_only_itself_out(two: TwoDevices) -> None:
    def kill(pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    await away_and_back(two, kill)


async def test_a_device_that_hangs_takes_only_itself_out(two: TwoDevices) -> None:
    def stop(pids: list[int]) -> None:
        os.kill(pids[-1], signal.SIGSTOP)

    await away_and_back(two, stop)
