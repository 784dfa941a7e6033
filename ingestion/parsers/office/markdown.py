"""Formats blocks, tables and superscripts as text (pure)."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

_WORD = re.compile(r"[^\W\d_]{2,}")
_LINES = re.compile(r"\s*\n\s*")


@dataclass(frozen=True, slots=True)
class Block:
    text: str
    item: bool = False
    """Whether it is a list item, which follows the previous item without a blank line."""


def joined(blocks: Sequence[Block]) -> str:
    parts: list[str] = []
    before = False
    for block in blocks:
        if not block.text.strip():
            continue
        if parts:
            parts.append("\n" if before and block.item else "\n\n")
        parts.append(block.text)
        before = block.item
    return "".join(parts)


def raised(text: str) -> str:
    """Formats a superscript: `10^6`, `m^2`, but `1st`, and no mark on blanks."""
    body = text.strip()
    return text if not body or _WORD.fullmatch(body) or body[0] in "[^®™©" else text.replace(body, f"^{body}", 1)


def with_edges(blocks: Sequence[Block], edges: Iterable[str]) -> str:
    """The text of a document with its headers and footers at the end, each once. Those without a letter are numbers of
    pages."""
    once = dict.fromkeys(edge for edge in edges if any(char.isalpha() for char in edge))
    return joined([*blocks, *map(Block, once)])


def ruby(base: Element | None, reading: Element | None, inline: Callable[[Element], str]) -> str:
    """Characters with their reading above: `漢字(かんじ)`."""
    text = "" if base is None else inline(base)
    return text if reading is None else f"{text}({inline(reading)})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Formats a table whose first row is the header. A table of one column is formatted as its cells' text."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    width = max(map(len, rows), default=0)
    while width and not any(len(row) >= width and row[width - 1].strip() for row in rows):
        width -= 1
    if width < 2:
        return "\n\n".join(row[0].strip() for row in rows)
    lines = []
    for row in rows:
        cells = [_LINES.sub(" ", cell.strip()) for cell in row[:width]]
        lines.append(f"| {' | '.join(cells + [''] * (width - len(cells)))} |")
    lines.insert(1, f"|{' --- |' * width}")
    return "\n".join(lines)
