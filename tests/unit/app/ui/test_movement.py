"""Lines and bars of an answer."""

from app.http.schemas.answer import HighlightOut, HitOut, SearchOut
from app.ui.movement import Piece, moved_between, pieces, slopes, time_bar


def a_hit(chunk: str, recalled: int, text: str = "one two three", **more: object) -> HitOut:
    fields: dict[str, object] = {
        "chunk_id": chunk,
        "document_id": "d",
        "title": "",
        "text": text,
        "start": 100,
        "end": 100 + len(text),
        "page": None,
        "section": [],
        "partition": "",
        "media_type": "text/plain",
        "language": "en",
        "metadata": {},
        "score": 0.5,
        "scores": {"dense": 0.1, "rerank": 0.5},
        "ranks": {"dense": recalled, "rerank": 1},
        "truncated_tokens": 0,
        "others": [],
        "context": None,
        "highlights": None,
    }
    return HitOut.model_validate(fields | more)


def an_answer(*recalled: int) -> SearchOut:
    return SearchOut.model_validate(
        {
            "hits": [a_hit(f"c{rank}", rank).model_dump() for rank in recalled],
            "score_name": "rerank",
            "relevance_name": "rerank",
            "recall": {"mode": "dense", "candidates": 50, "reason": None},
            "rerank": {"applied": True, "reason": None, "candidates": 50, "scored": 50, "ms": 30.0},
            "timings_ms": {"embed": 10.0, "recall": 20.0, "rerank": 30.0, "total": 80.0},
            "models": {"embed": "e", "rerank": "r"},
            "truncated_query_tokens": 0,
            "next_cursor": None,
            "request_id": "x",
        }
    )


def test_a_line_leads_from_the_rank_in_recall_to_the_place() -> None:
    drawn = slopes(an_answer(2, 1, 3))
    assert [(line.recalled, line.place, line.direction) for line in drawn.lines] == [
        (2, 1, "up"),
        (1, 2, "down"),
        (3, 3, "same"),
    ]
    assert drawn.lines[0].y_from == drawn.lines[1].y_to
    assert drawn.lines[2].y_from == drawn.lines[2].y_to
    assert drawn.limit is None


def test_ranks_deeper_than_the_answer_are_drawn_below_in_their_order() -> None:
    drawn = slopes(an_answer(49, 1, 7))
    heights = {line.recalled: line.y_from for line in drawn.lines}
    assert drawn.limit is not None
    assert heights[1] < drawn.limit < heights[7] < heights[49] < drawn.height


def test_the_parts_of_the_bar_are_the_whole_time() -> None:
    parts = time_bar({"embed": 10.0, "recall": 20.0, "rerank": 30.0, "total": 80.0})
    assert [(part.stage, part.ms) for part in parts] == [("embed", 10), ("recall", 20), ("rerank", 30), ("other", 20)]
    assert parts[-1].x + parts[-1].width == 600


def test_highlights_are_marked_where_they_stand() -> None:
    marks = [
        HighlightOut(text="two", start=104, end=107, score=1.0),
        HighlightOut(text="x", start=90, end=103, score=1.0),
    ]
    assert pieces(a_hit("c", 1, highlights=[mark.model_dump() for mark in marks])) == [
        Piece("one", True),
        Piece(" ", False),
        Piece("two", True),
        Piece(" three", False),
    ]


def test_what_moved_between_two_answers() -> None:
    assert moved_between(an_answer(1, 2), an_answer(2, 3)) == {"c2": (2, 1), "c3": (None, 2), "c1": (1, None)}
