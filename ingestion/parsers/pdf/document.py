"""Reads a PDF document as text, page by page."""

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pypdfium2.raw as pdfium_c

from ingestion.errors import EncryptedDocument, ParseFailed
from ingestion.parsers.pdf.characters import PageCharacters, read_characters
from ingestion.parsers.pdf.fonts import install_fallback_font
from ingestion.parsers.pdf.forms import read_form
from ingestion.parsers.pdf.layout import Flow, arrange
from ingestion.parsers.pdf.lines import Segment, segments, vertical_columns
from ingestion.parsers.pdf.paragraphs import paragraphs, sizes_of
from ingestion.parsers.pdf.quality import PageQuality
from ingestion.parsers.pdf.rulings import Drawing, grids, read_drawing, turned
from ingestion.parsers.pdf.tables import cell_text, take_tables

MAX_PAGES = 20_000
_EDGE_LINES = 2
"""Lines at the top and at the bottom of a page that may be a header or footer."""
_MIN_REPEATS = 3
_REPEAT_SHARE = 0.25
_SAME_HEIGHT = 6.0
_DIGITS = re.compile(r"\d+")

Picture = np.ndarray
"""Height x width x 3, uint8, in the order blue, green, red."""


@dataclass(slots=True)
class PdfPage:
    flows: list[Flow]
    """Flows in reading order."""
    vertical: list[str]
    """Paragraphs of vertical writing."""
    extra: list[str]
    """Values of forms, notes, oblique text: one line each."""
    quality: PageQuality
    letters: Counter[float] = field(default_factory=Counter)
    """Number of letters of each size, in points."""
    by_ocr: bool = False
    confidence: float | None = None
    """Mean of OCR, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PdfText:
    pages: list[PdfPage]
    title: str
    unread_pages: int
    """Number of pages at the end, beyond MAX_PAGES."""


Recognize = Callable[[PdfPage, Callable[[float], Picture], tuple[float, float]], PdfPage]
"""Reads a page by OCR where that is wanted: the page as its text has it, what renders it at so many pixels a point, and
its size in points. Answers with the page to take."""


def read_pdf(data: bytes, recognize: Recognize | None = None) -> PdfText:
    """Reads the document. Raises EncryptedDocument and ParseFailed."""
    install_fallback_font()
    with _opened(data) as (document, form):
        count = pdfium_c.FPDF_GetPageCount(document)
        pages = [_read_page(document, form, number, recognize) for number in range(min(count, MAX_PAGES))]
        return PdfText(pages, _title(document), max(count - MAX_PAGES, 0))


def page_texts(pages: Sequence[PdfPage]) -> list[str]:
    """Returns the Markdown of every page; empty if the page holds no text."""
    flows = _without_repeats([page.flows for page in pages])
    letters = sum((page.letters for page in pages), Counter[float]())
    sizes = sizes_of((flow for page in flows for flow in page), letters)
    return [
        "\n\n".join(part for part in (*page.vertical, *paragraphs(kept, sizes), "\n".join(page.extra)) if part)
        for page, kept in zip(pages, flows, strict=True)
    ]


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[pdfium_c.FPDF_DOCUMENT, pdfium_c.FPDF_FORMHANDLE | None]]:
    buffer = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
    document = pdfium_c.FPDF_LoadMemDocument64(buffer, len(data), None)
    if not document:
        if pdfium_c.FPDF_GetLastError() in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY):
            raise EncryptedDocument()
        raise ParseFailed("The document is damaged: it cannot be opened as a PDF.")
    form = None
    try:
        if pdfium_c.FPDF_GetPageCount(document) < 1:
            raise ParseFailed("The document is damaged: it has no page that can be read.")
        if pdfium_c.FPDF_GetFormType(document) != pdfium_c.FORMTYPE_NONE:
            info = pdfium_c.FPDF_FORMFILLINFO(version=2)
            form = pdfium_c.FPDFDOC_InitFormFillEnvironment(document, info)
        yield document, form
    finally:
        if form:
            pdfium_c.FPDFDOC_ExitFormFillEnvironment(form)
        pdfium_c.FPDF_CloseDocument(document)


def _read_page(
    document: pdfium_c.FPDF_DOCUMENT,
    form: pdfium_c.FPDF_FORMHANDLE | None,
    number: int,
    recognize: Recognize | None,
) -> PdfPage:
    page = pdfium_c.FPDF_LoadPage(document, number)
    if not page:
        return PdfPage([], [], [], PageQuality(0, 0, 0, empty=True))
    try:
        text = pdfium_c.FPDFText_LoadPage(page)
        try:
            characters = read_characters(text) if text else PageCharacters((), (), "", 0, 0)
        finally:
            if text:
                pdfium_c.FPDFText_ClosePage(text)
        size = pdfium_c.FPDF_GetPageWidthF(page), pdfium_c.FPDF_GetPageHeightF(page)
        drawing = read_drawing(page)
        read = _arranged(characters, drawing, size)
        read.extra += read_form(page, form)
        return recognize(read, lambda scale: _rendered(page, size, scale), size) if recognize else read
    finally:
        pdfium_c.FPDF_ClosePage(page)


def _arranged(characters: PageCharacters, drawing: Drawing, size: tuple[float, float]) -> PdfPage:
    quality = PageQuality(
        characters.total,
        characters.unreadable,
        drawing.picture_area / max(size[0] * size[1], 1.0),
        empty=drawing.objects == 0,
    )
    if not characters.directions:
        return PdfPage([], [], [characters.oblique] if characters.oblique else [], quality)
    (main, *others), angle = characters.directions, characters.angles[0]
    rest, tables = take_tables(main, grids([turned(ruling, angle) for ruling in drawing.rulings]))
    rest, vertical = vertical_columns(rest)
    extra = [*map(cell_text, map(segments, others)), characters.oblique]
    flows = arrange([*segments(rest), *tables])
    letters = Counter([char.size for char in main])
    return PdfPage(flows, vertical, [text for text in extra if text], quality, letters)


def _rendered(page: pdfium_c.FPDF_PAGE, size: tuple[float, float], scale: float) -> Picture:
    width, height = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
    bitmap = pdfium_c.FPDFBitmap_CreateEx(width, height, pdfium_c.FPDFBitmap_BGR, None, 0)
    if not bitmap:
        raise MemoryError
    try:
        pdfium_c.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xFFFFFFFF)
        pdfium_c.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, pdfium_c.FPDF_ANNOT)
        stride = pdfium_c.FPDFBitmap_GetStride(bitmap)
        pixels = ctypes.string_at(pdfium_c.FPDFBitmap_GetBuffer(bitmap), stride * height)
        rows = np.frombuffer(pixels, np.uint8).reshape(height, stride)
        return np.ascontiguousarray(rows[:, : width * 3].reshape(height, width, 3))
    finally:
        pdfium_c.FPDFBitmap_Destroy(bitmap)


def _title(document: pdfium_c.FPDF_DOCUMENT) -> str:
    size = pdfium_c.FPDF_GetMetaText(document, b"Title", None, 0)
    if not 2 < size < 2**16:
        return ""
    buffer = ctypes.create_string_buffer(size)
    pdfium_c.FPDF_GetMetaText(document, b"Title", buffer, size)
    return buffer.raw.decode("utf-16-le", "replace").rstrip("\0").strip()


def _without_repeats(pages: Sequence[Sequence[Flow]]) -> list[list[Flow]]:
    """Keeps headers, footers and page numbers only on the first page that has them."""
    places: Counter[tuple[str, int]] = Counter()
    edges = [_edge_lines(flows) for flows in pages]
    for lines in edges:
        places.update({key for line in lines for key in _keys(line)})
    needed = max(_MIN_REPEATS, _REPEAT_SHARE * len(pages))
    seen: set[str] = set()
    kept: list[list[Flow]] = []
    for flows, lines in zip(pages, edges, strict=True):
        dropped: set[int] = set()
        for line in lines:
            if any(places[key] >= needed for key in _keys(line)):
                text = _pattern(line)
                if text in seen:
                    dropped.add(id(line))
                seen.add(text)
        kept.append(
            [Flow(flow.x0, flow.x1, [item for item in flow.items if id(item) not in dropped]) for flow in flows]
        )
    return kept


def _edge_lines(flows: Sequence[Flow]) -> list[Segment]:
    lines = sorted(
        (item for flow in flows for item in flow.items if isinstance(item, Segment)), key=lambda line: line.baseline
    )
    return lines if len(lines) <= 2 * _EDGE_LINES else [*lines[:_EDGE_LINES], *lines[-_EDGE_LINES:]]


def _pattern(line: Segment) -> str:
    return _DIGITS.sub("#", line.text)


def _keys(line: Segment) -> tuple[tuple[str, int], tuple[str, int]]:
    """Returns two keys, so that positions which are close together share one of them."""
    step = round(line.baseline / _SAME_HEIGHT)
    return (_pattern(line), 2 * step), (_pattern(line), 2 * int(line.baseline // _SAME_HEIGHT) + 1)
