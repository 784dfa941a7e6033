"""Filters on chunks: trees in OpenAI's shape. parse.py makes them, evaluate.py defines their meaning, and
stores/milvus/filters.py compiles them for a server.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

KeyType = Literal["text", "int", "float", "bool"]
FieldType = Literal["text", "int", "float", "bool", "time"]
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte"]
Value = str | int | float | bool | datetime

TextOperator = Literal["contains", "starts_with", "ends_with"]

OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
TEXT_OPERATORS: Final[tuple[TextOperator, ...]] = get_args(TextOperator)
METADATA: Final = "metadata."
"""Prefix of a filter's key that names metadata; without it, the key names one of BUILT_IN."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: FieldType | None = None
    """Type of every value it holds. None: undeclared metadata, with values of any type."""
    metadata: bool = False
    optional: bool = True
    """Whether a chunk may be without it."""

    @property
    def path(self) -> tuple[str, ...]:
        """Keys of nested objects, for metadata whose own key is not `name`: a, b for `a.b`. Empty if there is none."""
        parts = tuple(self.name.split(".")) if self.metadata and self.type is None else ()
        return parts if len(parts) > 1 and all(parts) else ()

    def __str__(self) -> str:
        """The name of the field as a filter's key writes it."""
        return METADATA + self.name if self.metadata else self.name


BUILT_IN: Final[Mapping[str, Field]] = {
    field.name: field
    for field in (
        Field("chunk_id", "text", optional=False),
        Field("document_id", "text", optional=False),
        Field("title", "text", optional=False),
        Field("media_type", "text", optional=False),
        Field("language", "text"),
        Field("partition", "text", optional=False),
        Field("ordinal", "int", optional=False),
        Field("page", "int"),
        Field("ingested_at", "time"),
    )
}


@dataclass(frozen=True, slots=True)
class Compare:
    """`value` has the field's type, if the field has one; a time is timezone-aware and in whole milliseconds."""

    operator: Operator
    field: Field
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    field: Field
    values: tuple[Value, ...]
    """Values, at least one, with the constraints of Compare."""


@dataclass(frozen=True, slots=True)
class Contains:
    """Applies to fields without a type only: all others hold one value."""

    field: Field
    value: Value


@dataclass(frozen=True, slots=True)
class Match:
    """Compares texts in part; false for other values. For fields that hold text, and for those without a type."""

    operator: TextOperator
    field: Field
    value: str
    """Not empty."""


@dataclass(frozen=True, slots=True)
class Exists:
    """Applies to optional fields only."""

    field: Field


@dataclass(frozen=True, slots=True)
class And:
    filters: tuple["Filter", ...]
    """Operands, at least one."""


@dataclass(frozen=True, slots=True)
class Or:
    filters: tuple["Filter", ...]
    """Operands, at least one."""


@dataclass(frozen=True, slots=True)
class Not:
    filter: "Filter"


@dataclass(frozen=True, slots=True)
class InGroups:
    """True of chunks that any of the groups may read; of none without groups. Only for collections with principals.
    No request can write it: the service adds it for callers that are bound to groups.
    """

    names: tuple[str, ...]


Filter = Compare | In | Contains | Match | Exists | And | Or | Not | InGroups


def all_of(*filters: Filter | None) -> Filter | None:
    """Returns the filter that requires each of those that are not None; None if all are."""
    there = tuple(filter for filter in filters if filter is not None)
    return And(there) if len(there) > 1 else next(iter(there), None)


def fields_of(filter: Filter) -> Iterator[Field]:
    """Yields the field of every comparison in the tree."""
    match filter:
        case And(filters=filters) | Or(filters=filters):
            for each in filters:
                yield from fields_of(each)
        case Not(filter=inner):
            yield from fields_of(inner)
        case InGroups():
            return
        case _:
            yield filter.field
