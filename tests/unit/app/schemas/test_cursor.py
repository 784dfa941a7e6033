from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from app.http.schemas.cursor import Cursors
from retrieval.errors import InvalidRequest
from retrieval.search.query import Place

PLACE = Place(40, 100, "hybrid", reranked=1000)
CURSORS = Cursors(b"k" * 32)
CURSOR = CURSORS.at(PLACE, "abc")


def test_a_cursor_leads_its_own_question_back_to_its_place() -> None:
    assert CURSORS.place(CURSOR, "abc") == PLACE
    with pytest.raises(InvalidRequest, match="another query"):
        CURSORS.place(CURSOR, "abd")


@pytest.mark.parametrize(
    "wrong", ["", "x", "检索", "bnVsbA==", "W10=", "WyIxIiwgImFiYyJd", CURSOR[:-4], CURSOR + "AAAA"]
)
def test_what_no_answer_gave_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        CURSORS.place(wrong, "abc")


def test_a_cursor_with_any_byte_changed_is_refused() -> None:
    raw = urlsafe_b64decode(CURSOR)
    for place in range(len(raw)):
        edited = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(InvalidRequest, match="cursor"):
            CURSORS.place(urlsafe_b64encode(edited).decode(), "abc")


def test_a_cursor_of_another_installation_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        Cursors(b"l" * 32).place(CURSOR, "abc")
