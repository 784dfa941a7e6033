"""What is accepted, and what is told about it: documents, jobs and receipts. Each function is part of a transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import case, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import collections, records
from ingestion.catalog.tables import documents, jobs, receipts
from ingestion.errors import DocumentNotFound, JobNotFound
from ingestion.types import Document, DocumentRecord, Job, JobId, JobState, Progress, Receipt
from retrieval.errors import InvalidRequest
from retrieval.types import DocumentId

BATCH = 5000
"""Values in one IN list: well below the limits of both databases."""


async def accept(
    connection: AsyncConnection, job_id: JobId, collection: str, named: Sequence[Document]
) -> Sequence[Receipt]:
    """See Catalog.accept."""
    now = datetime.now(UTC)
    await collections.require(connection, collection, lock=True)
    try:
        await connection.execute(jobs.insert().values(id=job_id, collection=collection, created_at=now))
    except IntegrityError as error:
        raise InvalidRequest(f"There is a job {job_id} already.", job_id=job_id) from error
    if not named:
        return ()
    last = {document.id: position for position, document in enumerate(named)}
    queued = await _queue(connection, named, sorted(last.items()), now)
    unchanged = await _current(connection, collection, [id_ for id_ in last if id_ not in queued])

    def first_receipt(position: int, id_: DocumentId) -> Receipt:
        if id_ in queued:
            version = queued[id_]
            return Receipt(job_id, id_, version, "queued" if position == last[id_] else "replaced")
        current = unchanged[id_]
        if position != last[id_]:
            return Receipt(job_id, id_, current.version, "replaced")
        return Receipt(
            job_id,
            id_,
            current.version,
            "unchanged",
            current.chunks,
            current.tokens,
            current.truncated_tokens,
            current.searchable_at,
        )

    first = [first_receipt(position, document.id) for position, document in enumerate(named)]
    await connection.execute(
        receipts.insert(),
        [
            records.receipt_values(receipt, collection=collection, position=position)
            for position, receipt in enumerate(first)
        ],
    )
    return first


async def _queue(
    connection: AsyncConnection, named: Sequence[Document], last: Sequence[tuple[DocumentId, int]], now: datetime
) -> dict[DocumentId, int]:
    """Writes the documents at the positions in `last`; returns the versions of those that are queued by it.

    `last` is ordered by id, as every transaction locks documents in that order.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(documents)
    new = insert.excluded
    unleased = documents.c.lease_token.is_(None)
    kept = {"collection", "id", "version", "chunks", "tokens", "truncated_tokens", "due_at"}
    rows = [records.document_values(named[position], position=position, now=now) for _, position in last]
    upsert = insert.on_conflict_do_update(
        index_elements=[documents.c.collection, documents.c.id],
        set_={
            **{name: new[name] for name in rows[0] if name not in kept},
            "version": documents.c.version + 1,
            # A lease on the version before stays, and this version is due when it ends.
            "due_at": case((unleased, new.due_at), else_=documents.c.due_at),
        },
        # A ready document under a lease is being deleted.
        where=(documents.c.state != "ready") | ~unleased | (documents.c.digest != new.digest),
    )
    result = await connection.execute(upsert.returning(documents.c.id, documents.c.version), rows)
    return {DocumentId(id_): version for id_, version in result}


async def _current(
    connection: AsyncConnection, collection: str, ids: Sequence[DocumentId]
) -> dict[DocumentId, DocumentRecord]:
    found: dict[DocumentId, DocumentRecord] = {}
    for start in range(0, len(ids), BATCH):
        query = select(documents).where(
            documents.c.collection == collection, documents.c.id.in_(ids[start : start + BATCH])
        )
        found.update((DocumentId(row.id), records.record(row)) for row in await connection.execute(query))
    return found


async def document(connection: AsyncConnection, collection: str, document_id: DocumentId) -> DocumentRecord:
    """See Catalog.document."""
    query = select(documents).where(documents.c.collection == collection, documents.c.id == document_id)
    row = (await connection.execute(query)).first()
    if row is None:
        await collections.require(connection, collection)
        raise DocumentNotFound(
            f"There is no document {document_id!r} in collection {collection!r}.",
            collection=collection,
            document_id=document_id,
        )
    return records.record(row)


async def page(
    connection: AsyncConnection, collection: str, after: DocumentId | None, limit: int
) -> Sequence[DocumentRecord]:
    """See Catalog.documents."""
    query = select(documents).where(documents.c.collection == collection).order_by(documents.c.id).limit(limit)
    if after is not None:
        query = query.where(documents.c.id > after)
    rows = (await connection.execute(query)).all()
    if not rows:
        await collections.require(connection, collection)
    return [records.record(row) for row in rows]


async def job(connection: AsyncConnection, job_id: JobId) -> Job:
    """See Catalog.job."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).first()
    if row is None:
        raise JobNotFound(f"There is no job {job_id!r}.", job_id=job_id)
    ended = case((receipts.c.status != "queued", 1), else_=0)
    failed = case((receipts.c.status == "failed", 1), else_=0)
    totals = [func.coalesce(func.sum(term), 0) for term in (ended, failed, receipts.c.chunks, receipts.c.tokens)]
    counts = (
        await connection.execute(select(func.count(), *totals).select_from(receipts).where(receipts.c.job_id == job_id))
    ).one()
    progress = Progress(*(int(count) for count in counts))
    return Job(
        id=JobId(row.id),
        collection=row.collection,
        state=await _job_state(connection, job_id, progress),
        progress=progress,
        created_at=row.created_at,
    )


async def _job_state(connection: AsyncConnection, job_id: JobId, progress: Progress) -> JobState:
    if progress.done == progress.documents:
        if progress.failed == 0:
            return "succeeded"
        return "failed" if progress.failed == progress.documents else "partial"
    if progress.done:
        return "running"
    in_work = exists().where(
        receipts.c.job_id == job_id,
        receipts.c.status == "queued",
        documents.c.collection == receipts.c.collection,
        documents.c.id == receipts.c.document_id,
        documents.c.lease_version == receipts.c.version,
    )
    return "running" if await connection.scalar(select(in_work)) else "queued"


async def job_receipts(connection: AsyncConnection, job_id: JobId, after: int, limit: int) -> Sequence[Receipt]:
    """See Catalog.receipts."""
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


async def blob_in_use(connection: AsyncConnection, sha256: str) -> bool:
    """See Catalog.blob_in_use."""
    return bool(await connection.scalar(select(exists().where(documents.c.sha256 == sha256))))


async def queue_depth(connection: AsyncConnection) -> int:
    """See Catalog.queue_depth."""
    # `due_at` is set exactly while a document is queued or leased.
    query = select(func.count()).select_from(documents).where(documents.c.due_at.is_not(None))
    return int(await connection.scalar(query) or 0)
