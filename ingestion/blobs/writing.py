"""Writes originals to a disk: a file appears under its name only when it is complete and durable. Blocks."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from ingestion.blobs.naming import check, is_whole, path_of

WRITERS = 8
"""Writes wait for the disk to sync, so a few side by side are faster than one after the other."""
PARTIAL = ".partial"
"""Folder of the files that are being written. They are moved out of it when they are whole."""

Blobs = Sequence[tuple[str, bytes]]
"""Each with its SHA-256."""


def parts(blobs: Mapping[str, bytes]) -> Sequence[Blobs]:
    """Splits blobs into parts for at most WRITERS threads. The order is kept, so that the blobs of one folder are
    written, and the folder is synced, by one thread."""
    work = sorted(blobs.items())
    size = -(-len(work) // WRITERS) or 1
    return [work[first : first + size] for first in range(0, len(work), size)]


def write(root: Path, blobs: Blobs) -> None:
    """Writes the blobs. Raises OSError, and ValueError if a blob has another hash."""
    partial = made_partial(root)
    folders = {root}
    for sha256, data in blobs:
        check(sha256, data)
        path = root / path_of(sha256)
        if _read(path) is None:
            _replace(path, data, partial)
        folders.add(path.parent)
    # Also if every blob existed: their writer may not have come this far yet.
    for folder in folders:
        _sync_folder(folder)


def read(root: Path, sha256: str) -> bytes | None:
    """Returns the blob if it exists and is undamaged. A damaged one counts as missing, and the next upload of the same
    bytes repairs it."""
    return _read(root / path_of(sha256))


def made_partial(root: Path) -> Path:
    folder = root / PARTIAL
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if is_whole(path.name, data) else None


def _replace(path: Path, data: bytes, partial: Path) -> None:
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
