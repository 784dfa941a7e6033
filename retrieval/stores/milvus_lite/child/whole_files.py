"""Writes files atomically in Milvus Lite's process: each is written under another name, synchronised to the disk, and
then renamed. A full disk leaves no partial file, and the former file stays.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq  # type: ignore[import-untyped]

UNFINISHED = ".tmp"
"""Suffix of a file that is being written; files with this suffix at a start are removed."""

_log = logging.getLogger(__name__)


def write_whole(path: Path, write: Callable[[str], object]) -> None:
    """Writes a file atomically. `write` creates the file of the name that it gets. Raises what `write` raises, or
    OSError.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        write(str(unfinished))
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_parquet(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda name: pq.write_table(table, name))


def sync_folder(folder: Path) -> None:
    """Synchronises the names in a folder to the disk, if the file system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class certain:  # noqa: N801  # read as a word: with certain("...")
    """Ends the process at once if the block raises: memory and disk no longer agree. The next process recovers from the
    log and the manifest.
    """

    def __init__(self, otherwise: str) -> None:
        self._otherwise = otherwise

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        try:
            _log.critical("ends at once, to recover from its log: %s: %r", self._otherwise, error)
        finally:
            end()


def end() -> None:
    os._exit(70)
