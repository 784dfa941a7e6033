"""ODT: every word once, with blanks and tabs as they stand, headings, lists, tables, notes and frames."""

from collections.abc import Iterator

from ingestion.errors import EncryptedDocument, ParseFailed
from ingestion.parsers.assembly import Extraction, assemble, real_title
from ingestion.parsers.office.markdown import Block, joined, ruby, table, with_edges
from ingestion.parsers.office.package import Element, Package, small_number

_GONE = frozenset({"tracked-changes", "sequence-decls", "variable-decls", "forms", "note-citation", "object"})
_EDGES = frozenset({"header", "footer", "header-first", "footer-first", "header-left", "footer-left"})
_MAX_REPEAT = 100
_MAX_BLANKS = 1000


def read_opendocument(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = Package(data)
    manifest = package.xml("META-INF/manifest.xml")
    if manifest is not None and next(manifest.iter("encryption-data"), None) is not None:
        raise EncryptedDocument()
    root = package.xml("content.xml")
    body = None if root is None else root.find("body/text")
    if body is None:
        raise ParseFailed("The document is damaged: it has no body.")
    reader = _Reader()
    blocks = list(reader.blocks(body))
    styles = package.xml("styles.xml")
    edges = [
        joined(list(reader.blocks(edge))) for edge in (() if styles is None else styles.iter()) if edge.tag in _EDGES
    ]
    meta = package.xml("meta.xml")
    title = None if meta is None else meta.find("meta/title")
    found = "" if title is None else title.text or ""
    return assemble([with_edges(blocks, edges)], real_title(found))


class _Reader:
    def __init__(self) -> None:
        self._marks = 0
        self._after: list[Block] = []
        """Blocks that follow the current paragraph: its notes, comments and frames."""

    def blocks(self, container: Element, depth: int = 0) -> Iterator[Block]:
        for child in container:
            match child.tag:
                case "p":
                    yield Block(self._inline(child).strip("\n"))
                case "h":
                    level = child.get("outline-level", "1")
                    words = " ".join(self._inline(child).split())
                    yield Block(words and f"{'#' * (int(level) if level in tuple('123456') else 6)} {words}")
                case "list":
                    for item in child:
                        yield from self._item(item, depth)
                case "table":
                    yield Block(table(list(self._rows(child))))
                case tag if tag in _GONE:
                    continue
                case _:
                    yield from self.blocks(child, depth)
                    continue
            after, self._after = self._after, []
            yield from after

    def _item(self, item: Element, depth: int) -> Iterator[Block]:
        first = True
        for block in self.blocks(item, depth + 1):
            if block.item or not block.text.strip():
                yield block
                continue
            mark = "- " if first and item.tag == "list-item" else "  "
            yield Block(f"{'  ' * depth}{mark}{block.text}", item=True)
            first = False

    def _inline(self, element: Element) -> str:
        text = _spaced(element.text)
        for child in element:
            text += self._piece(child) + _spaced(child.tail)
        return text

    def _piece(self, child: Element) -> str:
        match child.tag:
            case "s":
                return " " * min(small_number(child.get("c"), 1), _MAX_BLANKS)
            case "tab":
                return "\t"
            case "line-break":
                return "\n"
            case "note":
                self._marks += 1
                mark = f"[^{self._marks}]"
                self._after.append(Block(f"{mark}: {self._aside(child)}", item=True))
                return mark
            case "annotation":
                self._after.append(Block(f"Comment: {self._aside(child, 'creator', 'date')}"))
                return ""
            case "frame" | "text-box" | "custom-shape":
                outer, self._after = self._after, []
                inner = list(self.blocks(child))
                self._after = [*outer, *self._after, *inner]
                return ""
            case "ruby":
                return ruby(child.find("ruby-base"), child.find("ruby-text"), self._inline)
            case tag if tag in _GONE:
                return ""
            case _:
                return self._inline(child)

    def _aside(self, element: Element, *without: str) -> str:
        outer, self._after = self._after, []
        parts = [child for child in element if child.tag not in without and child.tag not in _GONE]
        texts = [self._inline(each) if each.tag == "p" else joined(list(self.blocks(each))) for each in parts]
        self._after = outer
        return " ".join(" ".join(texts).split())

    def _rows(self, element: Element) -> Iterator[list[str]]:
        for child in element:
            if child.tag in ("table-header-rows", "table-rows", "table-row-group"):
                yield from self._rows(child)
            elif child.tag == "table-row":
                cells: list[str] = []
                for cell in child:
                    if cell.tag not in ("table-cell", "covered-table-cell"):
                        continue
                    times = min(small_number(cell.get("number-columns-repeated"), 1), _MAX_REPEAT)
                    cells += [joined(list(self.blocks(cell)))] * times
                yield cells


def _spaced(text: str | None) -> str:
    """Collapses white space: in the XML it is one blank, and further blanks are elements."""
    if not text:
        return ""
    body = " ".join(text.split())
    return f"{' ' if text[0].isspace() else ''}{body}{' ' if body and text[-1].isspace() else ''}"
