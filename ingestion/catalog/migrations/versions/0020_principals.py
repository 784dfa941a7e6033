"""Principals of collections, and groups of documents and keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    op.add_column("collections", sa.Column("principals", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("documents", sa.Column("groups", json))
    op.add_column("api_keys", sa.Column("groups", json))
