"""What a page and its translation have to have in common."""

import re
from collections import Counter
from dataclasses import dataclass

BLOCK = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) .*$", re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])\d[\d,.]*\d|(?<![\w.])\d")


@dataclass(frozen=True, slots=True)
class Section:
    """From a heading to the next one, without blocks."""

    level: int
    rows: tuple[int, ...]
    """Columns of each row of its tables."""
    numbers: Counter[str]
    code: Counter[str]
    """What is set as code."""


def commands(page: str) -> list[str]:
    """Lines of the code blocks without comments, of a list of folders the folders; the question that is searched for is
    each language's own."""
    lines = [line.split("  # ")[0].rstrip() for block in BLOCK.findall(page) for line in block.splitlines()]
    lines = [re.sub(r"^(\w+/) {2,}.*", r"\1", line) for line in lines]
    return [re.sub(r'(tandem search) ".*"', r"\1", line) for line in lines]


def sections(page: str) -> list[Section]:
    text = BLOCK.sub("", page)
    starts = list(HEADING.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return [_section(len(start[1]), text[start.end() : end]) for start, end in zip(starts, ends, strict=True)]


def _section(level: int, text: str) -> Section:
    rows = tuple(line.count("|") for line in text.splitlines() if line.startswith("|"))
    code = Counter(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    prose = re.sub(r"`[^`]+`|\]\([^)]*\)", " ", text)
    return Section(level, rows, Counter(NUMBER.findall(prose)), code)
