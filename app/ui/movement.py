"""The change of rank of hits between the two stages, as lines and bars of a drawing. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.http.schemas.answer import HitOut, SearchOut
from app.ranks import recall_rank

ROW: Final = 26
TOP: Final = 24
LEFT, RIGHT, WIDTH = 40, 220, 260
BELOW_STEP: Final = 16
"""Distance of ranks that are deeper than the answer is long: these are drawn below one another, in order."""
BAR_WIDTH: Final = 600
REASONS: Final[Mapping[str, str]] = {
    "not_requested": "it was not requested",
    "no_candidates": "recall found nothing",
    "budget": "the request's time budget was used up",
    "deadline": "the node's deadline for a search was reached",
    "model_language": "the model does not support the language of the question",
    "no_sparse_index": "the vector store has no index of words (BM25)",
    "engine_dead": "the model's engine is not running; it is being restarted",
    "engine_failed": "the model's engine failed on this request",
}
"""Why a stage did less than it might have, in words."""


@dataclass(frozen=True, slots=True)
class Line:
    """One hit: from its rank in recall to its place in the answer."""

    place: int
    recalled: int
    y_from: float
    y_to: float
    direction: Literal["up", "down", "same"]
    title: str


@dataclass(frozen=True, slots=True)
class Slopes:
    lines: Sequence[Line]
    width: int
    height: float
    left: int
    right: int
    limit: float | None
    """Height of the line below which ranks have no row of their own; None where no hit came from there."""


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the time bar."""

    stage: str
    ms: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a hit's text, marked or not."""

    text: str
    marked: bool


def slopes(answer: SearchOut) -> Slopes:
    """Returns the lines. Ranks up to the length of the answer have a row each, on both sides; deeper ones follow below
    in order.
    """
    shown = len(answer.hits)
    bottom = TOP + (shown - 1) * ROW
    ranks = [recall_rank(hit.ranks) for hit in answer.hits]
    deep = sorted(rank for rank in ranks if rank is not None and rank > shown)

    def height(rank: int) -> float:
        if rank <= shown:
            return TOP + (rank - 1) * ROW
        return bottom + ROW + deep.index(rank) * BELOW_STEP

    lines = []
    for place, hit in enumerate(answer.hits, start=1):
        recalled = recall_rank(hit.ranks)
        if recalled is None:
            continue
        direction: Literal["up", "down", "same"] = "same" if recalled == place else "up" if recalled > place else "down"
        title = hit.title or hit.document_id
        lines.append(Line(place, recalled, height(recalled), height(place), direction, title))
    end = bottom + ROW + len(deep) * BELOW_STEP
    return Slopes(lines, WIDTH, end, LEFT, RIGHT, bottom + ROW / 2 if deep else None)


def time_bar(timings: Mapping[str, float]) -> list[Part]:
    """Returns embedding, recall, reranking and the rest as shares of BAR_WIDTH; together they are the total."""
    total = max(timings["total"], 0.001)
    stages = {stage: timings[stage] for stage in ("embed", "recall", "rerank")}
    stages["other"] = max(total - sum(stages.values()), 0.0)
    parts, x = [], 0.0
    scale = BAR_WIDTH / max(total, sum(stages.values()))
    for stage, ms in stages.items():
        width = ms * scale
        parts.append(Part(stage, ms, round(x, 2), round(width, 2)))
        x += width
    return parts


def pieces(hit: HitOut) -> list[Piece]:
    """Returns the hit's text, its highlighted sentences marked."""
    # The header of a table may stand before the text that offsets refer to.
    begin = hit.start - (len(hit.text) - (hit.end - hit.start))
    marks = sorted((max(each.start - begin, 0), min(each.end - begin, len(hit.text))) for each in hit.highlights or [])
    found, done = [], 0
    for start, end in marks:
        start = max(start, done)
        if start < end:
            found += [Piece(hit.text[done:start], False), Piece(hit.text[start:end], True)]
            done = end
    return [piece for piece in (*found, Piece(hit.text[done:], False)) if piece.text]


def moved_between(first: SearchOut, second: SearchOut) -> dict[str, tuple[int | None, int | None]]:
    """Returns the places of every chunk in the two answers, in the order of the second; None if it is
    missing in one.
    """
    before = {hit.chunk_id: place for place, hit in enumerate(first.hits, start=1)}
    after = {hit.chunk_id: place for place, hit in enumerate(second.hits, start=1)}
    return {chunk: (before.get(chunk), after.get(chunk)) for chunk in (*after, *(c for c in before if c not in after))}
