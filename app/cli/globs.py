"""Wildcards in the names of files: `*` and `?` within a name, `**` across folders, `[…]` for one character."""

import re
from functools import lru_cache
from pathlib import Path, PurePath

WILDCARDS = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", re.DOTALL)
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_pattern(text: str) -> bool:
    return WILDCARDS.search(text) is not None


def split_pattern(text: str) -> tuple[Path, str]:
    """Splits `docs/2024/**/*.md` into the folder before the first wildcard, and the pattern below it."""
    parts = PurePath(text).parts
    first = next(place for place, part in enumerate(parts) if is_pattern(part))
    return Path(*parts[:first]), "/".join(parts[first:])


def is_like(name: PurePath, pattern: str) -> bool:
    """Returns whether the whole of `name`, a path within a folder, matches the pattern."""
    return _compiled(pattern).fullmatch(name.as_posix()) is not None


def is_within(name: PurePath, pattern: str) -> bool:
    """Returns whether `name` or a folder that contains it matches the pattern. A pattern with a slash is compared with
    paths, one without with names.
    """
    pattern = pattern.rstrip("/")
    if "/" in pattern:
        return any(is_like(each, pattern) for each in (name, *name.parents))
    return any(is_like(PurePath(part), pattern) for part in name.parts)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_translated(token) for token in _TOKEN.findall(pattern)), re.DOTALL)


def _translated(token: str) -> str:
    if token in _MEANING:
        return _MEANING[token]
    if len(token) > 1:
        inside = token[1:-1].replace("\\", "\\\\")
        return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
    return re.escape(token)
