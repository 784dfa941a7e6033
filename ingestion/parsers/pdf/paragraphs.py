"""Joins lines into paragraphs and headings (pure)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import median

from ingestion.parsers.pdf.layout import MARKER, Flow, Table
from ingestion.parsers.pdf.lines import Segment, is_cjk
from ingestion.parsers.pdf.tables import markdown

_HEADING_SIZE = 1.08
"""Factor by which a heading is larger than the text."""
_SAME_SIZE = 0.25
"""Points."""
_MAX_HEADING = 160
_MAX_BOLD_HEADING = 100
_MAX_LEVEL = 6
_GAP = 1.3
"""Lines of a paragraph are no farther apart than this, in the usual distance of lines."""
_LOOSE = 1.9
"""The same in ems, where there are too few lines to have a usual distance."""
_INDENT = 1.2
_WINDOW = 6
"""Lines before and after one that say how wide its column is."""
_LIST_ITEM = re.compile(rf"(?:{MARKER.pattern})\s")
_BULLET = re.compile(r"[•◦▪●○■□◆◇►▶‣·]\s")
_HYPHENS = "-\u00ad\u2010"
_ENDS = ".。!！?？:：;；"
_NOT_IN_HEADINGS = ".。,，;；:："


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a document's letters."""

    body: float
    headings: tuple[float, ...]
    """Sizes of headings, the largest first."""

    def level(self, size: float) -> int:
        """Returns the level of a heading, from 1; 0 for text."""
        if size < _HEADING_SIZE * self.body:
            return 0
        return min(sum(each > size + _SAME_SIZE for each in self.headings) + 1, _MAX_LEVEL)


def sizes_of(flows: Iterable[Flow], letters: Counter[float]) -> Sizes:
    """Returns the sizes. `letters` holds the number of letters of each size, those in tables included."""
    if not letters:
        return Sizes(10.0, ())
    body = letters.most_common(1)[0][0]
    candidates = {
        item.size
        for flow in flows
        for item in flow.items
        if isinstance(item, Segment) and len(item.text) <= _MAX_HEADING and _has_letters(item.text)
    }
    larger = sorted((size for size in candidates if size >= _HEADING_SIZE * body), reverse=True)
    distinct = [one for before, one in pairwise(larger) if before - one > _SAME_SIZE]
    return Sizes(body, tuple(larger[:1] + distinct))


def paragraphs(flows: Iterable[Flow], sizes: Sizes) -> list[str]:
    """Returns the page as Markdown blocks. A paragraph that continues in the next column is one block."""
    blocks: list[str] = []
    open_text = False
    for flow in flows:
        for number, (text, is_text) in enumerate(_blocks(flow, sizes)):
            if number == 0 and is_text and open_text and _goes_on(blocks[-1], text):
                blocks[-1] = append(blocks[-1], text)
            else:
                blocks.append(text)
            open_text = is_text
    return blocks


def append(text: str, line: str) -> str:
    """Appends `line` to `text` in one paragraph, without a hyphen that only marks the end of the line, and without a
    space if the script has none.
    """
    if text[-1:] in _HYPHENS and text[-2:-1].isalpha() and line[:1].islower():
        return text[:-1] + line
    if text and line and is_cjk(text[-1]) and is_cjk(line[0]):
        return text + line
    return f"{text} {line}" if text else line


def _goes_on(before: str, text: str) -> bool:
    return before[-1:] not in _ENDS and (text[:1].islower() or before[-1:] in _HYPHENS)


def _blocks(flow: Flow, sizes: Sizes) -> list[tuple[str, bool]]:
    """Returns the blocks, each with whether it is a paragraph of text."""
    blocks: list[tuple[str, bool]] = []
    lines: list[Segment] = []
    for item in flow.items:
        if isinstance(item, Table):
            blocks += _of_lines(lines, sizes)
            lines = []
            blocks.append((markdown(item), False))
        else:
            lines.append(item)
    return blocks + _of_lines(lines, sizes)


def _of_lines(lines: Sequence[Segment], sizes: Sizes) -> list[tuple[str, bool]]:
    if not lines:
        return []
    pitch = _pitch(lines)
    levels = _levels(lines, sizes, pitch)
    left = min(line.x0 for line in lines)
    blocks: list[tuple[str, bool]] = []
    text, first = lines[0].text, 0
    for index in range(1, len(lines)):
        line = lines[index]
        if levels[index] != levels[index - 1] or _begins(lines, index, first, left, pitch, levels[index]):
            blocks.append(_block(text, levels[index - 1]))
            text, first = line.text, index
        elif levels[index] or not _has_room(lines, index):
            text = append(text, line.text)
        else:
            text, first = f"{text}\n{line.text}", index
    blocks.append(_block(text, levels[-1]))
    return blocks


def _block(text: str, level: int) -> tuple[str, bool]:
    return (f"{'#' * level} {text}", False) if level else (text, True)


def _pitch(lines: Sequence[Segment]) -> float:
    """Returns the usual distance of two baselines; 0 if there are too few lines."""
    steps = [
        after.baseline - before.baseline
        for before, after in pairwise(lines)
        if 0.7 * before.size < after.baseline - before.baseline < 3 * before.size
    ]
    return median(steps) if len(steps) >= 3 else 0.0


def _begins(lines: Sequence[Segment], index: int, first: int, left: float, pitch: float, level: int) -> bool:
    """Returns whether a line begins a paragraph."""
    before, line = lines[index - 1], lines[index]
    step = line.baseline - before.baseline
    if step < 0 or step > max(_GAP * pitch, _LOOSE * line.size if not pitch else 0):
        return True
    if level:
        return False
    if abs(line.size - before.size) > 0.1 * max(line.size, before.size):
        return True
    if _LIST_ITEM.match(line.text):
        return True
    if _is_from_right(line.text):
        return False
    reach = _INDENT * line.size
    if before.x0 - line.x0 > reach:
        return index - 1 != first  # after lines that hang
    if line.x0 - before.x0 <= reach or line.x0 - left <= reach:
        return False
    below = lines[index + 1] if index + 1 < len(lines) else None
    hangs = below is not None and not _has_room(lines, index) and abs(below.x0 - line.x0) < 0.5 * line.size
    return not (index - 1 == first and (hangs or _LIST_ITEM.match(before.text)))


def _has_room(lines: Sequence[Segment], index: int) -> bool:
    """Returns whether the first word of a line would have fitted at the end of the line before: the line break is
    deliberate.
    """
    before, line = lines[index - 1], lines[index]
    near = lines[max(index - _WINDOW, 0) : index + _WINDOW]
    if _is_from_right(line.text):
        room = before.x0 - min(each.x0 for each in near)
    else:
        room = max(each.x1 for each in near) - before.x1
    return room > line.first_word + 0.4 * line.size + (0.6 * line.size if is_cjk(line.text[0]) else 0)


def _levels(lines: Sequence[Segment], sizes: Sizes, pitch: float) -> list[int]:
    """Returns the level of the heading that each line belongs to; 0 for text."""
    levels = [_level(lines, index, sizes, pitch) for index in range(len(lines))]
    start = 0
    for index in range(1, len(lines) + 1):
        if index < len(lines) and levels[index] == levels[start]:
            continue
        text = " ".join(line.text for line in lines[start:index])
        # Large letters that make sentences are text, a whole title page of them apart.
        if levels[start] and index - start > 1 and (len(text) > _MAX_HEADING or text[-1] in _NOT_IN_HEADINGS):
            levels[start:index] = [0] * (index - start)
        start = index
    return levels


def _level(lines: Sequence[Segment], index: int, sizes: Sizes, pitch: float) -> int:
    line = lines[index]
    if not _has_letters(line.text) or _BULLET.match(line.text):
        return 0
    if level := sizes.level(line.size):
        return level if len(line.text) <= _MAX_HEADING else 0
    if not line.bold or len(line.text) > _MAX_BOLD_HEADING or line.text[-1] in _NOT_IN_HEADINGS:
        return 0
    above = lines[index - 1] if index else None
    below = lines[index + 1] if index + 1 < len(lines) else None
    if line.size < 0.95 * sizes.body or (below and below.bold) or (above and above.bold):
        return 0
    apart = above is None or line.baseline - above.baseline > _GAP * (pitch or line.size * 1.3)
    if not apart or below is None or not _has_room(lines, index + 1):
        return 0
    return min(len(sizes.headings) + 1, _MAX_LEVEL)


def _has_letters(text: str) -> bool:
    return len(list(islice(filter(str.isalpha, text), 2))) == 2


def _is_from_right(text: str) -> bool:
    if text.isascii():
        return False
    kinds = [unicodedata.bidirectional(char) for char in text[:200]]
    return kinds.count("R") + kinds.count("AL") > kinds.count("L")
