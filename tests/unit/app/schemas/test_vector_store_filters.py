"""OpenAI's filters are ours, on metadata."""

import pytest
from pydantic import JsonValue

from app.http.compat.openai.schemas.vector_stores import with_metadata_keys
from retrieval.errors import InvalidRequest
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import And, Compare, Field, In, Not, Or

YEAR = Field("year", "int", metadata=True)
SITE = Field("site", None, metadata=True)
OLD = {"type": "lt", "key": "year", "value": 2024}


@pytest.mark.parametrize(
    ("tree", "means"),
    [
        (OLD, Compare("lt", YEAR, 2024)),
        ({"type": "in", "key": "site", "value": ["A", "B"]}, In(SITE, ("A", "B"))),
        ({"type": "nin", "key": "site", "value": ["A"]}, Not(In(SITE, ("A",)))),
        (
            {"type": "and", "filters": [OLD, {"type": "or", "filters": [{"type": "ne", "key": "site", "value": "A"}]}]},
            And((Compare("lt", YEAR, 2024), Or((Compare("ne", SITE, "A"),)))),
        ),
    ],
)
def test_mean_the_same(tree: JsonValue, means: object) -> None:
    assert parse_filter(with_metadata_keys(tree), {"year": "int"}) == means


def test_what_is_no_filter_is_told_by_the_parser() -> None:
    deep: JsonValue = OLD
    for _ in range(2000):
        deep = {"type": "and", "filters": [deep]}
    for wrong in (
        deep,
        [],
        "x",
        {"type": "and", "filters": {}},
        {"type": "eq", "key": 1, "value": 1},
        {"filters": [1]},
    ):
        with pytest.raises(InvalidRequest):
            parse_filter(with_metadata_keys(wrong), {})


def test_fields_of_ours_are_not_meant() -> None:
    tree = {"type": "eq", "key": "title", "value": "Log"}
    assert parse_filter(with_metadata_keys(tree), {}) == Compare("eq", Field("title", None, metadata=True), "Log")  # type: ignore[arg-type]
