"""A file of secrets that is read again when it changes."""

from collections.abc import Callable
from pathlib import Path
from stat import S_IROTH
from typing import Final, Generic, TypeVar

import structlog

from retrieval.errors import ConfigurationError

log = structlog.get_logger()

LOOK_SECONDS: Final = 1.0
"""Interval in which a file is checked for changes."""
MAX_FILE_BYTES: Final = 2**20

ValueT = TypeVar("ValueT")


class WatchedFile(Generic[ValueT]):
    """What a file holds. A change takes effect within a second. A file that cannot be read changes nothing: an
    incomplete file must neither lock out all callers nor admit any.
    """

    def __init__(self, path: Path, setting: str, parse: Callable[[bytes], ValueT], clock: Callable[[], float]) -> None:
        """Reads the file. `setting` names it in messages; `parse` raises ValueError, which says what is wrong. Raises
        ConfigurationError.
        """
        self._path = path
        self._setting = setting
        self._parse = parse
        self._clock = clock
        self._seen = self._state()
        self._looked = clock()
        self._value = self._read()

    def value(self) -> ValueT:
        if self._clock() - self._looked >= LOOK_SECONDS:
            self._looked = self._clock()
            try:
                state = self._state()
                if state != self._seen:
                    self._value = self._read()
                    self._seen = state
                    log.info("file read again", setting=self._setting)
            except ConfigurationError as error:
                log.error("file not read again: what it held before stays", reason=error.message)
        return self._value

    def _state(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})") from error
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> ValueT:
        try:
            with self._path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})") from error
        if len(raw) > MAX_FILE_BYTES:
            raise self._unusable(f"has more than {MAX_FILE_BYTES:,} bytes")
        try:
            return self._parse(raw)
        except UnicodeDecodeError:
            raise self._unusable("is not UTF-8") from None
        except ValueError as error:
            raise self._unusable(str(error)) from None

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._setting}={self._path}: {why}.")


def warn_of_readers(path: Path) -> None:
    """Warns where every user of the machine can read a file that holds secrets."""
    try:
        readable = bool(path.stat().st_mode & S_IROTH)
    except OSError:
        return
    if readable:
        log.warning("every user of this machine can read a file of secrets: chmod 600", file=str(path))
