"""Keeps space free on the disks of the embedded stores, so that accepted documents can be completed and deletes stay
possible.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from retrieval.errors import StoreFull

SHARE = 0.05
"""Largest share of a disk to reserve: the reserve of a small disk is smaller."""
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Space:
    """The space of a disk, in bytes."""

    total: int
    free: int
    """Bytes available to this user."""


def space_at(path: Path) -> Space:
    """Returns the space of the disk that holds `path`, or would hold it. Raises OSError."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class DiskReserve:
    """Checks the disks of `paths` at most once in FRESH_SECONDS."""

    def __init__(
        self,
        paths: Sequence[Path] = (),
        reserve_bytes: int = 0,
        *,
        look: Callable[[Path], Space] = space_at,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """With `reserve_bytes` of 0, no space is kept free."""
        self._paths = tuple(paths) if reserve_bytes else ()
        self._reserve = reserve_bytes
        self._look = look
        self._clock = clock
        self._looked_at = float("-inf")
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        """The reason why nothing more is accepted now, or None."""
        if self._clock() >= self._looked_at + FRESH_SECONDS:
            self._looked_at = self._clock()
            self._failure = next(filter(None, map(self._shortage, self._paths)), None)
        return self._failure

    def require(self) -> None:
        """Raises StoreFull if less than the reserve is free."""
        if reason := self.failure:
            raise StoreFull(reason)

    def _shortage(self, path: Path) -> str | None:
        try:
            space = self._look(path)
        except OSError:
            return None  # the next write reports the problem
        wanted = min(self._reserve, int(space.total * SHARE))
        if space.free >= wanted:
            return None
        return (
            f"The disk of {path} has {space.free / 2**20:,.0f} MB left, fewer than the {wanted / 2**20:,.0f} MB that "
            "are kept free (TANDEM_DISK_RESERVE_MB): nothing more is written until there is room. Deletes are "
            "still possible."
        )
