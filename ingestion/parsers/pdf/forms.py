"""Reads the values of a PDF's form fields and the notes on its pages: neither is part of a page's text."""

import ctypes
from collections.abc import Callable

import pypdfium2.raw as pdfium_c

_MAX_ANNOTATIONS = 2000
_MAX_CHARS = 1_000_000
_OFF = frozenset({"", "Off"})
_NOTES = (pdfium_c.FPDF_ANNOT_TEXT, pdfium_c.FPDF_ANNOT_FREETEXT)


def read_form(page: pdfium_c.FPDF_PAGE, form: pdfium_c.FPDF_FORMHANDLE | None) -> list[str]:
    """Returns `name: value` for every field that has a value, and the text of notes; one line each."""
    lines: dict[str, None] = {}  # a field may have several places
    for index in range(min(pdfium_c.FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        if kind == pdfium_c.FPDF_ANNOT_WIDGET and form:
            name = _string(lambda *to: pdfium_c.FPDFAnnot_GetFormFieldName(form, annotation, *to))  # noqa: B023
            value = _string(lambda *to: pdfium_c.FPDFAnnot_GetFormFieldValue(form, annotation, *to))  # noqa: B023
            if value not in _OFF:
                lines[f"{name}: {value}" if name else value] = None
        elif kind in _NOTES:
            text = _string(lambda *to: pdfium_c.FPDFAnnot_GetStringValue(annotation, b"Contents", *to))  # noqa: B023
            if text:
                lines[text] = None
        pdfium_c.FPDFPage_CloseAnnot(annotation)
    return list(lines)


def _string(read: Callable[[object, int], int]) -> str:
    """Returns the UTF-16 text that a function of PDFium writes into a buffer."""
    size = min(read(None, 0), 2 * _MAX_CHARS)
    if size <= 2:
        return ""
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    read(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return bytes(buffer)[:size].decode("utf-16-le", "replace").rstrip("\0").strip()
