"""Blocks of OpenDocument: headings, lists, tables, notes and frames, with blanks and tabs as they stand."""

from collections.abc import Iterable, Iterator

from ingestion.parsers.office.markdown import Block, joined, ruby, table
from ingestion.parsers.office.package import Element, small_number

_GONE = frozenset({"tracked-changes", "sequence-decls", "variable-decls", "forms", "note-citation", "object"})
_MAX_REPEAT = 100
_MAX_BLANKS = 1000


class BlockReader:
    def __init__(self) -> None:
        self._marks = 0
        self._after: list[Block] = []
        """Blocks that follow the current paragraph: its notes, comments and frames."""

    def blocks(self, container: Iterable[Element], depth: int = 0) -> Iterator[Block]:
        for child in container:
            match child.tag:
                case "p":
                    yield Block(self.inline(child).strip("\n"))
                case "h":
                    level = child.get("outline-level", "1")
                    words = " ".join(self.inline(child).split())
                    yield Block(words and f"{'#' * (int(level) if level in tuple('123456') else 6)} {words}")
                case "list":
                    for item in child:
                        yield from self._item(item, depth)
                case "table":
                    yield Block(table(list(self._rows(child))))
                case "annotation":
                    yield self._comment(child)
                case tag if tag in _GONE:
                    continue
                case _:
                    yield from self.blocks(child, depth)
                    continue
            yield from self.pending()

    def pending(self) -> list[Block]:
        """Returns, and forgets, what comes after a paragraph that `inline` has read."""
        after, self._after = self._after, []
        return after

    def _item(self, item: Element, depth: int) -> Iterator[Block]:
        first = True
        for block in self.blocks(item, depth + 1):
            if block.item or not block.text.strip():
                yield block
                continue
            mark = "- " if first and item.tag == "list-item" else "  "
            yield Block(f"{'  ' * depth}{mark}{block.text}", item=True)
            first = False

    def inline(self, element: Element) -> str:
        """Returns the text of a paragraph. Its notes, comments and frames are `pending` afterwards."""
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
                self._after.append(Block(f"{mark}: {self.aside(child)}", item=True))
                return mark
            case "annotation":
                self._after.append(self._comment(child))
                return ""
            case "frame" | "text-box" | "custom-shape":
                outer, self._after = self._after, []
                inner = list(self.blocks(child))
                self._after = [*outer, *self._after, *inner]
                return ""
            case "ruby":
                return ruby(child.find("ruby-base"), child.find("ruby-text"), self.inline)
            case tag if tag in _GONE:
                return ""
            case _:
                return self.inline(child)

    def _comment(self, annotation: Element) -> Block:
        return Block(f"Comment: {self.aside(annotation, 'creator', 'date')}")

    def aside(self, element: Element, *without: str) -> str:
        """Returns the text of a note in one line, without the elements named so."""
        outer, self._after = self._after, []
        parts = [child for child in element if child.tag not in without and child.tag not in _GONE]
        texts = [self.inline(each) if each.tag == "p" else joined(list(self.blocks(each))) for each in parts]
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
