"""Milvus Lite as a child process: what happens when it dies, when the node dies, and when there are two nodes."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import ConfigurationError, StoreUnavailable
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.support.stores.stores import until_healthy
from tests.support.waiting import until

NAME = StoreName("kept")
ROOT = Path(__file__).parents[4]
NODE = """
import asyncio, sys
from pathlib import Path
from retrieval.stores.milvus_lite.server import MilvusLiteServer

async def main():
    server = MilvusLiteServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def rows(ordinals: range) -> list[EmbeddedChunk]:
    return [
        EmbeddedChunk(
            Chunk(ChunkId(f"c{n}"), DocumentId("d"), n, f"text {n} 文本", start=0, end=9, tokens=3),
            np.eye(8, dtype=np.float32)[n % 8],
            partition=f"p{n % 3}",
        )
        for n in ordinals
    ]


def alive(pid: int) -> bool:
    """Whether the process runs: one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_killed_child_is_told_of_and_started_again(server: MilvusLiteServer, store: MilvusStore) -> None:
    await store.create_collection(NAME, CollectionSpec(8))
    await store.point_alias("alias", NAME)
    await store.upsert(NAME, rows(range(600)))
    await store.prune(NAME, {DocumentId("d"): [ChunkId(f"c{n}") for n in range(500)]})
    uri, pid = server.uri, server.pid
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(10):
            await store.search("alias", rows(range(1))[0].vector, limit=1)
    await until(lambda: store.failure is not None)

    await until_healthy(store)
    assert server.uri == uri
    assert server.pid != pid
    assert await store.count(NAME) == 500
    hits = await store.search("alias", rows(range(3, 4))[0].vector, limit=5, partition="p1")
    assert {hit.chunk.ordinal % 24 for hit in hits} <= {n for n in range(24) if n % 8 == 3 and n % 3 == 1}
    await store.upsert(NAME, rows(range(500, 520)))
    assert await store.count("alias") == 520


async def test_many_first_calls_after_a_restart(server: MilvusLiteServer, store: MilvusStore) -> None:
    await store.create_collection(NAME, CollectionSpec(8))
    await store.upsert(NAME, rows(range(100)))
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not alive(pid))
    async with asyncio.timeout(60):
        while True:
            try:
                await asyncio.gather(
                    *(store.search(NAME, rows(range(1))[0].vector, limit=5) for _ in range(10)),
                    *(store.upsert(NAME, rows(range(100 + 10 * n, 110 + 10 * n))) for n in range(10)),
                )
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
    assert await store.count(NAME) == 200


async def test_data_survive_a_restart_of_the_node(tmp_path: Path) -> None:
    for generation in range(2):
        store = MilvusStore(MilvusLiteServer(tmp_path))
        await store.start()
        await store.create_collection(NAME, CollectionSpec(8))
        assert await store.count(NAME) == 40 * generation
        await store.upsert(NAME, rows(range(40 * generation, 40 * generation + 40)))
        await store.close()
        assert store.failure is not None


async def test_close_leaves_no_process_and_may_be_called_twice(server: MilvusLiteServer) -> None:
    await server.start()
    pid = server.pid
    assert pid is not None
    assert server.failure is None
    await server.close()
    assert not alive(pid)
    assert server.failure is not None
    await server.close()


async def test_a_killed_node_leaves_no_orphan_and_the_next_one_starts(tmp_path: Path) -> None:
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", NODE, tmp_path, stdout=PIPE, cwd=ROOT)
    assert node.stdout is not None
    child = int(await node.stdout.readline())
    assert alive(child)
    node.kill()
    await node.wait()
    next_server = MilvusLiteServer(tmp_path)
    await next_server.start()
    # It gives the data up before it ends.
    await until(lambda: not alive(child))
    await next_server.close()


async def test_a_second_node_in_the_same_folder_is_refused(server: MilvusLiteServer, tmp_path: Path) -> None:
    await server.start()
    second = MilvusLiteServer(tmp_path / "milvus")
    with pytest.raises(ConfigurationError, match=r"TANDEM_DATA_DIR.*another node") as refusal:
        await second.start()
    assert "\n" not in refusal.value.message
    await second.close()
    assert server.failure is None


async def test_a_folder_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="TANDEM_DATA_DIR"):
        await MilvusLiteServer(tmp_path / "file" / "milvus").start()


async def test_a_server_that_cannot_start_is_unavailable_in_time(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    server = MilvusLiteServer(tmp_path, start_timeout_s=3)
    with pytest.raises(StoreUnavailable, match="see the logs in"):
        await server.start()
    assert server.failure is not None


async def test_a_narrow_partition_is_found_whole(tmp_path: Path) -> None:
    """Among 6,000 rows, in an index as it is after a restart: partitions of 3 rows, and one of the half."""
    vectors = np.random.default_rng(0).normal(size=(6000, 32)).astype(np.float32)
    rows = [
        EmbeddedChunk(
            Chunk(ChunkId(f"c{n}"), DocumentId("d"), n, "text", start=0, end=4, tokens=1),
            vector,
            partition="half" if n % 2 else f"p{n // 6}",
        )
        for n, vector in enumerate(vectors)
    ]
    store = MilvusStore(MilvusLiteServer(tmp_path / "milvus"))
    await store.start()
    await store.create_collection(NAME, CollectionSpec(32))
    await store.upsert(NAME, rows)
    await store.close()
    store = MilvusStore(MilvusLiteServer(tmp_path / "milvus"))
    await store.start()
    for n in range(0, 1000, 20):
        hits = await store.search(NAME, vectors[0], limit=10, partition=f"p{n}")
        assert {hit.chunk.ordinal for hit in hits} == {6 * n, 6 * n + 2, 6 * n + 4}
        scores = vectors[[hit.chunk.ordinal for hit in hits]] @ vectors[0]
        scores /= np.linalg.norm(vectors[[hit.chunk.ordinal for hit in hits]], axis=1) * np.linalg.norm(vectors[0])
        assert [hit.score for hit in hits] == pytest.approx(scores.tolist(), abs=1e-5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = 0
    for query in range(20):
        best = [n for n in np.argsort(-(unit @ unit[query])) if n % 2][:10]
        hits = await store.search(NAME, vectors[query], limit=10, partition="half")
        found += len({hit.chunk.ordinal for hit in hits} & set(best))
    assert found >= 190
    await store.close()
