"""Reports of what reading a document left out, and whether its pictures are read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("documents", sa.Column("ocr", sa.String, nullable=False, server_default="auto"))
    op.add_column("documents", sa.Column("report", JSON))
    op.add_column("receipts", sa.Column("report", JSON))
