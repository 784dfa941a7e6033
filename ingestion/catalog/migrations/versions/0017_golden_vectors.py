"""Golden vectors of collections."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    op.add_column("collections", sa.Column("golden_texts", json))
    op.add_column("collections", sa.Column("golden_vectors", sa.LargeBinary))
