"""Mail: the subject as title, addresses and date, names of attachments, and the text."""

import codecs
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import Any

from ingestion.errors import ParseFailed, ParseLimit
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.text import decode

HtmlReader = Callable[[str], Awaitable[str]]
_HEADERS = ("Subject", "From", "To", "Cc", "Date")
MAX_DEPTH = 5
"""Messages within messages."""
_MAX_HEADER = 4000
_MAX_PARAMETERS = 1500
_MAX_NAME = 200
# Looked up here because the child cannot open files later, not even those of Python's codecs.
for _name in (
    *("us-ascii", "utf-8", "utf-16", "utf-7", "gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "shift_jis"),
    *("iso-2022-jp", "euc-jp", "euc-kr", "cp949", "koi8-r", "koi8-u", "cp866", "windows-874", "tis-620"),
    *(f"windows-125{digit}" for digit in range(9)),
    *(f"iso-8859-{number}" for number in range(1, 17) if number != 12),
):
    with contextlib.suppress(LookupError):
        codecs.lookup(_name)


class _Policy(EmailPolicy):
    """Reads the beginning of headers only: what it costs grows with the square of their length."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        limit = _MAX_PARAMETERS if name.lower().startswith("content-") else _MAX_HEADER
        return super().header_fetch_parse(name, value[:limit])


_POLICY = _Policy(header_factory=HeaderRegistry())
# What damaged mail makes the library raise.
DAMAGE = (ValueError, LookupError, AttributeError, TypeError)


async def read_mail(data: bytes, read_html: HtmlReader) -> Extraction:
    """Raises NoText, ParseFailed, ParseLimit."""
    try:
        message = parse_message(data)
        parts = [part async for part in _parts(message, read_html, 0)]
        return assemble(parts, header(message, "Subject"))
    except DAMAGE as error:
        raise ParseFailed(f"The message is damaged: {str(error)[:200]}") from error
    except RecursionError as error:
        raise ParseLimit("The message is nested more deeply than is read.") from error


def parse_message(data: bytes) -> EmailMessage:
    """Raises any of DAMAGE, RecursionError."""
    message = BytesParser(EmailMessage, policy=_POLICY).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


def attachments(message: EmailMessage, depth: int = 0) -> Iterator[EmailMessage]:
    """Returns the attachments of the message and of the messages that it forwards, which are read with it. Raises the
    errors of `parse_message`.
    """
    for part in _attached(message, message.get_body(("plain", "html"))):
        inner = _forwarded(part, depth)
        if inner is None:
            yield part
        else:
            yield from attachments(inner, depth + 1)


def attachment_name(part: EmailMessage) -> str:
    """Empty where it has none."""
    return " ".join((part.get_filename() or "").replace("/", "_").replace("\\", "_").split())[:_MAX_NAME]


async def _parts(message: EmailMessage, read_html: HtmlReader, depth: int) -> AsyncIterator[str]:
    body = message.get_body(("plain", "html"))
    attached = list(_attached(message, body))
    names = ", ".join(name for part in attached if _forwarded(part, depth) is None and (name := attachment_name(part)))
    lines = [f"{name}: {value}" for name in _HEADERS if (value := header(message, name))]
    yield "\n".join([*lines, f"Attachments: {names}"] if names else lines)
    if isinstance(body, EmailMessage):
        text = _text(body)
        yield await read_html(text) if body.get_content_type() == "text/html" else text
    for part in attached:
        if (inner := _forwarded(part, depth)) is not None:
            async for text in _parts(inner, read_html, depth + 1):
                yield text


def _forwarded(part: EmailMessage, depth: int) -> EmailMessage | None:
    """The message that the part is, which is read with the one that it is attached to."""
    if part.get_content_type() != "message/rfc822" or depth >= MAX_DEPTH:
        return None
    inner = part.get_content()
    return inner if isinstance(inner, EmailMessage) else None


def _attached(message: EmailMessage, body: object) -> Iterator[EmailMessage]:
    if not message.is_multipart() or message.get_content_type() == "message/rfc822":
        return
    for part in message.iter_parts():
        if part is body or not isinstance(part, EmailMessage):
            continue
        if part.get_content_type() == "message/rfc822":
            yield part
        elif part.is_multipart():
            yield from _attached(part, body)
        elif message.get_content_type() != "multipart/alternative" and not _is_inside(part):
            yield part


def _is_inside(part: EmailMessage) -> bool:
    """Whether it is a picture of the text, which its HTML names."""
    return part.get_content_disposition() == "inline" and part.get_content_maintype() == "image"


def _text(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    with contextlib.suppress(LookupError, ValueError):
        return data.decode(part.get_content_charset() or "utf-8")
    return decode(data) or data.decode("latin-1")


def header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())[:2000]
