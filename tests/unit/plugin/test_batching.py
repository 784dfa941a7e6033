"""How many documents go into a request."""

import pytest

from langchain_tandem.client.batching import BYTES_A_REQUEST, DOCUMENTS_A_REQUEST, batches, size_of


def test_a_request_holds_so_many() -> None:
    found = list(batches(iter(range(2 * DOCUMENTS_A_REQUEST + 1)), lambda _: 1))
    assert [len(batch) for batch in found] == [DOCUMENTS_A_REQUEST, DOCUMENTS_A_REQUEST, 1]
    assert [item for batch in found for item in batch] == list(range(2 * DOCUMENTS_A_REQUEST + 1))


def test_a_request_holds_so_many_bytes() -> None:
    assert list(batches([4, 6, 1, 11, 2], lambda item: item, 10)) == [[4, 6], [1], [11], [2]]
    half = BYTES_A_REQUEST // 2
    assert list(batches([half, half, 1], lambda item: item)) == [[half, half], [1]]


def test_nothing_makes_no_request() -> None:
    assert list(batches([], len)) == []


@pytest.mark.parametrize("field", ["text", "content", "content_base64"])
def test_documents_are_as_large_as_what_they_hold(field: str) -> None:
    assert size_of({"id": "a", field: "kiln", "metadata": {"year": 2024}}) == 4
