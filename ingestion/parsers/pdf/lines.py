"""Joins characters into segments: text on one line without a gap, in reading order (pure)."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter

from ingestion.parsers.pdf.characters import Char

_BASELINE = 0.25
"""Characters of a line differ in their baselines by no more than this share of an em."""
_SEGMENT_GAP = 0.75
"""Ems. Spaces between words are seldom as wide; those between columns and cells are."""
_WORD_GAP = 0.17
"""Ems. Letters of a word are closer, words of a line farther apart."""
_NARROWEST = 0.05
"""Ems. No space is narrower, even where the file has one."""
_SMALL = 0.87
"""Superscripts and subscripts are smaller than their line by this factor at least."""
_RAISED = 0.12
_POWER = re.compile(r"[0-9+\-−–]+")
_MAX_VERTICAL_GAP = 2.5
_MIN_VERTICAL_RUN = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """A line, or the part of it in one column. Positions as in Char."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    baseline: float
    size: float
    bold: bool
    first_word: float
    """Width of its first word in points: what would have to fit at the end of the line before."""

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


@cache
def is_wide(text: str) -> bool:
    """Returns whether this is a character of Chinese, Japanese or Korean writing, its punctuation included."""
    return unicodedata.east_asian_width(text[0]) in "WF"


@cache
def is_cjk(text: str) -> bool:
    """Like `is_wide`, without Hangul, whose words have spaces between them."""
    return is_wide(text) and not unicodedata.name(text[0], "").startswith("HANGUL")


def segments(chars: Iterable[Char]) -> list[Segment]:
    """Returns the segments in no particular order."""
    pieces = [piece for row in _rows(chars) for piece in _split(row)]
    lengths = {id(piece): len(piece) for piece in pieces}
    # What has grown may have gaps again.
    found = (
        _segment(piece)
        for merged in _with_small(pieces)
        for piece in ([merged] if lengths.get(id(merged)) == len(merged) else _split(merged))
    )
    return [segment for segment in found if segment.text]


def vertical_columns(chars: Sequence[Char]) -> tuple[list[Char], list[str]]:
    """Returns text that is written from the top downwards, in columns from the right, as paragraphs; and the other
    characters.

    Detected by the drawing order: each character under the one before.
    """
    if not any(map(is_wide, {char.text for char in chars})):
        return list(chars), []
    runs: list[list[Char]] = []
    others: list[Char] = []
    run: list[Char] = []
    for char in chars:
        if run and not _is_under(run[-1], char):
            _end_run(run, runs, others)
            run = []
        run.append(char)
    _end_run(run, runs, others)
    if not runs:
        return others, []
    bottom = max(run[-1].bottom for run in runs)
    paragraphs: list[str] = []
    full = False
    for column in _by_columns(runs):
        text = "".join(char.text for char in column).strip()
        if full:
            paragraphs[-1] += text
        else:
            paragraphs.append(text)
        full = bottom - column[-1].bottom < 1.5 * column[-1].size
    return others, paragraphs


def _is_under(above: Char, char: Char) -> bool:
    size = above.size
    return (
        abs(above.center - char.center) < 0.6 * size
        and 0.5 * size < char.middle - above.middle < _MAX_VERTICAL_GAP * size
        and (is_wide(above.text) or is_wide(char.text) or above.text.isalnum())
    )


def _end_run(run: list[Char], runs: list[list[Char]], others: list[Char]) -> None:
    vertical = len(run) >= _MIN_VERTICAL_RUN and sum(is_wide(char.text) for char in run) * 2 > len(run)
    if vertical:
        runs.append(run)
    else:
        others += run


def _by_columns(runs: Iterable[list[Char]]) -> list[list[Char]]:
    columns: list[list[Char]] = []
    for run in sorted(runs, key=lambda run: (-run[0].center, run[0].top)):
        if columns and columns[-1][0].center - run[0].center < 0.6 * run[0].size:
            columns[-1] += run
        else:
            columns.append(list(run))
    return columns


def _rows(chars: Iterable[Char]) -> list[list[Char]]:
    by_baseline: defaultdict[float, list[Char]] = defaultdict(list)
    for char in chars:
        by_baseline[char.baseline].append(char)
    rows: list[list[Char]] = []
    baseline = tolerance = 0.0
    for at in sorted(by_baseline):
        line, distance, near = by_baseline[at], at - baseline, 0
        if rows and distance <= tolerance:
            near = next((place for place, char in enumerate(line) if distance > _BASELINE * char.size), len(line))
            rows[-1] += line[:near]
        if near < len(line):
            rows.append(line[near:])
            baseline, tolerance = at, _BASELINE * line[near].size
    return rows


def _split(row: list[Char]) -> list[list[Char]]:
    """Splits a row at gaps that are wider than a space between words."""
    row.sort(key=attrgetter("x0"))
    piece = [row[0]]
    pieces = [piece]
    before, end = row[0], row[0].x1
    for char in row[1:]:
        size = char.size if char.size > before.size else before.size
        if char.x0 - end <= _SEGMENT_GAP * size:
            piece.append(char)
            if char.x1 > end:
                end = char.x1
        else:
            piece = [char]
            pieces.append(piece)
            end = char.x1
        before = char
    return pieces


def _with_small(pieces: list[list[Char]]) -> list[list[Char]]:
    """Joins superscripts and subscripts with their line."""
    if len(pieces) == 1:
        return pieces
    hosts = sorted(pieces, key=lambda piece: piece[0].baseline)
    baselines = [piece[0].baseline for piece in hosts]
    sizes = [max([char.size for char in piece]) for piece in hosts]
    largest = max(sizes, default=0.0)
    gone: set[int] = set()
    for number, piece in enumerate(hosts):
        size = sizes[number]
        if size > _SMALL * largest:
            continue
        best: tuple[float, list[Char]] | None = None
        for near in _near(baselines, number, 1.5 * size + 6):
            if size > _SMALL * sizes[near] or near in gone:
                continue
            other, reach = hosts[near], 0.4 * sizes[near]
            first = other[0]
            inside = first.top - 0.2 * first.size < piece[0].middle < first.bottom
            if inside and any(-reach < piece[0].x0 - char.x1 < reach for char in other):
                distance = abs(first.baseline - piece[0].baseline)
                best = min(best or (distance, other), (distance, other), key=lambda pair: pair[0])
        if best:
            best[1].extend(piece)
            gone.add(number)
    merged: dict[float, list[list[Char]]] = {}
    for number, piece in enumerate(hosts):
        if number not in gone:
            merged.setdefault(piece[0].baseline, []).append(piece)
    # A superscript closes the gap between the two halves of its line.
    return [char_list for row in merged.values() for char_list in _rejoined(row)]


def _rejoined(row: list[list[Char]]) -> list[list[Char]]:
    if len(row) == 1:
        return row
    row.sort(key=lambda piece: min(char.x0 for char in piece))
    joined: list[list[Char]] = []
    for piece in row:
        if joined:
            gap = min(char.x0 for char in piece) - max(char.x1 for char in joined[-1])
            if gap <= _SEGMENT_GAP * piece[0].size:
                joined[-1] += piece
                continue
        joined.append(piece)
    return joined


def _near(baselines: Sequence[float], number: int, distance: float) -> Iterator[int]:
    """Yields the numbers of the other baselines within `distance` of one. `baselines` are sorted."""
    baseline = baselines[number]
    for step in (-1, 1):
        index = number + step
        while 0 <= index < len(baselines) and abs(baselines[index] - baseline) <= distance:
            yield index
            index += step


def _segment(piece: list[Char]) -> Segment:
    sizes = [char.size for char in piece]
    size, main = sizes[0], piece
    if sizes.count(size) < len(sizes):
        counts = Counter(sizes)
        size = max(counts, key=lambda each: (counts[each], each))
        main = [char for char in piece if char.size > _SMALL * size] or piece
    baselines = [char.baseline for char in main]
    baseline = baselines[0]
    if baselines.count(baseline) < len(baselines):
        baseline = Counter(baselines).most_common(1)[0][0]
    if len(main) < len(piece):
        for char in piece:
            char.raised = char.size <= _SMALL * size and char.baseline < baseline - _RAISED * size
    text, first_word = _text(_in_reading_order(piece), size)
    return Segment(
        text,
        piece[0].x0,
        min([char.top for char in main]),
        max([char.x1 for char in piece]),
        max([char.bottom for char in main]),
        baseline,
        size,
        [char.bold for char in piece].count(True) * 2 > len(piece),
        first_word,
    )


def _text(chars: Sequence[Char], size: float) -> tuple[str, float]:
    """Returns the text, and the width of the first word."""
    before = chars[0]
    start = before.x0
    parts: list[str] = [] if before.raised else [before.text]
    power = before.text if before.raised else ""
    first_word = 0.0
    narrowest = _NARROWEST * size
    for char in chars[1:]:
        # Of the two, either may be on the left.
        right = char.x0 if char.x0 > before.x0 else before.x0
        gap = right - (char.x1 if char.x1 < before.x1 else before.x1)
        spaced = gap > narrowest and _is_spaced(before, char, gap, size)
        if power and (not char.raised or spaced):
            parts.append(_power(power, parts))
            power = ""
        if spaced:
            parts.append(" ")
        if char.raised:
            power += char.text
        else:
            parts.append(char.text)
        if not first_word and (spaced or is_cjk(before.text)):
            first_word = abs(before.x1 - start)
        before = char
    if power:
        parts.append(_power(power, parts))
    return "".join(parts), first_word or abs(before.x1 - start)


def _power(text: str, before: Sequence[str]) -> str:
    """Formats a superscript: `10^6`, `m^2`; text that is not a number (1st, TM) stays unchanged."""
    return f"^{text}" if _POWER.fullmatch(text) and before and before[-1] != " " else text


def _is_spaced(before: Char, char: Char, gap: float, size: float) -> bool:
    if char.spaced and gap > _NARROWEST * size:
        return True
    if before.raised != char.raised:
        return gap > 0.25 * size
    # Letters of such writing are set apart at will, to fill a line.
    return gap > (0.6 if is_wide(before.text) and is_wide(char.text) else _WORD_GAP) * size


def _in_reading_order(piece: list[Char]) -> list[Char]:
    """Orders characters from the left, or from the right if most letters are of a right-to-left script; runs of the
    other direction are reversed.
    """
    if "".join([char.text for char in piece]).isascii():
        return piece
    kinds = [_direction(char.text) for char in piece]
    right = kinds.count("R")
    if not right:
        return piece
    from_right = right >= kinds.count("L")
    units = _units(piece)
    if from_right:
        units.reverse()
    inner = ("L", "N") if from_right else ("R",)
    ordered: list[Char] = []
    run: list[list[Char]] = []
    neutral: list[list[Char]] = []

    def end_run() -> None:
        ordered.extend(char for unit in reversed(run) for char in unit)
        ordered.extend(char for unit in neutral for char in unit)
        run.clear()
        neutral.clear()

    for unit in units:
        kind = _direction(unit[0].text)
        if kind in inner:
            run.extend(neutral)
            neutral.clear()
            run.append(unit)
        elif run and kind == "":
            neutral.append(unit)
        else:
            end_run()
            ordered.extend(unit)
    end_run()
    return ordered


def _units(piece: Sequence[Char]) -> list[list[Char]]:
    """Groups characters that share a box: they are one glyph, and their order is that of the font."""
    units: list[list[Char]] = []
    for char in piece:
        if (units and units[-1][0].x0 == char.x0 and units[-1][0].x1 == char.x1) or (
            units and unicodedata.combining(char.text[0])
        ):
            units[-1].append(char)
        else:
            units.append([char])
    return units


@cache
def _direction(text: str) -> str:
    """Returns L, R, N (a number) or an empty text."""
    kind = unicodedata.bidirectional(text[0])
    return {"L": "L", "R": "R", "AL": "R", "EN": "N", "AN": "N"}.get(kind, "")
