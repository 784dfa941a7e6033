"""Work under leases: claims, and how they end. Each function is part of a transaction.

A lease is held by whoever knows its token. It is lost when another claim of the document writes a new one, which can
happen only after it ran out. Rows are locked in the order of their keys, so that transactions never wait in a circle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, String, Update, and_, bindparam, case, cast, func, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import records
from ingestion.catalog.documents import BATCH
from ingestion.catalog.records import Values
from ingestion.catalog.tables import documents, receipts
from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.types import Claim, DocumentError, Outcome, WorkerId
from retrieval.types import DocumentId

NO_LEASE: Values = {"lease_token": None, "lease_worker": None, "lease_version": None}
SUPERSEDED = DocumentError("superseded", "A newer version of the document was accepted before this one was processed.")
DELETED = DocumentError("deleted", "The document was deleted before this version was processed.")


async def claim(
    connection: AsyncConnection, worker: WorkerId, limit: int, lease: timedelta, now: datetime
) -> Sequence[Claim]:
    """See Catalog.claim."""
    due = (
        select(documents.c.collection, documents.c.id)
        .where(documents.c.due_at <= now)
        .order_by(documents.c.due_at, documents.c.position)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    # A ready document whose lease ran out was about to be deleted and may have lost chunks already: it is done anew.
    statement = _lease(connection, worker, now + lease).values(state="queued")
    statement = statement.where(documents.c.collection == due.c.collection, documents.c.id == due.c.id)
    rows = (await connection.execute(statement.returning(*documents.c))).all()
    return [_claim(row) for row in sorted(rows, key=lambda row: (row.available_at, row.position))]


async def claim_document(
    connection: AsyncConnection,
    collection: str,
    document_id: DocumentId,
    worker: WorkerId,
    lease: timedelta,
    now: datetime,
) -> Claim:
    """See Catalog.claim_document."""
    this = and_(documents.c.collection == collection, documents.c.id == document_id)
    row = (await connection.execute(select(documents).where(this).with_for_update())).first()
    if row is None:
        raise DocumentNotFound(
            f"There is no document {document_id!r} in collection {collection!r}.",
            collection=collection,
            document_id=document_id,
        )
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
    """See Catalog.renew."""
    held = await _lock(connection, claims)
    for tokens in _batches(held):
        await connection.execute(
            update(documents).where(documents.c.lease_token.in_(tokens)).values(due_at=now + lease)
        )
    return [replace(claim, lease_until=now + lease) for claim in claims if claim.token in held]


async def release(connection: AsyncConnection, claims: Sequence[Claim]) -> None:
    """See Catalog.release."""
    for tokens in _batches(await _lock(connection, claims)):
        await connection.execute(
            update(documents)
            .where(documents.c.lease_token.in_(tokens))
            .values(
                # A newer version counts its attempts from nought.
                attempts=documents.c.attempts - case((documents.c.version == documents.c.lease_version, 1), else_=0),
                due_at=case((documents.c.state == "queued", documents.c.available_at), else_=null()),
                **NO_LEASE,
            )
        )


async def complete(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """See Catalog.complete."""
    held = await _lock(connection, [outcome.claim for outcome in outcomes])
    closed: list[Values] = []
    ended: list[Values] = []
    for outcome in outcomes:
        row = held.pop(outcome.claim.token, None)
        if row is None:
            continue
        closed.append(_closed_document(row, outcome))
        if outcome.error is None or outcome.retry_at is None or row.version > row.lease_version:
            ended.append(_ended_receipts(row, outcome))
    if closed:
        await connection.execute(_CLOSE_DOCUMENT, closed)
    if ended:
        await connection.execute(_END_RECEIPTS, ended)
        await connection.execute(_SUPERSEDE_RECEIPTS, [{"c": row["c"], "d": row["d"], "v": row["v"]} for row in ended])


async def remove(connection: AsyncConnection, claim: Claim) -> bool:
    """See Catalog.remove_document."""
    row = (await _lock(connection, [claim])).get(claim.token)
    if row is None:
        return False
    this = and_(documents.c.collection == row.collection, documents.c.id == row.id)
    if row.version > row.lease_version:
        gone = {"chunks": 0, "tokens": 0, "truncated_tokens": 0, "searchable_at": None}
        await connection.execute(update(documents).where(this).values(due_at=row.available_at, **gone, **NO_LEASE))
        return False
    await connection.execute(documents.delete().where(this))
    await connection.execute(
        update(receipts)
        .where(receipts.c.collection == row.collection, receipts.c.document_id == row.id, receipts.c.status == "queued")
        .values(status="failed", **records.error_values(DELETED))
    )
    return True


def _lease(connection: AsyncConnection, worker: WorkerId, until: datetime) -> Update:
    # Made by the database, for every row another one.
    token: ColumnElement[str] = (
        cast(func.gen_random_uuid(), String)
        if connection.dialect.name == "postgresql"
        else func.lower(func.hex(func.randomblob(16)))
    )
    return update(documents).values(
        attempts=documents.c.attempts + 1,
        due_at=until,
        lease_token=token,
        lease_worker=worker,
        lease_version=documents.c.version,
    )


def _claim(row: Row[Any]) -> Claim:
    return Claim(
        record=records.record(row),
        worker=WorkerId(row.lease_worker),
        lease_until=row.due_at,
        token=row.lease_token,
    )


async def _lock(connection: AsyncConnection, claims: Sequence[Claim]) -> dict[str, Row[Any]]:
    """Locks the documents whose leases are still held; by token."""
    held: dict[str, Row[Any]] = {}
    ordered = sorted(claims, key=lambda claim: (claim.record.document.collection, claim.record.document.id))
    for tokens in _batches(claim.token for claim in ordered):
        query = (
            select(documents)
            .where(documents.c.lease_token.in_(tokens))
            .order_by(documents.c.collection, documents.c.id)
            .with_for_update()
        )
        held.update((row.lease_token, row) for row in await connection.execute(query))
    return held


def _batches(tokens: Iterable[str]) -> list[list[str]]:
    every = list(tokens)
    return [every[start : start + BATCH] for start in range(0, len(every), BATCH)]


def _closed_document(row: Row[Any], outcome: Outcome) -> Values:
    """The document's row after the claim; search finds what the last success wrote, whichever version that was."""
    values: Values = {
        "token": row.lease_token,
        "state": row.state,
        "available_at": row.available_at,
        "due_at": row.available_at,
        "chunks": row.chunks,
        "tokens": row.tokens,
        "truncated_tokens": row.truncated_tokens,
        "searchable_at": row.searchable_at,
        "error_code": row.error_code,
        "error_message": row.error_message,
    }
    if outcome.error is None:
        values |= {
            "chunks": outcome.chunks,
            "tokens": outcome.tokens,
            "truncated_tokens": outcome.truncated_tokens,
            "searchable_at": outcome.searchable_at,
        }
    if row.version > row.lease_version:
        return values
    values |= records.error_values(outcome.error)
    if outcome.error is None:
        return values | {"state": "ready", "due_at": None}
    if outcome.retry_at is None:
        return values | {"state": "failed", "due_at": None}
    return values | {"state": "queued", "available_at": outcome.retry_at, "due_at": outcome.retry_at}


def _ended_receipts(row: Row[Any], outcome: Outcome) -> Values:
    success = "ready" if row.searchable_at is None else "replaced"
    return {
        "c": row.collection,
        "d": row.id,
        "v": row.lease_version,
        "status": success if outcome.error is None else "failed",
        "chunks": outcome.chunks,
        "tokens": outcome.tokens,
        "truncated_tokens": outcome.truncated_tokens,
        "searchable_at": outcome.searchable_at,
        **records.error_values(outcome.error),
    }


def _set(*names: str) -> Values:
    return {name: bindparam(name) for name in names}


_RESULT = ("chunks", "tokens", "truncated_tokens", "searchable_at", "error_code", "error_message")
_CLOSE_DOCUMENT = (
    update(documents)
    .where(documents.c.lease_token == bindparam("token"))
    .values(_set("state", "available_at", "due_at", *_RESULT))
    .values(NO_LEASE)
)
_OPEN_RECEIPT = and_(
    receipts.c.collection == bindparam("c"), receipts.c.document_id == bindparam("d"), receipts.c.status == "queued"
)
_END_RECEIPTS = (
    update(receipts).where(_OPEN_RECEIPT, receipts.c.version == bindparam("v")).values(_set("status", *_RESULT))
)
_SUPERSEDE_RECEIPTS = (
    update(receipts)
    .where(_OPEN_RECEIPT, receipts.c.version < bindparam("v"))
    .values(status="failed", **records.error_values(SUPERSEDED))
)
