"""Collections in the catalog. Each function is part of a transaction."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import records
from ingestion.catalog.tables import collections, documents
from ingestion.types import Collection
from retrieval.errors import CollectionExists, CollectionNotFound


async def add(connection: AsyncConnection, collection: Collection) -> None:
    """See Catalog.add_collection."""
    try:
        await connection.execute(collections.insert().values(records.collection_values(collection)))
    except IntegrityError as error:
        raise CollectionExists(
            f"There is a collection {collection.name!r} already.", collection=collection.name
        ) from error


async def named(connection: AsyncConnection, name: str) -> Collection:
    """See Catalog.collection."""
    row = (await connection.execute(select(collections).where(collections.c.name == name))).first()
    if row is None:
        raise _not_found(name)
    return records.collection(row)


async def every(connection: AsyncConnection) -> Sequence[Collection]:
    """See Catalog.collections."""
    rows = await connection.execute(select(collections).order_by(collections.c.name))
    return [records.collection(row) for row in rows]


async def remove(connection: AsyncConnection, name: str) -> None:
    """See Catalog.remove_collection."""
    await connection.execute(select(collections.c.name).where(collections.c.name == name).with_for_update())
    # Locked in order before the cascade, which follows none.
    rows = select(documents.c.id).where(documents.c.collection == name).order_by(documents.c.id).with_for_update()
    await connection.execute(select(func.count()).select_from(rows.subquery()))
    await connection.execute(collections.delete().where(collections.c.name == name))


async def require(connection: AsyncConnection, name: str, *, lock: bool = False) -> None:
    """Raises CollectionNotFound. With `lock`, nobody removes the collection before the transaction ends."""
    query = select(collections.c.name).where(collections.c.name == name)
    if lock:
        query = query.with_for_update(read=True, key_share=True)
    if (await connection.execute(query)).first() is None:
        raise _not_found(name)


def _not_found(name: str) -> CollectionNotFound:
    return CollectionNotFound(f"There is no collection {name!r}.", collection=name)
