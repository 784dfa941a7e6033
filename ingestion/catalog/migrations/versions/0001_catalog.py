"""Collections, documents, jobs and receipts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "collections",
        sa.Column("name", KEY, primary_key=True),
        sa.Column("store_name", sa.String, nullable=False),
        sa.Column("fingerprint", JSON, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("max_tokens", sa.Integer, nullable=False),
        sa.Column("overlap", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
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
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("available_at", TIME, nullable=False),
        sa.Column("due_at", TIME),
        sa.Column("lease_token", sa.String),
        sa.Column("lease_worker", sa.String),
        sa.Column("lease_version", sa.Integer),
    )
    op.create_index("documents_due", "documents", ["due_at", "position"])
    op.create_index("documents_lease", "documents", ["lease_token"], unique=True)
    op.create_index("documents_sha256", "documents", ["sha256"])
    op.create_table(
        "jobs",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("collection", KEY, sa.ForeignKey("collections.name", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("jobs_collection", "jobs", ["collection"])
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
    )
    op.create_index("receipts_document", "receipts", ["collection", "document_id"])


def downgrade() -> None:
    for table in ("receipts", "jobs", "documents", "collections"):
        op.drop_table(table)
