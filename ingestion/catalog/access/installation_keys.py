"""Random keys of this installation, in the catalog. Each function is part of a transaction."""

from secrets import token_bytes

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog.tables import secrets

_BYTES = 32


async def secret(connection: AsyncConnection, name: str) -> bytes:
    """Implements Catalog.secret."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    made = insert(secrets).values(name=name, value=token_bytes(_BYTES))
    # If several processes create one at the same time, the first one wins, and all read it.
    await connection.execute(made.on_conflict_do_nothing())
    found: bytes = (await connection.execute(select(secrets.c.value).where(secrets.c.name == name))).scalar_one()
    return found
