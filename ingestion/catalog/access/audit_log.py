"""The audit log in the catalog. Each function is part of a transaction."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.access.audit_log import AuditEntry, AuditFilter
from ingestion.catalog.tables import audit_log


async def record(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    """Implements AuditCatalog.record."""
    rows = [{name: value for name, value in asdict(entry).items() if name != "id"} for entry in entries]
    if rows:
        await connection.execute(audit_log.insert(), rows)


async def page(
    connection: AsyncConnection, filter: AuditFilter, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    """Implements AuditCatalog.recorded."""
    query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    for name in ("key_id", "token_subject", "action", "collection", "document_id", "outcome"):
        value = getattr(filter, name)
        if value is not None:
            query = query.where(audit_log.c[name] == value)
    if filter.since is not None:
        query = query.where(audit_log.c.at >= filter.since)
    if filter.until is not None:
        query = query.where(audit_log.c.at < filter.until)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    return [AuditEntry(**row._mapping) for row in await connection.execute(query)]


async def remove(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Implements AuditCatalog.remove_recorded."""
    oldest = select(audit_log.c.id).where(audit_log.c.at < before).order_by(audit_log.c.at).limit(limit)
    return (await connection.execute(audit_log.delete().where(audit_log.c.id.in_(oldest)))).rowcount
