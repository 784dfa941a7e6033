"""Sheets of a workbook as text: tables whose parts carry their header row, notes and drawings below (pure)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ingestion.errors import ParseLimit
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.office.markdown import table
from ingestion.types import ReadingReport

MAX_CELLS = 1_000_000
"""Maximum number of cells with text in a workbook."""
MAX_CHARS = 64_000_000
"""Maximum number of characters of all cells together: many may show the same long text."""
_MAX_FILLED = 4 * MAX_CELLS
"""Maximum number of cells of one table, empty ones included."""
_MAX_NAMED = 20
_NUMERIC = re.compile(r"[\W\d_]*\d[\W\d_]*")


@dataclass(slots=True)
class Sheet:
    name: str
    hidden: bool = False
    rows: dict[int, dict[int, str]] = field(default_factory=dict)
    """Texts by row and column, both from 1; cells without text are left out."""
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    """First and last row, first and last column of cells that are one."""
    notes: dict[str, str] = field(default_factory=dict)
    """Comments by the name of their cell, `B3`."""
    drawings: list[str] = field(default_factory=list)
    """Text of shapes, and of charts."""
    unknown: list[str] = field(default_factory=list)
    """Names of cells with a formula whose value the file does not hold."""


class CellBudget:
    """What a workbook may hold. `take` raises ParseLimit beyond it."""

    def __init__(self) -> None:
        self._cells = 0
        self._chars = 0

    def take(self, text: str) -> None:
        self._cells += 1
        self._chars += len(text)
        if self._cells > MAX_CELLS:
            raise ParseLimit(f"The workbook has more than {MAX_CELLS:,} cells with text. Split it.")
        if self._chars > MAX_CHARS:
            raise ParseLimit(f"The cells of the workbook show more than {MAX_CHARS:,} characters. Split it.")


def assemble_sheets(sheets: Sequence[Sheet], title: str) -> Extraction:
    """Raises NoText, ParseLimit."""
    warnings = []
    if hidden := [sheet.name for sheet in sheets if sheet.hidden]:
        warnings.append(f"Hidden sheets were read as well: {_listed(hidden)}.")
    if unknown := [f"{sheet.name}!{cell}" for sheet in sheets for cell in sheet.unknown]:
        warnings.append(
            f"The file holds no values of the formulas in {_listed(unknown)}. Open it in a spreadsheet program, and "
            "save it."
        )
    parts = [_text(sheet) for sheet in sheets]
    return assemble(parts, title, range(1, len(parts) + 1), ReadingReport(warnings=tuple(warnings)))


def column_name(number: int) -> str:
    """`A` for 1, `AA` for 27."""
    name = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(name[:100] for name in names[:_MAX_NAMED]) + more


def _text(sheet: Sheet) -> str:
    _fill_merged(sheet)
    blocks = list(_tables(sheet.rows))
    blocks += [f"{sheet.name}!{cell}: {' '.join(note.split())}" for cell, note in sheet.notes.items() if note.strip()]
    blocks += sheet.drawings
    body = "\n\n".join(block for block in blocks if block.strip())
    return body and f"## {' '.join(sheet.name.split())}\n\n{body}"


def _fill_merged(sheet: Sheet) -> None:
    """Cells that are one over several rows have their text in each of these: a row is read without those above it."""
    budget = _MAX_FILLED
    for top, bottom, left, _ in sheet.merged:
        text = sheet.rows.get(top, {}).get(left)
        if text is None:
            continue
        # Only rows that hold something: an area may reach to the end of the sheet.
        below = range(top + 1, bottom + 1) if bottom - top < len(sheet.rows) else sorted(sheet.rows)
        for number in below:
            if top < number <= bottom and number in sheet.rows:
                budget -= 1
                if budget < 0:
                    raise ParseLimit("The workbook has too many cells that are merged. Split it.")
                sheet.rows[number].setdefault(left, text)


def _tables(rows: Mapping[int, Mapping[int, str]]) -> Iterator[str]:
    """A table for each run of rows without an empty one between. A run that begins with values and lies under the
    columns of the table before is its continuation, and has that header again."""
    header: Mapping[int, str] = {}
    for run in _runs(rows):
        # Lines of one cell above a wider table are its title or remarks.
        widest = max(map(len, run))
        while widest > 1 and len(run[0]) == 1 and len(run) > 1:
            yield next(iter(run.pop(0).values()))
        if widest < 2:
            yield "\n\n".join(text for row in run for text in row.values())
            continue
        if header and _holds_values(run[0]) and {column for row in run for column in row} <= header.keys():
            run.insert(0, header)
        else:
            header = run[0]
        columns = sorted({column for row in run for column in row})
        if len(run) * len(columns) > _MAX_FILLED:
            raise ParseLimit(f"A table has {len(run):,} rows of {len(columns):,} columns. Split it.")
        yield table([[row.get(column, "") for column in columns] for row in run])


def _runs(rows: Mapping[int, Mapping[int, str]]) -> Iterator[list[Mapping[int, str]]]:
    run: list[Mapping[int, str]] = []
    last = 0
    for number in sorted(number for number, row in rows.items() if row):
        if run and number > last + 1:
            yield run
            run = []
        run.append(rows[number])
        last = number
    if run:
        yield run


def _holds_values(row: Mapping[int, str]) -> bool:
    return any(_NUMERIC.fullmatch(text) for text in row.values())
