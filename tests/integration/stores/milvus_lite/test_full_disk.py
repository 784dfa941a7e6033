"""A full disk under Milvus Lite: what was acknowledged stays, what was deleted stays deleted, and health says so."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import StoreFull
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite import flush
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.support.faults.small_disk import small_disk_or_skip
from tests.support.waiting import until

ROOT = Path(__file__).parents[4]
NAME = StoreName("kept")
DIMENSION = 256
DISK_BYTES = 24 * 2**20


def rows(first: int, number: int) -> list[EmbeddedChunk]:
    return [
        EmbeddedChunk(
            Chunk(ChunkId(f"c{n}"), DocumentId(f"d{n}"), 0, f"zebra {n}", start=0, end=9, tokens=2),
            np.random.default_rng(n).normal(size=DIMENSION).astype(np.float32),
        )
        for n in range(first, first + number)
    ]


def test_a_disk_that_is_full_at_any_step(tmp_path: Path) -> None:
    """Each step of writes, deletions, flushes, merges, creations and an end in good order, once and from there on."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.faults.full_disk", tmp_path], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *problems, runs = done.stdout.splitlines()
    assert problems == []
    assert int(runs.removesuffix(" runs")) > 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_or_skip(tmp_path / "disk", DISK_BYTES) as disk:
        yield disk


@pytest.fixture
async def small_store(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MilvusStore]:
    monkeypatch.setattr(flush, "_QUIET_S", 0.1)
    monkeypatch.setattr(flush, "_LONGEST_PAUSE_S", 0.5)
    store = MilvusStore(MilvusLiteServer(small_disk / "milvus"))
    await store.start()
    yield store
    await store.close()


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 2**12):
            try:
                while file.write(b"0" * size):
                    pass
            except OSError:
                continue
    return ballast


async def everything(store: MilvusStore) -> set[ChunkId]:
    return {chunk_id async for page in store.every(NAME) for chunk_id, _ in page}


async def test_a_disk_that_fills_up(small_disk: Path, small_store: MilvusStore) -> None:
    store = small_store
    await store.create_collection(NAME, CollectionSpec(DIMENSION))
    await store.upsert(NAME, rows(0, 20))
    await asyncio.sleep(1)
    gone = ChunkId("c0")
    await store.delete(NAME, [gone])
    await store.upsert(NAME, rows(20, 20))
    ballast = fill(small_disk)
    kept = {row.chunk.id for row in rows(1, 39)}
    await until(lambda: store.failure is not None)
    assert store.failure is not None
    assert "cannot write its files" in store.failure
    assert await everything(store) == kept

    refused = 0
    for number in range(40, 120):
        try:
            await store.upsert(NAME, rows(number, 1))
            kept.add(ChunkId(f"c{number}"))
        except StoreFull:
            refused += 1
    assert refused
    assert await everything(store) == kept
    assert len(await store.search_text(NAME, "zebra", limit=1000)) == len(kept)

    ballast.unlink()
    await until(lambda: store.failure is None)
    await store.upsert(NAME, rows(200, 1))
    assert await everything(store) == kept | {ChunkId("c200")}


async def test_where_there_is_no_room_nothing_is_added_and_deletes_go_on(tmp_path: Path) -> None:
    room = True

    def require_room() -> None:
        if not room:
            raise StoreFull("Less is free than the reserve.")

    store = MilvusStore(MilvusLiteServer(tmp_path / "milvus", require_room=require_room))
    await store.start()
    await store.create_collection(NAME, CollectionSpec(DIMENSION))
    await store.upsert(NAME, rows(0, 2))
    room = False
    with pytest.raises(StoreFull, match="reserve"):
        await store.upsert(NAME, rows(2, 1))
    with pytest.raises(StoreFull, match="reserve"):
        await store.create_collection(StoreName("other"), CollectionSpec(DIMENSION))
    await store.delete(NAME, [ChunkId("c0")])
    assert await everything(store) == {ChunkId("c1")}
    await store.close()
