"""MSG: a message of Outlook, with its addresses, text, attachments and the messages that it forwards.

An OLE container: a stream for each property, named by its tag (MS-OXMSG, MS-OXPROPS), a storage for each attachment.
"""

import codecs
import contextlib
import io
import re
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import olefile

from ingestion.errors import ParseFailed, ParseLimit
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.mail.eml import MAX_DEPTH, HtmlReader
from ingestion.parsers.text import decode
from ingestion.types import ReadingReport

# Looked up here because the child cannot open files later, not even those of Python's codecs.
for _name in ("utf-16-le", "cp1252", "gbk"):
    codecs.lookup(_name)
# What damaged files make the library raise.
DAMAGE = (OSError, ValueError, LookupError, AttributeError, TypeError, struct.error, RecursionError)

_SUBJECT, _BODY, _HTML, _COMPRESSED = "0037", "1000", "1013", "1009"
_FROM_NAME, _FROM_SMTP, _FROM_ADDRESS = "0C1A", "5D01", "0C1F"
_TO, _CC = "0E04", "0E03"
_LONG_NAME, _NAME, _DATA = "3707", "3704", "3701"
_ADDRESS, _SMTP, _KIND = "3003", "39FE", 0x0C15
_SENT, _DELIVERED, _CODE_PAGE, _ATTACHED_BY, _HIDDEN = 0x0039, 0x0E06, 0x3FFD, 0x3705, 0x7FFE
_EMBEDDED = 5
TO, CC = 1, 2
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_MAX_HEADER = 2000
_MAX_ENTRIES = 20_000
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    """Empty where it has none."""
    data: bytes


class Message:
    """A message in an open container. Raises any of DAMAGE."""

    def __init__(self, ole: olefile.OleFileIO, folder: tuple[str, ...] = ()) -> None:
        self._ole = ole
        self._folder = folder
        depth = len(folder)
        listed = [tuple(path) for path in ole.listdir(streams=True, storages=False)[:_MAX_ENTRIES]]
        below = [path[depth:] for path in listed if path[:depth] == folder]
        self._storages = sorted({path[0] for path in below if len(path) > 1})
        # The header of the outermost message's properties is longer.
        self._fixed = self._properties((), 24 if folder else 32)
        self._encoding = self._code_page()

    @property
    def subject(self) -> str:
        return self._line(_SUBJECT)

    @property
    def body(self) -> str:
        return self._text((), _BODY)

    @property
    def html(self) -> str:
        data = self._read((), f"{_HTML}0102")
        return self._text((), _HTML) if data is None else self._decoded(data)

    @property
    def holds_other_text(self) -> bool:
        return self._read((), f"{_COMPRESSED}0102") is not None

    @property
    def sender(self) -> str:
        name, address = self._line(_FROM_NAME), self.sender_address
        return f"{name} <{address}>" if name and address and name != address else name or address

    @property
    def sender_address(self) -> str:
        address = self._line(_FROM_SMTP) or self._line(_FROM_ADDRESS)
        return address if "@" in address else ""

    @property
    def to(self) -> str:
        return self._line(_TO)

    @property
    def cc(self) -> str:
        return self._line(_CC)

    @property
    def date(self) -> datetime | None:
        ticks = self._fixed.get(_SENT) or self._fixed.get(_DELIVERED)
        if not ticks:
            return None
        with contextlib.suppress(OverflowError):
            return _EPOCH + timedelta(microseconds=ticks // 10)
        return None

    def recipients(self, kind: int) -> Iterator[str]:
        """Addresses of those to whom it was sent (TO), or copied (CC)."""
        for storage in self._storages:
            if storage.startswith("__recip_version1.0_"):
                address = self._text((storage,), _SMTP) or self._text((storage,), _ADDRESS)
                if "@" in address and self._properties((storage,), 8).get(_KIND, TO) & 0xF == kind:
                    yield address.strip()

    def attachments(self) -> Iterator[Attachment]:
        """But for pictures of the text, and for messages that it forwards."""
        for storage, fixed in self._attached():
            if fixed.get(_ATTACHED_BY) == _EMBEDDED or fixed.get(_HIDDEN, 0) & 1:
                continue
            data = self._read((storage,), f"{_DATA}0102")
            if data is not None:
                name = self._text((storage,), _LONG_NAME) or self._text((storage,), _NAME)
                yield Attachment(_BLANKS.sub(" ", name.replace("/", "_").replace("\\", "_")).strip("\0 ")[:200], data)

    def forwarded(self) -> "Iterator[Message]":
        for storage, fixed in self._attached():
            if fixed.get(_ATTACHED_BY) == _EMBEDDED:
                yield Message(self._ole, (*self._folder, storage, f"__substg1.0_{_DATA}000D"))

    def _attached(self) -> Iterator[tuple[str, dict[int, int]]]:
        for storage in self._storages:
            if storage.startswith("__attach_version1.0_"):
                yield storage, self._properties((storage,), 8)

    def _line(self, tag: str) -> str:
        return _BLANKS.sub(" ", self._text((), tag).strip("\0")).strip()[:_MAX_HEADER]

    def _text(self, below: tuple[str, ...], tag: str) -> str:
        data = self._read(below, f"{tag}001F")
        if data is not None:
            return data.decode("utf-16-le", "replace").strip("\0")
        data = self._read(below, f"{tag}001E")
        return "" if data is None else self._decoded(data).strip("\0")

    def _decoded(self, data: bytes) -> str:
        with contextlib.suppress(LookupError, ValueError):
            return data.decode(self._encoding)
        return decode(data) or data.decode("cp1252", "replace")

    def _read(self, below: tuple[str, ...], tag: str) -> bytes | None:
        path = [*self._folder, *below, f"__substg1.0_{tag}"]
        if self._ole.get_type(path) != olefile.STGTY_STREAM:
            return None
        found: bytes = self._ole.openstream(path).read()
        return found

    def _properties(self, below: tuple[str, ...], header: int) -> dict[int, int]:
        """Values of fixed size, by tag."""
        path = [*self._folder, *below, "__properties_version1.0"]
        if self._ole.get_type(path) != olefile.STGTY_STREAM:
            return {}
        data = self._ole.openstream(path).read()[header:]
        return {
            tag: value if kind in (0x40, 0x14) else value & 0xFFFFFFFF
            for kind, tag, _, value in struct.iter_unpack("<HHIQ", data[: len(data) // 16 * 16])
        }

    def _code_page(self) -> str:
        number = self._fixed.get(_CODE_PAGE, 0)
        return {65001: "utf-8", 936: "gb18030", 950: "big5hkscs", 932: "shift_jis", 949: "cp949"}.get(
            number, f"cp{number}" if number else "cp1252"
        )


def opened(data: bytes) -> olefile.OleFileIO:
    """Raises any of DAMAGE."""
    return olefile.OleFileIO(io.BytesIO(data))


async def read_outlook(data: bytes, read_html: HtmlReader) -> Extraction:
    """Raises NoText, ParseFailed, ParseLimit."""
    warnings: list[str] = []
    try:
        with opened(data) as ole:
            message = Message(ole)
            parts = [part async for part in _parts(message, read_html, warnings, 0)]
            subject = message.subject
    except RecursionError as error:
        raise ParseLimit("The message is nested more deeply than is read.") from error
    except DAMAGE as error:
        raise ParseFailed(f"The message is damaged: {str(error)[:200]}") from error
    return assemble(parts, subject, report=ReadingReport(warnings=tuple(warnings)))


async def _parts(message: Message, read_html: HtmlReader, warnings: list[str], depth: int) -> AsyncIterator[str]:
    date = message.date
    names = ", ".join(attachment.name for attachment in message.attachments() if attachment.name)
    headers = {
        "Subject": message.subject,
        "From": message.sender,
        "To": message.to,
        "Cc": message.cc,
        "Date": format_datetime(date) if date else "",
        "Attachments": names,
    }
    yield "\n".join(f"{name}: {value}" for name, value in headers.items() if value)
    body = message.body
    if body.strip():
        yield body
    elif html := message.html:
        yield await read_html(html)
    elif message.holds_other_text:
        warnings.append("The text of the message is kept as RTF alone, which is not read. Save the message as EML.")
    for inner in message.forwarded():
        if depth < MAX_DEPTH:
            async for part in _parts(inner, read_html, warnings, depth + 1):
                yield part
        else:
            warnings.append(f"Messages within messages are read {MAX_DEPTH} levels deep.")
