"""Lines of a JSONL file as documents (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from ingestion.intake.archives import Member
from ingestion.intake.budget import Budget
from ingestion.parsers.text import decode

_MAX_ID = 200


@dataclass(frozen=True, slots=True)
class Line:
    member: Member
    """Named by the record's `id`, or else by the number of its line."""
    title: str


def lines(data: bytes, budget: Budget) -> Iterator[Line]:
    """Returns the lines, nothing if the encoding is unknown. Raises TooLarge if they exceed the budget."""
    text = decode(data)
    for number, line in enumerate((text or "").split("\n"), 1):
        if not line.strip():
            continue
        name, title = str(number), ""
        encoded = line.strip().lstrip("\ufeff").encode(errors="replace")
        try:
            record = orjson.loads(encoded)
        except orjson.JSONDecodeError:
            yield Line(Member(name, b"", "The line is no JSON."), "")
            continue
        if isinstance(record, dict):
            key = record.get("id")
            if isinstance(key, str | int) and not isinstance(key, bool) and 0 < len(str(key).strip()) <= _MAX_ID:
                name = str(key).strip()
            title = found if isinstance(found := record.get("title"), str) else ""
        budget.take(len(encoded))
        yield Line(Member(name, encoded), title)
