"""Groups: the names by which documents say who may read them, and callers who they are. Pure."""

import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

MAX_GROUPS: Final = 64
"""Of one document."""
MAX_CALLER_GROUPS: Final = 1000
"""Of one caller."""
MAX_GROUP_BYTES: Final = 256
"""Of UTF-8."""


def wrong_names(names: Collection[str], limit: int = MAX_GROUPS) -> str | None:
    """Describes what keeps texts from being names of groups, or so many; None if nothing does."""
    if len(names) > limit:
        return f"there are {len(names)}; at most {limit} are taken"
    return next((f"{name[:80]!r} {wrong}" for name in names if (wrong := _wrong_name(name))), None)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names, each once, in one order."""
    return tuple(sorted(set(names)))


def _wrong_name(name: str) -> str | None:
    if not name or name != name.strip():
        return "is empty, or begins or ends with white space"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "holds control characters or surrogates"
    if len(name.encode()) > MAX_GROUP_BYTES:
        return f"has more than {MAX_GROUP_BYTES} bytes"
    return None
