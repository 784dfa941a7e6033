import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.client.prepare import Prepare

from retrieval.errors import StoreFailed
from retrieval.stores.milvus.expressions import Value, condition, literal, render

ONE_LITERAL = re.compile(r'"(?:[^"\\\n\r]|\\["\\nrt])*"')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('say "hi"', r'"say \"hi\""'),
        ("it's", '"it\'s"'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\rc\td", r'"a\nb\rc\td"'),
        ("中文 😀", '"中文 😀"'),
        ([], "[]"),
        (["a", 'b"'], r'["a", "b\""]'),
        (True, "true"),
        (-5, "-5"),
        (1e-7, "1e-07"),
        ([False, 2.5], "[false, 2.5]"),
    ],
)
def test_literal(value: Value, expected: str) -> None:
    assert literal(value) == expected


@given(st.text())
def test_no_text_ends_its_literal(value: str) -> None:
    written = literal(value)
    assert ONE_LITERAL.fullmatch(written)
    unescaped = re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r", "t": "\t"}.get(match[1], match[1]), written[1:-1])
    assert unescaped == value


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(StoreFailed, match="surrogate"):
        literal(["fine", "\ud800"])


def test_render_replaces_names_once() -> None:
    values = {"a": "{b}", "b": ["x", "{a}"]}
    assert render("k == {a} and id in {b}", values) == 'k == "{b}" and id in ["x", "{a}"]'


def test_render_without_a_value_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        render("k == {a}", {})


def test_values_go_inside_the_expression_where_the_server_has_no_templates() -> None:
    assert condition("k == {k}", {"k": '"'}, templates=False) == {"filter": r'k == "\""'}


def test_values_go_beside_the_expression_where_the_server_has_templates() -> None:
    arguments = condition("k == {k} and id in {ids}", {"k": '"', "ids": ("a", "b"), "not": "used"}, templates=True)
    assert arguments == {"filter": "k == {k} and id in {ids}", "filter_params": {"k": '"', "ids": ["a", "b"]}}
    message = Prepare.prepare_expression_template(arguments["filter_params"])
    assert message["k"].string_val == '"'
    assert list(message["ids"].array_val.string_data.data) == ["a", "b"]
