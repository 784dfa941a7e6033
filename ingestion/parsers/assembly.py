"""Joins the parts of a document into one text (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ingestion.errors import NoText
from ingestion.parsers.text import normalize
from ingestion.types import ReadingReport

_MAX_TITLE = 500
# Titles that producing programs put into files that have none.
_NO_TITLE = frozenset({"untitled", "(anonymous)", "(unspecified)", "powerpoint presentation", "slide 1"})


@dataclass(frozen=True, slots=True)
class Extraction:
    text: str
    """The later ParsedDocument.text."""
    title: str
    pages: tuple[tuple[int, int], ...]
    """Number of the page, slide or sheet, and the offset in characters where it begins."""
    report: ReadingReport = field(default_factory=ReadingReport)


def assemble(
    parts: Sequence[str], title: str, numbers: Sequence[int] = (), report: ReadingReport | None = None
) -> Extraction:
    """Returns the text of the parts. `numbers` holds the page number of each part. Raises NoText if no part holds any
    text.
    """
    texts: list[str] = []
    pages: list[tuple[int, int]] = []
    length = 0
    for index, part in enumerate(parts):
        text = normalize(part)
        if not text:
            continue
        if numbers:
            pages.append((numbers[index], length))
        texts.append(text)
        length += len(text) + 2
    report = report or ReadingReport()
    if not texts:
        raise NoText(" ".join(["The document holds no text.", *report.warnings]))
    return Extraction("\n\n".join(texts), normalize(title)[:_MAX_TITLE], tuple(pages), report)


def real_title(title: str) -> str:
    """Returns the title, empty if a producing program put a placeholder there."""
    return "" if title.strip().lower() in _NO_TITLE else title
