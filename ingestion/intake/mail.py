"""Attachments of a message (EML, MSG), and what its headers say, as metadata."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage

from ingestion.intake.archives import Member
from ingestion.intake.budget import Budget
from ingestion.parsers.mail import outlook
from ingestion.parsers.mail.eml import DAMAGE, MAX_DEPTH, attachment_name, attachments, parse_message

_MAX_BOUNDARIES = 10_000
_MAX_LINES = 200_000
_BYTES_A_LINE = 40
"""Lines of encoded attachments are longer. Each line of a header and each part costs memory."""
_MAX_ADDRESSES = 100
_MAX_ADDRESS = 320
_EXTENSIONS = {"message/rfc822": "eml", "text/plain": "txt", "text/html": "html", "application/pdf": "pdf"}


@dataclass(frozen=True, slots=True)
class Mail:
    metadata: Mapping[str, object]
    """`from`, `to`, `cc`: addresses; `date`: ISO 8601."""
    attached: list[Member]
    unopened: str = ""
    """Why the attachments were not looked at."""


def read_parts(data: bytes, budget: Budget) -> Mail:
    """Returns the attachments; none of a damaged message, which reading reports. Raises TooLarge if they exceed the
    budget.
    """
    if data.count(b"\n--") > _MAX_BOUNDARIES or data.count(b"\n") > _MAX_LINES + len(data) // _BYTES_A_LINE:
        return Mail({}, [], "The message has too many parts or lines for its attachments to be opened.")
    try:
        message = parse_message(data)
        return Mail(_metadata(message), list(_members(message, budget)))
    except (*DAMAGE, RecursionError):
        return Mail({}, [])


def read_outlook_parts(data: bytes, budget: Budget) -> Mail:
    """Returns the same for MSG."""
    try:
        with outlook.opened(data) as ole:
            message = outlook.Message(ole)
            found: dict[str, object] = {}
            if message.sender_address:
                found["from"] = message.sender_address
            for name, kind in (("to", outlook.TO), ("cc", outlook.CC)):
                if addresses := _usable(message.recipients(kind)):
                    found[name] = addresses
            if message.date:
                found["date"] = message.date.isoformat()
            return Mail(found, list(_outlook_members(message, budget, 0)))
    except outlook.DAMAGE:
        return Mail({}, [])


def _outlook_members(message: outlook.Message, budget: Budget, depth: int) -> Iterator[Member]:
    for number, each in enumerate(message.attachments(), 1):
        budget.take(len(each.data))
        yield Member(each.name or f"attachment {number}.bin", each.data)
    for inner in message.forwarded() if depth < MAX_DEPTH else ():
        yield from _outlook_members(inner, budget, depth + 1)


def _members(message: EmailMessage, budget: Budget) -> Iterator[Member]:
    for number, part in enumerate(attachments(message), 1):
        content = part.get_content_type()
        name = attachment_name(part) or f"attachment {number}.{_EXTENSIONS.get(content, 'bin')}"
        if content == "message/rfc822":
            inner = part.get_content()
            payload: object = inner.as_bytes() if isinstance(inner, EmailMessage) else b""
        else:
            payload = part.get_payload(decode=True)
        found = payload if isinstance(payload, bytes) else b""
        budget.take(len(found))
        yield Member(name, found)


def _metadata(message: EmailMessage) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in ("From", "To", "Cc"):
        addresses = _addresses(message, name)
        if addresses:
            found[name.lower()] = addresses[0] if name == "From" else addresses
    moment = getattr(message["Date"], "datetime", None)
    if moment is not None:
        found["date"] = moment.isoformat()
    return found


def _addresses(message: EmailMessage, name: str) -> list[str]:
    try:
        found = [each.addr_spec for each in getattr(message[name], "addresses", ())]
    except DAMAGE:
        return []
    return _usable(found)


def _usable(addresses: Iterable[str]) -> list[str]:
    return [each for each in addresses if each and len(each) <= _MAX_ADDRESS and each.isprintable()][:_MAX_ADDRESSES]
