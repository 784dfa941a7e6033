"""Jobs that are old enough to go. Each function is part of a transaction."""

from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog.tables import jobs, receipts


async def remove_jobs(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """See Catalog.remove_jobs. Receipts go with their job."""
    unfinished = exists().where(receipts.c.job_id == jobs.c.id, receipts.c.status == "queued")
    query = select(jobs.c.id).where(jobs.c.created_at < before, ~unfinished).order_by(jobs.c.created_at).limit(limit)
    # Those that somebody cancels at this moment go with the next sweep.
    ids = list(await connection.scalars(query.with_for_update(skip_locked=True)))
    if ids:
        await connection.execute(jobs.delete().where(jobs.c.id.in_(ids)))
    return len(ids)
