"""What goes wrong with the files of Milvus Lite's process, by names that the node's side knows."""

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
    """Nothing of what was asked for has been done."""


def install() -> None:
    errors._EXCEPTION_TO_CODE[DiskFull] = (errors.UNEXPECTED_ERROR, DISK_FULL, "DiskFull")


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raises DiskFull in place of the system's error; a decorator too."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(" ".join(str(error).split())) from error
        raise


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Raises DamagedFile in place of whatever reading the file raises, but for what passes by itself."""
    try:
        yield
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise DamagedFile(f"{path} cannot be read: {reason}") from error
