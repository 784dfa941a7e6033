"""What a page and its translation have in common."""

import re
from dataclasses import dataclass

BLOCK = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
DRAWING = re.compile(r"^```mermaid\n.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """From a heading to the next one, without blocks."""

    level: int
    rows: tuple[int, ...]
    """Columns of each row of its tables."""


def commands(page: str) -> list[str]:
    """Lines of the code blocks without comments. Drawings have words of their own language."""
    blocks = BLOCK.findall(DRAWING.sub("", page))
    return [line.split("  # ")[0].rstrip() for block in blocks for line in block.splitlines()]


def sections(page: str) -> list[Section]:
    text = BLOCK.sub("", page)
    starts = list(HEADING.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return [
        Section(
            len(start[1]), tuple(line.count("|") for line in text[start.end() : end].splitlines() if line[:1] == "|")
        )
        for start, end in zip(starts, ends, strict=True)
    ]
