"""Bytes that are text: which encoding they are in, and the one form in which text is stored (pure)."""

import codecs
import re
import unicodedata

# NUL and the other control characters, which no store, tokenizer or terminal wants; the line ends stay for now.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_TRAILING_BLANKS = re.compile(r"[ \t]+\n")
_BLANK_LINES = re.compile(r"\n{4,}")

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A file that is UTF-8 but for a few broken bytes is still UTF-8; more than this share of its characters is not.
_MAX_BROKEN = 0.02


def decode_unicode(data: bytes) -> str | None:
    """The text of UTF-8, UTF-16 or UTF-32 bytes, with or without a byte order mark; None for any other encoding."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, errors="replace")
    if b"\0" in data:
        return _decode_unmarked_utf16(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
    foreign = sum(map(len, re.findall(r"[^\x00-\x7f]+", text)))
    return text if text.count("\ufffd") <= _MAX_BROKEN * foreign else None


def _decode_unmarked_utf16(data: bytes) -> str | None:
    # White space, digits and Latin letters have a zero high byte: where those lie tells the byte order.
    little = data[1::2].count(0) > data[::2].count(0)
    try:
        text = data.decode("utf-16-le" if little else "utf-16-be")
    except UnicodeDecodeError:
        return None
    return text if is_readable(text) else None


def is_readable(text: str) -> bool:
    """Whether `text` is plausibly writing and not binary data: hardly any control or unassigned characters."""
    sample = text[:8192]
    strange = sum(unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs") and char not in "\t\n\r\f" for char in sample)
    return strange <= len(sample) * 0.02


def normalize(text: str) -> str:
    """NFC, `\\n` as the only line end, no control characters, no lone surrogates, no blanks at line ends or at either
    end of the text, and at most two blank lines in a row."""
    text = _CONTROL.sub("", _LINE_END.sub("\n", text))
    text = _BLANK_LINES.sub("\n\n\n", _TRAILING_BLANKS.sub("\n", text))
    return unicodedata.normalize("NFC", text).strip()
