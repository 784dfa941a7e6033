"""API keys of the settings and of a file, in clear or as their SHA-256. Only the SHA-256 of each is kept."""

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Final

import structlog
from pydantic import SecretStr

from app.access.caller import INTERNAL, Caller
from app.http.security.watched_file import WatchedFile, warn_of_readers

log = structlog.get_logger()

HASHED: Final = "sha256:"
SHORT_CHARACTERS: Final = 16
_HEXADECIMAL: Final = re.compile(r"[0-9a-fA-F]{64}")


def digest_of(entry: str) -> bytes:
    """Returns the SHA-256 of a key; an entry that begins with HASHED already contains it. Raises ValueError, which does
    not repeat the entry.
    """
    if not entry.startswith(HASHED):
        return sha256(entry.encode()).digest()
    hexadecimal = entry.removeprefix(HASHED)
    if not _HEXADECIMAL.fullmatch(hexadecimal):
        raise ValueError(f"behind {HASHED!r} there must be 64 hexadecimal digits (printf %s KEY | sha256sum)")
    return bytes.fromhex(hexadecimal)


class ApiKeys:
    """Bearer keys of the settings, which permit everything. Without any key, every caller is accepted."""

    def __init__(
        self,
        keys: Sequence[SecretStr],
        file: Path | None = None,
        *,
        internal: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`internal` is an additional key, used only if there are others. Raises ConfigurationError for a file that has
        none.
        """
        entries = [key.get_secret_value() for key in keys]
        self._digests = frozenset(map(digest_of, entries))
        self._file = KeyFile(file, clock) if file else None
        self._internal = digest_of(internal) if internal else None
        _warn_of_short_keys(entries, "TANDEM_API_KEYS")

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return bool(self._digests) or self._file is not None

    def holder(self, key: str) -> Caller | None:
        """Returns the caller with this key; None if it is not one of these keys."""
        # By hash: what a lookup's time tells of a hash says nothing about the key.
        given = sha256(key.encode()).digest()
        if given == self._internal:
            return Caller(INTERNAL, frozenset(("ingest",)), ())
        if given in self._digests or (self._file is not None and given in self._file.digests()):
            return Caller(given.hex()[:12])
        return None


class KeyFile:
    """Keys of a file, one per line; empty lines and lines that begin with # are ignored. See WatchedFile."""

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        """Reads the file. Raises ConfigurationError."""
        self._path = path
        self._file = WatchedFile(path, "TANDEM_API_KEYS_FILE", self._read, clock)

    def digests(self) -> frozenset[bytes]:
        return self._file.value()

    def _read(self, raw: bytes) -> frozenset[bytes]:
        """Raises ValueError."""
        lines = [line.strip() for line in raw.decode().splitlines()]
        entries = []
        digests = set()
        for number, line in enumerate(lines, start=1):
            if line and not line.startswith("#"):
                entries.append(line)
                try:
                    digests.add(digest_of(line))
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
        if not digests:
            raise ValueError("holds no key")
        if not all(entry.startswith(HASHED) for entry in entries):
            warn_of_readers(self._path)
        _warn_of_short_keys(entries, str(self._path))
        return frozenset(digests)


def _warn_of_short_keys(entries: Sequence[str], source: str) -> None:
    short = sum(len(entry) < SHORT_CHARACTERS for entry in entries)
    if short:
        log.warning(
            "short API keys can be guessed: openssl rand -hex 32 makes better ones",
            keys=short,
            characters=f"fewer than {SHORT_CHARACTERS}",
            source=source,
        )
