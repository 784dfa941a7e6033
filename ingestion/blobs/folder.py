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
from uuid import uuid4

from ingestion.blobs.naming import check, hash_at, is_whole, path_of
from ingestion.blobs.trouble import Trouble
from ingestion.errors import BlobStoreUnavailable

WRITERS = 8
"""Writes wait for the disk to sync, so a few side by side are faster than one after the other. They have threads of
their own: on a slow disk they would hold all those that searches need, too."""
PAGE = 1000
PARTIAL = ".partial"
"""Folder of the files that are being written. They are moved out of it when they are whole."""
ABANDONED_SECONDS = 3600.0
"""No write takes so long: a file in PARTIAL that is older belongs to a process that was killed."""


class FolderBlobStore:
    """BlobStore (see ingestion.ports) under `root`, which is made where it is missing: `<root>/ab/<sha256>`. Several
    processes may use one folder.

    Every method raises ValueError where `sha256` is not 64 lower-case hexadecimal digits: it never becomes a path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trouble = Trouble()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="originals")

    @property
    def failure(self) -> str | None:
        return self._trouble.current

    async def start(self) -> None:
        """Removes what broken-off writes left. Raises BlobStoreUnavailable where the folder cannot be made or
        written."""
        await asyncio.to_thread(self._start)

    async def close(self) -> None:
        """Returns when no write is under way any more."""
        await asyncio.to_thread(self._writers.shutdown)

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        """See BlobStore.put. Raises ValueError where a blob has another hash than its name."""
        # In order, so that what goes into one folder is written, and the folder synced, by one of them.
        work = [(self._path(sha256), data) for sha256, data in sorted(blobs.items())]
        size = -(-len(work) // WRITERS) or 1
        slices = [work[first : first + size] for first in range(0, len(work), size)]
        # A thread cannot be stopped: all of them have ended, whatever one of them met, before this returns.
        loop = asyncio.get_running_loop()
        writes = (loop.run_in_executor(self._writers, self._put, part) for part in slices)
        ended = await asyncio.gather(*writes, return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        """See BlobStore.get."""
        return await asyncio.to_thread(self._get, [self._path(sha256) for sha256 in hashes])

    async def absent(self, hashes: Collection[str]) -> Collection[str]:
        """See BlobStore.absent."""
        return await asyncio.to_thread(self._absent, [self._path(sha256) for sha256 in hashes])

    async def delete(self, sha256: str) -> None:
        await asyncio.to_thread(self._delete, self._path(sha256))

    async def every(self) -> AsyncIterator[Mapping[str, datetime]]:
        """See BlobStore.every."""
        for folder in await asyncio.to_thread(self._folders):
            found = await asyncio.to_thread(self._times, folder)
            for start in range(0, len(found), PAGE):
                yield dict(found[start : start + PAGE])

    def _path(self, sha256: str) -> Path:
        return self._root / path_of(sha256)

    def _start(self) -> None:
        with self._translated("written"):
            partial = self._partial()
            with os.scandir(partial) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # another process tidies up too
                        if entry.stat().st_mtime < time() - ABANDONED_SECONDS:
                            Path(entry).unlink()
            with tempfile.TemporaryFile(dir=partial):
                pass

    def _put(self, blobs: Sequence[tuple[Path, bytes]]) -> None:
        with self._translated("written"):
            partial = self._partial()
            for path, data in blobs:
                check(path.name, data)
                if _read(path) is None:
                    _replace(path, data, partial)
            # Also where every blob was there: whoever wrote it may not have come this far yet.
            for folder in {path.parent for path, _ in blobs} | {self._root}:
                _sync_folder(folder)

    def _get(self, paths: Sequence[Path]) -> Mapping[str, bytes]:
        with self._translated("read"):
            found = ((path.name, _read(path)) for path in paths)
            return {name: data for name, data in found if data is not None}

    def _absent(self, paths: Sequence[Path]) -> Collection[str]:
        with self._translated("read"):
            return {path.name for path in paths if not path.is_file()}

    def _delete(self, path: Path) -> None:
        with self._translated("written"):
            path.unlink(missing_ok=True)

    def _partial(self) -> Path:
        folder = self._root / PARTIAL
        folder.mkdir(parents=True, exist_ok=True)
        return folder

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
            self._trouble.note(message)
            raise BlobStoreUnavailable(message) from error


def _read(path: Path) -> bytes | None:
    """The blob if it is there and whole: a damaged one counts as missing, and the next upload of the same bytes mends
    it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if is_whole(path.name, data) else None


def _replace(path: Path, data: bytes, partial: Path) -> None:
    """The file appears under its name only when all of it is on the disk."""
    temporary = partial / uuid4().hex
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            temporary.rename(path)
        except FileNotFoundError:
            path.parent.mkdir(exist_ok=True)
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
