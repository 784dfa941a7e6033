"""Random keys of this installation."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "secrets",
        sa.Column("name", name, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
