"""Queries about documents, and requeueing for an audit. Each function is part of a transaction."""

import json
from collections.abc import Collection as Several
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Row, String, and_, case, column, func, or_, select, type_coerce, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.access.tenants import after_prefix
from ingestion.catalog import collections, records
from ingestion.catalog.narrowing import narrowed
from ingestion.catalog.queue import fair_turns
from ingestion.catalog.statements import batches
from ingestion.catalog.tables import documents
from ingestion.errors import Cancelled, document_not_found
from ingestion.types import DocumentRecord, QueueState, Totals
from retrieval.filters.tree import Filter
from retrieval.types import DocumentId


async def document(connection: AsyncConnection, collection: str, document_id: DocumentId) -> DocumentRecord:
    """Implements Catalog.document."""
    query = select(documents).where(documents.c.collection == collection, documents.c.id == document_id)
    row = (await connection.execute(query)).first()
    if row is None:
        await collections.require(connection, collection)
        raise document_not_found(collection, document_id)
    return records.record(row)


async def page(
    connection: AsyncConnection,
    collection: str,
    after: DocumentId | None,
    limit: int,
    prefix: str | None,
    groups: Sequence[str] | None,
    filter: Filter | None,
) -> Sequence[DocumentRecord]:
    """Implements Catalog.documents."""
    query = select(documents).where(documents.c.collection == collection).order_by(documents.c.id).limit(limit)
    if after is not None:
        query = query.where(documents.c.id > after)
    if prefix is not None:
        query = query.where(_begins_with(prefix))
    if groups is not None:
        query = query.where(_readable_by(connection, groups))
    if filter is not None and (condition := narrowed(filter, connection.dialect.name)) is not None:
        query = query.where(condition)
    rows = (await connection.execute(query)).all()
    if not rows:
        await collections.require(connection, collection)
    return [records.record(row) for row in rows]


def _begins_with(prefix: str) -> ColumnElement[bool]:
    """As a range, which the index of ids answers."""
    return and_(documents.c.id >= prefix, documents.c.id < after_prefix(prefix))


def _readable_by(connection: AsyncConnection, groups: Sequence[str]) -> ColumnElement[bool]:
    """True of documents that any of the groups may read, and of those of collections without principals."""
    if connection.dialect.name == "postgresql":
        any_of = type_coerce(documents.c.groups, JSONB).has_any(type_coerce(list(groups), ARRAY(String)))
    else:
        value = column("value", String)
        stated = func.json_each(documents.c.groups).table_valued(value, name="stated")
        given = func.json_each(json.dumps(list(groups))).table_valued(value, name="given")
        any_of = select(1).select_from(stated).where(stated.c.value.in_(select(given.c.value))).exists()
    return or_(documents.c.groups.is_(None), any_of)


async def named(
    connection: AsyncConnection, collection: str, ids: Several[DocumentId]
) -> dict[DocumentId, DocumentRecord]:
    """Implements Catalog.documents_named."""
    found: dict[DocumentId, DocumentRecord] = {}
    for some in batches(ids):
        query = select(documents).where(documents.c.collection == collection, documents.c.id.in_(some))
        found.update((DocumentId(row.id), records.record(row)) for row in await connection.execute(query))
    return found


async def requeue(
    connection: AsyncConnection, collection: str, versions: Mapping[DocumentId, int], now: datetime
) -> int:
    """Implements Catalog.requeue."""
    idle: list[Row[str, int, bool]] = []
    for some in batches(sorted(versions)):
        query = (
            select(documents.c.id, documents.c.version, documents.c.background)
            .where(documents.c.collection == collection, documents.c.id.in_(some))
            .where(documents.c.state == "ready", documents.c.lease_token.is_(None))
            .order_by(documents.c.id)
            .with_for_update()
        )
        idle += [row for row in await connection.execute(query) if row.version == versions[row.id]]
    await fair_turns.requeue(connection, collection, idle)
    for ids in batches(row.id for row in idle):
        await connection.execute(
            update(documents)
            .where(documents.c.collection == collection, documents.c.id.in_(ids))
            .values(state="queued", attempts=0, available_at=now, due_at=now)
        )
    return len(idle)


async def blobs_in_use(connection: AsyncConnection, hashes: Several[str]) -> set[str]:
    """Implements Catalog.blobs_in_use."""
    found: set[str] = set()
    for some in batches(hashes):
        query = select(documents.c.sha256).where(documents.c.sha256.in_(some)).distinct()
        found.update(await connection.scalars(query))
    return found


async def totals(
    connection: AsyncConnection, names: Several[str], prefix: str | None, groups: Sequence[str] | None
) -> dict[str, Totals]:
    """Implements Catalog.totals."""
    cancelled = and_(documents.c.state == "failed", documents.c.error_code == Cancelled.code)
    state = case((cancelled, "cancelled"), else_=documents.c.state)
    found: dict[str, Totals] = {}
    for some in batches(names):
        query = (
            select(
                documents.c.collection,
                state.label("kind"),
                documents.c.language,
                func.count(),
                func.sum(documents.c.size),
                func.sum(documents.c.chunks),
            )
            .where(documents.c.collection.in_(some))
            .group_by(documents.c.collection, "kind", documents.c.language)
        )
        if prefix is not None:
            query = query.where(_begins_with(prefix))
        if groups is not None:
            query = query.where(_readable_by(connection, groups))
        for collection, kind, language, count, size, chunks in await connection.execute(query):
            known = found.get(collection, Totals())
            field = "unfinished" if kind == "queued" else kind
            languages = dict(known.languages)
            if language:
                languages[language] = languages.get(language, 0) + count
            found[collection] = replace(
                known,
                size=known.size + int(size),
                chunks=known.chunks + int(chunks),
                languages=languages,
                **{field: getattr(known, field) + count},
            )
    return found


async def queue_depth(connection: AsyncConnection) -> int:
    """Implements Catalog.queue_depth."""
    # `due_at` is set exactly while a document is queued or leased.
    query = select(func.count()).select_from(documents).where(documents.c.due_at.is_not(None))
    return int(await connection.scalar(query) or 0)


async def queue_state(connection: AsyncConnection) -> QueueState:
    """See Catalog.queue_state."""
    leased = documents.c.lease_token.is_not(None)
    # What was queued anew, to be written once more, waits since then.
    waiting_since = case(
        (leased, None), (documents.c.attempts == 0, documents.c.available_at), else_=documents.c.ingested_at
    )
    query = select(func.count(), func.count(documents.c.lease_token), func.min(waiting_since)).where(
        documents.c.due_at.is_not(None)
    )
    count, processing, oldest = (await connection.execute(query)).one()
    return QueueState(count, processing, oldest)
