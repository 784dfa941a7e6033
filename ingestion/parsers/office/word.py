"""DOCX: every word once, in order, with headings, lists, tables, notes, comments, headers and footers."""

from collections.abc import Iterator

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, assemble, real_title
from ingestion.parsers.office.markdown import Block, joined, raised, ruby, table, with_edges
from ingestion.parsers.office.math import formula
from ingestion.parsers.office.numbering import Numbering
from ingestion.parsers.office.package import Element, Package, Relation, small_number

_GONE = frozenset({"del", "moveFrom", "delText", "instrText", "delInstrText", "rPr", "pPr", "sdtPr", "Fallback"})
_MAX_HEADING = 6
_PRIVATE = range(0xE000, 0xF900)


def read_word(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = Package(data)
    main = package.related("", "officeDocument") or "word/document.xml"
    root = package.xml(main)
    body = None if root is None else root.find("body")
    if body is None:
        raise ParseFailed("The document is damaged: it has no body.")
    return _Reader(package, main).read(body)


class _Reader:
    def __init__(self, package: Package, main: str) -> None:
        self._package = package
        self._relations = package.relations(main)
        parts = {relation.kind: relation.target for relation in self._relations.values()}
        self._styles = _styles(package.xml(parts.get("styles", "")))
        self._numbering = Numbering(package.xml(parts.get("numbering", "")))
        self._notes = {
            kind: self._by_id(parts.get(f"{kind}s", ""), kind) for kind in ("footnote", "endnote", "comment")
        }
        self._marks = 0
        self._after: list[Block] = []
        """Blocks that follow the current paragraph: its notes, comments and text boxes."""

    def read(self, body: Element) -> Extraction:
        blocks = list(self._blocks(body))
        references = (each for each in body.iter() if each.tag in ("headerReference", "footerReference"))
        edges = [self._of_part(relation.target) for each in references if (relation := self._relation(each))]
        return assemble([with_edges(blocks, edges)], real_title(self._package.title()))

    def _relation(self, element: Element) -> Relation | None:
        return self._relations.get(element.get("r:id", ""))

    def _of_part(self, name: str) -> str:
        root = self._package.xml(name)
        if root is None:
            return ""
        own, self._relations = self._relations, self._package.relations(name)
        try:
            return joined(list(self._blocks(root)))
        finally:
            self._relations = own

    def _by_id(self, name: str, tag: str) -> dict[str, Element]:
        root = self._package.xml(name)
        return {} if root is None else {each.get("id", ""): each for each in root.findall(tag)}

    def _blocks(self, container: Element) -> Iterator[Block]:
        for child in container:
            if child.tag == "p":
                yield self._paragraph(child)
            elif child.tag == "tbl":
                yield Block(table(list(self._rows(child))))
            elif child.tag == "oMathPara":
                yield Block(formula(child))
            elif child.tag not in _GONE:
                yield from self._blocks(child)
                continue
            after, self._after = self._after, []
            yield from after

    def _paragraph(self, paragraph: Element) -> Block:
        properties = paragraph.find("pPr")
        text = self._inline(paragraph).strip("\n")
        if not text.strip():
            return Block("")
        level, list_id, depth = self._styles.get(_value(properties, "pStyle"), (None, "", 0))
        if outline := _value(properties, "outlineLvl"):
            level = int(outline) + 1 if outline in "012345678" else None
        if properties is not None and (own := properties.find("numPr")) is not None:
            list_id = _value(own, "numId") or list_id
            depth = small_number(_value(own, "ilvl"), depth)
        label = self._numbering.label(list_id, depth) if list_id else None
        if level is not None and level <= _MAX_HEADING:
            words = " ".join(text.split())
            return Block(f"{'#' * level} {f'{label} ' if label and label != '-' else ''}{words}")
        if label is None:
            return Block(text)
        return Block(f"{'  ' * depth}{label} {text.lstrip()}", item=True)

    def _inline(self, element: Element) -> str:
        return "".join(self._piece(child) for child in element)

    def _piece(self, child: Element) -> str:
        match child.tag:
            case "r":
                text = self._inline(child)
                return raised(text) if _value(child.find("rPr"), "vertAlign") == "superscript" else text
            case "t":
                return child.text or ""
            case "tab" | "ptab":
                return "\t"
            case "br" | "cr":
                return "\n"
            case "noBreakHyphen":
                return "-"
            case "sym":
                code = int(child.get("char", "0"), 16) if child.get("char", "").isalnum() else 0
                return "" if code in _PRIVATE or not 32 <= code < 0xD800 else chr(code)
            case "footnoteReference" | "endnoteReference" | "commentReference":
                return self._note(child.tag.removesuffix("Reference"), child.get("id", ""))
            case "oMath" | "oMathPara":
                return formula(child)
            case "hyperlink":
                return self._link(child)
            case "docPr":
                return child.get("descr", "").strip()
            case "txbxContent":
                self._box(child)
                return ""
            case "ruby":
                return ruby(child.find("rubyBase"), child.find("rt"), self._inline)
            case tag if tag in _GONE:
                return ""
            case _:
                return self._inline(child)

    def _box(self, content: Element) -> None:
        outer, self._after = self._after, []
        inner = list(self._blocks(content))
        self._after = [*outer, *inner]

    def _link(self, element: Element) -> str:
        text = self._inline(element)
        relation = self._relation(element)
        if not relation or not relation.external or not text.strip() or relation.target in text:
            return text
        return f"[{text}]({relation.target})" if relation.target.startswith(("http:", "https:")) else text

    def _note(self, kind: str, key: str) -> str:
        note = self._notes[kind].pop(key, None)
        if note is None:
            return ""
        outer, self._after = self._after, []
        text = " ".join(joined(list(self._blocks(note))).split())
        self._after = outer
        if kind == "comment":
            author = note.get("author", "").strip()
            self._after.append(Block(f"Comment{f' ({author})' if author else ''}: {text}"))
            return ""
        self._marks += 1
        self._after.append(Block(f"[^{self._marks}]: {text}", item=True))
        return f"[^{self._marks}]"

    def _rows(self, element: Element) -> Iterator[list[str]]:
        above: list[str] = []
        for row in _within(element, "tr", "tbl"):
            if row.find("trPr/del") is not None:
                continue
            properties = row.find("trPr")
            cells = [""] * min(small_number(_value(properties, "gridBefore"), 0), 64)
            for cell in _within(row, "tc", "tr"):
                of_cell = cell.find("tcPr")
                merged = None if of_cell is None else of_cell.find("vMerge")
                text = joined(list(self._blocks(cell)))
                if merged is not None and merged.get("val") != "restart" and not text and len(cells) < len(above):
                    text = above[len(cells)]
                cells += [text] + [""] * (min(small_number(_value(of_cell, "gridSpan"), 1), 64) - 1)
            above = cells
            yield cells


def _within(element: Element, tag: str, barrier: str) -> Iterator[Element]:
    """Yields the descendants with this tag, however deep, but not those inside an inner `barrier`."""
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag not in _GONE and child.tag != barrier:
            yield from _within(child, tag, barrier)


def _styles(root: Element | None) -> dict[str, tuple[int | None, str, int]]:
    """Returns, by id of a paragraph's style, the level of a heading, the list and its depth: its own values or those of
    the styles that it is based on.
    """
    elements = {} if root is None else {each.get("styleId", ""): each for each in root.findall("style")}
    found: dict[str, tuple[int | None, str, int]] = {}
    for key in elements:
        level, list_id, depth = None, "", 0
        seen: set[str] = set()
        at = key
        while at in elements and at not in seen:
            seen.add(at)
            style = elements[at]
            properties = style.find("pPr")
            name = _value(style, "name").lower()
            outline = _value(properties, "outlineLvl")
            if level is None:
                level = int(outline) + 1 if outline and outline in "012345678" else _named_level(name)
            if not list_id and properties is not None and (numbered := properties.find("numPr")) is not None:
                list_id, depth = _value(numbered, "numId"), small_number(_value(numbered, "ilvl"), 0)
            at = _value(style, "basedOn")
        found[key] = level, list_id, depth
    return found


def _named_level(name: str) -> int | None:
    if name == "title":
        return 1
    return int(name[8:]) if name.startswith("heading ") and name[8:] in tuple("123456") else None


def _value(element: Element | None, name: str) -> str:
    found = None if element is None else element.find(name)
    return "" if found is None else found.get("val", "")
