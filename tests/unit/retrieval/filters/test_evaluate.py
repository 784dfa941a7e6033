from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retrieval.filters.evaluate import matches
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import BUILT_IN, KeyType
from retrieval.types import DocumentId, EmbeddedChunk
from tests.support.stores.vector_store import row

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OPERATORS = ["eq", "ne", "gt", "gte", "lt", "lte"]


def chunk(**metadata: object) -> EmbeddedChunk:
    return replace(row(DocumentId("d"), 3), metadata=metadata)


def holds(type_: str, key: str, value: Any, of: EmbeddedChunk, **declared: KeyType) -> bool:
    return matches(parse_filter({"type": type_, "key": key, "value": value}, declared), of)


def true_of(found: object, value: object) -> set[str]:
    """The operators that hold."""
    if isinstance(value, bool):
        return {each for each in ("eq", "ne") if holds(each, "metadata.k", value, chunk(k=found))}
    return {each for each in OPERATORS if holds(each, "metadata.k", value, chunk(k=found))}


@pytest.mark.parametrize(
    ("found", "value", "expected"),
    [
        (5, 5, {"eq", "gte", "lte"}),
        (5.0, 5, {"eq", "gte", "lte"}),
        (5, 5.5, {"ne", "lt", "lte"}),
        (6, 5.5, {"ne", "gt", "gte"}),
        ("b", "a", {"ne", "gt", "gte"}),
        ("", "a", {"ne", "lt", "lte"}),
        ("\uffff", "𠮷", {"ne", "lt", "lte"}),
        (True, True, {"eq"}),
        (False, True, {"ne"}),
        # Of another kind
        ("5", 5, {"ne"}),
        (5, "5", {"ne"}),
        (True, 1, {"ne"}),
        (1, True, {"ne"}),
        ([5], 5, {"ne"}),
        ({"k": 5}, 5, {"ne"}),
        # Not there
        (None, 5, set()),
        (None, "", set()),
        (None, False, set()),
    ],
)
def test_comparisons(found: object, value: object, expected: set[str]) -> None:
    assert true_of(found, value) == expected


def test_without_the_key_no_comparison_holds_and_not_turns_that_round() -> None:
    bare = chunk()
    for tree in (
        *({"type": type_, "key": "metadata.k", "value": 5} for type_ in OPERATORS),
        {"type": "in", "key": "metadata.k", "value": [5, 0]},
        {"type": "contains", "key": "metadata.k", "value": 5},
        {"type": "exists", "key": "metadata.k"},
    ):
        assert not matches(parse_filter(tree, {}), bare)
        assert matches(parse_filter({"type": "not", "filters": [tree]}, {}), bare)


def test_in_and_contains() -> None:
    assert holds("in", "metadata.k", ["5", 5], chunk(k=5.0))
    assert not holds("in", "metadata.k", ["5", True], chunk(k=5))
    assert not holds("in", "metadata.k", [5], chunk(k=[5]))
    assert holds("contains", "metadata.k", 5, chunk(k=["a", 5.0]))
    assert not holds("contains", "metadata.k", 1, chunk(k=[True, "1", [1], None]))
    assert holds("contains", "metadata.k", "a%", chunk(k=["b", "a%"]))
    assert not holds("contains", "metadata.k", "a", chunk(k={"a": 1}))


@pytest.mark.parametrize(
    ("operator", "value", "text"),
    [("contains", "b", "abc"), ("starts_with", "ab", "abc"), ("ends_with", "c", "abc"), ("ends_with", "abc", "abc")],
)
def test_parts_of_texts(operator: str, value: str, text: str) -> None:
    assert holds(operator, "metadata.k", value, chunk(k=text))
    assert not holds(operator, "metadata.k", value.upper(), chunk(k=text))
    assert not holds(operator, "metadata.k", "%", chunk(k=text))
    assert not holds(operator, "metadata.k", value, chunk(k=5))
    assert not holds(operator, "metadata.k", value, chunk())
    assert holds(operator, "metadata.k", value, chunk(k=text), k="text")


def test_a_path_leads_into_objects_unless_a_key_has_its_name() -> None:
    assert holds("eq", "metadata.a.b", 1, chunk(a={"b": 1}))
    assert holds("eq", "metadata.a.b", 1, chunk(**{"a.b": 1, "a": {"b": 2}}))
    assert not holds("eq", "metadata.a.b", 2, chunk(**{"a.b": 1, "a": {"b": 2}}))
    assert not holds("ne", "metadata.a.b", 1, chunk(a=[{"b": 2}]))
    assert not holds("ne", "metadata.a.b", 1, chunk(a={"b": None}))


def test_a_value_may_be_false_or_empty_and_yet_be_there() -> None:
    for value in (0, False, "", [], {}):
        assert matches(parse_filter({"type": "exists", "key": "metadata.k"}, {}), chunk(k=value))


def test_declared_numbers_are_fractions_where_the_key_is() -> None:
    assert holds("eq", "metadata.k", 2**53, chunk(k=2**53 + 1), k="float")
    assert not holds("eq", "metadata.k", 2**53, chunk(k=2**53 + 1), k="int")


def test_built_in_fields() -> None:
    full = replace(
        row(DocumentId("d"), 3, partition="p"),
        title="t",
        media_type="text/html",
        language="zh",
        ingested_at=NOON,
        metadata={"page": 9},
    )
    full = replace(full, chunk=replace(full.chunk, page=2))
    values = {
        "chunk_id": full.chunk.id,
        "document_id": "d",
        "title": "t",
        "media_type": "text/html",
        "language": "zh",
        "partition": "p",
        "ordinal": 3,
        "page": 2,
    }
    for key, value in (values | {"ingested_at": NOON.isoformat()}).items():
        assert holds("eq", key, value, full), key
        assert not holds("ne", key, value, full), key
    assert values.keys() | {"ingested_at"} == BUILT_IN.keys()
    assert holds("eq", "metadata.page", 9, full)
    for key in ("page", "language", "ingested_at"):
        exists = parse_filter({"type": "exists", "key": key}, {})
        assert matches(exists, full)
        assert not matches(exists, chunk())


def test_times_are_compared_in_milliseconds() -> None:
    later = replace(chunk(), ingested_at=NOON + timedelta(microseconds=900))
    assert holds("eq", "ingested_at", "2026-05-01T12:00:00.0001Z", later)
    assert not holds("gt", "ingested_at", "2026-05-01T12:00:00Z", later)
    assert holds("lt", "ingested_at", "2026-05-01T14:00:00.001+02:00", later)


def test_joined() -> None:
    yes, no = ({"type": "eq", "key": "ordinal", "value": value} for value in (3, 4))
    for type_, filters, expected in (
        ("and", [yes, yes], True), ("and", [yes, no], False), ("or", [no, yes], True), ("or", [no, no], False),
        ("not", [no], True), ("not", [yes], False),
    ):  # fmt: skip
        assert matches(parse_filter({"type": type_, "filters": filters}, {}), chunk()) is expected
