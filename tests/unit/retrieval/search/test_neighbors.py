from retrieval.search.neighbors import joined
from retrieval.search.query import Context
from tests.support.hits import a_chunk

TEXT = "One two three four five six seven."


def part(start: int, end: int) -> object:
    return a_chunk("d/0", text=TEXT[start:end], start=start)


def test_overlap_is_there_once() -> None:
    assert joined([part(4, 18), part(8, 23), part(19, 34)]) == Context(TEXT[4:34], 4, 34)  # type: ignore[list-item]


def test_a_chunk_inside_another_adds_nothing() -> None:
    assert joined([part(0, 20), part(4, 9), part(14, 34)]) == Context(TEXT, 0, 34)  # type: ignore[list-item]


def test_white_space_between_chunks_is_a_line_break() -> None:
    chunks = [a_chunk("d/0", text="One.", start=0), a_chunk("d/1", ordinal=1, text="Two.", start=6)]
    assert joined(chunks) == Context("One.\nTwo.", 0, 10)


def test_one_alone_is_itself() -> None:
    assert joined([a_chunk("d/0", text="One.", start=7)]) == Context("One.", 7, 11)
