"""Limits on JSON that apply before it is parsed: a parser first creates objects for everything and counts
afterwards.
"""

import re
from typing import Final

from app.errors import InvalidJson
from ingestion.errors import TooLarge
from retrieval.errors import InvalidRequest

MAX_DEPTH: Final = 64
"""Maximum nesting of lists and objects. Filters have at most 17 levels."""
MAX_KEYS: Final = 1024
"""Maximum number of keys of one object."""
PIECE_BYTES: Final = 65_536
"""Bytes that are scanned without a pause, in about a millisecond."""

_BRACKET: Final = re.compile(rb"[\[\]{}]")


class JsonScan:
    """Counts the values, the lists and objects, their keys and depth in a JSON text that arrives in parts. It does not
    check the grammar: parsing a text that passes takes bounded effort, whether or not it is JSON.
    """

    def __init__(self, max_values: int, max_containers: int) -> None:
        self._max_values = max_values
        self._max_containers = max_containers
        self._containers = 0
        self._values = 0
        self._in_string = False
        """Whether the last part ended within a string."""
        self._escape = b""
        """The backslash with which it ended, unless another one escapes it."""
        self._open: list[int | None] = []
        """For each open list or object: None, or the object's keys so far."""

    def feed(self, part: bytes) -> None:
        """Scans a part. Raises TooLarge for too many values, InvalidRequest for too deep a nesting or too many keys,
        InvalidJson.
        """
        for start in range(0, len(part), PIECE_BYTES):
            self._scan(part[start : start + PIECE_BYTES])

    def _scan(self, piece: bytes) -> None:
        if b"\0" in piece:
            raise InvalidJson("The body holds NUL bytes: JSON has to be UTF-8, and writes them as \\u0000.")
        piece = self._escape + piece
        self._escape = b"\\" if (len(piece) - len(piece.rstrip(b"\\"))) % 2 else b""
        piece = piece[: len(piece) - len(self._escape)]
        # Pairs of backslashes first: what is left of them before a quotation mark escapes it.
        parts = piece.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        rest = b"".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        containers = rest.count(b"[") + rest.count(b"{")
        self._containers += containers
        self._values += rest.count(b",") + containers
        if self._values > self._max_values:
            raise _too_many(self._max_values, "values in its lists and objects")
        if self._containers > self._max_containers:
            raise _too_many(self._max_containers, "lists and objects")
        seen = 0
        for bracket in _BRACKET.finditer(rest):
            self._count_keys(rest.count(b",", seen, bracket.start()))
            seen = bracket.start()
            if bracket[0] in (b"[", b"{"):
                self._open.append(1 if bracket[0] == b"{" else None)
                if len(self._open) > MAX_DEPTH:
                    raise InvalidRequest(f"The body is nested more than {MAX_DEPTH} deep.", limit=MAX_DEPTH)
            elif self._open:
                self._open.pop()
            else:
                raise InvalidJson("The body is not valid JSON: it closes a list or an object that is not open.")
        self._count_keys(rest.count(b",", seen))

    def _count_keys(self, commas: int) -> None:
        if commas and self._open and (keys := self._open[-1]) is not None:
            self._open[-1] = keys + commas
            if keys + commas > MAX_KEYS:
                raise InvalidRequest(f"An object of the body has more than {MAX_KEYS:,} keys.", limit=MAX_KEYS)


def _too_many(limit: int, of: str) -> TooLarge:
    return TooLarge(f"The body has more than {limit:,} {of}. Send fewer at a time.", limit=limit)
