"""PPTX: slides in their order, runs joined as they stand, tables, diagrams, notes and comments."""

from collections.abc import Iterator

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, assemble, real_title
from ingestion.parsers.office.markdown import Block, joined, raised, table
from ingestion.parsers.office.package import Element, Package, small_number

_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})


def read_slides(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = Package(data)
    main = package.related("", "officeDocument") or "ppt/presentation.xml"
    root = package.xml(main)
    if root is None:
        raise ParseFailed("The document is damaged: it has no presentation.")
    relations = package.relations(main)
    names = [
        relations[key].target for each in root.findall("sldIdLst/sldId") if (key := each.get("r:id", "")) in relations
    ]
    texts = [_slide(package, name) for name in names]
    return assemble(texts, real_title(package.title()), range(1, len(texts) + 1))


def _slide(package: Package, name: str) -> str:
    root = package.xml(name)
    if root is None:
        return ""
    blocks = list(shapes(package, name, root))
    for relation in package.relations(name).values():
        part = None if relation.external else relation.target
        if part and relation.kind == "notesSlide" and (notes := package.xml(part)) is not None:
            blocks += shapes(package, part, notes)
        elif part and relation.kind == "comments" and (comments := package.xml(part)) is not None:
            for comment in (each for each in comments.iter() if each.tag in ("cm", "reply")):
                blocks.append(Block(f"Comment: {_comment(comment)}"))
    return joined(blocks)


def _comment(comment: Element) -> str:
    text = comment.find("text")
    if text is not None:
        return text.text or ""
    body = comment.find("txBody")
    return "" if body is None else " ".join(_lines(body))


def shapes(package: Package, name: str, element: Element) -> Iterator[Block]:
    """Text of a drawing, an element of the part `name`."""
    for child in element:
        match child.tag:
            case "sp":
                yield from _shape(child)
            case "graphicFrame":
                yield from _graphic(package, name, child)
            case "pic":
                properties = child.find("nvPicPr/cNvPr")
                yield Block("" if properties is None else properties.get("descr", "").strip())
            case "Fallback":
                pass
            case _:
                yield from shapes(package, name, child)


def _shape(shape: Element) -> Iterator[Block]:
    place = shape.find("nvSpPr/nvPr/ph")
    kind = "" if place is None else place.get("type", "")
    body = shape.find("txBody")
    if kind in _FURNITURE or body is None:
        return
    lines = list(_lines(body))
    if kind in _TITLES:
        title = " ".join(" ".join(lines).split())
        yield Block(title and f"# {title}")
    else:
        yield Block("\n".join(line for line in lines if line.strip()))


def _lines(body: Element) -> Iterator[str]:
    """Yields the text of each paragraph, with the number that the program gives it."""
    counts: dict[int, int] = {}
    for paragraph in body.findall("p"):
        text = "".join(map(_piece, paragraph))
        if not text.strip():
            continue
        properties = paragraph.find("pPr")
        depth = int(value) if properties is not None and (value := properties.get("lvl", "0")) in "012345678" else 0
        automatic = None if properties is None else properties.find("buAutoNum")
        counts = {
            level: count
            for level, count in counts.items()
            if level < depth or (level == depth and automatic is not None)
        }
        if automatic is not None:
            first = small_number(automatic.get("startAt"), 1)
            counts[depth] = counts.get(depth, first - 1) + 1
            text = f"{counts[depth]}. {text}"
        yield "  " * depth + text


def _piece(element: Element) -> str:
    match element.tag:
        case "r" | "fld":
            found = element.find("t")
            text = "" if found is None else found.text or ""
            properties = element.find("rPr")
            baseline = "" if properties is None else properties.get("baseline", "")
            return raised(text) if baseline.rstrip("%").isdecimal() and baseline.strip("0%") else text
        case "br":
            return "\n"
        case "t":  # of a formula
            return element.text or ""
        case "pPr" | "endParaRPr" | "Fallback":
            return ""
        case _:
            return "".join(map(_piece, element))


def _graphic(package: Package, name: str, frame: Element) -> Iterator[Block]:
    for rows in frame.iter("tbl"):
        cells = [[_cell(cell) for cell in row.findall("tc")] for row in rows.findall("tr")]
        yield Block(table(cells))
    for reference in frame.iter():
        key = reference.get("r:dm") or (reference.get("r:id") if reference.tag == "chart" else None)
        relation = package.relations(name).get(key) if key else None
        part = package.xml(relation.target) if relation and not relation.external else None
        if part is not None:
            yield Block(_diagram(part) if relation and relation.kind == "diagramData" else _chart(part))


def _cell(cell: Element) -> str:
    body = cell.find("txBody")
    return "" if body is None else " ".join(line.strip() for line in _lines(body))


def _diagram(root: Element) -> str:
    return "\n".join(line for body in root.iter("t") if body.text is None for line in _lines(body))


def _chart(root: Element) -> str:
    """Formats a chart: its titles, and a table with a column for each series."""
    titles = [" ".join(_lines(rich)) for rich in root.iter("rich")]
    series = list(root.iter("ser"))
    if not series:
        return "\n".join(titles)
    names = [_points(each.find("tx")) for each in series]
    columns = [_points(each.find("cat") if each.find("cat") is not None else each.find("xVal")) for each in series]
    values = [_points(each.find("val") if each.find("val") is not None else each.find("yVal")) for each in series]
    length = max(map(len, [*columns, *values]), default=0)

    def at(column: list[str], index: int) -> str:
        return column[index] if index < len(column) else ""

    rows = [["", *(" ".join(each) for each in names)]]
    rows += [[at(columns[0], index), *(at(each, index) for each in values)] for index in range(length)]
    return "\n\n".join([*titles, table(rows)])


def _points(element: Element | None) -> list[str]:
    return [] if element is None else [value.text or "" for value in element.iter("v")]
