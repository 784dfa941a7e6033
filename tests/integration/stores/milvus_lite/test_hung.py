"""Milvus Lite's process stopped or damaged: nobody waits for it, and it is started again, unless a file is damaged."""

import asyncio
import os
import shutil
import signal
import stat
import time
from pathlib import Path

import psutil
import pytest

from retrieval.errors import StoreFailed, StoreUnavailable
from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite import server as server_module
from retrieval.stores.milvus_lite.server import MilvusLiteServer
from retrieval.types import ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName
from tests.integration.stores.milvus_lite.test_process import rows
from tests.support.stores.stores import until_healthy
from tests.support.waiting import until

NAME = StoreName("kept")
SECRETS = {
    "TANDEM_API_KEYS": "alpha",
    "TANDEM_DATABASE_URL": "postgresql://user:beta@host/name",
    "AWS_SECRET_ACCESS_KEY": "gamma",
    "HF_TOKEN": "delta",
}


async def test_a_hung_child_is_noticed_and_started_again(
    server: MilvusLiteServer, store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_HUNG_S", 6.0)
    await store.create_collection(NAME, CollectionSpec(8))
    await store.upsert(NAME, rows(range(20)))
    pid = server.pid
    assert pid is not None
    vector = rows(range(1))[0].vector

    os.kill(pid, signal.SIGSTOP)
    in_flight = [
        asyncio.create_task(store.search(NAME, vector, limit=1)),
        asyncio.create_task(store.upsert(NAME, rows(range(20, 21)))),
        asyncio.create_task(store.count(NAME)),
    ]
    await until(lambda: server.away is not None)
    assert "silent" in (store.failure or "")
    with pytest.raises(StoreUnavailable, match="silent"):
        await store.search(NAME, vector, limit=1)
    # They end with the child, not with their own timeouts of a minute.
    ended = await asyncio.gather(*in_flight, return_exceptions=True)
    assert [type(each) for each in ended] == [StoreUnavailable] * 3
    await until_healthy(store)
    assert server.pid != pid
    assert await store.present(NAME, [ChunkId(f"c{n}") for n in range(20)]) == {ChunkId(f"c{n}") for n in range(20)}


async def test_a_node_that_was_itself_busy_does_not_blame_its_child(
    server: MilvusLiteServer, store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_HUNG_S", 2.0)
    pid = server.pid
    await until(lambda: server.away is None)
    time.sleep(5)  # noqa: ASYNC251  # as the event loop sees it when the process was stopped
    await asyncio.sleep(1.5)
    assert store.failure is None
    assert server.pid == pid


async def test_a_write_that_nobody_waits_for_holds_up_the_next_until_it_has_ended(
    server: MilvusLiteServer, store: MilvusStore
) -> None:
    await store.create_collection(NAME, CollectionSpec(8))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    first = asyncio.create_task(store.upsert(NAME, rows(range(10))))
    await asyncio.sleep(0.2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(store.upsert(NAME, rows(range(10, 20))))
    await asyncio.sleep(0.2)
    assert not second.done()
    os.kill(server.pid, signal.SIGCONT)
    await second
    assert await store.count(NAME) == 20


async def test_a_child_that_cannot_be_started_is_tried_again(
    server: MilvusLiteServer, store: MilvusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, refusals = MilvusLiteServer._launch, 2

    async def refused(self: MilvusLiteServer) -> object:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(12, "Cannot allocate memory")
        return await launch(self)

    monkeypatch.setattr(MilvusLiteServer, "_launch", refused)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not refusals)
    await until_healthy(store)


@pytest.fixture(scope="module")
async def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection, an alias and a deleted row, closed. To be copied."""
    folder = tmp_path_factory.mktemp("written")
    store = MilvusStore(MilvusLiteServer(folder))
    await store.start()
    await store.create_collection(NAME, CollectionSpec(8))
    await store.point_alias("alias", NAME)
    await store.upsert(NAME, rows(range(20)))
    await store.delete(NAME, [ChunkId("c0")])
    await store.close()
    return folder


def damage(folder: Path, pattern: str, *, missing: bool) -> Path:
    path = min(folder.glob(pattern))
    if missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def files(folder: Path) -> set[Path]:
    return {each for each in folder.glob("data/**/*") if each.is_file()}


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.parametrize(
    ("pattern", "missing"),
    [
        ("data/*/kept/partitions/*/data/*.parquet", False),
        ("data/*/kept/partitions/*/data/*.parquet", True),
        ("data/*/kept/partitions/*/delta/*.parquet", False),
        ("data/*/kept/partitions/*/delta/*.parquet", True),
        ("data/*/kept/manifest.json", False),
        ("data/*/kept/manifest.json", True),
        ("data/*/kept/schema.json", False),
        ("data/aliases.json", False),
    ],
)
async def test_a_damaged_file_is_named_and_nothing_is_removed(
    written: Path, tmp_path: Path, pattern: str, missing: bool
) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    path = damage(tmp_path, pattern, missing=missing)
    before = files(tmp_path)
    server = MilvusLiteServer(tmp_path)
    with pytest.raises(StoreFailed) as refusal:
        await server.start()
    assert str(path) in refusal.value.message
    assert "backup" in refusal.value.message
    assert "\n" not in refusal.value.message
    assert before <= files(tmp_path)


async def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    store = MilvusStore(MilvusLiteServer(tmp_path))
    await store.start()
    await store.create_collection(NAME, CollectionSpec(8))
    many: list[EmbeddedChunk] = rows(range(50))
    await store.upsert(NAME, many)
    await store.close()
    damage(tmp_path, "data/**/indexes/*.idx", missing=False)
    store = MilvusStore(MilvusLiteServer(tmp_path))
    await store.start()
    assert len(await store.search(NAME, many[0].vector, limit=100)) == 50
    await store.close()


async def test_a_file_damaged_while_the_node_runs_ends_the_restarts(
    server: MilvusLiteServer, store: MilvusStore, tmp_path: Path
) -> None:
    await store.create_collection(NAME, CollectionSpec(8))
    manifest = damage(tmp_path, "milvus/data/*/kept/manifest.json", missing=False)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: str(manifest) in (store.failure or ""))
    with pytest.raises(StoreUnavailable, match=r"manifest\.json"):
        await store.count(NAME, DocumentId("d"))


async def test_only_this_user_reaches_the_child(server: MilvusLiteServer, store: MilvusStore, tmp_path: Path) -> None:
    await store.create_collection(NAME, CollectionSpec(8))
    await store.upsert(NAME, rows(range(3)))
    assert server.pid is not None
    child = psutil.Process(server.pid)
    assert [each for each in child.net_connections("inet") if each.status == psutil.CONN_LISTEN] == []
    assert server.uri.startswith("unix:")
    assert open_to_others(tmp_path / "milvus") == []


async def test_a_folder_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    server = MilvusLiteServer(tmp_path / ("x" * 120))
    store = MilvusStore(server)
    await store.start()
    await store.create_collection(NAME, CollectionSpec(8))
    socket = Path(server.uri.removeprefix("unix:"))
    assert open_to_others(socket.parent) == []
    await store.close()
    assert not socket.parent.exists()


async def test_the_child_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    server = MilvusLiteServer(tmp_path)
    await server.start()
    assert server.pid is not None
    environment = psutil.Process(server.pid).environ()
    await server.close()
    assert SECRETS.keys() & environment.keys() == set()
    assert environment["OMP_NUM_THREADS"] == "1"
