"""Milvus Lite's process killed with SIGKILL: what it acknowledged is there when it is back."""

import asyncio
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import StoreUnavailable
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite import server as server_module
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.support.stores.stores import until_healthy
from tests.support.waiting import until

NAME = StoreName("kept")
KILLS = 2
"""A store takes about four seconds to come back from each."""


@pytest.fixture(autouse=True)
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_MAX_BACKOFF_S", 0.5)


def rows(first: int, number: int = 40) -> list[EmbeddedChunk]:
    """Of a document of their own, in many of Lite's partitions."""
    return [
        EmbeddedChunk(
            Chunk(ChunkId(f"c{n}"), DocumentId(f"d{first}"), n, "text 文本", start=0, end=7, tokens=3),
            np.full(8, n + 1, dtype=np.float32),
            partition=f"p{n % 20}",
        )
        for n in range(first, first + number)
    ]


async def killed(server: MilvusLiteServer, store: MilvusStore) -> None:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.failure is not None or server.pid != pid)
    await until_healthy(store)


async def everything(store: MilvusStore) -> list[ChunkId]:
    return [chunk_id async for page in store.every(NAME) for chunk_id, _ in page]


async def test_what_was_acknowledged_survives_a_kill_right_after(server: MilvusLiteServer, store: MilvusStore) -> None:
    await store.create_collection(NAME, CollectionSpec(8))
    expected: set[ChunkId] = set()
    for generation in range(KILLS):
        written = rows(40 * generation)
        await store.upsert(NAME, written)
        await store.delete(NAME, [written[0].chunk.id])
        await killed(server, store)
        expected |= {each.chunk.id for each in written[1:]}
        found = await everything(store)
        assert len(found) == len(set(found))
        assert set(found) == expected
    vectors = await store.vectors(NAME, sorted(expected))
    assert all((vectors[ChunkId(f"c{n}")] == n + 1).all() for n in range(40 * KILLS) if n % 40)


async def test_kills_at_any_moment_of_a_busy_time(server: MilvusLiteServer, store: MilvusStore) -> None:
    """Also while rows move from the log into files: those are written after each second without writes."""
    await store.create_collection(NAME, CollectionSpec(8))
    moments = random.Random(0)
    sent, kept = 0, set[int]()

    async def write() -> None:
        nonlocal sent
        while True:
            first, sent = sent, sent + 40
            try:
                await store.upsert(NAME, rows(first))
            except StoreUnavailable:
                return
            kept.add(first)
            await asyncio.sleep(moments.choice([0, 0, 0.01, 1.02]))

    for _ in range(KILLS):
        before = len(kept)
        writing = asyncio.create_task(write())
        await until(lambda before=before: len(kept) > before)  # type: ignore[misc]
        await asyncio.sleep(moments.uniform(0.1, 2.5))
        await killed(server, store)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert len(kept) >= KILLS
    found = await everything(store)
    assert len(found) == len(set(found))
    assert {f"c{n}" for first in kept for n in range(first, first + 40)} <= set(found)


async def test_a_creation_that_was_cut_off_is_no_obstacle(tmp_path: Path) -> None:
    """Lite makes a collection's folder first and deletes it last: one without a schema is what a kill leaves."""
    folder = tmp_path / "milvus"
    store = MilvusStore(MilvusLiteServer(folder))
    await store.start()
    await store.create_collection(NAME, CollectionSpec(8))
    await store.close()
    (schema,) = folder.glob("data/**/kept/schema.json")
    schema.unlink()

    store = MilvusStore(MilvusLiteServer(folder))
    await store.start()
    assert await store.list_collections() == []
    await store.create_collection(NAME, CollectionSpec(8))
    await store.upsert(NAME, rows(0))
    assert await store.count(NAME) == 40
    await store.close()
