"""Three times as many searches as the device can rank, in simulated time."""

import asyncio
from types import SimpleNamespace

import pytest

from app.http.limits import Admission
from app.http.search_requests import run_queries
from app.telemetry.metrics import Metrics
from ingestion.errors import Overloaded
from retrieval.pace import Pace
from retrieval.search.query import SearchQuery
from retrieval.search.service import SearchService
from tests.support.simulated import simulate
from tests.support.stores.stages import ScriptedEmbedder, ScriptedReranker, ScriptedStore

SCORES = {f"d{number}/0": 1 - number / 100 for number in range(50)}
DEADLINE, SECONDS = 20.0, 200.0
SECONDS_A_SEARCH = 0.5
RATE = 3 / SECONDS_A_SEARCH


def test_capacity_is_used_and_what_was_admitted_is_answered_in_time() -> None:
    pace = Pace()
    service = SearchService(
        ScriptedReranker(SCORES, seconds_a_passage=SECONDS_A_SEARCH / len(SCORES)),  # type: ignore[arg-type]
        ScriptedStore(SCORES, SCORES),  # type: ignore[arg-type]
        ["en"],
        deadline_seconds=DEADLINE,
        pace=pace,
    )
    embedders = SimpleNamespace(for_collection=lambda *_: ScriptedEmbedder())
    node = SimpleNamespace(
        search=lambda collection, embedder, query: service.search(collection.store_name, embedder, query),
        search_seconds=service.seconds,
        use_search=lambda candidates: None,
        embedders=embedders,
        rerank_pace=pace,
        search_deadline_seconds=DEADLINE,
    )
    collection = SimpleNamespace(name="docs", store_name="docs", fingerprint=None)
    admission, metrics = Admission(8000, "candidates", DEADLINE), Metrics()
    took: list[float] = []
    whole = 0
    retries: list[int] = []

    async def caller() -> None:
        nonlocal whole
        clock = asyncio.get_running_loop()
        began = clock.time()
        try:
            [result] = await run_queries([SearchQuery("why")], collection, node, admission, metrics)  # type: ignore[arg-type]
        except Overloaded as error:
            retries.append(error.detail["retry_after_s"])  # type: ignore[arg-type]
            return
        took.append(clock.time() - began)
        whole += result.rerank.applied is True

    async def arrivals() -> None:
        calls = []
        for _ in range(round(SECONDS * RATE)):
            calls.append(asyncio.create_task(caller()))
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*calls)

    simulate(arrivals())
    capacity = SECONDS / SECONDS_A_SEARCH
    assert whole >= 0.9 * capacity, "goodput"
    assert max(took) <= DEADLINE + 0.5
    assert len(took) - whole <= 0.05 * capacity, "admitted, and then not reranked as a whole"
    assert len(took) + len(retries) == round(SECONDS * RATE)
    assert set(retries) <= set(range(1, 61))
    assert admission.seconds == pytest.approx(0)
