"""Instructions for the queries of a collection."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("collections", sa.Column("query_instruction", sa.String))
    op.add_column("collections", sa.Column("rerank_instruction", sa.String))
