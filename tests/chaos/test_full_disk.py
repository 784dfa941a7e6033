"""The disk of a node runs full, by itself or by somebody else's doing, while documents come and go."""

import asyncio
from collections.abc import Iterator
from random import Random
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.support.faults.chaos import Figure
from tests.support.faults.small_disk import SmallDisk
from tests.support.nodes.ingesting import CHUNKING, a_text, asked, ready, until_ready
from tests.support.nodes.served_node import DISK_RESERVE_MB, ServedNodeUnderLoad, health_of

FULL_FOR_S = 4
"""Longer than fresh rows wait in memory before they are written into a file."""
FREED_WITHIN_S = 40


@pytest.fixture
def disk(outside: ServedNodeUnderLoad) -> Iterator[SmallDisk]:
    """The node's, with room on it again after the test."""
    if outside.disk is None:
        pytest.skip("a small file system needs the right to mount one")
    yield outside.disk
    outside.disk.clear()


@pytest.mark.timeout(1800)
async def test_nothing_is_lost_or_revived_when_somebody_fills_the_disk(
    outside: ServedNodeUnderLoad, disk: SmallDisk, long_form: bool, rng: Random, figure: Figure
) -> None:
    back = []
    rounds = 20 if long_form else 1
    async with outside.client() as http:
        for number in range(rounds):
            names = [f"full {number} {each}" for each in range(12)]
            await outside.ingest(http, {name: a_text(name, rng.choice((1, 3, 8))) for name in names})
            doomed = rng.sample(names, 4)
            for name in doomed[:2]:
                await outside.delete(http, name)
            # Some rows are in files by now and some in memory alone.
            await asyncio.sleep(rng.choice((0, 0.5, 2.5)) if long_form else 0)
            for name in doomed[2:]:
                await outside.delete(http, name)
            late = {f"late {number} {each}": a_text(f"late {number} {each}", 2) for each in range(4)}
            await outside.ingest(http, late)
            async with health_of(http) as health:
                disk.fill()
                await asyncio.sleep(rng.uniform(1, 2 * FULL_FOR_S) if long_form else FULL_FOR_S)
                refused = await _post(http, {"refused": a_text("refused", 1)})
                searched = await http.post("/search", json={"query": "kiln", "rerank": False})
                disk.clear()
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_full")
            assert int(refused.headers["Retry-After"]) > 0
            assert searched.status_code in (200, 503), searched.text
            assert health.live
            assert health.said, "readiness did not say that the disk is full"
            assert health.slowest_s < 5
            started = monotonic()
            await until_ready(http, seconds=FREED_WITHIN_S)
            back.append(monotonic() - started)
            if long_form and rng.random() < 0.5:
                await _restart(outside, http)
            await outside.check(http)
        await outside.ingest(http, {"after": a_text("after", 3)})
        await _restart(outside, http)
        chunks = await outside.check(http)
    figure(f"disk filled by others {rounds} times, ready again once it is freed", f"at most {max(back):.1f} s")
    figure("found, whole, after all of it and a kill", f"{len(outside.sent)} documents, {chunks} chunks, none revived")


@pytest.mark.timeout(1800)
async def test_ingestion_fills_the_disk_up_to_the_reserve_and_goes_on_when_it_is_freed(
    outside: ServedNodeUnderLoad, disk: SmallDisk, long_form: bool, rng: Random, figure: Figure
) -> None:
    rounds = 6 if long_form else 1
    least = disk.free_bytes()
    taken = 0
    async with outside.client() as http:
        for number in range(rounds):
            disk.fill(leave=(DISK_RESERVE_MB + (rng.randrange(1, 9) if long_form else 1)) * 2**20)
            accepted: dict[str, str] = {}
            jobs = []
            async with asyncio.timeout(120):
                while True:
                    names = [f"filling {number} {len(accepted) + each}" for each in range(3)]
                    texts = {name: a_text(name, 30) for name in names}
                    answer = await _post(http, texts)
                    if answer.status_code == 429:
                        await asyncio.sleep(0.2)
                        continue
                    if answer.status_code != 202:
                        break
                    accepted |= texts
                    jobs.append(answer.json()["job_id"])
                    if rng.random() < 0.2:
                        name = rng.choice(sorted(accepted))
                        # One that is being worked on cannot be deleted yet.
                        if (await http.delete(f"/documents/{name}")).status_code == 204:
                            del accepted[name]
                    least = min(least, disk.free_bytes())
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_full"), answer.text
            assert int(answer.headers["Retry-After"]) > 0
            assert accepted
            refused = await http.delete("/documents/unknown")
            assert refused.status_code in (404, 503)
            assert not await ready(http), "ready, although it takes no documents"
            disk.clear()
            await until_ready(http, seconds=FREED_WITHIN_S)
            async with asyncio.timeout(120):
                while not all([await _ended(http, job) for job in jobs]):
                    await asyncio.sleep(0.2)
            outside.sent.update(accepted)
            taken += len(accepted)
            await outside.check(http)
            for name in accepted:
                await outside.delete(http, name)
    figure(f"documents taken before a full disk, {rounds} times", f"{taken}, all found afterwards")
    figure(
        "least space left while ingestion filled the disk", f"{least / 2**20:.1f} of {DISK_RESERVE_MB} MB in reserve"
    )


async def _post(http: httpx.AsyncClient, documents: dict[str, str]) -> httpx.Response:
    body = {
        "documents": [{"id": name, "text": text, "partition": name} for name, text in documents.items()],
        "chunking": CHUNKING,
    }
    return await http.post("/ingest", json=body)


async def _ended(http: httpx.AsyncClient, job_id: str) -> bool:
    job: dict[str, Any] = await asked(http, "GET", f"/jobs/{job_id}")
    return job["state"] not in ("queued", "running")


async def _restart(outside: ServedNodeUnderLoad, http: httpx.AsyncClient) -> None:
    """kill -9, and a start on the same data."""
    outside.process.kill()
    outside.process.start()
    await until_ready(http, seconds=90)
