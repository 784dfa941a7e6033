"""Originals in a folder."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time

from ingestion.blobs.health import RecentFailure
from ingestion.blobs.naming import check_names, hash_at, path_of
from ingestion.blobs.writer_process import WriterProcess
from ingestion.blobs.writing import WRITERS, made_partial, parts, read, write
from ingestion.errors import BlobStoreUnavailable
from retrieval.errors import NO_ROOM, StoreFull

SEPARATE_PROCESS_BLOBS = 64
"""From this number on, blobs are written by a separate process; for fewer, its start costs more than it saves."""
PAGE = 1000
ABANDONED_SECONDS = 3600.0
"""Longer than any write: an older file in PARTIAL belongs to a process that was killed."""


class FolderBlobStore:
    """Implements BlobStore (see ingestion.ports) under `root`, which is created if it is missing: `<root>/ab/<sha256>`.
    Several processes may use one folder.

    Every method raises ValueError if `sha256` is not 64 lower-case hexadecimal digits: it never becomes a path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._recent_failure = RecentFailure()
        self._process = WriterProcess()
        # A separate pool: on a slow disk writes would occupy all the threads that searches need.
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="originals")

    @property
    def failure(self) -> str | None:
        return self._recent_failure.current

    async def start(self) -> None:
        """Removes the remains of interrupted writes. Raises BlobStoreUnavailable if the folder cannot be created or
        written.
        """
        await asyncio.to_thread(self._start)

    async def close(self) -> None:
        """Returns when no write is in flight."""
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._process.close)

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        """Implements BlobStore.put. Raises ValueError if a blob has another hash than its name."""
        check_names(blobs)
        with self._translated("written"):
            if len(blobs) >= SEPARATE_PROCESS_BLOBS and await self._process.write(self._root, blobs):
                return
            # A thread cannot be stopped: all of them have to end before this returns, even if one fails.
            loop = asyncio.get_running_loop()
            writes = (loop.run_in_executor(self._writers, write, self._root, part) for part in parts(blobs))
            ended = await asyncio.gather(*writes, return_exceptions=True)
            for error in ended:
                if error is not None:
                    raise error

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        """Implements BlobStore.get."""
        return await asyncio.to_thread(self._get, list(hashes))

    async def absent(self, hashes: Collection[str]) -> Collection[str]:
        """Implements BlobStore.absent."""
        return await asyncio.to_thread(self._absent, list(hashes))

    async def delete(self, sha256: str) -> None:
        await asyncio.to_thread(self._delete, sha256)

    async def every(self) -> AsyncIterator[Mapping[str, datetime]]:
        """Implements BlobStore.every."""
        for folder in await asyncio.to_thread(self._folders):
            found = await asyncio.to_thread(self._times, folder)
            for start in range(0, len(found), PAGE):
                yield dict(found[start : start + PAGE])

    def _start(self) -> None:
        with self._translated("written"):
            partial = made_partial(self._root)
            with os.scandir(partial) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # another process removes them too
                        if entry.stat().st_mtime < time() - ABANDONED_SECONDS:
                            Path(entry).unlink()
            with tempfile.TemporaryFile(dir=partial):
                pass

    def _get(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        with self._translated("read"):
            found = ((sha256, read(self._root, sha256)) for sha256 in hashes)
            return {sha256: data for sha256, data in found if data is not None}

    def _absent(self, hashes: Sequence[str]) -> Collection[str]:
        with self._translated("read"):
            return {sha256 for sha256 in hashes if not (self._root / path_of(sha256)).is_file()}

    def _delete(self, sha256: str) -> None:
        with self._translated("written"):
            (self._root / path_of(sha256)).unlink(missing_ok=True)

    def _folders(self) -> Sequence[Path]:
        with self._translated("read"), os.scandir(self._root) as entries:
            return sorted(Path(entry) for entry in entries if len(entry.name) == 2 and entry.is_dir())

    def _times(self, folder: Path) -> Sequence[tuple[str, datetime]]:
        found = []
        with self._translated("read"), os.scandir(folder) as entries:
            for entry in entries:
                name = hash_at(f"{folder.name}/{entry.name}")
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if name and entry.is_file():
                        found.append((name, datetime.fromtimestamp(entry.stat().st_mtime, UTC)))
        return found

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"The blob store cannot be {done}: {error.strerror or error}."
            self._recent_failure.note(message)
            if error.errno in NO_ROOM:
                raise StoreFull(message) from error
            raise BlobStoreUnavailable(message) from error
