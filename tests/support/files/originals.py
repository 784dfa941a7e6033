"""Originals as blob stores take them, and the files that they become."""

from hashlib import sha256
from pathlib import Path


def blobs(count: int, first: int = 0) -> dict[str, bytes]:
    """Different ones for different numbers, by their hashes."""
    numbered = (f"Kiln {number}".encode() for number in range(first, first + count))
    return {sha256(data).hexdigest(): data for data in numbered}


def files(root: Path) -> set[str]:
    """Names of all files below."""
    return {path.name for path in root.rglob("*") if path.is_file()}
