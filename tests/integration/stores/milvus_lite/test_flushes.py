"""Searches while Milvus Lite carries rows from memory into a file: none of them misses a row."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite import flush
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import CollectionSpec
from tests.support.stores.vector_store import DIMENSION, direction, ids, new_document, new_name, row

FLUSHES = 25


@pytest.fixture
async def own_lite_store(tmp_path: Path) -> AsyncIterator[MilvusStore]:
    """With nothing else to do: the one that tests share may be silent for seconds while it writes what they left."""
    store = MilvusStore(MilvusLiteServer(tmp_path))
    await store.start()
    yield store
    await store.close()


@pytest.fixture(params=["own_lite_store", "lite_server_store"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MilvusStore:
    monkeypatch.setattr(flush, "_QUIET_S", 0.01)
    store: MilvusStore = request.getfixturevalue(request.param)
    return store


async def test_no_search_misses_a_row_that_was_stored_before(store: MilvusStore) -> None:
    name, document = new_name(), new_document()
    await store.create_collection(name, CollectionSpec(DIMENSION))
    stored: list[str] = []
    done = asyncio.Event()
    searches = [0, 0, 0]

    async def searching(caller: int) -> None:
        try:
            while not done.is_set():
                expected = set(stored)
                by_vector, by_words = await asyncio.gather(
                    store.search(name, direction((1, 0)), limit=1000), store.search_text(name, "text", limit=1000)
                )
                assert expected <= {hit.chunk.id for hit in by_vector}
                assert expected <= {hit.chunk.id for hit in by_words}
                searches[caller] += 1
        finally:
            done.set()

    async def writing() -> None:
        try:
            for number in range(FLUSHES):
                # Each in a direction of its own: graphs of equal vectors lose some.
                steps = [10 * number + step for step in range(10)]
                rows = [row(document, step, point=(math.cos(step / 100), math.sin(step / 100))) for step in steps]
                await store.upsert(name, rows)
                stored.extend(ids(rows))
                before = list(searches)
                await asyncio.sleep(0.1)  # quiet long enough for a flush
                while not done.is_set() and any(now < then + 2 for now, then in zip(searches, before, strict=True)):
                    await asyncio.sleep(0.01)
        finally:
            done.set()

    await asyncio.gather(*map(searching, range(len(searches))), writing())
    assert len(stored) == 10 * FLUSHES


async def test_rows_with_equal_vectors_are_all_found(
    lite_embedded_store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "_QUIET_S", 0.01)
    name, document = new_name(), new_document()
    await lite_embedded_store.create_collection(name, CollectionSpec(DIMENSION))
    rows = [row(document, ordinal) for ordinal in range(90)]
    await lite_embedded_store.upsert(name, rows)
    for _ in range(5):
        # While the graph is made, and with it.
        await asyncio.sleep(0.2)
        hits = await lite_embedded_store.search(name, direction((1, 0)), limit=100)
        assert sorted(hit.chunk.id for hit in hits) == sorted(ids(rows))


async def test_the_graph_finds_nearly_all_of_the_nearest(
    lite_embedded_store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "_QUIET_S", 0.01)
    name, document = new_name(), new_document()
    await lite_embedded_store.create_collection(name, CollectionSpec(64))
    chance = np.random.default_rng(5)
    vectors = chance.normal(size=(3000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [replace(row(document, ordinal), vector=vector) for ordinal, vector in enumerate(vectors)]
    await lite_embedded_store.upsert(name, rows)
    await asyncio.sleep(1)  # until the graph is there
    queries = chance.normal(size=(20, 64)).astype(np.float32)
    shares = []
    for query, cosines in zip(queries, queries @ vectors.T, strict=True):
        nearest = {rows[number].chunk.id for number in np.argsort(-cosines)[:50]}
        hits = await lite_embedded_store.search(name, query, limit=50)
        shares.append(len(nearest.intersection(hit.chunk.id for hit in hits)) / 50)
    assert np.mean(shares) > 0.99
