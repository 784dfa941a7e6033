"""Collections in the catalog. Each function is part of a transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import records
from ingestion.catalog.tables import collections, documents, golden_queries
from ingestion.types import Collection, Duplicates, GoldenQuery
from retrieval.errors import CollectionExists, CollectionNotFound
from retrieval.evaluation.golden_vectors import GoldenVectors
from retrieval.types import StoreName

_RECORD = select(*(column for column in collections.c if column.name not in ("golden_texts", "golden_vectors")))
"""A collection's row but for what only the check of its vectors reads."""


async def add(connection: AsyncConnection, collection: Collection) -> None:
    """Implements Catalog.add_collection."""
    try:
        await connection.execute(collections.insert().values(records.collection_values(collection)))
    except IntegrityError as error:
        raise CollectionExists(
            f"There is a collection {collection.name!r} already.", collection=collection.name
        ) from error


async def named(connection: AsyncConnection, name: str) -> Collection:
    """Implements Catalog.collection."""
    return records.collection(await _row(connection, _RECORD, name))


async def every(connection: AsyncConnection) -> Sequence[Collection]:
    """Implements Catalog.collections."""
    rows = await connection.execute(_RECORD.order_by(collections.c.name))
    return [records.collection(row) for row in rows]


async def remove(connection: AsyncConnection, name: str) -> None:
    """Implements Catalog.remove_collection."""
    try:
        await alone(connection, name)
    except CollectionNotFound:
        return
    # Locked in order before the cascade, which has no defined order.
    rows = select(documents.c.id).where(documents.c.collection == name).order_by(documents.c.id).with_for_update()
    await connection.execute(select(func.count()).select_from(rows.subquery()))
    await connection.execute(collections.delete().where(collections.c.name == name))


async def require(connection: AsyncConnection, name: str) -> None:
    """Raises CollectionNotFound if the collection does not exist."""
    await _row(connection, select(collections.c.name), name)


async def in_turn(connection: AsyncConnection, name: str) -> Duplicates:
    """Locks the collection against concurrent submissions, removal and swap until the transaction ends. Returns how it
    treats duplicates. Raises CollectionNotFound.
    """
    row = await _row(connection, select(collections.c.duplicates).with_for_update(key_share=True), name)
    duplicates: Duplicates = row.duplicates
    return duplicates


async def alone(connection: AsyncConnection, name: str) -> None:
    """Locks the collection exclusively: until the transaction ends, no document is accepted into it. Raises
    CollectionNotFound.
    """
    await _row(connection, select(collections.c.name).with_for_update(), name)


async def set_golden_vectors(connection: AsyncConnection, store_name: StoreName, golden: GoldenVectors) -> None:
    """Implements Catalog.set_golden_vectors."""
    values = records.golden_values(golden)
    await connection.execute(collections.update().where(collections.c.store_name == store_name).values(values))


async def golden_vectors(connection: AsyncConnection, store_name: StoreName) -> GoldenVectors | None:
    """Implements Catalog.golden_vectors."""
    query: Select[Any] = select(collections.c.golden_texts, collections.c.golden_vectors)
    row: Row[Any] | None = (await connection.execute(query.where(collections.c.store_name == store_name))).first()
    return None if row is None or row.golden_vectors is None else records.golden_vectors(row)


async def set_golden(connection: AsyncConnection, name: str, queries: Sequence[GoldenQuery]) -> None:
    """Implements Catalog.set_golden_queries."""
    await in_turn(connection, name)
    await connection.execute(golden_queries.delete().where(golden_queries.c.collection == name))
    rows = [
        {"collection": name, "position": position, "query": golden.query, "relevant": list(golden.relevant)}
        for position, golden in enumerate(queries)
    ]
    if rows:
        await connection.execute(golden_queries.insert(), rows)


async def golden(connection: AsyncConnection, name: str) -> Sequence[GoldenQuery]:
    """Implements Catalog.golden_queries."""
    await require(connection, name)
    query = (
        select(golden_queries.c.query, golden_queries.c.relevant)
        .where(golden_queries.c.collection == name)
        .order_by(golden_queries.c.position)
    )
    return [GoldenQuery(row.query, tuple(row.relevant)) for row in await connection.execute(query)]


async def _row(connection: AsyncConnection, query: Select[Any], name: str) -> Row[Any]:
    row: Row[Any] | None = (await connection.execute(query.where(collections.c.name == name))).first()
    if row is None:
        raise _not_found(name)
    return row


def _not_found(name: str) -> CollectionNotFound:
    return CollectionNotFound(f"There is no collection {name!r}.", collection=name)
