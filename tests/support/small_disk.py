"""A file system so small that it can be filled within a moment."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotMount(Exception):
    """This process may not mount a file system."""


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def free_bytes(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, *, leave: int = 0) -> None:
        """Somebody else takes all space but `leave` bytes."""
        with self._filler.open("ab", buffering=0) as filler:
            while (free := self.free_bytes() - leave) > 0:
                try:
                    filler.write(b"\0" * min(2**20, free))
                except OSError:
                    return

    def clear(self) -> None:
        """Gives back what `fill` took."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """A new file system of `size` bytes at `folder`. Raises CannotMount."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        raise CannotMount(f"a small file system needs the right to mount one: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
