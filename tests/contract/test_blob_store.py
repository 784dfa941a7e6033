"""BlobStore: originals by their hash, in a folder and in a bucket."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from ingestion.blobs.folder import FolderBlobStore
from ingestion.blobs.s3 import S3BlobStore, S3Options, open_bucket
from ingestion.ports import BlobStore
from tests.support.files.originals import blobs

DATA = "原文".encode()
NAME = sha256(DATA).hexdigest()
PATH = f"{NAME[:2]}/{NAME}"


@dataclass(frozen=True)
class Kept:
    """A store, and what lies behind it, by path."""

    open: Callable[[], BlobStore]
    write: Callable[[str, bytes], None]
    paths: Callable[[], set[str]]


def in_folder(root: Path) -> Kept:
    def write(path: str, data: bytes) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)

    def paths() -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    return Kept(lambda: FolderBlobStore(root), write, paths)


def in_bucket(options: S3Options) -> Kept:
    bucket, folder = f"{options.endpoint}/{options.bucket}", f"{options.prefix}/"

    def write(path: str, data: bytes) -> None:
        open_bucket(options).put(path, data)

    def paths() -> set[str]:
        listed = httpx.get(bucket, params={"list-type": "2"}).raise_for_status().text
        return {key.split("</Key>")[0].removeprefix(folder) for key in listed.split("<Key>")[1:]}

    return Kept(lambda: S3BlobStore(options), write, paths)


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "folder":
        return in_folder(tmp_path / "made" / "blobs")
    return in_bucket(request.getfixturevalue("s3_options"))


@pytest.fixture
async def store(kept: Kept) -> AsyncIterator[BlobStore]:
    store = kept.open()
    await store.start()
    yield store
    await store.close()


async def everything(store: BlobStore) -> Mapping[str, datetime]:
    pages = [page async for page in store.every()]
    assert all(0 < len(page) <= 1000 for page in pages)
    assert sum(map(len, pages)) == len(set().union(*pages))
    return {name: at for page in pages for name, at in page.items()}


async def test_gives_back_what_was_put(store: BlobStore, kept: Kept) -> None:
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}
    assert kept.paths() == {PATH}
    assert store.failure is None


async def test_gives_back_those_that_are_there(store: BlobStore) -> None:
    originals = blobs(100)
    await store.put(originals)
    assert await store.get([*originals, NAME]) == originals
    assert await store.get([]) == {}
    await store.put({})


async def test_tells_which_are_absent(store: BlobStore) -> None:
    other = sha256(b"other").hexdigest()
    await store.put({NAME: DATA})
    assert set(await store.absent([NAME, other])) == {other}
    assert not await store.absent([NAME])
    assert not await store.absent([])
    await store.delete(NAME)
    assert set(await store.absent([NAME])) == {NAME}


async def test_survives_a_restart(store: BlobStore, kept: Kept) -> None:
    await store.put({NAME: DATA})
    await store.close()
    await store.close()
    again = kept.open()
    await again.start()
    assert await again.get([NAME]) == {NAME: DATA}
    await again.close()


async def test_put_twice_writes_once(store: BlobStore) -> None:
    await store.put({NAME: DATA})
    before = await everything(store)
    await asyncio.sleep(1.1)  # the clock of S3 has whole seconds
    await store.put({NAME: DATA})
    assert await everything(store) == before


async def test_put_by_many_at_once(store: BlobStore, kept: Kept) -> None:
    await asyncio.gather(*(store.put({NAME: DATA}) for _ in range(20)))
    assert await store.get([NAME]) == {NAME: DATA}
    assert kept.paths() == {PATH}


async def test_empty_and_large_blobs(store: BlobStore) -> None:
    for data in (b"", os.urandom(20_000_000)):
        name = sha256(data).hexdigest()
        await store.put({name: data})
        assert await store.get([name]) == {name: data}


async def test_delete(store: BlobStore, kept: Kept) -> None:
    await store.put({NAME: DATA})
    await store.delete(NAME)
    await store.delete(NAME)
    assert await store.get([NAME]) == {}
    assert kept.paths() == set()
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


@pytest.mark.parametrize("damaged", [DATA[:-1], DATA[:-1] + b"?", b""])
async def test_a_damaged_blob_is_missing_until_it_is_put_again(store: BlobStore, kept: Kept, damaged: bytes) -> None:
    await store.put({NAME: DATA})
    kept.write(PATH, damaged)
    assert await store.get([NAME]) == {}
    await store.put({NAME: DATA})
    assert await store.get([NAME]) == {NAME: DATA}


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", NAME[:-1], NAME.upper(), NAME + "\n", "/" * 64, "g" * 64])
async def test_takes_nothing_but_a_hash_for_a_name(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case"):
        await store.put({name: DATA})
    with pytest.raises(ValueError, match="64 lower-case"):
        await store.get([name])
    with pytest.raises(ValueError, match="64 lower-case"):
        await store.delete(name)


async def test_takes_no_bytes_of_another_hash(store: BlobStore, kept: Kept) -> None:
    with pytest.raises(ValueError, match=NAME):
        await store.put({NAME: b"other"})
    assert kept.paths() == set()


async def test_lists_every_blob_with_its_time(store: BlobStore) -> None:
    assert await everything(store) == {}
    before = datetime.now(UTC) - timedelta(seconds=2)
    originals = blobs(1100)
    await store.put(originals)
    times = await everything(store)
    assert times.keys() == originals.keys()
    assert all(before < at < datetime.now(UTC) + timedelta(seconds=2) for at in times.values())
    gone = next(iter(originals))
    await store.delete(gone)
    assert (await everything(store)).keys() == originals.keys() - {gone}


async def test_lists_blobs_only(store: BlobStore, kept: Kept) -> None:
    await store.put({NAME: DATA})
    for path in ("notes.txt", f"00/{NAME}", f"{NAME[:2]}/{NAME}.txt", f"{NAME[:2]}/.{NAME}", f"sub/{PATH}", NAME):
        kept.write(path, DATA)
    assert list(await everything(store)) == [NAME]


async def test_starts_beside_what_is_there(store: BlobStore, kept: Kept) -> None:
    await store.put({NAME: DATA})
    others = [kept.open() for _ in range(4)]
    await asyncio.gather(*(other.start() for other in others))
    assert [await other.get([NAME]) for other in others] == [{NAME: DATA}] * 4
    assert kept.paths() == {PATH}
