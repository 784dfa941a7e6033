"""Statements over many values: IN lists in batches, and inserts of many rows."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import orjson
from sqlalchemy import String, Table, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ingestion.catalog.records import Values

Value = TypeVar("Value")
Parameters = Sequence[Values] | dict[str, str]

BATCH = 5000
"""Values in one IN list: well below the limits of both databases."""


def batches(values: Iterable[Value]) -> list[list[Value]]:
    """Returns the values in lists of at most BATCH."""
    every = list(values)
    return [every[start : start + BATCH] for start in range(0, len(every), BATCH)]


def insert_of(dialect: str, table: Table, names: Sequence[str]) -> sqlite.Insert | postgresql.Insert:
    """Returns a statement that inserts the parameters of `rows_for` into the columns `names`. It is the dialect's own
    kind of statement, so that the caller can add that dialect's clauses.

    On PostgreSQL all rows are one parameter: a statement with thousands of them takes its driver, and thereby the event
    loop, several times as long as the database.
    """
    if dialect != "postgresql":
        return sqlite.insert(table)
    unpacked = (
        func.jsonb_to_recordset(cast(bindparam("rows", type_=String), postgresql.JSONB))
        .table_valued(*(column(name, table.c[name].type) for name in names), name="unpacked")
        .render_derived(with_types=True)
    )
    return postgresql.insert(table).from_select(list(names), select(unpacked))


def rows_for(dialect: str, rows: Sequence[Values]) -> Parameters:
    """Returns the parameters of `insert_of`. `rows` have the same columns and are not empty."""
    return {"rows": orjson.dumps(rows).decode()} if dialect == "postgresql" else rows
