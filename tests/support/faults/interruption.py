"""Something that a node needs goes away in the middle of its work, and comes back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import httpx

from app.main import create_app
from app.settings import Settings
from tests.support.models.fake_models import FakeReranker
from tests.support.models.paced import PacedEmbedder
from tests.support.nodes.ingesting import Sender, a_text, check_everything, client_of
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

BACK_WITHIN_S = 150
LEASE_S = 5
"""What was in work when the database went away is taken up again after it."""


@asynccontextmanager
async def slow_node(folder: Path, dimension: int, **parts: object) -> AsyncIterator[httpx.AsyncClient]:
    """A node with one slow worker, and with `parts` in place of those that wiring would choose. The dimension keeps
    its collection apart from those that other tests leave in the same Milvus."""
    embedder = PacedEmbedder(dimension=dimension)
    embedder.seconds = 0.2
    components = replace(real_but_for(embedder, FakeReranker(), folder), **parts)  # type: ignore[arg-type]
    settings = Settings(  # type: ignore[call-arg]
        data_dir=folder, selftest_margin=False, workers=1, worker_batch=4, lease_seconds=LEASE_S
    )
    async with listening(create_app(settings, components)) as node, client_of(node.url) as http:
        yield http
        await http.delete("/collections/docs")


class SearchLoop:
    """Searches again and again, and keeps what was answered."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.answers: Counter[str] = Counter()
        self.slowest_s = 0.0

    async def search(self) -> str:
        started = monotonic()
        question = {"query": "Which paragraph tells of the kiln?", "mode": "dense", "rerank": False}
        answer = await self.http.post("/search", json=question)
        self.slowest_s = max(self.slowest_s, monotonic() - started)
        if answer.status_code == 200:
            code = "found"
        else:
            code = f"{answer.status_code} {answer.json()['error']['code']}"
            assert "Retry-After" in answer.headers
        self.answers[code] += 1
        return code

    async def run(self) -> None:
        while True:
            await self.search()
            await asyncio.sleep(0.02)

    async def until(self, code: str, *, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while await self.search() != code:
                await asyncio.sleep(0.05)


async def interrupted(
    http: httpx.AsyncClient, count: int, unavailable: str, interrupt: Callable[[SearchLoop], Awaitable[None]]
) -> SearchLoop:
    """Sends `count` documents, interrupts their ingestion in the middle, and checks that nothing was lost by it."""
    sent = {f"document {number:03}": a_text(f"document {number}", 1 + number % 12) for number in range(count)}
    sender, search_loop = Sender(http), SearchLoop(http)
    searching = asyncio.create_task(search_loop.run())
    job = await sender.send(sent)
    async with asyncio.timeout(60):
        while (done := (await sender.job(job))["progress"]["done"]) < count // 4:
            await asyncio.sleep(0.02)
    assert done < count
    await interrupt(search_loop)
    await search_loop.until("found", seconds=BACK_WITHIN_S)
    await sender.until_ended(seconds=BACK_WITHIN_S)
    searching.cancel()
    await asyncio.gather(searching, return_exceptions=True)
    assert (await sender.job(job))["state"] == "succeeded"
    assert set(search_loop.answers) == {"found", f"503 {unavailable}"}, search_loop.answers
    await check_everything(http, sent)
    return search_loop
