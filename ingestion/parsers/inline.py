"""Reads short plain texts in this process: no parser is needed, the text cannot harm anything, and the cost is bounded.

Thousands of documents take this path.
"""

from ingestion.parsers.detect import PLAIN
from ingestion.parsers.text import decode, normalize

SHORT_BYTES = 2**14
"""Longer texts are read in a limited process: composing characters can take time that grows with the square of it."""


def is_short(media_type: str, size: int) -> bool:
    """Returns whether a document of `size` bytes may be read here."""
    return media_type in PLAIN and size <= SHORT_BYTES


def read_short(data: bytes) -> str | None:
    """Returns the normalized text; None if its encoding is not supported here."""
    text = decode(data)
    return None if text is None else normalize(text)
