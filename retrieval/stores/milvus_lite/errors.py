"""Errors of Milvus Lite's files, under names that the node's side knows."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from milvus_lite.adapter.grpc import errors
from milvus_lite.exceptions import MilvusLiteError

from retrieval.errors import NO_ROOM
from retrieval.stores.milvus.errors import DISK_FULL

_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR})


class DamagedFile(Exception):
    """A file of the store cannot be read; the message names it."""


class DiskFull(MilvusLiteError):  # type: ignore[misc]
    """The disk is full; the call has changed nothing."""


def install() -> None:
    errors._EXCEPTION_TO_CODE[DiskFull] = (errors.UNEXPECTED_ERROR, DISK_FULL, "DiskFull")


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raises DiskFull instead of the system's error; also usable as a decorator."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(" ".join(str(error).split())) from error
        raise


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Raises DamagedFile instead of the exceptions of reading the file, except for temporary ones."""
    try:
        yield
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise DamagedFile(f"{path} cannot be read: {reason}") from error
