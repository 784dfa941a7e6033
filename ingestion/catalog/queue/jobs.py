"""Jobs and their receipts: progress, cancellation and removal. Each function is part of a transaction."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import records
from ingestion.catalog.queue import completion
from ingestion.catalog.statements import batches
from ingestion.catalog.tables import documents, jobs, receipts
from ingestion.errors import JobNotFound
from ingestion.types import Job, JobId, JobState, Progress, Receipt, SkippedPart

# The document has the version of the receipt, and work on it has not ended.
_IN_PROGRESS = and_(
    receipts.c.status == "queued",
    documents.c.collection == receipts.c.collection,
    documents.c.id == receipts.c.document_id,
    documents.c.version == receipts.c.version,
    documents.c.state == "queued",
)


_JOB = select(jobs).where(jobs.c.id == bindparam("job"))
_COUNTS = (
    select(
        func.count(),
        *(
            func.coalesce(func.sum(term), 0)
            for term in (
                case((receipts.c.status != "queued", 1), else_=0),
                case((receipts.c.status == "failed", 1), else_=0),
                receipts.c.chunks,
                receipts.c.tokens,
            )
        ),
    )
    .select_from(receipts)
    .where(receipts.c.job_id == bindparam("job"))
)
_IN_WORK = select(
    exists().where(
        receipts.c.job_id == bindparam("job"),
        receipts.c.status == "queued",
        documents.c.collection == receipts.c.collection,
        documents.c.id == receipts.c.document_id,
        documents.c.lease_version == receipts.c.version,
    )
)


async def job(connection: AsyncConnection, job_id: JobId) -> Job:
    """Implements Catalog.job. Callers poll it, so its statements are built once."""
    row = (await connection.execute(_JOB, {"job": job_id})).first()
    if row is None:
        raise JobNotFound(f"There is no job {job_id!r}.", job_id=job_id)
    counts = (await connection.execute(_COUNTS, {"job": job_id})).one()
    progress = Progress(*(int(count) for count in counts))
    return Job(
        id=JobId(row.id),
        collection=row.collection,
        state=await _state(connection, job_id, progress, row.cancelled),
        progress=progress,
        created_at=row.created_at,
        skipped=tuple(SkippedPart(each["name"], each["reason"]) for each in row.skipped or ()),
        tenant=row.tenant,
    )


async def latest(
    connection: AsyncConnection, limit: int, collections: Sequence[str] | None, tenant: str | None
) -> Sequence[Job]:
    """Implements Catalog.latest_jobs."""
    query = select(jobs.c.id).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
    if collections is not None:
        query = query.where(jobs.c.collection.in_(collections))
    if tenant is not None:
        query = query.where(jobs.c.tenant == tenant)
    ids = await connection.scalars(query)
    return [await job(connection, JobId(id_)) for id_ in ids.all()]


async def _state(connection: AsyncConnection, job_id: JobId, progress: Progress, cancelled: bool) -> JobState:
    if progress.done == progress.documents:
        if cancelled:
            return "cancelled"
        if progress.failed == 0:
            return "succeeded"
        return "failed" if progress.failed == progress.documents else "partial"
    if progress.done:
        return "running"
    return "running" if await connection.scalar(_IN_WORK, {"job": job_id}) else "queued"


async def job_receipts(
    connection: AsyncConnection, job_id: JobId, *, after: int, limit: int | None
) -> Sequence[Receipt]:
    """Implements Catalog.receipts. Returns all of them without a `limit`."""
    query = (
        select(receipts)
        .where(receipts.c.job_id == job_id, receipts.c.position >= after)
        .order_by(receipts.c.position)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    if not rows and (await connection.execute(select(jobs.c.id).where(jobs.c.id == job_id))).first() is None:
        raise JobNotFound(f"There is no job {job_id!r}.", job_id=job_id)
    return [records.receipt(row) for row in rows]


async def unfinished(connection: AsyncConnection, created_by: str) -> int:
    """Implements Catalog.unfinished_jobs."""
    waiting = exists().where(receipts.c.job_id == jobs.c.id, receipts.c.status == "queued")
    query = select(func.count()).select_from(jobs).where(jobs.c.created_by == created_by, waiting)
    return int(await connection.scalar(query) or 0)


async def cancel(connection: AsyncConnection, job_id: JobId) -> Job:
    """Implements Catalog.cancel_job. A document under a lease on an older version is left to the worker that claims it
    next, as is one in process. A document of which the store may hold a part is left to a worker too, and becomes due
    at once.
    """
    query = (
        select(documents.c.collection, documents.c.id, documents.c.lease_token, documents.c.rollback_ids.is_(None))
        .join_from(documents, receipts, _IN_PROGRESS)
        .where(receipts.c.job_id == job_id)
        .order_by(documents.c.id)
        .with_for_update(of=documents)
    )
    rows = (await connection.execute(query)).all()
    # From here on none of them can end, and so neither can the job.
    this = await job(connection, job_id)
    if this.ended:
        return this
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(cancelled=True))
    for ids in batches(row.id for row in rows):
        these = and_(documents.c.collection == this.collection, documents.c.id.in_(ids))
        await connection.execute(update(documents).where(these).values(cancelled=True))
    unleased = [(id_, clean) for _, id_, token, clean in rows if token is None]
    for ids in batches(id_ for id_, clean in unleased if clean):
        await completion.cancel(connection, job_id, this.collection, ids)
    for ids in batches(id_ for id_, clean in unleased if not clean):
        await completion.make_due(connection, this.collection, ids)
    return await job(connection, job_id)


async def remove_jobs(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Implements Catalog.remove_jobs. Receipts are removed with their job."""
    unfinished = exists().where(receipts.c.job_id == jobs.c.id, receipts.c.status == "queued")
    query = select(jobs.c.id).where(jobs.c.created_at < before, ~unfinished).order_by(jobs.c.created_at).limit(limit)
    # The next sweep removes jobs that another transaction cancels at this moment.
    ids = list(await connection.scalars(query.with_for_update(skip_locked=True)))
    if ids:
        await connection.execute(jobs.delete().where(jobs.c.id.in_(ids)))
    return len(ids)
