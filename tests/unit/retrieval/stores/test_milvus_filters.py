import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milvus_lite.search.filter.parser import parse_expr
from milvus_lite.search.filter.tokens import TokenKind, tokenize

from retrieval.errors import InvalidRequest, Unsupported
from retrieval.filters.parse import MAX_INTEGER, parse_filter
from retrieval.filters.tree import Filter, KeyType, Or
from retrieval.stores.milvus.expressions import condition
from retrieval.stores.milvus.filters import filter_template
from retrieval.stores.milvus.schema import ServerTraits, server_traits
from retrieval.stores.milvus_lite.child.filters import _of_pattern
from tests.support.stores.filters import trees

DECLARED: dict[str, KeyType] = {"year": "int", "price": "float"}
LITE, BARE_LITE = (server_traits("milvus_lite-3.2.2", ours=ours) for ours in (True, False))
OLD, NEW = server_traits("v2.3.5", ours=False), server_traits("2.6.1", ours=False)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
X = 'metadata["x"]'
KEYS = (
    TEXTS | st.text(st.sampled_from("\"'\\[]{}()= ab名"), max_size=5) | st.sampled_from(["{value0}", "exists", "x.y"])
)


def parsed(type_: str, key: str, *value: Any) -> Filter:
    return parse_filter({"type": type_, "key": key, **({"value": value[0]} if value else {})}, DECLARED)


def written(filter: Filter, traits: ServerTraits = LITE) -> str:
    template, values = filter_template(filter, traits)
    return str(condition(template, values, templates=False)["filter"])


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (parsed("eq", "document_id", 'a"b'), r'(document_id == "a\"b")'),
        (parsed("in", "ordinal", [1, -2]), "(ordinal in [1, -2])"),
        (parsed("ne", "page", 3), "(page != 0 and page != 3)"),
        (
            parsed("lt", "ingested_at", "1970-01-01T00:00:01Z"),
            "(ingested_at > -9223372036854775807 and ingested_at < 1000)",
        ),
        (parsed("gte", "metadata.year", 2020), "(has_year == true and meta_year >= 2020)"),
        (parsed("in", "metadata.price", [1, 2.5]), "(has_price == true and meta_price in [1.0, 2.5])"),
        (parsed("exists", "metadata.year"), "(has_year == true)"),
        (parsed("exists", "metadata.x"), '((exists metadata["x"]))'),
        (parsed("lte", "metadata.x", -1.5), '((exists metadata["x"]) and metadata["x"] <= -1.5)'),
        (parsed("eq", "metadata.x", True), '((exists metadata["x"]) and metadata["x"] == true)'),
        (parsed("starts_with", "title", "ab"), '((title >= "ab" and title < "ac"))'),
        (parsed("starts_with", "title", "a\U0010ffff"), '((title >= "a\U0010ffff" and title < "b"))'),
        (parsed("starts_with", "title", "\U0010ffff"), '(title >= "\U0010ffff")'),
        (parsed("starts_with", "title", "\ud7ff"), '((title >= "\ud7ff" and title < "\ue000"))'),
        (parsed("contains", "title", 'a%_\\"'), r'(title like "%a\\%\\_\\\\\"%")'),
        (parsed("ends_with", "metadata.x", "{value0}"), f'((exists {X}) and {X} like "%{{value0}}")'),
        (
            parsed("eq", "metadata.x.y", 1),
            (
                '(((exists metadata["x.y"]) and metadata["x.y"] == 1) or ((not (exists metadata["x.y"])) and '
                '(exists metadata["x"]["y"]) and metadata["x"]["y"] == 1))'
            ),
        ),
        (parsed("exists", "metadata.x.y"), '((exists metadata["x.y"]) or (exists metadata["x"]["y"]))'),
        (parsed("exists", "metadata.x..y"), '((exists metadata["x..y"]))'),
        (
            parsed("contains", "metadata.x", 5),
            f"((exists {X}) and (json_contains_any({X}, [5]) or json_contains_any({X}, [5.0])))",
        ),
    ],
)
def test_expressions(filter: Filter, expected: str) -> None:
    assert written(filter) == expected


def test_lists_are_of_one_type_each() -> None:
    filter = parsed("in", "metadata.x", ["a", 1, "b", 2.5, True])
    expected = " or ".join(f'metadata["x"] in {values}' for values in ('["a", "b"]', "[1]", "[2.5]", "[true]"))
    for traits in (OLD, LITE):
        assert written(filter, traits) == f'((exists metadata["x"]) and ({expected}))'
    texts = parsed("in", "metadata.x", ["a", "b"])
    assert written(texts, BARE_LITE) == f'((exists {X}) and ({X} == "a" or {X} == "b"))'


def test_joined() -> None:
    one, other = ({"type": "eq", "key": "ordinal", "value": value} for value in (1, 2))
    either = {"type": "or", "filters": [one, {"type": "not", "filters": [other]}]}
    tree = parse_filter({"type": "and", "filters": [either, one]}, {})
    assert written(tree) == "(((ordinal == 1) or (not (ordinal == 2))) and (ordinal == 1))"


def test_values_stay_outside_where_the_server_has_templates() -> None:
    filter = parsed("in", "metadata.x", ["{value1}", 5, "a"])
    template, values = filter_template(filter, NEW)
    assert condition(template, values, templates=True) == {
        "filter": '((exists metadata["x"]) and (metadata["x"] in {value0} or metadata["x"] in {value1}))',
        "filter_params": {"value0": ["{value1}", "a"], "value1": [5]},
    }


def test_patterns_are_literals_on_every_server() -> None:
    both = [parsed(type_, "title", "{value1}%") for type_ in ("ends_with", "eq")]
    template, values = filter_template(Or(tuple(both)), NEW)
    assert condition(template, values, templates=True) == {
        "filter": r'((title like "%{value1}\\%") or (title == {value1}))',
        "filter_params": {"value1": "{value1}%"},
    }


def test_parts_of_texts_where_the_server_can_look_for_them() -> None:
    for type_ in ("contains", "ends_with"):
        for value in ("a", "a\\"):
            filter = parsed(type_, "title", value)
            with pytest.raises(Unsupported, match=r"title.*2\.5 or newer"):
                filter_template(filter, OLD)
        for traits in (NEW, BARE_LITE):
            with pytest.raises(Unsupported, match=r"title.*a backslash"):
                filter_template(filter, traits)


@pytest.mark.parametrize(
    "filter",
    [parsed("eq", "metadata.x", 1), parsed("gt", "metadata.x", "a"), parsed("contains", "metadata.x", 1)],
)
def test_what_a_server_would_read_otherwise_is_unsupported(filter: Filter) -> None:
    for tree in (filter, parse_filter({"type": "exists", "key": "page"}, {})):
        for traits in (LITE, OLD, NEW):
            filter_template(tree, traits)
    with pytest.raises(Unsupported, match=r"cannot compare metadata\.x so.*Declare the key"):
        filter_template(filter, BARE_LITE)


def test_text_is_told_apart_by_every_server() -> None:
    for filter in (
        parsed("eq", "metadata.x", "a"),
        parsed("ne", "metadata.x", "a"),
        parsed("gt", "metadata.year", 1),
    ):
        assert written(filter, BARE_LITE) == written(filter, LITE)


def kinds(expression: str) -> Sequence[TokenKind]:
    return [token.kind for token in tokenize(expression)]


@given(TEXTS, TEXTS)
def test_no_text_changes_an_expression(key: str, value: str) -> None:
    """It has the tokens of one with a harmless text, and the text is read back as it was."""
    for traits in (LITE, OLD):
        for filter, harmless in (
            (parsed("eq", "title", value), parsed("eq", "title", "x")),
            (parsed("ne", "metadata.k", value), parsed("ne", "metadata.k", "x")),
            (parsed("in", "metadata.k", [value, key]), parsed("in", "metadata.k", ["x", "y"])),
            (parsed("starts_with", "metadata.k", "x" + value), parsed("starts_with", "metadata.k", "x")),
        ):
            expression = written(filter, traits)
            assert kinds(expression) == kinds(written(harmless, traits))
            assert [each for each in tokenize(expression) if each.value in (value, "x" + value)]
    for type_ in ("contains", "ends_with"):
        expression = written(parsed(type_, "metadata.k", "x" + value))
        assert kinds(expression) == kinds(written(parsed(type_, "metadata.k", "x")))
        [pattern] = [each.value for each in tokenize(expression) if str(each.value).startswith("%x")]
        assert _of_pattern(pattern) == (type_, "x" + value)


@given(st.one_of(INTEGERS, FLOATS, st.booleans()))
def test_no_number_changes_an_expression(value: float) -> None:
    signs = [kind for kind in kinds(written(parsed("eq", "metadata.k", value))) if kind is not TokenKind.SUB]
    assert signs in [kinds(written(parsed("eq", "metadata.k", harmless))) for harmless in (5, 5.5, True)]
    found = [token.value for token in tokenize(written(parsed("eq", "metadata.k", value))) if token.value is not None]
    assert found == ["k", "k", value if isinstance(value, bool) else abs(value)]


@given(KEYS)
def test_no_key_changes_an_expression(key: str) -> None:
    try:
        filter = parsed("eq", f"metadata.{key}", "x")
    except InvalidRequest:
        return
    for traits in (LITE, OLD):
        expression = written(filter, traits)
        path = key.split(".")
        if len(path) > 1 and all(path):
            harmless = ".".join("k" * len(path))
            values = [key, key, "x", key, *path, *path, "x"]
        else:
            harmless, values = "k", [key, key, "x"]
        assert kinds(expression) == kinds(written(parsed("eq", f"metadata.{harmless}", "x"), traits))
        assert [token.value for token in tokenize(expression) if token.value is not None] == values
    template, _ = filter_template(filter, NEW)
    assert re.findall(r"\{.*?\}", template) == ["{value0}", "{value1}"][: 1 + (len(values) > 3)]


@given(trees(any_types=False))
def test_every_filter_can_be_parsed(filter: Filter) -> None:
    parse_expr(written(filter, BARE_LITE))
