"""Limits of API keys, and which key a job came by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("limits", JSON, nullable=False, server_default="{}"))
    op.add_column("jobs", sa.Column("created_by", sa.String))
    op.create_index("jobs_created_by", "jobs", ["created_by"])
