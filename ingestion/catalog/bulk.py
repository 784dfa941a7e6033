"""Many rows into a table with one statement."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, Table, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ingestion.catalog.records import Values

Parameters = Sequence[Values] | dict[str, str]


def insert_of(
    dialect: str, table: Table, rows: Sequence[Values]
) -> tuple[sqlite.Insert | postgresql.Insert, Parameters]:
    """A statement that inserts `rows`, which have the same columns and are not empty, and the parameters that it is
    executed with. The dialect's own kind of statement, for its further clauses.

    On PostgreSQL all rows are one parameter: a statement with thousands of them takes its driver, and thereby the event
    loop, several times as long as the database.
    """
    if dialect != "postgresql":
        return sqlite.insert(table), rows
    names = list(rows[0])
    unpacked = (
        func.jsonb_to_recordset(cast(bindparam("rows", type_=String), postgresql.JSONB))
        .table_valued(*(column(name, table.c[name].type) for name in names), name="unpacked")
        .render_derived(with_types=True)
    )
    insert = postgresql.insert(table).from_select(names, select(unpacked))
    return insert, {"rows": json.dumps(rows, default=datetime.isoformat)}
