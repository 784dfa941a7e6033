"""BlobStore: originals by their hash."""

import asyncio
import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from ingestion.blobs import FolderBlobStore
from ingestion.errors import BlobStoreUnavailable

DATA = "原文".encode()
NAME = sha256(DATA).hexdigest()


@pytest.fixture
async def store(tmp_path: Path) -> FolderBlobStore:
    store = FolderBlobStore(tmp_path / "made" / "blobs")
    await store.start()
    return store


def path_of(tmp_path: Path, name: str = NAME) -> Path:
    return tmp_path / "made" / "blobs" / name[:2] / name


def files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_gives_back_what_was_put(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}
    assert files(tmp_path) == [path_of(tmp_path)]
    assert store.failure is None


async def test_survives_a_restart(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.put({NAME: DATA})
    await store.close()
    await store.close()
    again = FolderBlobStore(tmp_path / "made" / "blobs")
    await again.start()
    assert await again.get([NAME]) == {NAME: DATA}


async def test_put_twice_does_nothing(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.put({NAME: DATA})
    before = path_of(tmp_path).stat()
    await store.put({NAME: DATA})
    after = path_of(tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


async def test_put_by_many_at_once(store: FolderBlobStore, tmp_path: Path) -> None:
    await asyncio.gather(*(store.put({NAME: DATA}) for _ in range(20)))
    assert await store.get([NAME]) == {NAME: DATA}
    assert files(tmp_path) == [path_of(tmp_path)]


async def test_empty_and_large_blobs(store: FolderBlobStore) -> None:
    for data in (b"", os.urandom(5_000_000)):
        name = sha256(data).hexdigest()
        await store.put({name: data})
        assert await store.get([name]) == {name: data}


async def test_delete(store: FolderBlobStore) -> None:
    await store.put({NAME: DATA})
    await store.delete(NAME)
    await store.delete(NAME)
    assert await store.get([NAME]) == {}
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


async def test_a_damaged_blob_is_missing_until_it_is_put_again(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.put({NAME: DATA})
    path_of(tmp_path).write_bytes(DATA[:-1])
    assert await store.get([NAME]) == {}
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", NAME[:-1], NAME.upper(), NAME + "\n", "/" * 64, "g" * 64])
async def test_takes_nothing_but_a_hash_for_a_name(store: FolderBlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case"):
        await store.put({name: DATA})
    with pytest.raises(ValueError, match="64 lower-case"):
        await store.get([name])
    with pytest.raises(ValueError, match="64 lower-case"):
        await store.delete(name)


async def test_takes_no_bytes_of_another_hash(store: FolderBlobStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=NAME):
        await store.put({NAME: b"other"})
    assert files(tmp_path) == []


async def test_a_full_disk(store: FolderBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(BlobStoreUnavailable, match="cannot be written: No space left on device"):
            await store.put({NAME: DATA})
    assert store.failure == "The blob store cannot be written: No space left on device."
    assert files(tmp_path) == []
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


async def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobStoreUnavailable):
        await FolderBlobStore(tmp_path / "file").start()


async def test_a_blob_that_cannot_be_read(store: FolderBlobStore, tmp_path: Path) -> None:
    path_of(tmp_path).mkdir(parents=True)
    with pytest.raises(BlobStoreUnavailable, match="cannot be read"):
        await store.get([NAME])
