"""A fallback font for fonts that a PDF names without embedding them.

If PDFium finds no glyph for a character of such a font, it treats the character as empty, and omits a text object that
holds no other: whole vertical columns and single table cells of Chinese files are lost that way. The Last Resort font
has a box for every character of Unicode, so that no character is empty. It comes with Matplotlib.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pypdfium2.raw as pdfium_c

_NAME = b"Last Resort\0"
_HANDLE = 1
_LATIN = (0, 1, 2)
"""ANSI, default and symbol: PDFium has fonts of its own for these."""


@cache
def install_fallback_font() -> pdfium_c.FPDF_SYSFONTINFO:
    """Makes PDFium use only this font provider, so that no font of the machine changes the result. Keep the returned
    object alive as long as documents are read.
    """
    font = (Path(mpl.get_data_path()) / "fonts" / "ttf" / "LastResortHE-Regular.ttf").read_bytes()

    def map_font(
        _this: Any, _weight: int, _italic: int, charset: int, _pitch: int, _face: Any, _exact: Any
    ) -> int | None:
        return None if charset in _LATIN else _HANDLE

    def font_data(_this: Any, _font: Any, table: int, buffer: Any, size: int) -> int:
        return 0 if table else _copy(font, buffer, size)

    functions = {
        "Release": lambda _this: None,
        "EnumFonts": lambda _this, _mapper: None,
        "MapFont": map_font,
        "GetFont": lambda _this, _face: None,
        "GetFontData": font_data,
        "GetFaceName": lambda _this, _font, buffer, size: _copy(_NAME, buffer, size),
        "GetFontCharset": lambda _this, _font: 1,
        "DeleteFont": lambda _this, _font: None,
    }
    info = pdfium_c.FPDF_SYSFONTINFO()
    info.version = 1
    types = {field[0]: field[1] for field in info._fields_}
    for name, function in functions.items():
        setattr(info, name, types[name](function))
    pdfium_c.FPDF_SetSystemFontInfo(info)
    return info


def _copy(data: bytes, buffer: Any, size: int) -> int:
    """Returns the length of the data, and copies it if the buffer has room."""
    if buffer and size >= len(data):
        ctypes.memmove(buffer, data, len(data))
    return len(data)
