"""A file system so small that it can be filled within a moment."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CannotMount("there is no program that mounts file systems") from error
    if mounted.returncode:
        raise CannotMount(f"a small file system needs the right to mount one: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def small_disk_or_skip(folder: Path, size: int) -> Iterator[Path]:
    """Its folder, for a test that needs one."""
    try:
        with small_disk(folder, size) as disk:
            yield disk.folder
    except CannotMount as error:
        pytest.skip(str(error))
