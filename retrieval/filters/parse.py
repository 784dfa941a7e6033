"""Parses JSON into a filter and checks its shape, limits, keys and types of values. Every store accepts the result."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from retrieval.errors import InvalidRequest, InvalidText
from retrieval.filters.tree import (
    BUILT_IN,
    METADATA,
    OPERATORS,
    TEXT_OPERATORS,
    And,
    Compare,
    Contains,
    Exists,
    Field,
    FieldType,
    Filter,
    In,
    KeyType,
    Match,
    Not,
    Operator,
    Or,
    TextOperator,
    Value,
)

MAX_DEPTH: Final = 8
"""Maximum nesting of conditions, the outermost counted."""
MAX_CONDITIONS: Final = 100
"""`and`, `or`, `not` and comparisons together."""
MAX_VALUES: Final = 500
"""Maximum number of values in all lists of `in` together."""
MAX_TEXT_CHARACTERS: Final = 2048
MAX_INTEGER: Final = 2**63 - 1
"""Largest integer; its negative is the smallest."""
MAX_KEY_CHARACTERS: Final = 128
_KEY = re.compile(r"[\w $.:/@#+-]+")
"""Pattern of metadata keys: letters and digits of any script, some signs. Quotes, backslashes, brackets and braces are
excluded, since they have a meaning where stores write keys into expressions.
"""

_OPERATORS: Final[Mapping[str, Operator]] = {name: name for name in OPERATORS}
_TEXT_OPERATORS: Final[Mapping[str, TextOperator]] = {name: name for name in TEXT_OPERATORS}
_MEMBERS: Final = {
    **dict.fromkeys(("and", "or", "not"), ("type", "filters")),
    **dict.fromkeys((*OPERATORS, "in", *TEXT_OPERATORS), ("type", "key", "value")),
    "exists": ("type", "key"),
}
_ARTICLE: Final[Mapping[FieldType, str]] = {
    "text": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "time": "a time with its zone, such as 2026-05-01T08:00:00Z",
}


def parse_filter(tree: object, declared: Mapping[str, KeyType]) -> Filter:
    """`tree` is JSON as Python reads it; `declared` are the metadata keys that the collection has typed fields for.

    Raises InvalidRequest or InvalidText, with the place in the tree.
    """
    return _Parser(declared).parse(tree, "filter", 1)


class _Parser:
    def __init__(self, declared: Mapping[str, KeyType]) -> None:
        self._declared = declared
        self._conditions = 0
        self._values = 0

    def parse(self, tree: object, place: str, depth: int) -> Filter:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise _wrong(place, f"at most {MAX_CONDITIONS} conditions are taken in one filter")
        if depth > MAX_DEPTH:
            raise _wrong(place, f"conditions may be nested {MAX_DEPTH} deep at most")
        if not isinstance(tree, dict):
            raise _wrong(place, f"must be an object with 'type', not {_shown(tree)}")
        kind = tree.get("type")
        if not isinstance(kind, str) or kind not in _MEMBERS:
            raise _wrong(f"{place}.type", f"must be one of {', '.join(_MEMBERS)}, not {_shown(kind)}")
        members = _MEMBERS[kind]
        for name in tree:
            if name not in members:
                raise _wrong(place, f"{kind!r} has no {_shown(name)}; it has {', '.join(members)}")
        for name in members:
            if name not in tree:
                raise _wrong(place, f"{kind!r} needs {name!r}")
        return self._group(kind, tree, place, depth) if "filters" in members else self._comparison(kind, tree, place)

    def _group(self, kind: str, tree: Mapping[str, Any], place: str, depth: int) -> Filter:
        inner = tree["filters"]
        if not isinstance(inner, list) or not inner:
            raise _wrong(f"{place}.filters", f"must be a list of at least one condition, not {_shown(inner)}")
        if kind == "not" and len(inner) != 1:
            raise _wrong(f"{place}.filters", f"'not' takes one condition, not {len(inner)}; join them by 'and' or 'or'")
        parsed = tuple(self.parse(each, f"{place}.filters.{number}", depth + 1) for number, each in enumerate(inner))
        if kind == "not":
            return Not(parsed[0])
        return And(parsed) if kind == "and" else Or(parsed)

    def _comparison(self, kind: str, tree: Mapping[str, Any], place: str) -> Filter:
        field = self._field(tree["key"], f"{place}.key")
        if kind == "exists":
            if not field.optional:
                raise _wrong(f"{place}.key", f"every chunk has {field}; compare its value instead")
            return Exists(field)
        value, where = tree["value"], f"{place}.value"
        if kind == "in":
            if not isinstance(value, list) or not value:
                raise _wrong(where, f"must be a list of at least one value, not {_shown(value)}")
            self._values += len(value)
            if self._values > MAX_VALUES:
                raise _wrong(where, f"at most {MAX_VALUES} values are taken in the lists of one filter")
            return In(field, tuple(_value(each, field, f"{where}.{number}") for number, each in enumerate(value)))
        if kind in _TEXT_OPERATORS:
            return _part(_TEXT_OPERATORS[kind], field, value, place)
        checked = _value(value, field, where)
        if isinstance(checked, bool) and kind not in ("eq", "ne"):
            raise _wrong(where, "true and false have no order; use 'eq' or 'ne'")
        return Compare(_OPERATORS[kind], field, checked)

    def _field(self, key: object, place: str) -> Field:
        if not isinstance(key, str):
            raise _wrong(place, f"must be text, not {_shown(key)}")
        if not key.startswith(METADATA):
            if key in BUILT_IN:
                return BUILT_IN[key]
            raise _wrong(
                place,
                f"there is no field {_shown(key)}; the fields are {', '.join(BUILT_IN)}, and metadata keys follow "
                f"'{METADATA}'",
            )
        name = key.removeprefix(METADATA)
        if len(name) > MAX_KEY_CHARACTERS or not _KEY.fullmatch(name):
            raise _wrong(
                place,
                f"{_shown(name)} is not a valid metadata key: 1 to {MAX_KEY_CHARACTERS} letters, digits, spaces "
                "and signs of _ $ . : / @ # + -",
            )
        return Field(name, self._declared.get(name), metadata=True)


def _part(operator: TextOperator, field: Field, value: object, place: str) -> Filter:
    """`contains` is asked of lists and of texts, if the field may hold either."""
    if field.type not in (None, "text"):
        raise _wrong(f"{place}.key", f"{field} holds {_ARTICLE[field.type]}, no text and no list; use 'eq' or 'in'")
    where = f"{place}.value"
    checked = _value(value, field, where)
    if isinstance(checked, str):
        if not checked:
            raise _wrong(where, f"must not be empty: {operator!r} would be true of every text")
        match = Match(operator, field, checked)
        return match if field.type or operator != "contains" else Or((Contains(field, checked), match))
    if operator != "contains":
        raise _wrong(where, f"must be text, not {_shown(value)}")
    return Contains(field, checked)


def _value(value: object, field: Field, place: str) -> Value:
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise _wrong(place, "is a whole number of more than 64 bits")
    elif not isinstance(value, float) or not math.isfinite(value):
        raise _wrong(place, f"must be text, a finite number, true or false, not {_shown(value)}")
    if field.type is None:
        return value
    typed = _typed(value, field.type)
    if typed is None:
        raise _wrong(place, f"{field} is {_ARTICLE[field.type]}, which {_shown(value)} is not")
    return typed


def _typed(value: str | int | float | bool, type_: FieldType) -> Value | None:
    """Returns the value as `type_`; None if it has another type."""
    match value, type_:
        case (bool(), "bool") | (str(), "text"):
            return value
        case bool(), _:
            return None
        case int(), "int":
            return value
        case int() | float(), "float":
            return float(value)
        case str(), "time":
            return _time(value)
    return None


def _time(text: str) -> datetime | None:
    try:
        local = datetime.fromisoformat(text)
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000) if local.tzinfo else None


def _check_text(text: str, place: str) -> None:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise _wrong(place, f"has {len(text)} characters; at most {MAX_TEXT_CHARACTERS} are taken")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        problem = "holds NUL characters or lone surrogates"
        raise InvalidText(f"{place}: {problem}", problems=[{"field": place, "problem": problem}])


def _wrong(place: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{place}: {problem}", problems=[{"field": place, "problem": problem}])


def _shown(value: object) -> str:
    """Returns a short form of any value, for error messages."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
