"""Names of blobs in every store: `ab/<sha256>`, where `ab` is the first two digits of the hash."""

import re
from collections.abc import Iterable
from hashlib import sha256 as hash_of

SHA256 = re.compile(r"[0-9a-f]{64}")


def check_names(hashes: Iterable[str]) -> None:
    """Raises ValueError if a hash is not 64 lower-case hexadecimal digits, so that nothing else becomes a path."""
    if not all(map(SHA256.fullmatch, hashes)):
        raise ValueError("A blob is named by the 64 lower-case hexadecimal digits of its SHA-256.")


def path_of(sha256: str) -> str:
    """Returns the path of a blob. Raises the ValueError of `check_names`."""
    check_names([sha256])
    return f"{sha256[:2]}/{sha256}"


def hash_at(path: str) -> str | None:
    """Returns the hash of the blob at `path`, or None if no blob has that path."""
    name = path[-64:]
    return name if SHA256.fullmatch(name) and path == path_of(name) else None


def is_whole(sha256: str, data: bytes) -> bool:
    return hash_of(data).hexdigest() == sha256


def check(sha256: str, data: bytes) -> None:
    """Raises ValueError if the bytes have another hash."""
    if not is_whole(sha256, data):
        raise ValueError(f"The bytes do not have the SHA-256 {sha256}.")
