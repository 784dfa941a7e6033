"""Splits a long text into blocks of bounded size, so that chunking takes time in proportion to the text (pure).

A splitter scans the rest of its input again and again. Its time for a whole document grows faster than the document,
and with the depth of its structure.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

MIN_BLOCK_CHARS = 2**16
MAX_BLOCK_CHARS = 2**18
"""Several of the largest chunks that the store takes."""
_CHARS_PER_TOKEN = 32
MAX_NESTING = 8
"""Lists and quotes in one another. Where there are more, a splitter for Markdown takes time for each level."""

_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})([^\n`]*)$", re.MULTILINE)
_CONTAINERS = re.compile(r"^([ \t]*)((?:>[ \t]?|(?:[-+*]|\d{1,9}[.)])(?:[ \t]+|$))+)", re.MULTILINE)
_RULE = re.compile(r"[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,})$", re.MULTILINE)

Span = tuple[int, int]


def block_chars(max_tokens: int) -> int:
    """Returns the number of characters of a block, for chunks of `max_tokens` tokens."""
    return min(max(MIN_BLOCK_CHARS, _CHARS_PER_TOKEN * max_tokens), MAX_BLOCK_CHARS)


def block_end(text: str, start: int, end: int, chars: int) -> int:
    """Returns the end of the block from `start`: after the last of the lines that begin within `chars`."""
    if end - start <= chars:
        return end
    return text.rfind("\n", start, start + chars) + 1 or start + chars


def fences(text: str) -> list[Span]:
    """Returns the fenced code blocks of a Markdown text in order, from the opening line to the end of the
    closing one.
    """
    found: list[Span] = []
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opened is None:
            opened = line
        elif line[1].startswith(opened[1]) and not line[2].strip():
            found.append((opened.start(), line.end()))
            opened = None
    if opened:
        found.append((opened.start(), len(text)))
    return found


def fence_around(position: int, fences: Sequence[Span]) -> Span | None:
    """Returns the one of `fences`, in order, that begins before `position` and ends after it."""
    before = bisect_right(fences, (position, 0)) - 1
    return fences[before] if before >= 0 and position < fences[before][1] else None


def resume_at(text: str, starts: Sequence[int], start: int, end: int, fences: Sequence[Span]) -> int:
    """Returns the start of the next block, after the block from `start` to `end` was split into chunks that begin at
    `starts`. Preferred is the last chunk that comes after a blank line, at the margin and outside `fences`, so that it
    is read as in the whole text; else the last one that begins a line there; else the last chunk, whose end the end of
    the block may have shifted.

    The result is always in the second half of the block, so that no character is split more than twice; else it is
    `end`.
    """
    late = [each for each in reversed(starts[1:]) if each > (start + end) // 2]
    if not late:
        return end
    lines = [
        each for each in late if text[each - 1] == "\n" and not text[each].isspace() and not fence_around(each, fences)
    ]
    paragraphs = (each for each in lines if text[each - 2] == "\n")
    return next(paragraphs, (lines or late)[0])


def nesting(block: str) -> int:
    """Returns the deepest nesting of lists and quotes, counted by the marks at the beginnings of lines."""
    deepest = 0
    lists: list[int] = []
    for line in _CONTAINERS.finditer(block):
        if _RULE.match(block, line.start()):
            continue
        margin = len(line[1])
        while lists and lists[-1] >= margin:
            lists.pop()
        quotes, items = line[2].count(">"), len(line[2].replace(">", " ").split())
        deepest = max(deepest, len(lists) + quotes + items)
        if items:
            lists.append(margin)
    return deepest
