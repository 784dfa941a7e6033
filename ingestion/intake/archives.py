"""Members of a ZIP file, each read within bounds (pure)."""

import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ingestion.intake.budget import Budget
from ingestion.parsers.text import decode

MAX_ENTRIES = 100_000
"""Maximum number of entries of the archive's directory; every entry costs memory before its name is known."""
_ENTRY = b"PK\x01\x02"
_PACKINGS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Others may ask for gigabytes to unpack a few bytes."""
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
# What systems and editors leave in folders; nobody means it when they pack one.
_LEFTOVERS = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


class ArchiveDamaged(Exception):
    """The file is not a valid ZIP file; the text says why."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    """Path in the container, with `/`."""
    data: bytes
    """Empty where it was not read."""
    skipped: str = ""
    """Why it was not read."""


def members(data: bytes, budget: Budget) -> Iterator[Member]:
    """Files in the archive's order, without hidden ones and what systems leave there. Raises ArchiveDamaged; TooLarge
    where they are more than the budget."""
    if data.count(_ENTRY) > MAX_ENTRIES:
        raise ArchiveDamaged(f"it has more than {MAX_ENTRIES:,} entries")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, UnicodeError) as error:
        raise ArchiveDamaged(str(error)[:200]) from error
    for info in archive.infolist():
        name = _path(info)
        if not name or info.is_dir():
            continue
        if info.flag_bits & _ENCRYPTED:
            yield Member(name, b"", "It is protected by a password.")
        elif stat.S_ISLNK(info.external_attr >> 16):
            yield Member(name, b"", "It is a link.")
        elif info.compress_type not in _PACKINGS:
            yield Member(name, b"", "It is packed in a way that is not read: use the usual ZIP compression.")
        else:
            yield _read(archive, info, name, budget)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, budget: Budget) -> Member:
    try:
        with archive.open(info) as packed:
            data = packed.read(budget.readable + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, RuntimeError):
        return Member(name, b"", "It is damaged: it cannot be unpacked.")
    budget.take(len(data))
    return Member(name, data)


def _path(info: zipfile.ZipInfo) -> str:
    """Returns the member's path, empty if it is skipped."""
    name = info.filename
    if not info.flag_bits & _UTF8_NAME and not name.isascii():
        # zipfile takes names without the mark as cp437. Programs write what their system uses.
        name = decode(name.encode("cp437", errors="replace")) or name
    parts = [part.strip() for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/")]
    parts = [part for part in parts if part not in ("", ".", "..")]
    if any(part.startswith(".") or part in _LEFTOVERS for part in parts):
        return ""
    return "".join(char for char in "/".join(parts) if unicodedata.category(char) not in ("Cc", "Cs"))
