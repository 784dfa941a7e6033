"""The structure of a text that its chunks follow: headings, fenced code and tables (pure).

Of Markdown, which parsers also make of structured files; of CSV the header row. Times are in proportion to the text.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ingestion.parsers.detect import CSV, TSV, becomes_markdown
from ingestion.pipeline.blocks import Span, fence_around, fences

MAX_HEADING_CHARS: Final = 200
MAX_PATH_CHARS: Final = 400
"""Of the headings of a path together. It is stored with every chunk below them."""

FRONT_MATTER: Final = re.compile(r"---[ \t]*\n((?:[^\n]*\n){1,200}?)(?:---|\.\.\.)[ \t]*(?:\n|$)")
_MAX_LINE = 1000
"""Characters of a heading that are looked at."""
_ATX = re.compile(r"^ {0,3}(#{1,6})[ \t]+([^\n]*)$", re.MULTILINE)
_SETEXT = re.compile(r"^ {0,3}([^\s#>|`~+*=-][^\n|]*)\n {0,3}(={2,}|-{2,})[ \t]*$", re.MULTILINE)
_CLOSING_MARKS = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_DELIMITER_ROW = re.compile(r"^[ \t]*(?:\|[ \t]*)?:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_EMPHASIS = re.compile(r"(\*{1,3}|__|`+)(\S(?:[^\n]*?\S)?)\1")
_MARKS = re.compile(r"[*_`\[{]")
_ATTRIBUTES = re.compile(r"[ \t]*\{[#.][^{}]*\}$")


@dataclass(frozen=True, slots=True)
class Heading:
    start: int
    """Of its first mark or letter."""
    end: int
    level: int
    title: str
    """Without marks of emphasis and links, at most MAX_HEADING_CHARS."""


@dataclass(frozen=True, slots=True)
class Table:
    start: int
    rows: int
    """Where the first row behind the header begins. The header is what lies before, with the row of dashes."""
    end: int


@dataclass(frozen=True, slots=True)
class Outline:
    """Everything in the order of the text."""

    headings: Sequence[Heading] = ()
    paths: Sequence[tuple[Heading, ...]] = ()
    """Behind each of `headings`: it, and those above it."""
    fences: Sequence[Span] = ()
    tables: Sequence[Table] = ()
    openings: Sequence[Span] = ()
    """What belongs to the text behind it and says nothing alone: headings, first lines of fences, headers of tables."""
    closings: frozenset[int] = frozenset()
    """Where last lines of fences begin."""
    adjoining: frozenset[int] = frozenset()
    """Beginnings of headings that follow another heading with nothing between."""

    def section(self, start: int, end: int) -> tuple[str, ...]:
        """Titles of the headings above a chunk, the outermost first: those that hold where it begins. A heading that it
        begins with counts if everything else in the chunk is below it as well."""
        following = bisect_left(self.headings, start, key=lambda heading: heading.start)
        path = self.paths[following - 1] if following else ()
        behind = bisect_left(self.headings, end, following, key=lambda heading: heading.start)
        if following < behind and self.headings[following].start == start:
            path, leading = self.paths[following], following + 1
            while leading < behind and self.headings[leading].start in self.adjoining:
                path, leading = self.paths[leading], leading + 1
            for heading in self.headings[leading:behind]:
                path = tuple(each for each in path if each.level < heading.level)
        return tuple(heading.title for heading in path)

    def table_around(self, position: int) -> Table | None:
        before = bisect_right(self.tables, position, key=lambda table: table.start) - 1
        return self.tables[before] if before >= 0 and position < self.tables[before].end else None

    def opens(self, start: int) -> bool:
        """Whether a chunk begins with a heading, a fence or a table."""
        place = bisect_left(self.openings, (start, 0))
        return place < len(self.openings) and self.openings[place][0] == start

    def opening_tail(self, text: str, start: int, end: int) -> int:
        """Where the openings at the end of a chunk begin: `end` without any, `start` where it is nothing else."""
        place = bisect_left(self.openings, (end, 0)) - 1
        while place >= 0:
            begin, stop = self.openings[place]
            if begin < start or (stop < end and text[stop:end].strip()):
                break
            end, place = begin, place - 1
        return end


def outline_of(text: str, media_type: str) -> Outline:
    if media_type in (CSV, TSV):
        rows = text.find("\n") + 1
        return Outline(tables=[Table(0, rows, len(text))], openings=[(0, rows)]) if rows else Outline()
    if not becomes_markdown(media_type):
        return Outline()
    code = fences(text)
    headings = _headings(text, code)
    tables = list(_tables(text, code))
    first_lines = [(start, _line_end(text, start)) for start, _ in code]
    last_lines = ((text.rfind("\n", start, end) + 1, start) for start, end in code)
    openings = sorted(
        [(each.start, each.end) for each in headings] + first_lines + [(each.start, each.rows) for each in tables]
    )
    return Outline(
        headings,
        _paths(headings),
        code,
        tables,
        openings,
        frozenset(last for last, first in last_lines if last > first),
        frozenset(two.start for one, two in pairwise(headings) if not text[one.end : two.start].strip()),
    )


def _headings(text: str, code: Sequence[Span]) -> list[Heading]:
    front = FRONT_MATTER.match(text)
    begin = front.end() if front else 0
    found = []
    if "#" in text:
        for line in _ATX.finditer(text, begin):
            title = _plain(_CLOSING_MARKS.sub("", line[2][:_MAX_LINE]))
            if title and not fence_around(line.start(), code):
                found.append(Heading(line.start(1), line.end(), len(line[1]), title))
    if "\n==" in text or "\n--" in text:
        for lines in _SETEXT.finditer(text, begin):
            alone = lines.start() <= begin or text.endswith("\n\n", 0, lines.start())
            title = _plain(lines[1][:_MAX_LINE])
            if title and alone and not fence_around(lines.start(), code):
                found.append(Heading(lines.start(1), lines.end(), 1 if lines[2][0] == "=" else 2, title))
        found.sort(key=lambda heading: heading.start)
    return found


def _plain(title: str) -> str:
    if _MARKS.search(title):
        title = _ATTRIBUTES.sub("", title.strip())
        title = _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", title))
    return " ".join(title.split())[:MAX_HEADING_CHARS]


def _paths(headings: Sequence[Heading]) -> list[tuple[Heading, ...]]:
    paths: list[tuple[Heading, ...]] = []
    path: tuple[Heading, ...] = ()
    for heading in headings:
        path = (*(each for each in path if each.level < heading.level), heading)
        while sum(len(each.title) for each in path) > MAX_PATH_CHARS:
            path = path[1:]
        paths.append(path)
    return paths


def _tables(text: str, code: Sequence[Span]) -> Iterator[Table]:
    """Of a line with `|`, a row of dashes, and the lines with `|` behind it."""
    end = 0
    for dashes in _DELIMITER_ROW.finditer(text):
        start = text.rfind("\n", 0, max(dashes.start() - 1, 0)) + 1
        if "|" not in dashes[0] or start < end or dashes.start() == 0 or fence_around(dashes.start(), code):
            continue
        if "|" not in text[start : dashes.start()]:
            continue
        rows = end = min(dashes.end() + 1, len(text))
        while end < len(text) and "|" in text[end : (stop := _line_end(text, end))]:
            end = min(stop + 1, len(text))
        yield Table(start, rows, end)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
