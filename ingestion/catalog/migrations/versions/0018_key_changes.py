"""A counter of the changes that end API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    made = op.create_table("key_changes", sa.Column("count", sa.BigInteger, nullable=False))
    op.bulk_insert(made, [{"count": 0}])
