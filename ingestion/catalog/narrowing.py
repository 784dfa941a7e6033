"""Conditions in SQL that a filter implies: they spare documents that it is certainly not true of. What its comparisons
mean is defined in Python alone (retrieval.filters.evaluate); SQL may let more through, never less.
"""

import math
from typing import Any, Final

from sqlalchemy import ColumnElement, String, and_, column, func, literal, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from ingestion.catalog.tables import documents
from retrieval.filters.tree import And, Compare, Contains, Exists, Field, Filter, In, Match, Operator, Or

_MARGIN: Final = 1e-12
_COLUMNS = {
    "document_id": documents.c.id,
    "media_type": documents.c.media_type,
    "partition": documents.c.partition,
}


def narrowed(filter: Filter, dialect: str) -> ColumnElement[bool] | None:
    """Returns a condition that is true of every document that the filter is true of; None where none is known."""
    match filter:
        case And(filters=filters):
            known = [each for each in (narrowed(part, dialect) for part in filters) if each is not None]
            return and_(*known) if known else None
        case Or(filters=filters):
            parts = [narrowed(part, dialect) for part in filters]
            known = [each for each in parts if each is not None]
            return or_(*known) if len(known) == len(parts) else None
        case Compare(operator="eq", field=field, value=str(value)):
            text = _text(field, dialect)
            return None if text is None else text == value
        case Compare(operator="ne", field=field) | Exists(field=field):
            return _type(field, dialect).is_not(None) if _seen(field, dialect) else None
        case Compare(operator=operator, field=field, value=int() | float() as value) if not isinstance(value, bool):
            return _compared(operator, field, float(value), dialect)
        case In(field=field, values=values):
            text = _text(field, dialect)
            texts = [value for value in values if isinstance(value, str)]
            return None if text is None or len(texts) < len(values) else text.in_(texts)
        case Match(field=field, value=value):
            text = _text(field, dialect)
            return None if text is None else (func.strpos if dialect == "postgresql" else func.instr)(text, value) > 0
        case Contains(field=field, value=str(value)) if _seen(field, dialect):
            if dialect == "postgresql":
                return _jsonb(field).contains(type_coerce(value, JSONB))
            element = column("value", String)
            listed = func.json_each(documents.c.metadata, _path(field)).table_valued(element)
            return select(1).select_from(listed).where(listed.c.value == value).exists()
    return None


def _compared(operator: Operator, field: Field, value: float, dialect: str) -> ColumnElement[bool] | None:
    """Compares numbers of metadata. The bounds are a little wider than the value: the database may read a number as
    one next to it.
    """
    if not _seen(field, dialect):
        return None
    low, high = value - abs(value) * _MARGIN, value + abs(value) * _MARGIN
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if dialect == "postgresql":
        found = _jsonb(field)
        least, most = found >= type_coerce(low, JSONB), found <= type_coerce(high, JSONB)
    else:
        number = func.json_extract(documents.c.metadata, _path(field))
        least, most = number >= low, number <= high
    is_number = _type(field, dialect).in_(("number", "integer", "real"))
    bounds = {"gt": [least], "gte": [least], "lt": [most], "lte": [most], "eq": [least, most]}
    return and_(is_number, *bounds[operator])


def _type(field: Field, dialect: str) -> ColumnElement[str]:
    """The type of the value that the metadata's key has, by the database's name; null without the key."""
    if dialect == "postgresql":
        return func.jsonb_typeof(_jsonb(field))
    return func.json_type(documents.c.metadata, _path(field))


def _jsonb(field: Field) -> ColumnElement[Any]:
    """The value of the metadata's key on PostgreSQL."""
    value: ColumnElement[Any] = type_coerce(documents.c.metadata, JSONB)[field.name]
    return value


def _path(field: Field) -> ColumnElement[str]:
    """Where SQLite finds the metadata's key."""
    return literal(f'$."{field.name}"')


def _text(field: Field, dialect: str) -> ColumnElement[str] | None:
    """The field where it holds text; None where SQL does not see it."""
    if field.metadata:
        return documents.c.metadata[field.name].as_string() if _seen(field, dialect) else None
    return _COLUMNS.get(field.name)


def _seen(field: Field, dialect: str) -> bool:
    """Whether SQL finds the metadata's key: SQLite knows others than ASCII as they are escaped, and a dotted name may
    stand for a path.
    """
    return field.metadata and not field.path and (dialect == "postgresql" or field.name.isascii())
