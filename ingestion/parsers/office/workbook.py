"""XLSX: sheets in their order, values as they are shown, merged cells, comments, text of shapes and charts."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, real_title
from ingestion.parsers.office.markdown import joined, raised
from ingestion.parsers.office.number_formats import BUILT_IN, GENERAL, shown, shown_text
from ingestion.parsers.office.package import Element, Package, small_number
from ingestion.parsers.office.sheets import CellBudget, Sheet, assemble_sheets, column_name
from ingestion.parsers.office.slides import shapes

_PLACE = re.compile(r"\$?([A-Za-z]{1,3})\$?(\d{1,7})")
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MAX_ROWS = 2**20
_MAX_COLUMNS = 2**14
_MAX_MERGED = 200_000
# What Excel puts before a comment for programs that know no answers to comments.
_THREAD_NOTICE = re.compile(r"\A\[Threaded comment\].*?\n\s*\n.*?:\s*\n", re.DOTALL)


def read_workbook(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = Package(data)
    main = package.related("", "officeDocument") or "xl/workbook.xml"
    root = package.xml(main)
    if root is None:
        raise ParseFailed("The document is damaged: it has no workbook.")
    return assemble_sheets(_Reader(package, main, root).sheets(), real_title(package.title()))


class _Reader:
    def __init__(self, package: Package, main: str, root: Element) -> None:
        self._package = package
        self._root = root
        self._relations = package.relations(main)
        parts = {relation.kind: relation.target for relation in self._relations.values()}
        properties = root.find("workbookPr")
        self._since_1904 = properties is not None and properties.get("date1904", "0") in ("1", "true", "on")
        self._strings = [_rich(item) for item in package.elements(parts.get("sharedStrings", ""), "si")]
        self._formats = _formats(package.xml(parts.get("styles", "")))
        self._people = {
            each.get("id", ""): each.get("displayName", "")
            for name in (relation.target for relation in self._relations.values() if relation.kind == "person")
            for each in package.elements(name, "person")
        }
        self._budget = CellBudget()

    def sheets(self) -> list[Sheet]:
        found = []
        for each in self._root.findall("sheets/sheet"):
            relation = self._relations.get(each.get("r:id", ""))
            if relation and not relation.external:
                sheet = Sheet(each.get("name", ""), hidden=each.get("state", "visible") != "visible")
                self._read(sheet, relation.target)
                found.append(sheet)
        return found

    def _read(self, sheet: Sheet, name: str) -> None:
        relations = self._package.relations(name)
        links: list[tuple[str, str]] = []
        row_number = 0
        for element in self._package.elements(name, "row", "mergeCell", "hyperlink"):
            if element.tag == "row":
                row_number = _bounded(element.get("r", ""), _MAX_ROWS, row_number + 1)
                self._row(sheet, element, row_number)
            elif element.tag == "mergeCell" and len(sheet.merged) < _MAX_MERGED:
                first, _, last = element.get("ref", "").partition(":")
                (top, left), (bottom, right) = _place(first), _place(last or first)
                sheet.merged.append((top, bottom, left, right))
            elif element.tag == "hyperlink":
                relation = relations.get(element.get("r:id", ""))
                if relation and relation.external and relation.target.startswith(("http:", "https:")):
                    links.append((element.get("ref", "").partition(":")[0], relation.target))
        for cell, target in links:
            row, column = _place(cell)
            text = sheet.rows.get(row, {}).get(column)
            if text and target not in text and "\n" not in text:
                sheet.rows[row][column] = f"[{text}]({target})"
        for relation in relations.values():
            if relation.external:
                continue
            if relation.kind == "comments":
                for cell, text in self._comments(relation.target):
                    sheet.notes.setdefault(cell, text)
            elif relation.kind == "threadedComment":
                sheet.notes.update(self._threads(relation.target))
            elif relation.kind == "drawing" and (drawing := self._package.xml(relation.target)) is not None:
                blocks = list(shapes(self._package, relation.target, drawing))
                sheet.drawings += [text] if (text := joined(blocks)) else []

    def _row(self, sheet: Sheet, row: Element, number: int) -> None:
        cells: dict[int, str] = {}
        column = 0
        for cell in row:
            if cell.tag != "c":
                continue
            column = _column(cell.get("r", "").rstrip("0123456789")) or column + 1
            if column > _MAX_COLUMNS:
                break
            text = self._value(cell).strip()
            if text:
                self._budget.take(text)
                cells[column] = text
            elif cell.find("f") is not None and cell.get("t") != "str" and not cell.findtext("v"):
                sheet.unknown.append(f"{column_name(column)}{number}")
        if cells:
            sheet.rows.setdefault(number, {}).update(cells)

    def _value(self, cell: Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            inline = cell.find("is")
            return "" if inline is None else _rich(inline)
        found = cell.find("v")
        value = "" if found is None else (found.text or "").strip()
        code = self._formats.get(cell.get("s", "0"), GENERAL)
        match kind:
            case "s":
                index = small_number(value, -1) if len(value) < 6 else int(value) if value.isdecimal() else -1
                return shown_text(self._strings[index], code) if 0 <= index < len(self._strings) else ""
            case "str":
                return shown_text(_unescaped(found.text or ""), code) if found is not None else ""
            case "b":
                return {"1": "TRUE", "0": "FALSE"}.get(value, value)
            case "n" if value:
                if code == GENERAL and value.isdecimal() and len(value) < 16:
                    return value
                try:
                    return shown(float(value), code, since_1904=self._since_1904)
                except ValueError:
                    return value
            case "d":
                return value.removesuffix("T00:00:00").replace("T", " ")
            case _:  # an error, as it is shown
                return value

    def _comments(self, name: str) -> Iterator[tuple[str, str]]:
        root = self._package.xml(name)
        authors = [] if root is None else [each.text or "" for each in root.findall("authors/author")]
        for comment in () if root is None else root.iter("comment"):
            text = comment.find("text")
            body = "" if text is None else _THREAD_NOTICE.sub("", _rich(text))
            author = small_number(comment.get("authorId"), len(authors))
            name = authors[author] if author < len(authors) and not authors[author].startswith("tc=") else ""
            # Excel begins a comment with its author's name.
            yield comment.get("ref", ""), _signed(name, body.removeprefix(f"{name}:").strip())

    def _threads(self, name: str) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for each in self._package.elements(name, "threadedComment"):
            text = each.find("text")
            body = "" if text is None else (text.text or "").strip()
            place = each.get("ref", "")
            said = _signed(self._people.get(each.get("personId", ""), ""), body)
            found[place] = f"{found[place]} / {said}" if place in found else said
        return found


def _signed(name: str, text: str) -> str:
    return text and f"Comment{f' ({name})' if name else ''}: {text}"


def _rich(item: Element) -> str:
    """Text of runs, without the readings of East Asian characters."""
    text = ""
    for child in item:
        if child.tag == "t":
            text += _unescaped(child.text or "")
        elif child.tag == "r":
            part = _rich(child)
            align = child.find("rPr/vertAlign")
            text += raised(part) if align is not None and align.get("val") == "superscript" else part
    return text


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def _formats(root: Element | None) -> dict[str, str]:
    """Codes by the number of a cell's style."""
    if root is None:
        return {}
    own = {each.get("numFmtId", ""): each.get("formatCode", GENERAL) for each in root.findall("numFmts/numFmt")}
    found = {}
    for number, style in enumerate(root.findall("cellXfs/xf")):
        key = style.get("numFmtId", "0")
        found[str(number)] = own.get(key) or BUILT_IN.get(small_number(key), GENERAL)
    return found


def _place(name: str) -> tuple[int, int]:
    """Row and column from 1; 0 for a name of no cell."""
    match = _PLACE.fullmatch(name)
    return (int(match[2]), _column(match[1])) if match else (0, 0)


@lru_cache(maxsize=_MAX_COLUMNS)
def _column(letters: str) -> int:
    """1 for `A`; 0 for what is no name of a column."""
    column = 0
    if len(letters) > 3:
        return 0
    for letter in letters.upper():
        if not "A" <= letter <= "Z":
            return 0
        column = column * 26 + ord(letter) - 64
    return column


def _bounded(text: str, limit: int, default: int) -> int:
    return min(int(text), limit) if text.isdecimal() and len(text) < 9 else default
