"""Idempotency keys, cancelled work, duplicates, background work, reuse, golden queries."""

import json
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
PAGE = 1000
IN_QUEUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    for table, column in (
        ("collections", sa.Column("duplicates", sa.String, nullable=False, server_default="store")),
        ("documents", sa.Column("chunk_digest", sa.String(32), nullable=False, server_default="")),
        ("documents", sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false())),
        ("documents", sa.Column("background", sa.Boolean, nullable=False, server_default=sa.false())),
        ("jobs", sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false())),
        ("jobs", sa.Column("key", sa.String)),
        ("jobs", sa.Column("body_digest", sa.String(64))),
        ("receipts", sa.Column("reused_chunks", sa.Integer, nullable=False, server_default="0")),
        ("receipts", sa.Column("duplicate_of", KEY)),
    ):
        op.add_column(table, column)
    op.create_table(
        "golden_queries",
        sa.Column("collection", KEY, sa.ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("relevant", JSON, nullable=False),
    )
    op.drop_index("jobs_collection", "jobs")
    op.create_index("jobs_key", "jobs", ["collection", "key"], unique=True)
    op.drop_index("documents_sha256", "documents")
    op.create_index("documents_sha256", "documents", ["sha256", "collection", "id"])
    op.drop_index("documents_due", "documents")
    op.create_index(
        "documents_due",
        "documents",
        ["background", "due_at", "position"],
        sqlite_where=IN_QUEUE,
        postgresql_where=IN_QUEUE,
    )
    _leave_chunking_out_of_digests(op.get_bind())


def _leave_chunking_out_of_digests(connection: sa.Connection) -> None:
    documents = sa.table(
        "documents",
        sa.column("collection", KEY),
        sa.column("id", KEY),
        *(sa.column(name, sa.String) for name in ("sha256", "title", "media_type", "partition", "digest")),
        sa.column("metadata", JSON),
    )
    place = sa.tuple_(documents.c.collection, documents.c.id)
    query = sa.select(documents).order_by(documents.c.collection, documents.c.id).limit(PAGE)
    change = (
        sa.update(documents)
        .where(documents.c.collection == sa.bindparam("c"), documents.c.id == sa.bindparam("i"))
        .values(digest=sa.bindparam("d"))
    )
    rows = connection.execute(query).all()
    while rows:
        connection.execute(change, [{"c": row.collection, "i": row.id, "d": _digest(row)} for row in rows])
        rows = connection.execute(query.where(place > (rows[-1].collection, rows[-1].id))).all()


def _digest(row: sa.Row[Any]) -> str:
    parts = [row.sha256, row.title, row.media_type, row.partition, row.metadata]
    return sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()
