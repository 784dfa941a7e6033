"""Short plain texts, read where they are: no parser is needed, none can be harmed, and what they cost is bounded.
Thousands of them go this way."""

from ingestion.parsers.detect import PLAIN
from ingestion.parsers.text import decode, normalize

SHORT_BYTES = 2**14
"""Longer texts are read in a limited process: composing characters can take time that grows with the square of it."""


def is_short(media_type: str, size: int) -> bool:
    """Whether a document of `size` bytes may be read here."""
    return media_type in PLAIN and size <= SHORT_BYTES


def read_short(data: bytes) -> str | None:
    """The normalized text; None where its encoding is not known here."""
    text = decode(data)
    return None if text is None else normalize(text)
