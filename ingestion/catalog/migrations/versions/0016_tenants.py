"""Tenants of API keys and jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("tenant", sa.String))
    op.add_column("jobs", sa.Column("tenant", sa.String))
