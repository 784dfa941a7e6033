"""Compiles filters to Milvus expressions, with the semantics of retrieval/filters/evaluate.py on each server.

Servers differ in the value of a comparison with a missing value, and in the effect of `not` on it. So each comparison
is combined with a condition that is false if there is no value, and the two together are true or false, never unknown.
Values are not part of the expression's text, except for literals on servers without templates; keys are part of it, in
the characters that filters/parse.py accepts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, assert_never

from retrieval.errors import Unsupported
from retrieval.filters.tree import And, Compare, Contains, Exists, Field, Filter, In, Not, Operator, Or
from retrieval.filters.tree import Value as FilterValue
from retrieval.stores.milvus.expressions import Scalar, Value
from retrieval.stores.milvus.keys import present_field, value_field
from retrieval.stores.milvus.rows import PRESENT, milliseconds
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
                return _both(_present(field), f"{_name(field)} {_SYMBOLS[op]} {self._value(_scalar(value))}")
            case In(field=field, values=values):
                self._check(field, all(isinstance(value, str) for value in values))
                return _both(_present(field), self._in(field, [_scalar(value) for value in values]))
            case Contains(field=field, value=value):
                self._check(field, known=False)
                # As a list, since Milvus Lite rejects a single negative number.
                forms = [f"json_contains_any({_name(field)}, {self._value([form])})" for form in _forms(_scalar(value))]
                return _both(_present(field), _any(forms))
            case Exists(field=field):
                return f"({_present(field)})"
            case And(filters=filters):
                return f"({' and '.join(self.template(each) for each in filters)})"
            case Or(filters=filters):
                return _any([self.template(each) for each in filters])
            case Not(filter=inner):
                return f"(not {self.template(inner)})"
        assert_never(filter)

    def _in(self, field: Field, values: Sequence[Scalar]) -> str:
        if field.type is not None:
            return f"{_name(field)} in {self._value(values)}"
        if not self._traits.typed_json:
            return _any([f"{_name(field)} == {self._value(value)}" for value in values])
        # Milvus assumes the type of the first value for all.
        kinds: dict[type, list[Scalar]] = {}
        for value in values:
            kinds.setdefault(type(value), []).append(value)
        return _any([f"{_name(field)} in {self._value(kind)}" for kind in kinds.values()])

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


def _name(field: Field) -> str:
    if not field.metadata:
        return "id" if field.name == "chunk_id" else field.name
    return f'metadata["{field.name}"]' if field.type is None else value_field(field.name)


def _present(field: Field) -> str:
    """Returns the condition that is true if the chunk has the field, empty if every chunk has it."""
    if not field.metadata:
        return PRESENT.get(field.name, "")
    # The parentheses are for Milvus 2.3, which otherwise reads "exists (… and …)".
    return f"(exists {_name(field)})" if field.type is None else f"{present_field(field.name)} == true"


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
