"""The exchange of two collections. Each function is part of a transaction."""

from typing import Any

from sqlalchemy import Column, Table, and_, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import collections as named
from ingestion.catalog.queue import completion
from ingestion.catalog.tables import collections, documents

KEPT_BY_NAME = {"name", "duplicates", "query_instruction", "rerank_instruction"}
"""Columns that belong to the name, whichever version it points at."""
KEPT_BY_VERSION = {"collection", "id", "version", "ingested_at"}
"""Columns that stay with the name: receipts refer to versions by name, so versions stay as well."""


async def swap(connection: AsyncConnection, name: str, other: str) -> bool:
    """Implements Catalog.swap_collections.

    Queued documents do not prevent it. A document that is queued under one name and done under the other continues
    under its new name; receipts left behind end with the result of the document that takes its place.
    """
    both = sorted({name, other})
    for each in both:
        await named.alone(connection, each)
    # Locked in order, before they are read.
    rows = (
        select(documents.c.id)
        .where(documents.c.collection.in_(both))
        .order_by(documents.c.collection, documents.c.id)
        .with_for_update()
    )
    await connection.execute(select(func.count()).select_from(rows.subquery()))
    if not await _is_complete(connection, name, other):
        return False
    await _exchange(connection, collections, collections.c.name, KEPT_BY_NAME, name, other)
    await _exchange(connection, documents, documents.c.collection, KEPT_BY_VERSION, name, other)
    await _end_receipts(connection, name, other)
    await _end_receipts(connection, other, name)
    return True


async def _is_complete(connection: AsyncConnection, name: str, other: str) -> bool:
    theirs = documents.alias()
    leased = func.count(documents.c.lease_token)
    of_each = (
        await connection.execute(
            select(func.count().label("documents"), leased.label("leased"))
            .where(documents.c.collection.in_([name, other]))
            .group_by(documents.c.collection)
        )
    ).all()
    if any(one.leased for one in of_each):
        return False
    alike = (
        select(func.count())
        .select_from(documents)
        .join(theirs, and_(theirs.c.collection == other, theirs.c.id == documents.c.id))
        .where(
            documents.c.collection == name,
            # Its digest does not depend on the chunking.
            documents.c.digest == theirs.c.digest,
            (documents.c.state != "ready") | (theirs.c.state == "ready"),
        )
    )
    found = await connection.scalar(alike)
    return all(one.documents == found for one in of_each)


async def _exchange(
    connection: AsyncConnection, table: Table, key: Column[Any], kept: set[str], name: str, other: str
) -> None:
    theirs = table.alias()
    rows = [theirs.c[key.name] == case((key == name, other), else_=name), key.in_([name, other])]
    if table is documents:
        rows.append(theirs.c.id == documents.c.id)
    taken = {column.name: theirs.c[column.name] for column in table.c if column.name not in kept}
    await connection.execute(update(table).where(*rows).values(taken))


async def _end_receipts(connection: AsyncConnection, name: str, other: str) -> None:
    """Ends the receipts of `name` whose documents were queued before the exchange and are done after it."""
    before = documents.alias()
    query = (
        select(documents, before.c.searchable_at.label("searchable_before"))
        .join(before, and_(before.c.collection == other, before.c.id == documents.c.id))
        .where(documents.c.collection == name, documents.c.state != "queued", before.c.state == "queued")
    )
    ended = []
    for row in await connection.execute(query):
        success = "ready" if row.searchable_before is None else "replaced"
        found = row.state == "ready"
        ended.append(
            {
                "c": name,
                "d": row.id,
                "v": row.version,
                "status": success if found else "failed",
                "chunks": row.chunks if found else 0,
                "tokens": row.tokens if found else 0,
                "truncated_tokens": row.truncated_tokens if found else 0,
                "reused_chunks": 0,
                "searchable_at": row.searchable_at if found else None,
                "report": row.report if found else None,
                "error_code": row.error_code,
                "error_message": row.error_message,
            }
        )
    await completion.end(connection, ended)
