"""What only a folder can meet: a full disk, files in the way, writes that were broken off."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from time import time

import pytest

from ingestion.blobs.folder import SEPARATE_PROCESS_BLOBS, FolderBlobStore
from ingestion.errors import BlobStoreUnavailable
from retrieval.errors import StoreFull
from tests.support.faults.small_disk import small_disk_or_skip
from tests.support.files.originals import blobs, files

DATA = "原文".encode()
NAME = sha256(DATA).hexdigest()
LARGE = os.urandom(1_000_000)
LARGE_NAME = sha256(LARGE).hexdigest()
KIB = 1024


@pytest.fixture
async def store(tmp_path: Path) -> FolderBlobStore:
    store = FolderBlobStore(tmp_path / "blobs")
    await store.start()
    return store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_or_skip(tmp_path / "disk", 512 * KIB) as disk:
        yield disk


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)


def fill(path: Path) -> None:
    """Until not a byte more fits on the disk."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left on device"):
        write_without_end(file)


def write_without_end(file: RawIOBase) -> None:
    while True:
        file.write(bytes(KIB))


async def test_a_full_disk(small_disk: Path) -> None:
    store = FolderBlobStore(small_disk / "blobs")
    await store.start()
    await store.put({NAME: DATA})
    with pytest.raises(StoreFull, match="cannot be written: No space left on device"):
        await store.put({LARGE_NAME: LARGE})
    assert store.failure == "The blob store cannot be written: No space left on device."
    assert files(small_disk) == {NAME}
    assert await store.get([NAME, LARGE_NAME]) == {NAME: DATA}
    assert [list(page) async for page in store.every()] == [[NAME]]

    grow(small_disk)
    await store.put({LARGE_NAME: LARGE})
    assert await store.get([NAME, LARGE_NAME]) == {NAME: DATA, LARGE_NAME: LARGE}


async def test_a_disk_that_others_fill(small_disk: Path) -> None:
    store = FolderBlobStore(small_disk / "blobs")
    await store.start()
    fill(small_disk / "others")
    with pytest.raises(StoreFull):
        await store.put({NAME: DATA})
    assert await store.get([NAME]) == {}
    (small_disk / "others").unlink()
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """In a process of its own, which may write no file of more than 4 KiB: every write ends in the middle."""
    script = f"""
import asyncio, os, resource, sys
from hashlib import sha256
from pathlib import Path
from ingestion.blobs.folder import FolderBlobStore
from ingestion.errors import BlobStoreUnavailable

async def main() -> None:
    root = Path(sys.argv[1])
    store = FolderBlobStore(root)
    await store.start()
    data = os.urandom({64 * KIB})
    name = sha256(data).hexdigest()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({4 * KIB}, most))
    try:
        await store.put({{name: data}})
    except BlobStoreUnavailable as error:
        print(error.message)
    print([path.name for path in root.rglob("*") if path.is_file()])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await store.put({{name: data}})
    print(await store.get([name]) == {{name: data}})

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "blobs")], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["The blob store cannot be written: File too large.", "[]", "True"], done.stderr


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (os, "fdopen"), (os, "mkdir"), (Path, "rename")])
async def test_no_space_at_any_step(
    store: FolderBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, step: str
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(owner, step, no_space)
        with pytest.raises(StoreFull, match="cannot be written: No space left on device"):
            await store.put({NAME: DATA})
    assert files(tmp_path) == set()
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


@pytest.mark.parametrize("count", [SEPARATE_PROCESS_BLOBS - 1, 3 * SEPARATE_PROCESS_BLOBS])
async def test_a_failed_put_has_ended_when_it_says_so(store: FolderBlobStore, tmp_path: Path, count: int) -> None:
    """Nothing goes on writing behind the caller's back."""
    originals = blobs(count)
    first = next(iter(originals))
    (tmp_path / "blobs" / first[:2]).write_text("in the way")
    with pytest.raises(BlobStoreUnavailable):
        await store.put(originals)
    at_once = files(tmp_path)
    assert len(at_once) > count / 2
    assert not any((tmp_path / "blobs" / ".partial").iterdir())


async def test_old_files_of_broken_off_writes_go_at_the_start(store: FolderBlobStore, tmp_path: Path) -> None:
    partial = tmp_path / "blobs" / ".partial"
    for name, hours in (("old", 2), ("new", 0.5)):
        (partial / name).write_bytes(DATA)
        os.utime(partial / name, (time() - hours * 3600,) * 2)
    assert [page async for page in store.every()] == []
    await FolderBlobStore(tmp_path / "blobs").start()
    assert files(tmp_path) == {"new"}


async def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobStoreUnavailable):
        await FolderBlobStore(tmp_path / "file").start()


async def test_a_blob_that_cannot_be_read(store: FolderBlobStore, tmp_path: Path) -> None:
    (tmp_path / "blobs" / NAME[:2] / NAME).mkdir(parents=True)
    with pytest.raises(BlobStoreUnavailable, match="cannot be read"):
        await store.get([NAME])
    assert [page async for page in store.every()] == []


async def test_a_folder_that_is_gone(store: FolderBlobStore, tmp_path: Path) -> None:
    for remove in (".partial", ""):
        (tmp_path / "blobs" / remove).rmdir()
    with pytest.raises(BlobStoreUnavailable, match="cannot be read: No such file or directory"):
        [page async for page in store.every()]


def test_a_slow_disk_takes_no_thread_that_others_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turning = threading.Event()
    synced = os.fsync

    def fsync(handle: int) -> None:
        assert turning.wait(10)
        synced(handle)

    async def scene() -> None:
        store = FolderBlobStore(tmp_path / "blobs")
        await store.start()
        monkeypatch.setattr(os, "fsync", fsync)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        writing = asyncio.create_task(store.put(blobs(SEPARATE_PROCESS_BLOBS - 1)))
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(5):
                await asyncio.to_thread(str)
            assert not writing.done()
        finally:
            turning.set()
            await writing

    asyncio.run(scene())
