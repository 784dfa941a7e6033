"""Reads the characters of a PDF page and their positions with PDFium."""

import ctypes
import math
import re
import struct
import unicodedata
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, repeat
from typing import Any

import pypdfium2.raw as pdfium_c

from ingestion.parsers.pdf.by_number import POINTER, by_number, number_of, reference_to

_LINE_HYPHENS = frozenset("\x02\ufffe")
"""Characters that PDFium returns for a hyphen at the end of a line."""
_HYPHEN_IN_TEXT = "\ufffe"
"""In the text as a whole it stands for other characters, too."""
_LIGATURE_LETTERS = frozenset("filtsjæœ")
_BOLD_WEIGHT = 600
_BOLD_NAME = re.compile(r"bold|black|heavy|demi", re.IGNORECASE)
_FORCE_BOLD = 1 << 18
_PRESENTATION_FORMS = (("\ufb00", "\ufdff"), ("\ufe70", "\ufeff"))
_FIRST_FORM = "\ufb00"
_BOX = struct.Struct("ffff")
_LINEAR_BYTES = 4 * ctypes.sizeof(ctypes.c_float)
"""Of a matrix, without its offsets."""
_BOXES = 512
"""Boxes that are read at once."""
_TILE = 8.0
"""Points. Half of it is the most that overprinted characters are apart."""
_MAX_PLAUSIBLE = 3.0
"""An em and the box of its characters differ by no more than this factor; otherwise the box is believed."""


@dataclass(slots=True)
class Char:
    """One character. Positions are in points, from the left and from the top of the page as it is displayed."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    baseline: float
    size: float
    """The em, in points."""
    bold: bool
    spaced: bool = False
    """A space stands before it."""
    glyph: int = -1
    """Characters of one ligature share it; -1: of its own."""
    raised: bool = False
    """A superscript."""

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def center(self) -> float:
        return (self.x0 + self.x1) / 2


@dataclass(frozen=True, slots=True)
class PageCharacters:
    directions: tuple[tuple[Char, ...], ...]
    """Characters grouped by reading direction, rotated upright; the most frequent direction comes first. In drawing
    order.
    """
    angles: tuple[int, ...]
    """The direction of each character: degrees counterclockwise, multiples of 90."""
    oblique: str
    """Text that runs neither along nor across the page, in PDFium's order."""
    total: int
    """Characters that are not white space, whether they could be read or not."""
    unreadable: int
    """Number of characters that the font does not map to Unicode."""


@dataclass(frozen=True, slots=True)
class _Style:
    """The properties that the characters of one text object share."""

    angle: int
    """Degrees against the horizontal, counterclockwise."""
    size: float
    bold: bool
    mapped: bool
    """Whether the font says which characters its codes are."""


_unicode_of = by_number(pdfium_c.FPDFText_GetUnicode, ctypes.c_uint)
_is_generated = by_number(pdfium_c.FPDFText_IsGenerated, ctypes.c_int)
_has_no_mapping = by_number(pdfium_c.FPDFText_HasUnicodeMapError, ctypes.c_int)
_text_object = by_number(pdfium_c.FPDFText_GetTextObject, POINTER)
_box_of = by_number(pdfium_c.FPDFText_GetLooseCharBox, ctypes.c_int)
_matrix_of = by_number(pdfium_c.FPDFText_GetMatrix, ctypes.c_int)
_origin_of = by_number(pdfium_c.FPDFText_GetCharOrigin, ctypes.c_int)
_size_of = by_number(pdfium_c.FPDFText_GetFontSize, ctypes.c_double)
_font = by_number(pdfium_c.FPDFTextObj_GetFont, POINTER, POINTER)


def read_characters(page: pdfium_c.FPDF_TEXTPAGE) -> PageCharacters:
    """Reads the characters. `page` is PDFium's handle of the page's text."""
    reference = reference_to(number_of(page))
    styles = _Styles(page, reference)
    by_angle: dict[int, list[Char]] = defaultdict(list)
    oblique: list[str] = []
    unreadable = 0
    x, y = ctypes.c_double(), ctypes.c_double()
    to_x, to_y = ctypes.byref(x), ctypes.byref(y)
    texts = _texts(page, reference)
    visible, after_space = _visible(texts, reference)
    different = set(texts) - {""}
    special = {text for text in different if text in _LINE_HYPHENS or _is_form(text) or is_improbable(text)}
    object_before, style, baseline = None, _Style(0, 1, False, True), 0.0
    angle, size, bold, mapped, append = style.angle, style.size, style.bold, style.mapped, by_angle[0].append
    before: Char | None = None
    skipped_space = False
    handles = map(_text_object, repeat(reference), visible)
    for index, handle, box in zip(visible, handles, _boxes(reference, visible), strict=True):
        if handle != object_before:
            object_before, style = handle, styles.at(handle, index)
            _origin_of(reference, index, to_x, to_y)  # its characters stand on one baseline
            angle, size, bold, mapped = style.angle, style.size, style.bold, style.mapped
            baseline, append = _baseline(angle, x.value, y.value), by_angle[angle].append
        text = texts[index]
        spaced = index in after_space
        if skipped_space or not mapped or text in special:
            spaced, skipped_space = spaced or skipped_space, False
            text = "-" if text in _LINE_HYPHENS else text
            if not mapped or is_improbable(text):
                unreadable += 1
                if not text.isprintable():
                    skipped_space = spaced
                    continue
        if angle == 0 and text not in special:
            left, high, right, low = box
            # Boxes of fonts without metrics are empty.
            right, bottom = right if right > left else left + 0.01, -low if low < high else 0.01 - high
            char = Char(text, left, -high, right, bottom, baseline, size, bold, spaced)
        elif angle % 90:
            oblique.append(f" {text}" if spaced else text)
            continue
        else:
            char = _upright(text, style, box, baseline, spaced)
        if text in _LIGATURE_LETTERS and before and before.x0 == char.x0 and before.x1 == char.x1:
            char.glyph = before.glyph = before.glyph if before.glyph >= 0 else index
        before = char
        append(char)
    angles = sorted(filter(by_angle.get, by_angle), key=lambda angle: -len(by_angle[angle]))
    return PageCharacters(
        tuple(tuple(_without_overprint(by_angle[angle])) for angle in angles),
        tuple(angles),
        " ".join("".join(oblique).split()),
        len(visible),
        unreadable,
    )


def _texts(page: pdfium_c.FPDF_TEXTPAGE, reference: Any) -> Sequence[str]:
    """Returns the text of each of PDFium's characters; a character outside of the basic plane may be two of them, of
    which the first has none.
    """
    count = max(pdfium_c.FPDFText_CountChars(page), 0)
    text = _text_at_once(page, count)
    if len(text) == count:
        if _HYPHEN_IN_TEXT not in text:
            return text
        return [
            chr(_unicode_of(reference, place)) if each == _HYPHEN_IN_TEXT else each for place, each in enumerate(text)
        ]
    texts: list[str] = []
    high = ""
    for code in map(_unicode_of, repeat(reference), range(count)):
        if 0xD800 <= code < 0xDC00:
            high = chr(code)
            texts.append("")
        else:
            pair = (high + chr(code)).encode("utf-16", "surrogatepass").decode("utf-16", "replace") if high else ""
            texts.append(pair or chr(code))
            high = ""
    return texts


def _text_at_once(page: pdfium_c.FPDF_TEXTPAGE, count: int) -> str:
    """Returns the text of `count` characters. It has another length if it lacks control characters, or has characters
    outside of the basic plane.
    """
    buffer = (ctypes.c_ushort * (2 * count + 1))()
    units = pdfium_c.FPDFText_GetText(page, 0, count, buffer) - 1
    return bytes(buffer)[: 2 * units].decode("utf-16-le", "ignore") if units > 0 else ""


def _visible(texts: Sequence[str], reference: Any) -> tuple[list[int], set[int]]:
    """Returns the indexes of the characters that are not white space, and of those that stand after a space. How wide a
    gap is a space is decided later, so PDFium's own spaces do not count.
    """
    white = {text for text in set(texts) if not text or text.isspace()}
    visible: list[int] = []
    after_space: set[int] = set()
    spaced = False
    for index, text in enumerate(texts):
        if text not in white:
            visible.append(index)
            if spaced:
                after_space.add(index)
                spaced = False
        elif not spaced and text:
            spaced = text != " " or _is_generated(reference, index) != 1
    return visible, after_space


def _boxes(reference: Any, indexes: Sequence[int]) -> Iterator[tuple[float, float, float, float]]:
    """Yields the box of each character: left, top, right and bottom, in points from the lower left corner."""
    buffer = (pdfium_c.FS_RECTF * min(_BOXES, len(indexes)))()
    places = [ctypes.byref(buffer, number * ctypes.sizeof(pdfium_c.FS_RECTF)) for number in range(len(buffer))]
    for start in range(0, len(indexes), _BOXES):
        part = indexes[start : start + _BOXES]
        deque(map(_box_of, repeat(reference), part, places), maxlen=0)
        yield from islice(_BOX.iter_unpack(buffer), len(part))


def _is_form(text: str) -> bool:
    return text >= _FIRST_FORM and any(first <= text[0] <= last for first, last in _PRESENTATION_FORMS)


@cache
def is_improbable(text: str) -> bool:
    """Returns whether the text does not occur in writing: a replacement, private, unassigned or control character."""
    return text == "\ufffd" or (not text.isspace() and unicodedata.category(text[0]) in ("Co", "Cn", "Cc", "Cs"))


class _Styles:
    """The styles of a page's text objects."""

    def __init__(self, page: pdfium_c.FPDF_TEXTPAGE, reference: Any) -> None:
        self._page = page
        self._reference = reference
        self._matrix = pdfium_c.FS_MATRIX()
        self._to_matrix = ctypes.byref(self._matrix)
        self._linear = (ctypes.c_char * _LINEAR_BYTES).from_buffer(self._matrix)
        self._styles: dict[tuple[bytes, float, int | None, bool], _Style] = {}
        self._bold: dict[int | None, bool] = {}

    def at(self, handle: int | None, index: int) -> _Style:
        """Returns the style of the text object `handle`. `index` is that of one of its characters."""
        reference = self._reference
        _matrix_of(reference, index, self._to_matrix)
        font = _font(handle) if handle else None
        size = _size_of(reference, index)
        mapped = _has_no_mapping(reference, index) != 1
        key = (self._linear.raw, size, font, mapped)
        style = self._styles.get(key)
        if style is None:
            if font not in self._bold:
                self._bold[font] = _is_bold(self._page, index)
            style = self._styles[key] = _style(self._page, index, self._matrix, size, self._bold[font], mapped)
        return style


def _style(
    page: pdfium_c.FPDF_TEXTPAGE, index: int, matrix: pdfium_c.FS_MATRIX, size: float, bold: bool, mapped: bool
) -> _Style:
    box = pdfium_c.FS_RECTF()
    angle = round(math.degrees(math.atan2(matrix.b, matrix.a)))
    nearest = round(angle / 90) * 90
    size *= math.hypot(matrix.c, matrix.d)
    pdfium_c.FPDFText_GetLooseCharBox(page, index, box)
    height = abs(box.right - box.left if nearest % 180 else box.top - box.bottom)
    if height and not height / _MAX_PLAUSIBLE < size < height * _MAX_PLAUSIBLE:
        size = height  # Type 3 fonts have units of their own
    return _Style((nearest if abs(angle - nearest) <= 3 else angle) % 360, max(round(size, 1), 0.1), bold, mapped)


def _is_bold(page: pdfium_c.FPDF_TEXTPAGE, index: int) -> bool:
    flags, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    pdfium_c.FPDFText_GetFontInfo(page, index, name, len(name), flags)
    return (
        pdfium_c.FPDFText_GetFontWeight(page, index) >= _BOLD_WEIGHT
        or bool(flags.value & _FORCE_BOLD)
        or bool(_BOLD_NAME.search(name.value.decode("utf-8", "replace")))
    )


def _baseline(angle: int, x: float, y: float) -> float:
    """Returns the baseline of text at `angle` degrees with its origin at (x, y), rotated upright, from the top."""
    if angle % 180 == 0:
        return round(y if angle else -y, 1)
    return round(x if angle == 90 else -x, 1)


def _upright(text: str, style: _Style, box: tuple[float, float, float, float], baseline: float, spaced: bool) -> Char:
    """Returns the character rotated so that its text runs upright."""
    left, high, right, low = box
    if style.angle == 90:
        left, right, low, high = low, high, -right, -left
    elif style.angle == 180:
        left, right, low, high = -right, -left, -high, -low
    elif style.angle == 270:
        left, right, low, high = -high, -low, left, right
    if _is_form(text):
        text = unicodedata.normalize("NFKC", text)
    # Boxes of fonts without metrics are empty.
    right = right if right > left else left + 0.01
    low = low if low < high else high - 0.01
    return Char(text, left, -high, right, -low, baseline, style.size, style.bold, spaced)


def _without_overprint(chars: Iterable[Char]) -> list[Char]:
    """Yields each character once: producers often simulate bold by drawing a character again with a small offset."""
    chars = list(chars)
    # Where it is done, some of the pairs share a tile; mostly it is not.
    fine = 4 / _TILE
    first: dict[tuple[str, int, int], Char] = {}
    for char in chars:
        if char.glyph < 0:
            other = first.setdefault((char.text, int(char.x0 * fine), int(char.top * fine)), char)
            if other is not char and _is_drawn(char, (other,)):
                break
    else:
        return chars
    seen: dict[tuple[str, int, int], list[Char]] = defaultdict(list)
    kept: list[Char] = []
    for char in chars:
        text, x, y = char.text, char.x0 / _TILE, char.top / _TILE
        # What is near lies in one of the four tiles around it.
        left, top = int(x - 0.5), int(y - 0.5)
        for tile in ((text, left, top), (text, left + 1, top), (text, left, top + 1), (text, left + 1, top + 1)):
            if (near := seen.get(tile)) and _is_drawn(char, near):
                break
        else:
            seen[text, int(x), int(y)].append(char)
            kept.append(char)
    return kept


def _is_drawn(char: Char, near: Iterable[Char]) -> bool:
    # Letters of one word are farther apart than this: a letter is no narrower than a fifth of an em.
    across, along = min(0.4 * (char.x1 - char.x0), 0.3 * char.size), 0.2 * char.size
    return any(
        abs(other.x0 - char.x0) < across and abs(other.top - char.top) < along and not other.glyph == char.glyph >= 0
        for other in near
    )
