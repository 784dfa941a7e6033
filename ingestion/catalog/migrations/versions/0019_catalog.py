"""The catalog of the first release: collections, documents, jobs and their receipts, keys and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0019"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)
IN_QUEUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    _create_collections()
    _create_documents()
    _create_jobs()
    _create_access()


def _create_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("name", KEY, primary_key=True),
        sa.Column("store_name", sa.String, nullable=False),
        sa.Column("fingerprint", JSON, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("max_tokens", sa.Integer, nullable=False),
        sa.Column("overlap", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("duplicates", sa.String, nullable=False, server_default="store"),
        sa.Column("metadata_keys", JSON, nullable=False, server_default="{}"),
        sa.Column("query_instruction", sa.String),
        sa.Column("rerank_instruction", sa.String),
        sa.Column("document_instruction", sa.String),
        sa.Column("golden_texts", JSON),
        sa.Column("golden_vectors", sa.LargeBinary),
    )
    op.create_table(
        "golden_queries",
        sa.Column("collection", KEY, sa.ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("relevant", JSON, nullable=False),
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("collection", KEY, sa.ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", KEY, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("partition", sa.String, nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("max_tokens", sa.Integer, nullable=False),
        sa.Column("overlap", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("ingested_at", TIME, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("truncated_tokens", sa.BigInteger, nullable=False),
        sa.Column("searchable_at", TIME),
        sa.Column("error_code", sa.String),
        sa.Column("error_message", sa.Text),
        sa.Column("available_at", TIME, nullable=False),
        sa.Column("due_at", TIME),
        sa.Column("lease_token", sa.String),
        sa.Column("lease_worker", sa.String),
        sa.Column("lease_version", sa.Integer),
        sa.Column("chunk_digest", sa.String(32), nullable=False, server_default=""),
        sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("background", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("rollback_ids", JSON),
        sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("ocr", sa.String, nullable=False, server_default="auto"),
        sa.Column("report", JSON),
        sa.Column("traceparent", sa.String),
        sa.Column("boilerplate", sa.String, nullable=False, server_default="keep"),
    )
    op.create_index(
        "documents_due",
        "documents",
        ["background", "turn", "due_at"],
        sqlite_where=IN_QUEUE,
        postgresql_where=IN_QUEUE,
    )
    op.create_index("documents_lease", "documents", ["lease_token"], unique=True)
    op.create_index("documents_sha256", "documents", ["sha256", "collection", "id"])
    turns = op.create_table(
        "turns",
        sa.Column("background", sa.Boolean, primary_key=True),
        sa.Column("claimed", sa.BigInteger, nullable=False),
        sa.Column("requeued", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(turns, [{"background": background, "claimed": 0, "requeued": 0} for background in (False, True)])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("collection", KEY, sa.ForeignKey("collections.name", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("key", sa.String),
        sa.Column("body_digest", sa.String(64)),
        sa.Column("skipped", JSON),
        sa.Column("created_by", sa.String),
        sa.Column("tenant", sa.String),
    )
    op.create_index("jobs_key", "jobs", ["collection", "key"], unique=True)
    op.create_index("jobs_created_at", "jobs", ["created_at"])
    op.create_index("jobs_created_by", "jobs", ["created_by"])
    op.create_table(
        "receipts",
        sa.Column("job_id", KEY, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("collection", KEY, nullable=False),
        sa.Column("document_id", KEY, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("truncated_tokens", sa.BigInteger, nullable=False),
        sa.Column("searchable_at", TIME),
        sa.Column("error_code", sa.String),
        sa.Column("error_message", sa.Text),
        sa.Column("reused_chunks", sa.Integer, nullable=False, server_default="0"),
        sa.Column("duplicate_of", KEY),
        sa.Column("report", JSON),
    )
    op.create_index("receipts_document", "receipts", ["collection", "document_id"])


def _create_access() -> None:
    op.create_table(
        "secrets",
        sa.Column("name", KEY, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("collections", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String),
        sa.Column("expires_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.Column("limits", JSON, nullable=False, server_default="{}"),
        sa.Column("tenant", sa.String),
        sa.Column("filter", JSON),
    )
    op.create_index("api_keys_digest", "api_keys", ["digest"], unique=True)
    key_changes = op.create_table("key_changes", sa.Column("count", sa.BigInteger, nullable=False))
    op.bulk_insert(key_changes, [{"count": 0}])
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("key_id", sa.String),
        sa.Column("address", sa.String),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("collection", sa.String),
        sa.Column("document_id", sa.String),
        sa.Column("subject", sa.String),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_log_at", "audit_log", ["at"])
