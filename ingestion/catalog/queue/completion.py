"""Ends work: the final values of documents and receipts. The caller's transaction has locked the documents before."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog import records
from ingestion.catalog.records import Values
from ingestion.catalog.tables import documents, receipts
from ingestion.types import DocumentError, JobId, Outcome

NO_LEASE: Values = {"lease_token": None, "lease_worker": None, "lease_version": None}
NOT_SEARCHABLE: Values = {
    "chunks": 0,
    "tokens": 0,
    "truncated_tokens": 0,
    "searchable_at": None,
    "chunk_digest": "",
    "report": None,
    "language": None,
}
SUPERSEDED = DocumentError("superseded", "A newer version of the document was accepted before this one was processed.")
DELETED = DocumentError("deleted", "The document was deleted before this version was processed.")
CANCELLED = DocumentError("cancelled", "The job was cancelled before the document was processed.")


async def close(connection: AsyncConnection, closed: Sequence[Values]) -> None:
    """Writes documents with the values of `closed_document`, found by the token of their lease, which ends."""
    if closed:
        await connection.execute(_CLOSE, closed)


async def end(connection: AsyncConnection, ended: Sequence[Values]) -> None:
    """Ends the receipts of versions, and of earlier versions that were never processed. `ended` names a collection `c`,
    a document `d`, its version `v` and the fields of the receipt."""
    if ended:
        await connection.execute(_END, ended)
        if later := [{name: row[name] for name in ("c", "d", "v")} for row in ended if row["v"] > 1]:
            await connection.execute(_SUPERSEDE, later)


async def cancel(connection: AsyncConnection, job_id: JobId, collection: str, ids: Sequence[str]) -> None:
    """Cancels queued documents without a lease, whose current version belongs to the job."""
    await connection.execute(
        update(documents)
        .where(documents.c.collection == collection, documents.c.id.in_(ids))
        .values(state="failed", due_at=None, **records.error_values(CANCELLED))
    )
    queued = and_(receipts.c.collection == collection, receipts.c.document_id.in_(ids), receipts.c.status == "queued")
    await connection.execute(
        update(receipts)
        .where(queued, receipts.c.job_id == job_id)
        .values(status="failed", **records.error_values(CANCELLED))
    )
    # Receipts that are still queued belong to earlier versions.
    await connection.execute(update(receipts).where(queued).values(status="failed", **records.error_values(SUPERSEDED)))


async def make_due(connection: AsyncConnection, collection: str, ids: Sequence[str]) -> None:
    """Makes queued documents without a lease due at once."""
    these = and_(documents.c.collection == collection, documents.c.id.in_(ids))
    await connection.execute(
        update(documents).where(these).values(available_at=documents.c.ingested_at, due_at=documents.c.ingested_at)
    )


async def delete(connection: AsyncConnection, collection: str, document_id: str) -> None:
    """Ends all queued receipts of a deleted document."""
    await connection.execute(
        update(receipts)
        .where(
            receipts.c.collection == collection,
            receipts.c.document_id == document_id,
            receipts.c.status == "queued",
        )
        .values(status="failed", **records.error_values(DELETED))
    )


def closed_document(row: Row[Any], outcome: Outcome) -> Values:
    """Returns the document's row after the claim. Search finds what the last success wrote, whichever
    version that was.
    """
    values: Values = {
        "token": row.lease_token,
        "state": row.state,
        "available_at": row.available_at,
        "due_at": row.available_at,
        "chunks": row.chunks,
        "tokens": row.tokens,
        "truncated_tokens": row.truncated_tokens,
        "searchable_at": row.searchable_at,
        "chunk_digest": row.chunk_digest,
        "report": row.report,
        "language": row.language,
        "error_code": row.error_code,
        "error_message": row.error_message,
        "cancelled": row.cancelled,
        "rollback_ids": row.rollback_ids,
        # A newer version counts its attempts from zero.
        "attempts": row.attempts if outcome.counted or row.version > row.lease_version else row.attempts - 1,
    }
    if outcome.error is None or outcome.retry_at is None:
        values["rollback_ids"] = None
    elif outcome.written and row.searchable_at is None:
        values["rollback_ids"] = []
    if outcome.version_lost:
        values |= NOT_SEARCHABLE
    if outcome.error is None:
        values |= {
            "chunks": outcome.chunks,
            "tokens": outcome.tokens,
            "truncated_tokens": outcome.truncated_tokens,
            "searchable_at": outcome.searchable_at,
            "chunk_digest": outcome.chunk_digest,
            "report": records.report_value(outcome.report),
            "language": outcome.language,
        }
    if row.version > row.lease_version:
        return values
    values |= records.error_values(outcome.error)
    if outcome.error is None:
        return values | {"state": "ready", "due_at": None, "cancelled": False}
    if outcome.retry_at is None:
        return values | {"state": "failed", "due_at": None}
    # There is nothing to wait for if it is cancelled.
    again = row.available_at if row.cancelled else outcome.retry_at
    return values | {"state": "queued", "available_at": again, "due_at": again}


def ended_receipts(row: Row[Any], outcome: Outcome) -> Values:
    """Returns the final receipt fields of the version under the lease, as input of `end`."""
    success = "ready" if row.searchable_at is None else "replaced"
    # A document that would be retried has not failed: only the newer version prevents the retry.
    error = outcome.error if outcome.retry_at is None else SUPERSEDED
    return {
        "c": row.collection,
        "d": row.id,
        "v": row.lease_version,
        "status": success if outcome.error is None else "failed",
        "chunks": outcome.chunks,
        "tokens": outcome.tokens,
        "truncated_tokens": outcome.truncated_tokens,
        "reused_chunks": outcome.reused_chunks,
        "searchable_at": outcome.searchable_at,
        "report": records.report_value(outcome.report),
        **records.error_values(error),
    }


CLOSED = (
    "state",
    "available_at",
    "due_at",
    "chunks",
    "tokens",
    "truncated_tokens",
    "searchable_at",
    "chunk_digest",
    "report",
    "language",
    "error_code",
    "error_message",
    "cancelled",
    "rollback_ids",
    "attempts",
)
_CLOSE = (
    update(documents)
    .where(documents.c.lease_token == bindparam("token"))
    .values({name: bindparam(name) for name in CLOSED})
    .values(NO_LEASE)
)
_RESULT = (
    "status",
    "chunks",
    "tokens",
    "truncated_tokens",
    "reused_chunks",
    "searchable_at",
    "report",
    "error_code",
    "error_message",
)
_OPEN = and_(
    receipts.c.collection == bindparam("c"), receipts.c.document_id == bindparam("d"), receipts.c.status == "queued"
)
_END = (
    update(receipts)
    .where(_OPEN, receipts.c.version == bindparam("v"))
    .values({name: bindparam(name) for name in _RESULT})
)
_SUPERSEDE = (
    update(receipts)
    .where(_OPEN, receipts.c.version < bindparam("v"))
    .values(status="failed", **records.error_values(SUPERSEDED))
)
