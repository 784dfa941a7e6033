"""API keys in the catalog. Each function is part of a transaction."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.access.keys import KeyLimits, StoredKey, key_not_found
from ingestion.catalog.tables import api_keys, key_changes

# Made once: they are asked often.
_WITH_DIGEST = select(api_keys).where(api_keys.c.digest == bindparam("digest"))
_CHANGES = select(key_changes.c.count)
_USED = update(api_keys).where(api_keys.c.id == bindparam("key")).values(last_used_at=bindparam("at"))


async def add(connection: AsyncConnection, key: StoredKey) -> None:
    """Implements KeyCatalog.add_key."""
    await connection.execute(api_keys.insert().values(asdict(key)))


async def named(connection: AsyncConnection, id_: str) -> StoredKey:
    """Implements KeyCatalog.key."""
    row = (await connection.execute(select(api_keys).where(api_keys.c.id == id_))).first()
    if row is None:
        raise key_not_found(id_)
    return _key(row)


async def with_digest(connection: AsyncConnection, digest: str) -> StoredKey | None:
    """Implements KeyCatalog.key_with."""
    row = (await connection.execute(_WITH_DIGEST, {"digest": digest})).first()
    return None if row is None else _key(row)


async def page(connection: AsyncConnection, after: str | None, limit: int) -> Sequence[StoredKey]:
    """Implements KeyCatalog.keys."""
    query = select(api_keys).order_by(api_keys.c.id).limit(limit)
    if after is not None:
        query = query.where(api_keys.c.id > after)
    return [_key(row) for row in await connection.execute(query)]


async def set_digest(connection: AsyncConnection, id_: str, digest: str) -> None:
    """Implements KeyCatalog.set_key_digest."""
    change = update(api_keys).where(api_keys.c.id == id_, api_keys.c.revoked_at.is_(None)).values(digest=digest)
    if not (await connection.execute(change)).rowcount:
        raise key_not_found(id_)
    await _count_change(connection)


async def revoke(connection: AsyncConnection, id_: str, at: datetime) -> None:
    """Implements KeyCatalog.revoke_key."""
    revoked = func.coalesce(api_keys.c.revoked_at, bindparam("at", at, api_keys.c.revoked_at.type))
    change = update(api_keys).where(api_keys.c.id == id_).values(revoked_at=revoked)
    if not (await connection.execute(change)).rowcount:
        raise key_not_found(id_)
    await _count_change(connection)


async def changes(connection: AsyncConnection) -> int:
    """Implements KeyCatalog.key_changes."""
    return int((await connection.execute(_CHANGES)).scalar_one())


async def touch(connection: AsyncConnection, ids: Collection[str], at: datetime) -> None:
    """Implements KeyCatalog.touch_keys."""
    # In order, so that two nodes never wait for each other's rows.
    await connection.execute(_USED, [{"key": id_, "at": at} for id_ in sorted(ids)])


async def _count_change(connection: AsyncConnection) -> None:
    # Last in its transaction: the row is locked until the commit, so counts appear in the order of their commits.
    await connection.execute(update(key_changes).values(count=key_changes.c.count + 1))


def _key(row: Row[Any]) -> StoredKey:
    values = dict(row._mapping)
    values |= {name: tuple(values[name]) for name in ("scopes", "collections")}
    values["groups"] = None if values["groups"] is None else tuple(values["groups"])
    return StoredKey(**{**values, "limits": KeyLimits(**values["limits"])})
