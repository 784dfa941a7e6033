"""The part of a disk that writers leave free, so that what was begun can be finished and the node can be mended."""

import os
from pathlib import Path

from retrieval.errors import StoreFull

_MB = 2**20


def free_bytes(folder: Path) -> int:
    """Of the file system that `folder` is on, for this user. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def require_free(folder: Path, reserve_bytes: int) -> None:
    """Raises StoreFull where less than the reserve is free. A file system that does not say how much is free counts as
    one with room: the write itself will show."""
    try:
        free = free_bytes(folder)
    except OSError:
        return
    if free < reserve_bytes:
        raise StoreFull(
            f"{folder} has {free // _MB} MB free, and {reserve_bytes // _MB} MB are kept as a reserve: free space or "
            "enlarge the disk.",
            free_mb=free // _MB,
            reserve_mb=reserve_bytes // _MB,
        )
