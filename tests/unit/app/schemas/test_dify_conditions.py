"""Dify's metadata conditions as filters: what each operator finds, and what is refused rather than passed over."""

from dataclasses import replace
from typing import Any

import pytest

from app.http.compat.dify.conditions import filter_of
from app.http.compat.dify.schemas import MetadataCondition
from retrieval.errors import InvalidRequest
from retrieval.filters.evaluate import matches
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import KeyType
from retrieval.types import DocumentId, EmbeddedChunk
from tests.support.stores.vector_store import row

DECLARED: dict[str, KeyType] = {"year": "int", "price": "float", "draft": "bool"}


def chunk(document_id: str, **metadata: Any) -> EmbeddedChunk:
    return replace(row(DocumentId(document_id)), metadata=metadata, metadata_keys=DECLARED, title=document_id.upper())


ROWS = [
    chunk("bare"),
    chunk("old", year=1999, kind="memo", price=2.5, draft=True, time=915_148_800),
    chunk("new", year=2024, kind="report", price=10.0, draft=False, time=1_704_067_200),
]


def found(*conditions: dict[str, Any], logical_operator: str | None = "and") -> set[str]:
    asked = MetadataCondition.model_validate({"logical_operator": logical_operator, "conditions": list(conditions)})
    tree = filter_of(asked, DECLARED)
    assert tree is not None
    filter = parse_filter(tree, DECLARED)
    return {row.chunk.document_id for row in ROWS if matches(filter, row)}


def condition(name: Any, operator: str, value: Any = None) -> dict[str, Any]:
    return {"name": name, "comparison_operator": operator, "value": value}


@pytest.mark.parametrize(
    ("name", "operator", "value", "expected"),
    [
        ("kind", "is", "memo", {"old"}),
        (["kind"], "is", "memo", {"old"}),
        ("kind", "is not", "memo", {"new"}),
        ("kind", "in", ["memo", "report"], {"old", "new"}),
        ("kind", "in", "memo, report", {"old", "new"}),
        ("kind", "not in", ["memo"], {"new"}),
        ("kind", "empty", None, {"bare"}),
        ("kind", "not empty", None, {"old", "new"}),
        ("year", "=", 2024, {"new"}),
        ("year", "=", "2024", {"new"}),
        ("year", "is", "2024", {"new"}),
        ("year", "in", "2024,2025", {"new"}),
        ("year", "≠", 2024, {"old"}),
        ("year", ">", 1999, {"new"}),
        ("year", "<", "2024", {"old"}),
        ("year", "≥", 1999, {"old", "new"}),
        ("year", "≤", 1999, {"old"}),
        ("price", "<", "9.75", {"old"}),
        ("draft", "is", "true", {"old"}),
        ("time", "before", 1_704_067_200, {"old"}),
        ("time", "after", "915148800", {"new"}),
        ("document_id", "not in", ["old"], {"bare", "new"}),
        ("title", "is", "OLD", {"old"}),
        ("kind", "contains", "e", {"old", "new"}),
        ("kind", "contains", "em", {"old"}),
        ("kind", "not contains", "em", {"new"}),
        ("title", "not contains", "O", {"bare", "new"}),
        ("kind", "start with", "re", {"new"}),
        ("kind", "end with", "mo", {"old"}),
        ("metadata.kind", "is", "memo", {"old"}),
    ],
)
def test_each_operator_finds_what_it_says(name: Any, operator: str, value: Any, expected: set[str]) -> None:
    assert found(condition(name, operator, value)) == expected


def test_times_of_ingestion_are_seconds_or_text_with_a_zone() -> None:
    for value in (1_704_067_200, "1704067200", "2024-01-01T00:00:00Z"):
        asked = MetadataCondition.model_validate({"conditions": [condition("ingested_at", "before", value)]})
        tree = filter_of(asked, {})
        assert tree is not None
        assert str(parse_filter(tree, {}).value) == "2024-01-01 00:00:00+00:00"  # type: ignore[union-attr]


def test_conditions_are_joined_by_and_or() -> None:
    two = (condition("kind", "is", "memo"), condition("year", ">", 2000))
    assert found(*two) == set()
    assert found(*two, logical_operator=None) == set()
    assert found(*two, logical_operator="or") == {"old", "new"}


@pytest.mark.parametrize("asked", [None, {"conditions": []}, {"conditions": None}, {}])
def test_no_condition_is_no_filter(asked: dict[str, Any] | None) -> None:
    assert filter_of(None if asked is None else MetadataCondition.model_validate(asked), DECLARED) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (condition("year", "contains", "20"), "metadata.year holds a whole number"),
        (condition("kind", "start with", ""), "must not be empty"),
        (condition("kind", "is", None), "'is' needs a value"),
        (condition("kind", "is", ["memo"]), "takes one value, not a list of 1"),
        (condition("kind", "in", []), "the list is empty"),
        (condition("kind", "in", " , "), "the list is empty"),
        (condition(["kind", "year"], "is", "memo"), "one is taken, not 2"),
        (condition("time", "before", "2024-01-01"), "seconds since 1970"),
        (condition("year", ">", "many"), "needs a number, not 'many'"),
        (condition("year", ">", "nan"), "finite"),
        (condition("year", "=", "9" * 5000), "needs a number|finite|64 bits"),
        (condition("year", "=", 10**400), "64 bits"),
        (condition("year", "is", "memo"), "needs a number"),
        (condition("ingested_at", "after", 1e300), "no time"),
        (condition("ingested_at", "after", "yesterday"), "a time with its zone"),
        (condition('"; drop', "is", "x"), "not a valid metadata key"),
        (condition("document_id", "empty"), "every chunk has document_id"),
        (condition("kind", "is", "\0"), "NUL"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(wrong: dict[str, Any], message: str) -> None:
    asked = MetadataCondition.model_validate({"conditions": [condition("kind", "not empty"), wrong]})
    with pytest.raises(InvalidRequest, match=message) as refused:
        filter_of(asked, DECLARED)
    assert refused.value.message.startswith("metadata_condition.conditions.1: ")
