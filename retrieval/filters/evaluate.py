"""The reference semantics of filters, in Python. Stores evaluate filters in their own languages and have to agree with
it.

A chunk either has a key or lacks it. Null in metadata counts as lacking it. Of the built-in fields only `page`,
`language` and `ingested_at` can be missing. If the key is missing, `exists` and every comparison are false, including
`ne`, which requires a different value. `not` exchanges true and false, and there is no third value: `not` of `eq`
matches chunks without the key.

Values are text, numbers or booleans, and no kind converts into another: "5" is not 5, true is not 1. Numbers are
compared by value, integer or not (5 equals 5.0; beyond 2**53 a server may round). Text is ordered by code points, times
to the millisecond. On a value of another kind, a list or an object for instance, `ne` is true and every other
comparison false. `contains` is true for a list that has an element equal to the value, and for text that has it as a
part; `starts_with` and `ends_with` for text alone.

`metadata.a.b` is the metadata's key `a.b` or, if the chunk lacks it, the key `b` of the object `a`.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, assert_never

from retrieval.filters.tree import (
    And,
    Compare,
    Contains,
    Exists,
    Field,
    Filter,
    In,
    InGroups,
    Match,
    Not,
    Operator,
    Or,
    TextOperator,
)
from retrieval.types import Candidate, EmbeddedChunk

_ORDER: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def matches(filter: Filter, row: EmbeddedChunk | Candidate) -> bool:
    match filter:
        case Compare(operator=op, field=field, value=value):
            found = _value(row, field)
            return found is not None and compare(op, found, value)
        case In(field=field, values=values):
            found = _value(row, field)
            return any(same(found, value) for value in values)
        case Contains(field=field, value=value):
            found = _value(row, field)
            return isinstance(found, list) and any(same(element, value) for element in found)
        case Match(operator=op, field=field, value=value):
            return match_text(op, _value(row, field), value)
        case Exists(field=field):
            return _value(row, field) is not None
        case And(filters=filters):
            return all(matches(each, row) for each in filters)
        case Or(filters=filters):
            return any(matches(each, row) for each in filters)
        case Not(filter=inner):
            return not matches(inner, row)
        case InGroups(names=names):
            if isinstance(row, Candidate):
                raise TypeError("Candidates carry no groups.")
            return not set(names).isdisjoint(row.groups or ())
    assert_never(filter)


def _value(row: EmbeddedChunk | Candidate, field: Field) -> object:
    """Returns the value of the field, None if the chunk lacks it."""
    if field.metadata:
        value = row.metadata.get(field.name)
        if value is None and field.path:
            return walk(row.metadata, field.path)
        return float(value) if field.type == "float" and isinstance(value, int) else value
    match field.name:
        case "chunk_id":
            return row.chunk.id
        case "document_id":
            return row.chunk.document_id
        case "ordinal":
            return row.chunk.ordinal
        case "page":
            return row.chunk.page
        case "ingested_at":
            moment = row.ingested_at
            return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        case "title":
            return row.title
        case "media_type":
            return row.media_type
        case "language":
            return row.language or None
        case "partition":
            return row.partition
    raise ValueError(f"Chunks have no field {field.name!r}.")


def walk(metadata: object, path: Sequence[str]) -> object:
    """Returns the value at the keys of objects within objects, None if there is none."""
    for key in path:
        metadata = metadata.get(key) if isinstance(metadata, Mapping) else None
    return metadata


def match_text(op: TextOperator, found: object, value: str) -> bool:
    if not isinstance(found, str):
        return False
    match op:
        case "contains":
            return value in found
        case "starts_with":
            return found.startswith(value)
        case "ends_with":
            return found.endswith(value)


def compare(op: Operator, found: object, value: object) -> bool:
    """Returns the result of a comparison with a value that exists."""
    if op == "eq":
        return same(found, value)
    if op == "ne":
        return not same(found, value)
    return kind(found) is kind(value) and _ORDER[op](found, value)


def same(found: object, value: object) -> bool:
    return kind(found) is kind(value) and found == value


def kind(value: object) -> type:
    """Returns the kind of a value. All numbers are of one kind."""
    return float if type(value) is int else type(value)
