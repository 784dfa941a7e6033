"""What the embedded Milvus Lite writes and reads by id, from memory and from files, and what it refuses."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient, MilvusException

from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite import flush
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName

NAME = StoreName("written")
DIMENSION = 8
QUIET_S = 0.1


@pytest.fixture(autouse=True)
def quick_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "_QUIET_S", QUIET_S)


def a_row(number: int, rng: random.Random) -> EmbeddedChunk:
    text = f"text {rng.random()}"
    vector = np.array([rng.gauss(0, 1) for _ in range(DIMENSION)], dtype=np.float32)
    chunk = Chunk(ChunkId(f"c{number}"), DocumentId(f"d{number}"), 0, text, start=0, end=len(text), tokens=1)
    return EmbeddedChunk(chunk, vector, partition=f"p{number % 3}")


async def check(store: MilvusStore, expected: Mapping[ChunkId, EmbeddedChunk], numbers: int) -> None:
    every = [ChunkId(f"c{number}") for number in range(numbers)]
    assert await store.present(NAME, every) == expected.keys()
    vectors = await store.vectors(NAME, every)
    assert vectors.keys() == expected.keys()
    assert all((vectors[id_] == row.vector).all() for id_, row in expected.items())
    chunks = await store.chunks(NAME, {row.chunk.document_id: [0] for row in expected.values()})
    assert sorted(chunk.text for chunk in chunks.values()) == sorted(row.chunk.text for row in expected.values())


async def test_rows_are_the_same_in_memory_and_in_files(store: MilvusStore) -> None:
    await store.create_collection(NAME, CollectionSpec(DIMENSION))
    rng = random.Random(0)
    expected: dict[ChunkId, EmbeddedChunk] = {}
    for generation in range(4):
        written = [a_row(number, rng) for number in rng.sample(range(60), 30)]
        await store.upsert(NAME, written)
        expected |= {row.chunk.id: row for row in written}
        gone = rng.sample(sorted(expected), 8)
        await store.delete(NAME, gone)
        expected = {id_: row for id_, row in expected.items() if id_ not in gone}
        await check(store, expected, 60)
        if generation % 2:
            await asyncio.sleep(5 * QUIET_S)
            await check(store, expected, 60)


async def test_a_partial_update_keeps_the_other_fields(server: MilvusLiteServer, store: MilvusStore) -> None:
    """No store of ours asks for one: what replaces Lite's own function must leave those it does not know."""
    await store.create_collection(NAME, CollectionSpec(DIMENSION))
    row = a_row(0, random.Random(0))
    await store.upsert(NAME, [row])
    client = MilvusClient(server.uri, dedicated=True)
    client.upsert(NAME, [{"id": row.chunk.id, "title": "Later"}], partial_update=True)
    [stored] = client.get(NAME, row.chunk.id, output_fields=["title", "passage"])
    client.close()
    assert (stored["title"], stored["passage"]) == ("Later", row.chunk.text)
    assert (await store.vectors(NAME, [row.chunk.id]))[row.chunk.id].tolist() == row.vector.tolist()


async def test_what_the_schema_does_not_allow_is_refused(server: MilvusLiteServer, store: MilvusStore) -> None:
    await store.create_collection(NAME, CollectionSpec(DIMENSION))
    await store.create_collection(other := StoreName("wider"), CollectionSpec(2 * DIMENSION))
    row = a_row(0, random.Random(0))
    wide = replace(row, vector=np.ones(2 * DIMENSION, dtype=np.float32))
    client = MilvusClient(server.uri, dedicated=True)
    await store.upsert(other, [wide])
    rows = client.query(other, filter='id == "c0"', output_fields=["*"])
    rows = [{name: value for name, value in each.items() if name != "sparse"} for each in rows]
    with pytest.raises(MilvusException):
        client.upsert(NAME, rows)
    client.close()
    assert await store.present(NAME, [row.chunk.id]) == set()
