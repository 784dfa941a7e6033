"""Decodes bytes that are text, and normalises text to the form in which it is stored (pure)."""

import codecs
import re
import unicodedata
from collections import Counter

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
_MAX_BROKEN = 0.05
# In Chinese text nine characters of ten are common; read in the wrong encoding, fewer than two of three.
_COMMON_ENOUGH = 0.75


def decode(data: bytes) -> str | None:
    """Returns the text of Unicode or Chinese bytes (GB18030, Big5); None for any other encoding."""
    text = decode_unicode(data)
    return _decode_chinese(data) if text is None else text


def decode_unicode(data: bytes) -> str | None:
    """Returns the text of UTF-8, UTF-16 or UTF-32 bytes, with or without a byte order mark; None for any other
    encoding.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, errors="replace")
    # UTF-16 with Latin letters is valid UTF-8 with a NUL at every other place; a stray NUL is no such thing.
    if data.count(0) * 10 > len(data):
        return _decode_unmarked_utf16(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        if b"\0" in data:
            return _decode_unmarked_utf16(data)
    text = data.decode(errors="replace")
    foreign = sum(map(len, re.findall(r"[^\x00-\x7f]+", text)))
    return text if text.count("\ufffd") <= _MAX_BROKEN * foreign else None


def _decode_unmarked_utf16(data: bytes) -> str | None:
    # The right byte order is the one in which line ends, blanks, digits and Latin letters turn up.
    best, text = 0, None
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            candidate = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        latin = sum("\t" <= char < "\x7f" for char in candidate[:65536])
        if latin > best and is_readable(candidate):
            best, text = latin, candidate
    return text


def _decode_chinese(data: bytes) -> str | None:
    """Chooses the encoding in which more characters are common ones: each standard keeps those in its first rows, and
    the bytes of the other standard decode to other rows. Korean EUC-KR, which looks like common Chinese, is left to
    other detectors.
    """
    best, text = _COMMON_ENOUGH, None
    for encoding, first, last in (("gb18030", 0xB0, 0xD7), ("big5hkscs", 0xA4, 0xC6)):
        try:
            candidate = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        share = _share_of_rows(candidate, encoding, first, last)
        if share > best:
            best, text = share, candidate
    return None if text is not None and _is_korean(data) else text


def _is_korean(data: bytes) -> bool:
    try:
        text = data.decode("euc_kr")
    except UnicodeDecodeError:
        return False
    # In a few characters Chinese may look Korean by chance.
    return sum(char > "\x7f" for char in text) >= 16 and _share_of_rows(text, "euc_kr", 0xB0, 0xC8) > 0.95


def _share_of_rows(text: str, encoding: str, first: int, last: int) -> float:
    """Returns the share of the characters beyond ASCII that are in the rows `first` to `last` or among the symbols."""
    foreign = [char.encode(encoding) for char in text[:65536] if char > "\x7f"][:4096]
    # Beyond the basic sets, GBK fills the low second bytes with rare characters.
    lowest = 0x40 if encoding == "big5hkscs" else 0xA1
    common = sum(
        len(code) == 2 and (0xA1 <= code[0] <= 0xA3 or (first <= code[0] <= last and code[1] >= lowest))
        for code in foreign
    )
    return common / max(len(foreign), 1)


def is_readable(text: str) -> bool:
    """Returns whether `text` is plausibly writing and not binary data: hardly any control or unassigned characters."""
    sample = text[:8192]
    if _is_plain(sample):
        return True
    # Counted by distinct character, of which even a long text has few.
    strange = sum(
        count
        for char, count in Counter(sample).items()
        if unicodedata.category(char) in ("Cc", "Cn", "Co", "Cs") and char not in "\t\n\r\f"
    )
    return strange <= len(sample) * 0.02


def normalize(text: str) -> str:
    """NFC, `\\n` as the only line end, no control characters, no lone surrogates, no blanks at line ends or at either
    end of the text, and at most two blank lines in a row."""
    # Substitutions look at every character; most texts need none of them.
    if not _is_plain(text):
        text = _CONTROL.sub("", _LINE_END.sub("\n", text))
    if " \n" in text or "\t\n" in text:
        text = _TRAILING_BLANKS.sub("\n", text)
    if "\n\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n\n", text)
    return unicodedata.normalize("NFC", text).strip()


def _is_plain(text: str) -> bool:
    """Returns whether the text needs no normalisation: every character is printable, a tab or a `\\n`."""
    return text.replace("\n", " ").replace("\t", " ").isprintable()
