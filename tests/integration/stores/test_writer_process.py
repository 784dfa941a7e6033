"""Originals written by a process of its own, which may end at any time."""

import errno
import os
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from ingestion.blobs.folder import SEPARATE_PROCESS_BLOBS, FolderBlobStore
from ingestion.errors import BlobStoreUnavailable
from tests.support.files.originals import blobs, files
from tests.support.waiting import wait_until

MANY = blobs(2 * SEPARATE_PROCESS_BLOBS)
OTHERS = blobs(2 * SEPARATE_PROCESS_BLOBS, first=1000)


async def test_many_at_once_are_written_and_the_process_ends_with_the_store(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    await store.start()
    await store.put(MANY)
    assert len(active_children()) == 1
    await store.put(OTHERS)
    assert len(active_children()) == 1
    assert files(tmp_path) == MANY.keys() | OTHERS.keys()
    assert await store.get(MANY) == MANY
    await store.close()
    assert active_children() == []


async def test_what_it_meets_is_told_as_ever(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    await store.start()
    (tmp_path / next(iter(MANY))[:2]).write_text("in the way")
    with pytest.raises(BlobStoreUnavailable, match="cannot be written: Not a directory"):
        await store.put(MANY)
    wrong = MANY | {"0" * 64: b"other bytes"}
    with pytest.raises(ValueError, match="do not have the SHA-256"):
        await store.put(wrong)
    assert "0" * 64 not in files(tmp_path)
    await store.close()


async def test_one_that_was_killed_is_done_without_and_started_again(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    await store.start()
    await store.put(MANY)
    (child,) = active_children()
    child.kill()
    child.join()
    await store.put(OTHERS)
    assert files(tmp_path) == MANY.keys() | OTHERS.keys()
    await store.put(MANY)
    (again,) = active_children()
    assert again.pid != child.pid
    await store.close()


async def test_one_that_hangs_is_killed_and_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderBlobStore(tmp_path)
    await store.start()
    await store.put(MANY)
    (child,) = active_children()
    assert child.pid
    os.kill(child.pid, signal.SIGSTOP)
    monkeypatch.setattr("ingestion.blobs.writer_process.WRITE_SECONDS", 0.5)
    await store.put(OTHERS)
    assert files(tmp_path) == MANY.keys() | OTHERS.keys()
    assert store.failure is None
    child.join(10)
    assert not child.is_alive()
    monkeypatch.undo()
    await store.put(MANY)
    (again,) = active_children()
    assert again.pid
    os.kill(again.pid, signal.SIGSTOP)
    monkeypatch.setattr("ingestion.blobs.writer_process.CLOSE_SECONDS", 0.5)
    await store.close()
    assert active_children() == []


async def test_one_that_the_system_gives_no_process_for_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderBlobStore(tmp_path)
    await store.start()

    def refuse(process: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with monkeypatch.context() as poor:
        poor.setattr("multiprocessing.context.SpawnProcess.start", refuse)
        await store.put(MANY)
        await store.put(OTHERS)
        assert active_children() == []
    assert files(tmp_path) == MANY.keys() | OTHERS.keys()
    assert store.failure is None
    await store.put(MANY)
    assert len(active_children()) == 1
    await store.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_to_the_whole_service_leave_it_to_the_store(tmp_path: Path, number: int) -> None:
    store = FolderBlobStore(tmp_path)
    await store.start()
    await store.put(MANY)
    (child,) = active_children()
    assert child.pid
    os.kill(child.pid, number)
    await store.put(OTHERS)
    assert [each.pid for each in active_children()] == [child.pid]
    await store.close()


def test_it_ends_with_a_service_that_was_killed(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from ingestion.blobs.folder import FolderBlobStore
from tests.integration.stores.test_writer_process import MANY

async def main():
    store = FolderBlobStore(Path(sys.argv[1]))
    await store.start()
    await store.put(MANY)
    print("ready", flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""
    service = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert service.stdout
    with service.stdout:
        assert service.stdout.readline() == b"ready\n"
    children = psutil.Process(service.pid).children(recursive=True)
    assert children
    service.kill()
    service.wait()
    wait_until(lambda: not any(child.is_running() for child in children), seconds=30)
