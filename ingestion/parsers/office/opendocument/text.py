"""ODT: headings, paragraphs, lists, tables, notes and frames in order, headers and footers at the end."""

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.office.markdown import joined, with_edges
from ingestion.parsers.office.opendocument.blocks import BlockReader
from ingestion.parsers.office.opendocument.opened import opened, title_of

_EDGES = frozenset({"header", "footer", "header-first", "footer-first", "header-left", "footer-left"})


def read_text_document(data: bytes) -> Extraction:
    """Raises EncryptedDocument, NoText, ParseFailed, ParseLimit."""
    package = opened(data)
    root = package.xml("content.xml")
    body = None if root is None else root.find("body/text")
    if body is None:
        raise ParseFailed("The document is damaged: it has no body.")
    reader = BlockReader()
    blocks = list(reader.blocks(body))
    styles = package.xml("styles.xml")
    edges = [
        joined(list(reader.blocks(edge))) for edge in (() if styles is None else styles.iter()) if edge.tag in _EDGES
    ]
    return assemble([with_edges(blocks, edges)], title_of(package))
