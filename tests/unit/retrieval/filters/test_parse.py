import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import InvalidRequest, InvalidText
from retrieval.filters.parse import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_KEY_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    MAX_VALUES,
    parse_filter,
)
from retrieval.filters.tree import BUILT_IN, And, Compare, Contains, Exists, Field, In, KeyType, Match, Not, Or

DECLARED: dict[str, KeyType] = {"year": "int", "tag": "text", "price": "float", "draft": "bool"}
YEAR = Field("year", "int", metadata=True)
PLACE = Field("place", metadata=True)


def eq(key: str, value: Any) -> dict[str, Any]:
    return {"type": "eq", "key": key, "value": value}


def negated(times: int) -> dict[str, Any]:
    return eq("page", 1) if times == 0 else {"type": "not", "filters": [negated(times - 1)]}


def problem(tree: object) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        parse_filter(tree, DECLARED)
    (told,) = refusal.value.detail["problems"]  # type: ignore[misc]
    assert refusal.value.message == f"{told['field']}: {told['problem']}"
    return refusal.value.message


def test_a_tree() -> None:
    tree = {
        "type": "and",
        "filters": [
            {"type": "gte", "key": "metadata.year", "value": 2020},
            {"type": "or", "filters": [eq("title", "a"), {"type": "in", "key": "page", "value": [1, 2]}]},
            {"type": "not", "filters": [{"type": "exists", "key": "metadata.place"}]},
            {"type": "contains", "key": "metadata.place", "value": "x"},
        ],
    }
    page, title = BUILT_IN["page"], BUILT_IN["title"]
    assert parse_filter(tree, DECLARED) == And(
        (
            Compare("gte", YEAR, 2020),
            Or((Compare("eq", title, "a"), In(page, (1, 2)))),
            Not(Exists(PLACE)),
            Or((Contains(PLACE, "x"), Match("contains", PLACE, "x"))),
        )
    )


@pytest.mark.parametrize("written", ["2026-05-01T08:00:00.0009+08:00", "2026-05-01T00:00:00Z", "20260501T000000Z"])
def test_times_are_moments_of_whole_milliseconds(written: str) -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert parse_filter(eq("ingested_at", written), {}) == Compare("eq", BUILT_IN["ingested_at"], moment)


def test_a_number_takes_the_type_of_its_key() -> None:
    found = parse_filter(eq("metadata.price", 5), DECLARED)
    assert isinstance(found, Compare)
    assert isinstance(found.value, float)


@pytest.mark.parametrize(
    ("tree", "complaint"),
    [
        ("text", "filter: must be an object with 'type', not 'text'"),
        ([], "filter: must be an object with 'type', not a list of 0"),
        ({}, "filter.type: must be one of and, or, not, eq, .*, not null"),
        ({"type": "like"}, "filter.type: .* not 'like'"),
        ({"type": ["eq"]}, "filter.type: .* not a list of 1"),
        ({"type": "eq", "key": "page"}, "filter: 'eq' needs 'value'"),
        ({"type": "exists", "key": "page", "value": 1}, "filter: 'exists' has no 'value'; it has type, key"),
        ({"type": "and", "filters": []}, "filter.filters: must be a list of at least one condition"),
        ({"type": "and", "filters": {}}, "filter.filters: must be a list of at least one condition, not an object"),
        ({"type": "not", "filters": [eq("page", 1)] * 2}, "filter.filters: 'not' takes one condition, not 2"),
        ({"type": "or", "filters": [eq("page", 1), 5]}, r"filter.filters.1: must be an object with 'type', not 5"),
        (eq("year", 2024), "filter.key: there is no field 'year'; .* metadata keys follow 'metadata.'"),
        (eq("", 1), "filter.key: there is no field ''"),
        (eq("metadata.", 1), "filter.key: '' is not a valid metadata key"),
        ({"type": "eq", "key": 5, "value": 5}, "filter.key: must be text, not 5"),
        (eq("page", "1"), "filter.value: page is a whole number, which '1' is not"),
        (eq("page", True), "filter.value: page is a whole number, which true is not"),
        (eq("page", 1.0), "filter.value: page is a whole number, which 1.0 is not"),
        (eq("title", 5), "filter.value: title is text, which 5 is not"),
        (eq("metadata.year", "2024"), "filter.value: metadata.year is a whole number, which '2024' is not"),
        (eq("metadata.draft", 1), "filter.value: metadata.draft is true or false, which 1 is not"),
        (eq("metadata.price", True), "filter.value: metadata.price is a number, which true is not"),
        (eq("ingested_at", "2026-05-01"), "filter.value: ingested_at is a time with its zone"),
        (eq("ingested_at", "0001-01-01T00:00:00+14:00"), "filter.value: ingested_at is a time"),
        (eq("ingested_at", "yesterday"), "filter.value: ingested_at is a time"),
        (eq("metadata.x", None), "filter.value: must be text, a finite number, true or false, not null"),
        (eq("metadata.x", [1]), "filter.value: must be text, .* not a list of 1"),
        (eq("metadata.x", float("nan")), "filter.value: must be text, a finite number"),
        (eq("metadata.x", float("inf")), "filter.value: must be text, a finite number"),
        (eq("metadata.x", MAX_INTEGER + 1), "filter.value: is a whole number of more than 64 bits"),
        (eq("metadata.x", -MAX_INTEGER - 1), "filter.value: is a whole number of more than 64 bits"),
        ({"type": "gt", "key": "metadata.x", "value": True}, "filter.value: true and false have no order"),
        ({"type": "in", "key": "page", "value": []}, "filter.value: must be a list of at least one value"),
        ({"type": "in", "key": "page", "value": 1}, "filter.value: must be a list of at least one value, not 1"),
        ({"type": "in", "key": "page", "value": [1, "2"]}, "filter.value.1: page is a whole number"),
        ({"type": "contains", "key": "metadata.year", "value": "2"}, "filter.key: metadata.year holds a whole number"),
        ({"type": "starts_with", "key": "page", "value": "1"}, "filter.key: page holds a whole number"),
        ({"type": "ends_with", "key": "metadata.place", "value": 1}, "filter.value: must be text, not 1"),
        ({"type": "contains", "key": "title", "value": ""}, "filter.value: must not be empty"),
        ({"type": "starts_with", "key": "title", "value": 5}, "filter.value: title is text"),
        ({"type": "exists", "key": "title"}, "filter.key: every chunk has title"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tree: object, complaint: str) -> None:
    assert re.match(complaint, problem(tree))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_cannot_be_stored_cannot_be_asked_for(text: str) -> None:
    with pytest.raises(InvalidText, match=r"filter\.value"):
        parse_filter(eq("title", text), {})


@pytest.mark.parametrize("key", ["a", "名", "a b", "x/y", "a.b-c", "@id", "$ref", "c++", "k" * MAX_KEY_CHARACTERS])
def test_keys(key: str) -> None:
    assert parse_filter(eq(f"metadata.{key}", 1), {}) == Compare("eq", Field(key, metadata=True), 1)


@pytest.mark.parametrize(
    "key", ['a"', "a'", "a\\", "a]", "a[0]", "{a}", "a\n", "a\t", "(a)", "a,b", "k" * (MAX_KEY_CHARACTERS + 1)]
)
def test_keys_that_would_mean_something_in_an_expression(key: str) -> None:
    assert "is not a valid metadata key" in problem(eq(f"metadata.{key}", 1))


def test_limits() -> None:
    many = [eq("page", 1)] * (MAX_CONDITIONS - 1)
    parse_filter({"type": "and", "filters": many}, {})
    assert f"at most {MAX_CONDITIONS}" in problem({"type": "and", "filters": [*many, eq("page", 1)]})

    parse_filter(negated(MAX_DEPTH - 1), {})
    assert problem(negated(MAX_DEPTH)).startswith(
        "filter" + ".filters.0" * MAX_DEPTH + f": conditions may be nested {MAX_DEPTH}"
    )
    assert "nested" in problem(negated(400))

    half = {"type": "in", "key": "page", "value": list(range(MAX_VALUES // 2))}
    parse_filter({"type": "and", "filters": [half, half]}, {})
    assert f"at most {MAX_VALUES}" in problem({"type": "and", "filters": [half, half, half]})

    parse_filter(eq("title", "x" * MAX_TEXT_CHARACTERS), {})
    assert f"at most {MAX_TEXT_CHARACTERS}" in problem(eq("title", "x" * (MAX_TEXT_CHARACTERS + 1)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["and", "eq", "in", "page"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "filters", "key", "value", "more"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_a_filter_or_an_error_that_is_short(tree: object) -> None:
    told = InvalidRequest("filter: fine")
    try:
        parse_filter(tree, DECLARED)
    except InvalidRequest as error:
        told = error
    assert told.message.startswith("filter")
    assert len(told.message) < 600
    json.dumps(told.detail)
