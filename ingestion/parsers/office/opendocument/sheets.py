"""ODS: sheets as those of XLSX are read, with the texts that the program showed."""

from ingestion.parsers.assembly import Extraction
from ingestion.parsers.office.markdown import joined
from ingestion.parsers.office.opendocument.blocks import BlockReader
from ingestion.parsers.office.opendocument.opened import opened, title_of
from ingestion.parsers.office.package import Element
from ingestion.parsers.office.sheets import CellBudget, Sheet, assemble_sheets, column_name

_MAX_ROWS = 1_048_576
_MAX_COLUMNS = 16_384
_VALUES = ("string-value", "date-value", "time-value", "boolean-value", "value")


def read_spreadsheet(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = opened(data)
    reader = _Reader()
    # Row by row: a sheet is far larger as a tree than as the texts of its cells.
    for element in package.elements("content.xml", "style", "table-row", "shapes", "table"):
        reader.take(element)
    return assemble_sheets(reader.sheets, title_of(package))


class _Reader:
    def __init__(self) -> None:
        self.sheets: list[Sheet] = []
        self._budget = CellBudget()
        self._blocks = BlockReader()
        self._hidden: set[str] = set()
        """Names of the styles of sheets that are not displayed."""
        self._sheet = Sheet("")
        self._row = 0

    def take(self, element: Element) -> None:
        """Takes an element that has ended: the rows and shapes of a sheet come before it."""
        match element.tag:
            case "style":
                properties = element.find("table-properties")
                if properties is not None and properties.get("display") == "false":
                    self._hidden.add(element.get("name", ""))
            case "table-row":
                self._take_row(element)
            case "shapes":
                self._draw(element)
            case _:
                self._sheet.name = element.get("name", "")
                self._sheet.hidden = element.get("style-name") in self._hidden
                self.sheets.append(self._sheet)
                self._sheet, self._row = Sheet(""), 0

    def _take_row(self, row: Element) -> None:
        first = self._row + 1
        self._row = min(self._row + _count(row, "number-rows-repeated", _MAX_ROWS), _MAX_ROWS)
        texts: dict[int, str] = {}
        column = 0
        for cell in row:
            if cell.tag not in ("table-cell", "covered-table-cell"):
                continue
            left = column + 1
            column = min(column + _count(cell, "number-columns-repeated", _MAX_COLUMNS), _MAX_COLUMNS)
            if cell.tag == "covered-table-cell":
                continue
            text = self._text(cell, f"{column_name(left)}{first}")
            if not text:
                continue
            for place in range(left, column + 1):
                self._budget.take(text)
                texts[place] = text
            columns = _count(cell, "number-columns-spanned", _MAX_COLUMNS)
            rows = _count(cell, "number-rows-spanned", _MAX_ROWS)
            if columns > 1 or rows > 1:
                self._sheet.merged.append((first, first + rows - 1, left, left + columns - 1))
        if texts:
            self._sheet.rows[first] = texts
            for number in range(first + 1, self._row + 1):
                for text in texts.values():
                    self._budget.take(text)
                self._sheet.rows[number] = dict(texts)

    def _text(self, cell: Element, name: str) -> str:
        lines: list[str] = []
        for child in cell:
            if child.tag == "p":
                lines.append(self._blocks.inline(child))
            elif child.tag == "annotation":
                author = (child.findtext("creator") or "").strip()
                said = self._blocks.aside(child, "creator", "date")
                self._sheet.notes[name] = said and f"Comment{f' ({author})' if author else ''}: {said}"
            else:
                self._draw(child)
        self._sheet.drawings += [block.text for block in self._blocks.pending()]
        text = "\n".join(lines).strip()
        if not text:
            text = next((value for key in _VALUES if (value := cell.get(key))), "")
            if not text and cell.get("formula"):
                self._sheet.unknown.append(name)
        return text

    def _draw(self, shape: Element) -> None:
        text = joined(list(self._blocks.blocks([shape])))
        if text:
            self._sheet.drawings.append(text)


def _count(element: Element, attribute: str, limit: int) -> int:
    text = element.get(attribute, "1")
    return max(min(int(text), limit), 1) if text.isdecimal() and len(text) < 9 else 1
