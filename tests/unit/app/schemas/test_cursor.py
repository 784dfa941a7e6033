import pytest

from app.schemas.cursor import MAX_OFFSET, cursor_at, offset_of
from retrieval.errors import InvalidRequest


def test_a_cursor_tells_its_offset_to_its_own_question_only() -> None:
    assert offset_of(cursor_at(40, "abc"), "abc") == 40
    with pytest.raises(InvalidRequest, match="another question"):
        offset_of(cursor_at(40, "abc"), "abd")


@pytest.mark.parametrize(
    "wrong",
    ["", "x", "检索", "bnVsbA==", "W10=", cursor_at(-1, "abc"), cursor_at(MAX_OFFSET + 1, "abc"), "WyIxIiwgImFiYyJd"],
)
def test_what_no_answer_gave_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        offset_of(wrong, "abc")
