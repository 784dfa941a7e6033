"""Reads subtitles (SubRip, WebVTT): the spoken text, in paragraphs that begin with their time (pure)."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingestion.errors import ParseFailed
from ingestion.parsers.assembly import Extraction, assemble

PAUSE_SECONDS = 3.0
"""A longer silence ends a paragraph."""
PARAGRAPH_CHARS = 400
"""Length after which the next end of a sentence ends a paragraph."""
_MAX_CHARS = 4 * PARAGRAPH_CHARS
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"^[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}[^\n]*$", re.MULTILINE)
_SPEAKER = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]{1,100})>")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>|<\d[\d:.]*>|\{\\[^{}\n]{0,200}\}")
_SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’»」』)]*$""")
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_NUMBER_LINE = re.compile(r"\n\d+\s*\Z")
_TITLE = re.compile(r"\AWEBVTT[ \t]+(?:-[ \t]*)?([^\n]{1,500})")


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    """Seconds, as `end`."""
    end: float
    text: str


def read_subtitles(source: str) -> Extraction:
    """Raises NoText, ParseFailed."""
    source = source.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    if "-->" not in source:
        raise ParseFailed("The document is damaged: it holds no times of subtitles.")
    title = _TITLE.match(source)
    return assemble(["\n\n".join(_paragraphs(_cues(source)))], title[1] if title else "")


def _cues(source: str) -> Iterator[_Cue]:
    found = list(_TIMING.finditer(source))
    for match, following in zip(found, [*found[1:], None], strict=True):
        body = source[match.end() : following.start() if following else len(source)].strip("\n")
        # Behind an empty line come the next one's number, or notes.
        text, *rest = _EMPTY_LINE.split(body, maxsplit=1)
        if following and not rest:
            text = _NUMBER_LINE.sub("", f"\n{text}")
        spoken = _SPEAKER.sub(lambda speaker: f"{speaker[1].strip()}: ", text)
        words = " ".join(html.unescape(_TAG.sub("", spoken)).split())
        if words:
            yield _Cue(_seconds(match.groups()[:4]), _seconds(match.groups()[4:]), words)


def _paragraphs(cues: Iterator[_Cue]) -> Iterator[str]:
    words: list[str] = []
    begin = end = 0.0
    for cue in cues:
        length = sum(map(len, words))
        ended = length >= PARAGRAPH_CHARS and bool(_SENTENCE_END.search(words[-1]))
        if words and (ended or length >= _MAX_CHARS or cue.start > end + PAUSE_SECONDS):
            yield _timed(begin, words)
            words = []
        if not words:
            begin = cue.start
        # Captions that roll repeat the line before.
        if not words or words[-1] != cue.text:
            words.append(cue.text)
        end = cue.end
    if words:
        yield _timed(begin, words)


def _timed(begin: float, words: list[str]) -> str:
    minutes, seconds = divmod(int(begin), 60)
    return f"[{minutes // 60:02}:{minutes % 60:02}:{seconds:02}] {' '.join(words)}"


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
