"""XLS: sheets of Excel 97 to 2003, as those of XLSX are read."""

import codecs
import contextlib
import io
import struct

import xlrd
from xlrd.compdoc import CompDocError

from ingestion.errors import EncryptedDocument, ParseFailed
from ingestion.parsers.assembly import Extraction
from ingestion.parsers.office.number_formats import GENERAL, shown, shown_text
from ingestion.parsers.office.sheets import CellBudget, Sheet, assemble_sheets, column_name

# Looked up here because the child cannot open files later, not even those of Python's codecs.
for _name in ("cp1252", "latin-1", "utf-16-le", "gbk", "cp950", "shift_jis", "cp949", "cp1251", "mac-roman"):
    with contextlib.suppress(LookupError):
        codecs.lookup(_name)
# What damaged files make the library raise.
_DAMAGE = (
    xlrd.XLRDError, CompDocError, ValueError, LookupError, AssertionError, TypeError, AttributeError, ArithmeticError,
    struct.error,
)  # fmt: skip


def read_old_workbook(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    try:
        book = xlrd.open_workbook(file_contents=data, formatting_info=True, logfile=io.StringIO())
        sheets = _sheets(book)
    except _DAMAGE as error:
        message = str(error)[:200]
        if "encrypted" in message.lower() or "password" in message.lower():
            raise EncryptedDocument() from error
        raise ParseFailed(f"The document is damaged: {message}") from error
    return assemble_sheets(sheets, "")


def _sheets(book: xlrd.Book) -> list[Sheet]:
    budget = CellBudget()
    found = []
    for each in book.sheets():
        sheet = Sheet(each.name, hidden=each.visibility != 0)
        for row in range(each.nrows):
            cells = {}
            for column, cell in enumerate(each.row(row)):
                text = _shown(book, cell).strip()
                if text:
                    budget.take(text)
                    cells[column + 1] = text
            if cells:
                sheet.rows[row + 1] = cells
        # First row and column, and those behind the last, from 0.
        sheet.merged = [(top + 1, bottom, left + 1, right) for top, bottom, left, right in each.merged_cells]
        for (row, column), note in each.cell_note_map.items():
            signed = f" ({note.author})" if note.author else ""
            words = note.text.strip().removeprefix(f"{note.author}:").strip()
            sheet.notes[f"{column_name(column + 1)}{row + 1}"] = words and f"Comment{signed}: {words}"
        found.append(sheet)
    return found


def _shown(book: xlrd.Book, cell: xlrd.sheet.Cell) -> str:
    value = cell.value
    code = GENERAL
    if cell.xf_index is not None and cell.xf_index < len(book.xf_list):
        format_ = book.format_map.get(book.xf_list[cell.xf_index].format_key)
        code = format_.format_str if format_ else GENERAL
    match cell.ctype:
        case xlrd.XL_CELL_TEXT:
            return shown_text(value, code)
        case xlrd.XL_CELL_NUMBER | xlrd.XL_CELL_DATE:
            return shown(float(value), code, since_1904=bool(book.datemode))
        case xlrd.XL_CELL_BOOLEAN:
            return "TRUE" if value else "FALSE"
        case xlrd.XL_CELL_ERROR:
            return str(xlrd.error_text_from_code.get(value, "#N/A"))
        case _:
            return ""
