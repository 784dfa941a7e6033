"""Submission: creates a job, queues its documents and writes their first receipts. Each function is part of a
transaction."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache

from sqlalchemy import Insert, Select, String, and_, bindparam, case, cast, column, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from ingestion.catalog import collections, records
from ingestion.catalog import documents as document_queries
from ingestion.catalog.queue import fair_turns
from ingestion.catalog.queue import jobs as job_queries
from ingestion.catalog.records import Values
from ingestion.catalog.statements import batches, insert_of, rows_for
from ingestion.catalog.tables import documents, jobs, receipts
from ingestion.errors import IdempotencyConflict
from ingestion.types import Document, DocumentRecord, IdempotencyKey, JobId, Receipt, SkippedPart
from retrieval.errors import InvalidRequest
from retrieval.types import DocumentId


async def accept(
    connection: AsyncConnection,
    job_id: JobId,
    collection: str,
    named: Sequence[Document],
    key: IdempotencyKey | None,
    background: bool,
    skipped: Sequence[SkippedPart],
    created_by: str | None,
    tenant: str | None,
) -> Sequence[Receipt]:
    """Implements Catalog.accept.

    Calls on one collection are serialised, so that later ones see the keys and documents of earlier ones.
    """
    now = datetime.now(UTC)
    skips = await collections.in_turn(connection, collection) == "skip"
    if key is not None and (earlier := await _job_of(connection, collection, key)) is not None:
        return await job_queries.job_receipts(connection, earlier, after=0, limit=None)
    await _add_job(connection, job_id, collection, key, skipped, created_by, tenant, now)
    if not named:
        return ()
    last = {document.id: position for position, document in enumerate(named)}
    first_turn = await fair_turns.first(connection, background=background)
    # In a thread: for hundreds of documents it would hold up whatever else the process answers.
    rows = await asyncio.to_thread(
        lambda: {
            id_: records.document_values(named[position], turn=first_turn + position, background=background, now=now)
            for id_, position in last.items()
        }
    )
    # What is there already comes first: what the others may be duplicates of is what it holds from now on.
    existing = await _existing(connection, collection, last)
    queued = await _queue(connection, [rows[id_] for id_ in sorted(existing)])
    others = await _others(connection, collection, [named[position] for position in last.values()])
    added: dict[tuple[str, str, tuple[str, ...] | None], DocumentId] = {}
    for id_, position in sorted(last.items(), key=lambda item: item[1]):
        same = named[position].sha256, *_readers(named[position])
        if id_ not in others and same in added:
            others[id_] = added[same]
        if id_ not in existing and not (skips and id_ in others):
            added.setdefault(same, id_)
    new = last.keys() - existing
    left_out = new & others.keys() if skips else set()
    queued |= await _queue(connection, [rows[id_] for id_ in sorted(new - left_out)])
    await fair_turns.close_gaps(connection, collection, {id_: rows[id_]["turn"] for id_ in queued}, first_turn)
    unchanged = await document_queries.named(connection, collection, existing - queued.keys())

    def first_receipt(position: int, id_: DocumentId) -> Receipt:
        if position != last[id_]:
            return Receipt(job_id, id_, _version(id_, queued, unchanged), "replaced")
        return _last_receipt(job_id, id_, queued, unchanged, others.get(id_))

    first = [first_receipt(position, document.id) for position, document in enumerate(named)]
    first_rows = [
        records.receipt_values(receipt, collection=collection, position=position)
        for position, receipt in enumerate(first)
    ]
    dialect = connection.dialect.name
    await connection.execute(_receiving(dialect, tuple(first_rows[0])), rows_for(dialect, first_rows))
    return first


async def _job_of(connection: AsyncConnection, collection: str, key: IdempotencyKey) -> JobId | None:
    query = select(jobs.c.id, jobs.c.body_digest).where(jobs.c.collection == collection, jobs.c.key == key.key)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    if row.body_digest != key.body_digest:
        raise IdempotencyConflict(
            f"The idempotency key was used for another request, job {row.id}; a new request needs a key of its own.",
            job_id=row.id,
        )
    return JobId(row.id)


async def _add_job(
    connection: AsyncConnection,
    job_id: JobId,
    collection: str,
    key: IdempotencyKey | None,
    skipped: Sequence[SkippedPart],
    created_by: str | None,
    tenant: str | None,
    now: datetime,
) -> None:
    values: Values = {
        "id": job_id,
        "collection": collection,
        "created_at": now,
        "cancelled": False,
        "created_by": created_by,
        "tenant": tenant,
    }
    if skipped:
        values["skipped"] = [asdict(each) for each in skipped]
    if key is not None:
        values |= {"key": key.key, "body_digest": key.body_digest}
    try:
        await connection.execute(jobs.insert().values(values))
    except IntegrityError as error:
        raise InvalidRequest(f"There is a job {job_id} already.", job_id=job_id) from error


async def _existing(connection: AsyncConnection, collection: str, ids: Iterable[DocumentId]) -> set[DocumentId]:
    found: set[DocumentId] = set()
    for some in batches(ids):
        result = await connection.scalars(_known(connection.dialect.name), {"c": collection, "ids": some})
        found.update(DocumentId(id_) for id_ in result)
    return found


async def _queue(connection: AsyncConnection, rows: Sequence[Values]) -> dict[DocumentId, int]:
    """Writes the documents in `rows`, but for those that are unchanged; returns the versions of those that it queued.

    `rows` are ordered by id, as every transaction locks documents in that order.
    """
    if not rows:
        return {}
    dialect = connection.dialect.name
    result = await connection.execute(_queueing(dialect, tuple(rows[0])), rows_for(dialect, rows))
    return {DocumentId(id_): version for id_, version in result}


# These take longer to make than the database takes to run them.


@cache
def _known(dialect: str) -> Select[str]:
    """Selects those of :ids that collection :c holds. On PostgreSQL the ids are one parameter, as in `insert_of`."""
    if dialect == "postgresql":
        ids = documents.c.id == func.any(bindparam("ids", type_=postgresql.ARRAY(String)))
    else:
        ids = documents.c.id.in_(bindparam("ids", expanding=True))
    return select(documents.c.id).where(documents.c.collection == bindparam("c"), ids)


@cache
def _receiving(dialect: str, names: tuple[str, ...]) -> Insert:
    return insert_of(dialect, receipts, names)


@cache
def _queueing(dialect: str, names: tuple[str, ...]) -> ReturningInsert[str, int]:
    insert = insert_of(dialect, documents, names)
    new = insert.excluded
    unleased = documents.c.lease_token.is_(None)
    found = {"chunks", "tokens", "truncated_tokens", "chunk_digest", "report", "language"}
    kept = {"collection", "id", "version", "due_at"} | found
    asked = ("digest", "max_tokens", "overlap", "ocr", "boilerplate")
    same = and_(*(documents.c[name] == new[name] for name in asked))
    upsert = insert.on_conflict_do_update(
        index_elements=[documents.c.collection, documents.c.id],
        set_={
            **{name: new[name] for name in names if name not in kept},
            "version": documents.c.version + 1,
            # A lease on the version before stays, and this version is due when it ends.
            "due_at": case((unleased, new.due_at), else_=documents.c.due_at),
        },
        # A ready document under a lease is being deleted.
        where=(documents.c.state != "ready") | ~unleased | ~same,
    )
    return upsert.returning(documents.c.id, documents.c.version)


async def _others(
    connection: AsyncConnection, collection: str, named: Sequence[Document]
) -> dict[DocumentId, DocumentId]:
    """Returns, for each of `named` whose bytes its partition of the collection holds for the same groups under another
    id, the first such id.
    """
    found: dict[DocumentId, DocumentId] = {}
    for partition, groups in {_readers(document) for document in named}:
        these = [document for document in named if _readers(document) == (partition, groups)]
        two: dict[str, tuple[str | None, str | None]] = {}
        for hashes in batches({document.sha256 for document in these}):
            values = {
                "h": json.dumps(hashes),
                "c": collection,
                "p": partition,
                "g": records.groups_value(groups),
            }
            result = await connection.execute(holders(connection.dialect.name), values)
            two.update((row.sha256, (row.first, row.second)) for row in result)
        for document in these:
            first, second = two[document.sha256]
            other = second if first == document.id else first
            if other is not None:
                found[document.id] = DocumentId(other)
    return found


def _readers(document: Document) -> tuple[str, tuple[str, ...] | None]:
    """Partition and groups: a document is no duplicate of one that others read."""
    return document.partition, document.groups


@cache
def holders(dialect: str) -> Select[tuple[str, str | None, str | None]]:
    """The first two documents with each of the hashes :h, a JSON list, and with the groups :g, in partition :p of
    collection :c.

    Neither one whose work failed or was cancelled, nor one that is being deleted: they may never be found in its place.
    """
    hashes = bindparam("h", type_=String)
    unpacked = (
        func.jsonb_array_elements_text(cast(hashes, postgresql.JSONB))
        if dialect == "postgresql"
        else func.json_each(hashes)
    )
    wanted = unpacked.table_valued(column("value", String))
    holder = (
        select(documents.c.id)
        .where(
            documents.c.sha256 == wanted.c.value,
            # An expression, so that only the index of hashes serves: to a PostgreSQL that has counted no document of a
            # new collection yet, reading all of them for each hash seems to be less work.
            documents.c.collection.concat("") == bindparam("c"),
            documents.c.partition == bindparam("p"),
            documents.c.groups.is_not_distinct_from(bindparam("g", type_=documents.c.groups.type)),
            documents.c.state != "failed",
            documents.c.cancelled.is_(False),
            (documents.c.state != "ready") | documents.c.lease_token.is_(None),
        )
        .order_by(documents.c.id)
        .limit(1)
    )
    return select(
        wanted.c.value.label("sha256"),
        holder.scalar_subquery().label("first"),
        holder.offset(1).scalar_subquery().label("second"),
    )


def _version(id_: DocumentId, queued: Mapping[DocumentId, int], unchanged: Mapping[DocumentId, DocumentRecord]) -> int:
    """0 for a document that was left out."""
    if id_ in queued:
        return queued[id_]
    return unchanged[id_].version if id_ in unchanged else 0


def _last_receipt(
    job_id: JobId,
    id_: DocumentId,
    queued: Mapping[DocumentId, int],
    unchanged: Mapping[DocumentId, DocumentRecord],
    other: DocumentId | None,
) -> Receipt:
    version = _version(id_, queued, unchanged)
    if id_ in queued:
        return Receipt(job_id, id_, version, "queued", duplicate_of=other)
    if id_ not in unchanged:
        return Receipt(job_id, id_, version, "duplicate_of", duplicate_of=other)
    current = unchanged[id_]
    return Receipt(
        job_id,
        id_,
        version,
        "unchanged",
        chunks=current.chunks,
        tokens=current.tokens,
        truncated_tokens=current.truncated_tokens,
        searchable_at=current.searchable_at,
        duplicate_of=other,
        report=current.report,
    )
