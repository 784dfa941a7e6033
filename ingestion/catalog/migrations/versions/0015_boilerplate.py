"""Whether menus and the like of web pages are read."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("boilerplate", sa.String, nullable=False, server_default="keep"))
