"""Orders the segments of a page as they are read: column by column, tables as tables (pure)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from ingestion.parsers.pdf.lines import Segment, is_wide

_MIN_GUTTER = 0.7
"""Ems. Narrower gaps between columns are taken for gaps between words."""
_SURE_GUTTER = 1.2
"""The same where only a few rows have the gap."""
_FEW_ROWS = 5
_PROSE_WIDTH = 18
"""Columns whose lines are shorter are cells. In Latin letters; a Chinese character counts as two."""
_MAX_TEXT_COLUMNS = 5
_MAX_TABLE_COLUMNS = 40
_MAX_DEPTH = 4
_LARGER = 0.12
"""A single line whose letters are larger by more than this share is a heading, no row of a table."""
_MARKER_GAP = 5.0
MARKER = re.compile(r"[•◦▪●○■□◆◇►▶‣·*–—-]|[(（]?(?:\d{1,3}|[a-zA-Z]|[ivx]{2,5}|[一二三四五六七八九十]{1,3})[.)）、]")
"""Pattern of the marker that a list item begins with."""


@dataclass(frozen=True, slots=True)
class Table:
    rows: tuple[tuple[str, ...], ...]
    x0: float
    top: float
    x1: float
    bottom: float


Item = Segment | Table


@dataclass(slots=True)
class Flow:
    """One column of text, from the top downwards, or one table."""

    x0: float
    x1: float
    items: list[Item] = field(default_factory=list)


def arrange(items: Iterable[Item]) -> list[Flow]:
    """Returns the flows in reading order. `items` may have any order."""
    return _joined(_arrange(list(items), 0))


def _joined(flows: Sequence[Flow]) -> list[Flow]:
    joined: list[Flow] = []
    for flow in flows:
        if joined and (joined[-1].x0, joined[-1].x1) == (flow.x0, flow.x1):
            joined[-1].items += flow.items
        else:
            joined.append(flow)
    return joined


def _arrange(items: Sequence[Item], depth: int) -> list[Flow]:
    if not items:
        return []
    x0, x1 = min(item.x0 for item in items), max(item.x1 for item in items)
    flows: list[Flow] = []
    for band in _bands(_rows(items)):
        gutters = [
            gap for gap in band.gutters() if len(band.rows) >= _FEW_ROWS or gap[1] - gap[0] >= _SURE_GUTTER * band.size
        ]
        if not gutters or len(band.rows) < 2:
            flows.append(Flow(x0, x1, [line for row in band.rows for line in _as_lines(row)]))
            continue
        columns = band.columns(gutters)
        if depth < _MAX_DEPTH and _are_text(columns):
            for column in columns:
                flows += _arrange(column, depth + 1)
        elif table := _table(band.rows, gutters):
            flows.append(Flow(x0, x1, [table]))
        else:
            flows.append(Flow(x0, x1, [line for row in band.rows for line in _as_lines(row)]))
    return flows


def _rows(items: Sequence[Item]) -> list[list[Item]]:
    """Groups items that stand at the same height."""
    rows: list[list[Item]] = []
    for item in sorted(items, key=lambda item: (item.top, item.x0)):
        for row in reversed(rows[-3:]):
            if _fits(item, row):
                row.append(item)
                break
        else:
            rows.append([item])
    for row in rows:
        row.sort(key=lambda item: item.x0)
    return [_with_markers(row) for row in rows]


def _fits(item: Item, row: Sequence[Item]) -> bool:
    if isinstance(item, Table) or isinstance(row[0], Table):
        return False
    height = min(item.bottom - item.top, row[0].bottom - row[0].top)
    overlap = min(item.bottom, row[0].bottom) - max(item.top, row[0].top)
    return overlap > 0.4 * height and all(item.x0 >= other.x1 - 1 or item.x1 <= other.x0 + 1 for other in row)


def _with_markers(row: list[Item]) -> list[Item]:
    """Joins the marker of a list item with its text, however far apart they stand."""
    joined: list[Item] = []
    for item in row:
        mark = joined[-1] if joined else None
        if (
            isinstance(mark, Segment)
            and isinstance(item, Segment)
            and MARKER.fullmatch(mark.text)
            and item.x0 - mark.x1 < _MARKER_GAP * item.size
        ):
            joined[-1] = merge(mark, item)
        else:
            joined.append(item)
    return joined


def merge(left: Segment, right: Segment) -> Segment:
    """Joins two parts of one line."""
    main = max(left, right, key=lambda part: len(part.text))
    return Segment(
        f"{left.text} {right.text}",
        left.x0,
        min(left.top, right.top),
        right.x1,
        max(left.bottom, right.bottom),
        main.baseline,
        main.size,
        main.bold,
        left.first_word,
    )


def _as_lines(row: Sequence[Item]) -> list[Item]:
    lines: list[Item] = []
    for item in row:
        last = lines[-1] if lines else None
        # A title and a date beside it are two lines.
        if (
            isinstance(item, Segment)
            and isinstance(last, Segment)
            and _size(last) < 1.3 * item.size < 1.7 * _size(last)
        ):
            lines[-1] = merge(last, item)
        else:
            lines.append(item)
    return lines


class _Band:
    """Consecutive rows, and the gaps that go through all of them."""

    def __init__(self, row: Sequence[Item]) -> None:
        self.rows: list[Sequence[Item]] = []
        self._gaps: list[tuple[float, float]] = [(float("-inf"), float("inf"))]
        self._first_end, self._last_start = float("inf"), float("-inf")
        self.size = 10.0
        """Size of the letters of the last row, in points."""
        self.add(row)

    def add(self, row: Sequence[Item]) -> None:
        self.rows.append(row)
        self._gaps = _free(self._gaps, row)
        self._first_end, self._last_start = self._ends(row)
        self.size = max(_size(item) for item in row) or self.size

    def gutters(self, row: Sequence[Item] = ()) -> list[tuple[float, float]]:
        """Returns the gaps with items on either side; if `row` is given, those that remain after adding it."""
        first_end, last_start = self._ends(row)
        width = _MIN_GUTTER * self.size
        return [
            (start, end)
            for start, end in _free(self._gaps, row)
            if end - start >= width and first_end <= start and last_start >= end
        ]

    def _ends(self, row: Sequence[Item]) -> tuple[float, float]:
        """Returns where the first of the band's and the row's items ends, and where the last of them begins."""
        return min([self._first_end, *(item.x1 for item in row)]), max([self._last_start, *(item.x0 for item in row)])

    def columns(self, gutters: Sequence[tuple[float, float]]) -> list[list[Item]]:
        columns: list[list[Item]] = [[] for _ in range(len(gutters) + 1)]
        for row in self.rows:
            for item in row:
                columns[_column(item, gutters)].append(item)
        return columns

    @property
    def bottom(self) -> float:
        return max(item.bottom for row in self.rows[-2:] for item in row)


def _size(item: Item) -> float:
    return item.size if isinstance(item, Segment) else 0.0


def _free(gaps: Iterable[tuple[float, float]], row: Sequence[Item]) -> list[tuple[float, float]]:
    free = list(gaps)
    for item in row:
        free = [
            part
            for start, end in free
            for part in (((start, min(end, item.x0)), (max(start, item.x1), end)) if item.x1 > start and item.x0 < end
                         else ((start, end),))
            if part[1] > part[0]
        ]  # fmt: skip
    return free


def _column(item: Item, gutters: Sequence[tuple[float, float]]) -> int:
    return sum(item.x0 >= end for _, end in gutters)


def _bands(rows: Sequence[Sequence[Item]]) -> list[_Band]:
    bands: list[_Band] = []
    for row in rows:
        band = bands[-1] if bands else None
        if band is None:
            bands.append(_Band(row))
            continue
        before, after = band.gutters(), band.gutters(row)
        apart = len(row) == 1 and (
            row[0].top - band.bottom > 2 * band.size or _size(row[0]) > (1 + _LARGER) * band.size
        )
        if (before and (not after or apart or len(after) * 2 < len(before))) or (not before and len(row) > 1):
            bands.append(_Band(row))
        else:
            band.add(row)
    return bands


def _are_text(columns: Sequence[Sequence[Item]]) -> bool:
    """Returns whether lines continue below one another (columns of text) instead of side by side (a table)."""
    if len(columns) > _MAX_TEXT_COLUMNS:
        return False
    widths = [[text_width(item.text) for item in column if isinstance(item, Segment)] for column in columns]
    prose = [bool(each) and len(each) >= 2 and median(each) >= _PROSE_WIDTH for each in widths]
    tables = [not each and bool(column) for each, column in zip(widths, columns, strict=True)]
    return all(one or other for one, other in zip(prose, tables, strict=True))


def text_width(text: str) -> int:
    return sum(2 if is_wide(char) else 1 for char in text)


def _table(rows: Sequence[Sequence[Item]], gutters: Sequence[tuple[float, float]]) -> Table | None:
    """Returns a table, None if too few rows have more than one cell."""
    segments = [[item for item in row if isinstance(item, Segment)] for row in rows]
    several = sum(len(row) > 1 for row in segments)
    if len(gutters) >= _MAX_TABLE_COLUMNS or several < 2 or several * 2 < len(rows):
        return None
    if any(isinstance(item, Table) for row in rows for item in row):
        return None
    cells: list[tuple[str, ...]] = []
    for row in segments:
        texts = [""] * (len(gutters) + 1)
        for item in row:
            column = _column(item, gutters)
            texts[column] = f"{texts[column]} {item.text}".strip()
        cells.append(tuple(texts))
    items = [item for row in segments for item in row]
    return Table(
        tuple(cells),
        min(item.x0 for item in items),
        min(item.top for item in items),
        max(item.x1 for item in items),
        max(item.bottom for item in items),
    )
