"""Mail: the subject as title, addresses and date, the text, and which attachments were not read."""

import codecs
import contextlib
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, assemble
from ingestion.parsers.text import decode
from ingestion.types import ReadingReport

HtmlReader = Callable[[str], Awaitable[str]]
_HEADERS = ("Subject", "From", "To", "Cc", "Date")
_MAX_DEPTH = 5
# Looked up here because the child cannot open files later, not even those of Python's codecs.
for _name in (
    *("us-ascii", "utf-8", "utf-16", "utf-7", "gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "shift_jis"),
    *("iso-2022-jp", "euc-jp", "euc-kr", "cp949", "koi8-r", "koi8-u", "cp866", "windows-874", "tis-620"),
    *(f"windows-125{digit}" for digit in range(9)),
    *(f"iso-8859-{number}" for number in range(1, 17) if number != 12),
):
    with contextlib.suppress(LookupError):
        codecs.lookup(_name)
_POLICY = email.policy.default.clone(header_factory=HeaderRegistry())


async def read_mail(data: bytes, read_html: HtmlReader) -> Extraction:
    """Raises NoText, ParseFailed."""
    try:
        message = BytesParser(EmailMessage, policy=_POLICY).parsebytes(data)
        skipped: list[str] = []
        parts = [part async for part in _parts(message, read_html, skipped, 0)]
        title = _header(message, "Subject")
    except (
        ValueError,
        LookupError,
        IndexError,
        AttributeError,
        TypeError,
    ) as error:
        # What damaged mail makes the library raise.
        raise ParseFailed(f"The message is damaged: {str(error)[:200]}") from error
    warnings = tuple(f"The attachment {name!r} was not read. Send it as a document of its own." for name in skipped)
    return assemble(parts, title, report=ReadingReport(warnings=warnings))


async def _parts(message: EmailMessage, read_html: HtmlReader, skipped: list[str], depth: int) -> AsyncIterator[str]:
    yield "\n".join(f"{name}: {value}" for name in _HEADERS if (value := _header(message, name)))
    body = message.get_body(("plain", "html"))
    if isinstance(body, EmailMessage):
        text = _text(body)
        yield await read_html(text) if body.get_content_type() == "text/html" else text
    for part in _attachments(message, body):
        inner = part.get_content() if part.get_content_type() == "message/rfc822" else None
        if isinstance(inner, EmailMessage) and depth < _MAX_DEPTH:
            async for text in _parts(inner, read_html, skipped, depth + 1):
                yield text
        else:
            skipped.append((part.get_filename() or part.get_content_type())[:100])


def _attachments(message: EmailMessage, body: object) -> Iterator[EmailMessage]:
    if not message.is_multipart() or message.get_content_type() == "message/rfc822":
        return
    for part in message.iter_parts():
        if part is body or not isinstance(part, EmailMessage):
            continue
        if part.get_content_type() == "message/rfc822":
            yield part
        elif part.is_multipart():
            yield from _attachments(part, body)
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


def _header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())[:2000]
