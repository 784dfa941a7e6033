"""Searches go out when they are due: against a server that answers none before the last one has come."""

import asyncio
from typing import Any

import httpx
import pytest

from app.cli.bench.load import searching
from app.cli.bench.load.corpus import MadeUpCorpus
from app.cli.bench.load.searching import Question, search_open_loop
from tests.support.patching import replace_in

QUESTION = Question("docs", candidates=7, top_k=5)


class Server(httpx.AsyncBaseTransport):
    def __init__(self, wait_for: int, scored: int = 7) -> None:
        self._wait_for = wait_for
        self._scored = scored
        self._all_there = asyncio.Event()
        self.queries: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        import json

        body = json.loads(request.content)
        self.queries.append(body["query"])
        if len(self.queries) == self._wait_for:
            self._all_there.set()
        await self._all_there.wait()
        rerank = {"applied": True, "scored": self._scored}
        return httpx.Response(200, json={"rerank": rerank, "timings_ms": {"rerank": 1.0, "total": 2.0}})


async def ask(monkeypatch: pytest.MonkeyPatch, server: Server, due: list[float], warm_up: float) -> searching.Searched:
    def client(**options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**{**options, "transport": server, "limits": None})

    replace_in(monkeypatch, searching, "httpx", AsyncClient=client)
    return await search_open_loop(
        "http://node", None, QUESTION, MadeUpCorpus(9), first=3, due=due, warm_up=warm_up, seconds=0.5
    )


async def test_no_search_waits_for_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(wait_for=4)
    async with asyncio.timeout(20):
        found = await ask(monkeypatch, server, [0.0, 0.1, 0.2, 0.3], warm_up=0.0)
    assert server.queries == [MadeUpCorpus(9).query(number) for number in range(3, 7)]
    assert [sample.due for sample in found.samples] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-3)
    # All were answered when the last one had come, so each took as long as it had been due by then.
    waited = [sample.ms for sample in found.samples]
    assert waited == sorted(waited, reverse=True)
    assert waited[0] - waited[3] == pytest.approx(300, abs=50)
    assert found.errors == {}


async def test_the_warm_up_is_asked_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(wait_for=1)
    found = await ask(monkeypatch, server, [0.0, 0.1, 0.25], warm_up=0.2)
    assert len(server.queries) == 3
    assert [sample.due for sample in found.samples] == pytest.approx([0.05], abs=1e-3)


async def test_an_answer_that_is_not_wholly_reranked_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await ask(monkeypatch, Server(wait_for=1, scored=3), [0.0], warm_up=0.0)
    assert found.errors == {"3 of 7 candidates reranked": 1}
    assert found.times == []
    assert found.stage("rerank").count == 0
