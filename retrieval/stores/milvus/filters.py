"""Compiles filters to Milvus expressions, with the semantics of retrieval/filters/evaluate.py on each server.

Servers differ in the value of a comparison with a missing value, and in the effect of `not` on it. So each comparison
is combined with a condition that is false if there is no value, and the two together are true or false, never unknown.
Values are not part of the expression's text, except for literals on servers without templates; keys are part of it, in
the characters that filters/parse.py accepts.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, assert_never

from retrieval.errors import Unsupported
from retrieval.filters.tree import And, Compare, Contains, Exists, Field, Filter, In, InGroups, Match, Not, Operator, Or
from retrieval.filters.tree import Value as FilterValue
from retrieval.stores.milvus.expressions import Pattern, Scalar, Value
from retrieval.stores.milvus.keys import present_field, value_field
from retrieval.stores.milvus.rows import GROUPS, PRESENT, milliseconds
from retrieval.stores.milvus.schema import ServerTraits

_SYMBOLS: Final[Mapping[Operator, str]] = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_EXACT: Final = 2**53
"""Whole numbers up to here are the same as fractions."""


def filter_template(filter: Filter, traits: ServerTraits) -> tuple[str, dict[str, Value]]:
    """Returns a template and its values for expressions.condition. Raises Unsupported if the server would find
    something else.
    """
    compiler = _Compiler(traits)
    return compiler.template(filter), compiler.values


class _Compiler:
    def __init__(self, traits: ServerTraits) -> None:
        self._traits = traits
        self.values: dict[str, Value] = {}

    def template(self, filter: Filter) -> str:
        """Returns the template in parentheses, or a single operand that needs none."""
        match filter:
            case Compare(operator=op, field=field, value=value):
                self._check(field, op in ("eq", "ne") and isinstance(value, str))
                return _of(field, lambda name: f"{name} {_SYMBOLS[op]} {self._value(_scalar(value))}")
            case In(field=field, values=values):
                self._check(field, all(isinstance(value, str) for value in values))
                return _of(field, lambda name: self._in(name, field, [_scalar(value) for value in values]))
            case Contains(field=field, value=value):
                self._check(field, known=False)
                # For lists, since Milvus Lite takes no negative number alone.
                return _of(
                    field,
                    lambda name: _any(
                        [f"json_contains_any({name}, {self._value([form])})" for form in _forms(_scalar(value))]
                    ),
                )
            case Match(field=field):
                self._check(field, known=False)
                return _of(field, lambda name: self._match(name, filter))
            case Exists(field=field):
                return _any(_presences(field))
            case And(filters=filters):
                return f"({' and '.join(self.template(each) for each in filters)})"
            case Or(filters=filters):
                return _any([self.template(each) for each in filters])
            case Not(filter=inner):
                return f"(not {self.template(inner)})"
            case InGroups(names=()):
                return '(id == "")'  # true of no row
            case InGroups(names=names):
                return f"(array_contains_any({GROUPS}, {self._value(names)}))"
        assert_never(filter)

    def _match(self, name: str, match: Match) -> str:
        if match.operator == "starts_with":
            # As a range of texts: these every server orders by code points, and nothing in them has to be escaped.
            after = _after(match.value)
            start = f"{name} >= {self._value(match.value)}"
            return start if after is None else f"({start} and {name} < {self._value(after)})"
        wildcards = self._traits.wildcards
        if not wildcards or ("\\" in match.value and "\\" not in wildcards):
            what = "a text that holds a backslash" if wildcards else "a part of a text"
            raise Unsupported(
                f"{match.operator!r} of {match.field}: this Milvus server cannot look for {what}; use 'starts_with', "
                "'eq' or 'in', "
                + ("or leave the backslash out." if wildcards else "Milvus 2.5 or newer, or the embedded Milvus Lite.")
            )
        escaped = "".join(f"\\{each}" if each in wildcards else each for each in match.value)
        end = "%" if match.operator == "contains" else ""
        return f"{name} like {self._value(Pattern(f'%{escaped}{end}'))}"

    def _in(self, name: str, field: Field, values: Sequence[Scalar]) -> str:
        if field.type is not None:
            return f"{name} in {self._value(values)}"
        if not self._traits.typed_json:
            return _any([f"{name} == {self._value(value)}" for value in values])
        # Milvus takes the type of the first value for the type of all.
        kinds: dict[type, list[Scalar]] = {}
        for value in values:
            kinds.setdefault(type(value), []).append(value)
        return _any([f"{name} in {self._value(kind)}" for kind in kinds.values()])

    def _value(self, value: Value) -> str:
        name = f"value{len(self.values)}"
        self.values[name] = value
        return f"{{{name}}}"

    def _check(self, field: Field, known: bool) -> None:
        if field.type is None and not known and not self._traits.typed_json:
            raise Unsupported(
                f"Milvus Lite's own server cannot compare {field} so: it takes true for 1 and has no answer for values "
                "of mixed types. Declare the key when the collection is created, or let the node run Milvus Lite "
                "itself (leave TANDEM_MILVUS_URI unset), or use a Milvus server."
            )


def _of(field: Field, comparison: Callable[[str], str]) -> str:
    """Returns the condition that a comparison is true of the field's value, for the name that the server has for it."""
    if not field.metadata:
        return _both(PRESENT.get(field.name, ""), comparison("id" if field.name == "chunk_id" else field.name))
    if field.type is not None:
        return _both(f"{present_field(field.name)} == true", comparison(value_field(field.name)))
    whole, *nested = _json_names(field)
    found = _both(_exists(whole), comparison(whole))
    for name in nested:
        found = f"({found} or ((not {_exists(whole)}) and {_exists(name)} and {comparison(name)}))"
    return found


def _presences(field: Field) -> Sequence[str]:
    """Returns the conditions of which one is true if the chunk has the field."""
    if not field.metadata:
        return [PRESENT[field.name]]
    if field.type is not None:
        return [f"{present_field(field.name)} == true"]
    return [_exists(name) for name in _json_names(field)]


def _json_names(field: Field) -> Sequence[str]:
    """Returns the key itself, and the path that it is if there is no such key."""
    path = "".join(f'["{key}"]' for key in field.path)
    return [f'metadata["{field.name}"]', *([f"metadata{path}"] if path else [])]


def _exists(name: str) -> str:
    # The parentheses are for Milvus 2.3, which otherwise reads "exists (… and …)".
    return f"(exists {name})"


def _after(text: str) -> str | None:
    """Returns the first text after all that begin with `text`, None if there is none."""
    for end in range(len(text), 0, -1):
        last = ord(text[end - 1])
        if last < sys.maxunicode:
            # There is no text between: surrogates are no characters.
            return text[: end - 1] + chr(0xE000 if last == 0xD7FF else last + 1)
    return None


def _both(present: str, comparison: str) -> str:
    return f"({present} and {comparison})" if present else f"({comparison})"


def _any(conditions: Sequence[str]) -> str:
    return f"({' or '.join(conditions)})"


def _scalar(value: FilterValue) -> Scalar:
    return milliseconds(value) if isinstance(value, datetime) else value


def _forms(value: Scalar) -> list[Scalar]:
    """Returns the forms of a value: Milvus distinguishes integers and floating-point numbers among the elements of a
    list.
    """
    if isinstance(value, bool | str):
        return [value]
    if isinstance(value, int):
        return [value, float(value)] if abs(value) <= _EXACT else [value]
    return [value, int(value)] if value.is_integer() and abs(value) <= _EXACT else [value]
