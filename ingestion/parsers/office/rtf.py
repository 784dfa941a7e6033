"""RTF made ready for conversion: what a converter would leave as it stands (pure)."""

import codecs
import re

from ingestion.parsers.office.markdown import raised

_TITLE = re.compile(rb"\{\\title[ \r\n]((?:[^{}\\]|\\'[0-9a-fA-F]{2}|\\u-?\d+ ?\??|\\[~_-])*)\}")
_SYMBOL = re.compile(rb"(?<!\\)\\([~_-])")
_RAISED = re.compile(rb"\{\\super(?:\\[a-z]+\d*)* ?([^{}\\]{1,30})\}")
_PIECE = re.compile(rb"\\'([0-9a-fA-F]{2})|\\u(-?\d+) ?\??|\\([~_-])|([^\\])")
_CODE_PAGE = re.compile(rb"\\ansicpg(\d{3,5})")
_SYMBOLS = {b"~": b"\\u160?", b"_": b"-", b"-": b""}
# Looked up here because the child cannot open files later, not even those of Python's codecs.
for _name in ("cp1250", "cp1251", "cp1252", "gbk", "cp950", "shift_jis", "cp949"):
    codecs.lookup(_name)


def prepared(data: bytes) -> bytes:
    """Returns RTF with hard blanks and hyphens as plain ones, and superscripts marked: `10^6`."""
    data = _SYMBOL.sub(lambda match: _SYMBOLS[match[1]], data)
    return _RAISED.sub(lambda match: raised(match[1].decode("latin-1")).encode("latin-1"), data)


def title(data: bytes) -> str:
    match = _TITLE.search(data[:65536])
    if not match:
        return ""
    page = _CODE_PAGE.search(data[:1024])
    encoding = {b"936": "gbk", b"932": "shift_jis"}.get(page[1], f"cp{page[1].decode()}") if page else "cp1252"
    text, pending = "", b""
    for code, unicode, symbol, plain in _PIECE.findall(match[1]):
        if code:
            pending += bytes.fromhex(code.decode())
            continue
        if unicode:
            number = int(unicode) % 65536
            text += _decoded(pending, encoding) + (chr(number) if not 0xD800 <= number < 0xE000 else "")
            pending = b""
        else:
            pending += plain or {b"~": b" ", b"_": b"-"}.get(symbol, b"")
    return " ".join((text + _decoded(pending, encoding)).split())


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "replace")
    except LookupError:
        return data.decode("cp1252", "replace")
