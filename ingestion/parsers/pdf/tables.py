"""Turns characters inside drawn grids into tables; the others are left to the layout (pure)."""

from collections import defaultdict
from collections.abc import Sequence

from ingestion.parsers.pdf.characters import Char
from ingestion.parsers.pdf.layout import Item, Table, arrange
from ingestion.parsers.pdf.lines import Segment, is_cjk, segments
from ingestion.parsers.pdf.rulings import Grid

_MAX_CELL_SHARE = 0.6
"""A grid that has most of its text in one cell is a frame around it."""
_FRAME_CHARS = 400


def take_tables(chars: Sequence[Char], grids: Sequence[Grid]) -> tuple[list[Char], list[Table]]:
    """Returns the characters outside of tables, and one table for each grid whose cells hold text."""
    tables: list[Table] = []
    rest = list(chars)
    for grid in sorted(grids, key=lambda grid: (grid.xs[-1] - grid.xs[0]) * (grid.ys[-1] - grid.ys[0])):
        cells: defaultdict[tuple[int, int], list[Char]] = defaultdict(list)
        outside: list[Char] = []
        left, right, top, bottom = grid.xs[0], grid.xs[-1], grid.ys[0], grid.ys[-1]
        for char in rest:
            x, y = (char.x0 + char.x1) / 2, (char.top + char.bottom) / 2
            if left <= x < right and top <= y < bottom:
                cells[grid.cell(x, y)].append(char)
            else:
                outside.append(char)
        if _is_table(cells):
            tables.append(_table(grid, cells))
            rest = outside
    return rest, tables


def _is_table(cells: dict[tuple[int, int], list[Char]]) -> bool:
    filled = {place: len(chars) for place, chars in cells.items() if any(not char.text.isspace() for char in chars)}
    if len({row for row, _ in filled}) < 2 or len({column for _, column in filled}) < 2:
        return False
    total, most = sum(filled.values()), max(filled.values())
    return most <= _FRAME_CHARS or most <= _MAX_CELL_SHARE * total


def _table(grid: Grid, cells: dict[tuple[int, int], list[Char]]) -> Table:
    texts = {place: cell_text(segments(chars)) for place, chars in cells.items()}
    rows = [[texts.get((row, column), "") for column in range(len(grid.xs) - 1)] for row in range(len(grid.ys) - 1)]
    used = [column for column in range(len(grid.xs) - 1) if any(row[column] for row in rows)]
    kept = tuple(tuple(row[column] for column in used) for row in rows if any(row))
    return Table(kept, grid.xs[0], grid.ys[0], grid.xs[-1], grid.ys[-1])


def cell_text(items: Sequence[Item]) -> str:
    """Joins the text of a cell into one line."""
    if len(items) == 1 and isinstance(items[0], Segment):
        return items[0].text
    text = ""
    for flow in arrange(items):
        for item in flow.items:
            line = " ".join(" ".join(row) for row in item.rows) if isinstance(item, Table) else item.text
            glued = text and line and is_cjk(text[-1]) and is_cjk(line[0])
            text += line if glued or not text else f" {line}"
    return text


def markdown(table: Table) -> str:
    """Formats a pipe table; its first row is the header."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"| {' | '.join('---' for _ in rows[0])} |", *lines[1:]])
