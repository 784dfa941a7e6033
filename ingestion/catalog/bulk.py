"""Many rows into a table with one statement."""

from collections.abc import Sequence

import orjson
from sqlalchemy import String, Table, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ingestion.catalog.records import Values

Parameters = Sequence[Values] | dict[str, str]


def insert_of(dialect: str, table: Table, names: Sequence[str]) -> sqlite.Insert | postgresql.Insert:
    """A statement that inserts what `rows_for` makes of rows with the columns `names`. The dialect's own kind of
    statement, for its further clauses.

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
    """`rows` have the same columns and are not empty."""
    return {"rows": orjson.dumps(rows).decode()} if dialect == "postgresql" else rows
