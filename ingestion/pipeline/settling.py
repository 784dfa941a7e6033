"""Chunks that say nothing alone, joined with what they belong to (pure): a heading goes with the text below it, the
first line of a fence or the header of a table with what follows, the last line of a fence with what lies before."""

from collections import deque
from collections.abc import Callable, Sequence

from ingestion.pipeline.blocks import Span
from ingestion.pipeline.outline import Outline

Fits = Callable[[int, int], bool]
"""Whether the text from one place to another may be a chunk."""
Split = Callable[[int, int], Sequence[Span]]
"""Cuts a part of the text into chunks that leave room for some more in each."""


def settled(text: str, spans: Sequence[Span], outline: Outline, fits: Fits, split: Split) -> list[Span]:
    """Spans of the same text. One stays as it is where what it belongs to leaves no room for it."""
    return _with_closings(text, _with_openings(text, spans, outline, fits, split), outline, fits, split)


def _with_openings(text: str, spans: Sequence[Span], outline: Outline, fits: Fits, split: Split) -> list[Span]:
    done: list[Span] = []
    waiting = deque(spans)
    while waiting:
        start, end = waiting.popleft()
        tail = outline.opening_tail(text, start, end) if waiting else end
        if tail < end:
            below = _joined(tail, end, waiting.popleft(), fits, split)
            if waiting and len(below) > 1 and _continue(below[-1], waiting[0], outline, fits):
                below[-1] = (below[-1][0], waiting.popleft()[1])
            if below[0][0] > tail:
                tail = end
            waiting.extendleft(reversed(below))
        stop = start + len(text[start:tail].rstrip())
        if stop > start and (not done or stop > done[-1][1]):
            done.append((start, stop))
    return done


def _joined(tail: int, end: int, below: Span, fits: Fits, split: Split) -> list[Span]:
    """What becomes of the chunk below the opening from `tail` to `end`: itself, where they do not fit together."""
    begin, stop = below
    if begin <= tail or fits(tail, stop):
        return [(min(begin, tail), stop)]
    if end - tail > (stop - begin) // 2:
        return [below]
    first, *rest = split(max(begin, end), stop)
    return [(tail, first[1]), *rest] if rest and fits(tail, first[1]) else [below]


def _continue(rest: Span, following: Span, outline: Outline, fits: Fits) -> bool:
    """Whether what is left of a chunk goes with the one behind it."""
    return not outline.opens(following[0]) and fits(rest[0], following[1])


def _with_closings(text: str, spans: Sequence[Span], outline: Outline, fits: Fits, split: Split) -> list[Span]:
    done: list[Span] = []
    for place, (start, end) in enumerate(spans):
        closes = start in outline.closings and "\n" not in text[start:end]
        # Below a heading at the end of the text there is nothing.
        closes |= place == len(spans) - 1 and outline.opening_tail(text, start, end) == start
        if closes and done:
            begin = done[-1][0]
            if fits(begin, end):
                done[-1] = (begin, end)
                continue
            *before, last = _with_openings(text, split(begin, done[-1][1]), outline, fits, split)
            enough = before and (len(done) == 1 or before[-1][1] > done[-2][1])
            if enough and fits(last[0], end) and outline.opening_tail(text, *before[-1]) == before[-1][1]:
                done[-1:] = before
                start = last[0]
        done.append((start, end))
    return done
