"""A Milvus server that is away, and one that goes away and comes back, seen through one store object."""

import asyncio
import socket

import numpy as np
import pytest

from retrieval.errors import ConfigurationError, StoreUnavailable
from retrieval.stores.milvus.store import MilvusStore
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.support.stores.stores import ServerProcess, until_healthy, unused_port

NAME = StoreName("outage")
A_FEW_SECONDS = 10
VECTOR = np.array([1, 0], dtype=np.float32)


def row(number: int) -> EmbeddedChunk:
    return EmbeddedChunk(Chunk(ChunkId(f"c{number}"), DocumentId("d"), number, "text", 0, 4, 1), VECTOR)


async def expect_unavailable(store: MilvusStore) -> None:
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(A_FEW_SECONDS):
            await store.search(NAME, VECTOR, limit=1)


async def test_the_same_store_works_again_when_the_server_is_back(
    lite_server: ServerProcess, lite_server_store: MilvusStore
) -> None:
    """The Milvus server is killed in tests/chaos, under a node."""
    process, store = lite_server, lite_server_store
    await store.create_collection(NAME, CollectionSpec(2))
    await store.upsert(NAME, [row(number) for number in range(20)])
    assert await store.count(NAME) == 20

    process.kill()
    for _ in range(3):
        await expect_unavailable(store)
    assert store.failure is not None

    process.start()
    await until_healthy(store)
    async with asyncio.timeout(60):
        while True:
            try:
                found = await store.search(NAME, VECTOR, limit=30)
                break
            except StoreUnavailable:
                # Milvus answers before it has brought back its collections.
                await asyncio.sleep(0.2)
    assert len(found) == 20
    await store.upsert(NAME, [row(20)])
    assert await store.count(NAME) == 21


async def test_calls_that_meet_the_outage_end_soon(lite_server: ServerProcess, lite_server_store: MilvusStore) -> None:
    await lite_server_store.create_collection(NAME, CollectionSpec(2))
    lite_server.kill()
    async with asyncio.timeout(A_FEW_SECONDS):
        results = await asyncio.gather(
            *(lite_server_store.search(NAME, VECTOR, limit=1) for _ in range(20)), return_exceptions=True
        )
    assert all(isinstance(result, StoreUnavailable) for result in results)
    lite_server.start()
    await until_healthy(lite_server_store)


async def test_a_server_that_is_not_there_yet_is_no_error_at_the_start() -> None:
    store = MilvusStore(f"http://127.0.0.1:{unused_port()}")
    async with asyncio.timeout(A_FEW_SECONDS):
        await store.start()
    assert store.failure is not None
    await expect_unavailable(store)
    await store.close()
    await store.close()


async def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = MilvusStore(f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(A_FEW_SECONDS):
            await store.start()
        assert store.failure is not None
        await expect_unavailable(store)
        await store.close()


async def test_a_uri_that_is_none_is_a_wrong_setting() -> None:
    store = MilvusStore("milvus.example.org")
    with pytest.raises(ConfigurationError, match="TANDEM_MILVUS_URI"):
        await store.start()
    assert store.failure is not None
