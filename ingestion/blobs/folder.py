"""Originals in a folder."""

import asyncio
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256 as hash_of
from pathlib import Path
from time import monotonic

from ingestion.errors import BlobStoreUnavailable

FAILURE_SECONDS = 30.0
WRITERS = 8
"""Writes wait for the disk to sync, so a few side by side are faster than one after the other."""
SHA256 = re.compile(r"[0-9a-f]{64}")


class FolderBlobStore:
    """BlobStore (see ingestion.ports) under `root`, which is made where it is missing: `<root>/ab/<sha256>`.

    Every method raises ValueError where `sha256` is not 64 lower-case hexadecimal digits: it never becomes a path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._failure = ""
        self._failed_at = float("-inf")

    @property
    def failure(self) -> str | None:
        """What went wrong last, for half a minute: afterwards a new attempt has to show whether it still does."""
        return self._failure if monotonic() < self._failed_at + FAILURE_SECONDS else None

    async def start(self) -> None:
        """Raises BlobStoreUnavailable where the folder cannot be made or written."""
        await asyncio.to_thread(self._start)

    async def close(self) -> None:
        """Nothing is held open."""

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        """See BlobStore.put. Raises ValueError where a blob has another hash than its name."""
        work = [(self._path(sha256), data) for sha256, data in blobs.items()]
        slices = [part for first in range(WRITERS) if (part := work[first::WRITERS])]
        await asyncio.gather(*(asyncio.to_thread(self._put, part) for part in slices))

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        """See BlobStore.get."""
        return await asyncio.to_thread(self._get, [self._path(sha256) for sha256 in hashes])

    async def delete(self, sha256: str) -> None:
        await asyncio.to_thread(self._delete, self._path(sha256))

    def _path(self, sha256: str) -> Path:
        if SHA256.fullmatch(sha256) is None:
            raise ValueError("A blob is named by the 64 lower-case hexadecimal digits of its SHA-256.")
        return self._root / sha256[:2] / sha256

    def _start(self) -> None:
        with self._translated("written"):
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root):
                pass

    def _put(self, blobs: Sequence[tuple[Path, bytes]]) -> None:
        with self._translated("written"):
            for path, data in blobs:
                if hash_of(data).hexdigest() != path.name:
                    raise ValueError(f"The bytes do not have the SHA-256 {path.name}.")
                if _read(path) is None:
                    path.parent.mkdir(exist_ok=True)
                    _replace(path, data)
            # Also where every blob was there: whoever wrote it may not have come this far yet.
            for folder in {path.parent for path, _ in blobs} | {self._root}:
                _sync_folder(folder)

    def _get(self, paths: Sequence[Path]) -> Mapping[str, bytes]:
        with self._translated("read"):
            found = ((path.name, _read(path)) for path in paths)
            return {name: data for name, data in found if data is not None}

    def _delete(self, path: Path) -> None:
        with self._translated("written"):
            path.unlink(missing_ok=True)

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failure = f"The blob store cannot be {done}: {error.strerror or error}."
            self._failed_at = monotonic()
            raise BlobStoreUnavailable(self._failure) from error


def _read(path: Path) -> bytes | None:
    """The blob if it is there and whole: a damaged one counts as missing, and the next upload of the same bytes mends
    it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if hash_of(data).hexdigest() == path.name else None


def _replace(path: Path, data: bytes) -> None:
    """The file appears under its name only when all of it is on the disk."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
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
