"""Work under leases: claims and their completion. Each function is part of a transaction. The holder of a lease is the
worker that knows its token. A lease is lost when another claim of the document writes a new token, which can happen
only after it expired. Rows are locked in the order of their keys, so that transactions cannot deadlock."""

from collections.abc import Collection as Several
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    String,
    Update,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import records
from ingestion.catalog.queue import completion, fair_turns
from ingestion.catalog.records import Values
from ingestion.catalog.statements import batches
from ingestion.catalog.tables import documents
from ingestion.errors import DocumentBusy, document_not_found
from ingestion.types import Claim, Outcome, WorkerId
from retrieval.types import ChunkId, DocumentId

_HELD = tuple(
    documents.c[name]
    for name in ("collection", "id", "version", "lease_token", "lease_version", *completion.CLOSED)
    if name != "due_at"
)
"""The columns that the end of a lease depends on: for many documents at once the others would be read for nothing."""
_WANTED = select(documents.c.lease_token).where(
    documents.c.lease_token.in_(bindparam("tokens", expanding=True)),
    # The mark belongs to the newest version.
    documents.c.cancelled.is_(False) | (documents.c.version > documents.c.lease_version),
)
"""Built once: it is asked at each step of the work."""


async def claim(
    connection: AsyncConnection,
    worker: WorkerId,
    limit: int,
    lease: timedelta,
    now: datetime,
    largest: int | None,
    collections: Sequence[str] | None,
) -> Sequence[Claim]:
    """Implements Catalog.claim."""
    rows: list[Row[Any]] = []
    # Two statements, since each reads the index in its order, and no further than necessary.
    for background in (False, True):
        if len(rows) == limit:
            break
        wanted = due(limit - len(rows), now, background=background)
        if largest is not None:
            wanted = wanted.where(documents.c.size <= largest)
        if collections is not None:
            wanted = wanted.where(documents.c.collection.in_(collections))
        first = wanted.cte("due")
        # A ready document whose lease ran out was about to be deleted, and may have lost chunks: it is processed again.
        attempts = case((documents.c.state == "ready", 1), else_=documents.c.attempts + 1)
        statement = _lease(connection, worker, now + lease).values(state="queued", attempts=attempts)
        statement = statement.where(documents.c.collection == first.c.collection, documents.c.id == first.c.id)
        rows += (await connection.execute(statement.returning(*documents.c))).all()
    # A worker that skips large documents runs ahead of their turns: later large documents would wait for all.
    if largest is None:
        await fair_turns.advance(connection, rows)
    return [_claim(row) for row in sorted(rows, key=lambda row: (row.background, row.turn, row.available_at))]


def due(limit: int, now: datetime, *, background: bool) -> Select[str, str]:
    """Selects and locks the next documents that no other transaction is claiming."""
    return (
        select(documents.c.collection, documents.c.id)
        .where(documents.c.background == background, documents.c.due_at <= now)
        .order_by(documents.c.turn, documents.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


async def claim_document(
    connection: AsyncConnection,
    collection: str,
    document_id: DocumentId,
    worker: WorkerId,
    lease: timedelta,
    now: datetime,
) -> Claim:
    """Implements Catalog.claim_document."""
    this = and_(documents.c.collection == collection, documents.c.id == document_id)
    row = (await connection.execute(select(documents).where(this).with_for_update())).first()
    if row is None:
        raise document_not_found(collection, document_id)
    if row.lease_token is not None and row.due_at > now:
        raise DocumentBusy(
            f"Document {document_id!r} is being processed; try again when that has ended.",
            collection=collection,
            document_id=document_id,
        )
    statement = _lease(connection, worker, now + lease).where(this).returning(*documents.c)
    return _claim((await connection.execute(statement)).one())


async def renew(
    connection: AsyncConnection, claims: Sequence[Claim], lease: timedelta, now: datetime
) -> Sequence[Claim]:
    """Implements Catalog.renew."""
    held = await _lock(connection, claims)
    for tokens in batches(held):
        await connection.execute(
            update(documents).where(documents.c.lease_token.in_(tokens)).values(due_at=now + lease)
        )
    return [replace(claim, lease_until=now + lease) for claim in claims if claim.token in held]


async def cancelled(connection: AsyncConnection, claims: Sequence[Claim]) -> set[str]:
    """Implements Catalog.cancelled."""
    tokens = {claim.token for claim in claims}
    wanted: set[str] = set()
    for some in batches(tokens):
        wanted.update(await connection.scalars(_WANTED, {"tokens": some}))
    return tokens - wanted


async def held(connection: AsyncConnection, claims: Sequence[Claim]) -> dict[str, frozenset[ChunkId]]:
    """Implements Catalog.held."""
    found: dict[str, frozenset[ChunkId]] = {}
    for tokens in batches(claim.token for claim in claims):
        query = select(documents.c.lease_token, documents.c.rollback_ids).where(documents.c.lease_token.in_(tokens))
        found.update((token, frozenset(ids or ())) for token, ids in await connection.execute(query))
    return found


async def begin_replacing(
    connection: AsyncConnection, searchable: Sequence[tuple[Claim, Several[ChunkId]]]
) -> set[str]:
    """Implements Catalog.begin_replacing."""
    rows = await _lock(connection, [claim for claim, _ in searchable])
    known = [
        {"token": claim.token, "ids": sorted(ids)}
        for claim, ids in searchable
        if claim.token in rows and rows[claim.token].rollback_ids is None
    ]
    if known:
        await connection.execute(_REPLACING, known)
    return set(rows)


async def release(connection: AsyncConnection, claims: Sequence[Claim], *, begun: bool) -> None:
    """Implements Catalog.release."""
    for tokens in batches(await _lock(connection, claims)):
        await connection.execute(
            update(documents)
            .where(documents.c.lease_token.in_(tokens))
            .values(
                # A newer version counts its attempts from zero.
                attempts=documents.c.attempts - case((documents.c.version == documents.c.lease_version, 1), else_=0),
                due_at=case((documents.c.state == "queued", documents.c.available_at), else_=null()),
                rollback_ids=_maybe_written(true()) if begun else documents.c.rollback_ids,
                **completion.NO_LEASE,
            )
        )


async def complete(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Implements Catalog.complete."""
    held = await _lock(connection, [outcome.claim for outcome in outcomes])
    closed: list[Values] = []
    ended: list[Values] = []
    for outcome in outcomes:
        row = held.pop(outcome.claim.token, None)
        if row is None:
            continue
        closed.append(completion.closed_document(row, outcome))
        if outcome.error is None or outcome.retry_at is None or row.version > row.lease_version:
            ended.append(completion.ended_receipts(row, outcome))
    await completion.close(connection, closed)
    await completion.end(connection, ended)


async def remove(connection: AsyncConnection, claim: Claim) -> bool:
    """Implements Catalog.remove_document."""
    row = (await _lock(connection, [claim])).get(claim.token)
    if row is None:
        return False
    this = and_(documents.c.collection == row.collection, documents.c.id == row.id)
    if row.version > row.lease_version:
        await connection.execute(
            update(documents)
            .where(this)
            .values(due_at=row.available_at, rollback_ids=None, **completion.NOT_SEARCHABLE, **completion.NO_LEASE)
        )
        return False
    await connection.execute(documents.delete().where(this))
    await completion.delete(connection, row.collection, row.id)
    return True


def _lease(connection: AsyncConnection, worker: WorkerId, until: datetime) -> Update:
    # Generated by the database, different for every row.
    token: ColumnElement[str] = (
        cast(func.gen_random_uuid(), String)
        if connection.dialect.name == "postgresql"
        else func.lower(func.hex(func.randomblob(16)))
    )
    return update(documents).values(
        attempts=documents.c.attempts + 1,
        # The holder of an expired lease may have written.
        rollback_ids=_maybe_written(documents.c.lease_token.is_not(None)),
        due_at=until,
        lease_token=token,
        lease_worker=worker,
        lease_version=documents.c.version,
    )


def _maybe_written(possible: ColumnElement[bool]) -> ColumnElement[Any]:
    """Excludes documents that were searchable before, for which `begin_replacing` records it."""
    first = and_(possible, documents.c.searchable_at.is_(None), documents.c.rollback_ids.is_(None))
    return case((first, literal([], documents.c.rollback_ids.type)), else_=documents.c.rollback_ids)


_REPLACING = (
    update(documents).where(documents.c.lease_token == bindparam("token")).values(rollback_ids=bindparam("ids"))
)


def _claim(row: Row[Any]) -> Claim:
    return Claim(
        record=records.record(row),
        worker=WorkerId(row.lease_worker),
        lease_until=row.due_at,
        token=row.lease_token,
    )


async def _lock(connection: AsyncConnection, claims: Sequence[Claim]) -> dict[str, Row[Any]]:
    """Locks the documents whose leases are still held; returns them by token, with the columns of _HELD."""
    held: dict[str, Row[Any]] = {}
    ordered = sorted(claims, key=lambda claim: (claim.record.document.collection, claim.record.document.id))
    for tokens in batches(claim.token for claim in ordered):
        query = (
            select(*_HELD)
            .where(documents.c.lease_token.in_(tokens))
            .order_by(documents.c.collection, documents.c.id)
            .with_for_update()
        )
        held.update((row.lease_token, row) for row in await connection.execute(query))
    return held
