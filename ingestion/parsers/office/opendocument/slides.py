"""ODP: slides in their order, with title, text, tables, descriptions of pictures, comments and notes."""

from collections.abc import Iterator

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.office.markdown import Block, joined
from ingestion.parsers.office.opendocument.blocks import BlockReader
from ingestion.parsers.office.opendocument.opened import opened, title_of
from ingestion.parsers.office.package import Element

_FURNITURE = frozenset({"header", "footer", "date-time", "page-number", "page", "handout"})
"""Classes of frames that say nothing of their own; `page` is the picture of the slide above its notes."""


def read_presentation(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = opened(data)
    root = package.xml("content.xml")
    body = None if root is None else root.find("body/presentation")
    if body is None:
        raise ParseFailed("The document is damaged: it has no presentation.")
    texts = [joined(list(_slide(BlockReader(), page))) for page in body.findall("page")]
    return assemble(texts, title_of(package), range(1, len(texts) + 1))


def _slide(reader: BlockReader, page: Element) -> Iterator[Block]:
    notes: list[Element] = []
    for shape in page:
        if shape.tag == "notes":
            notes.append(shape)
        else:
            yield from _shape(reader, shape)
    for each in notes:
        for shape in each:
            yield from _shape(reader, shape)


def _shape(reader: BlockReader, shape: Element) -> Iterator[Block]:
    kind = shape.get("class", "")
    if kind in _FURNITURE or shape.tag == "page-thumbnail":
        return
    if shape.tag == "g":
        for inner in shape:
            yield from _shape(reader, inner)
        return
    blocks = list(reader.blocks([shape]))
    if kind == "title":
        title = " ".join(" ".join(block.text for block in blocks).split())
        yield Block(title and f"# {title}")
        return
    yield from blocks
    yield Block((shape.findtext("desc") or "").strip())
