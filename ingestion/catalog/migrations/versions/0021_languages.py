"""Languages of documents: stated, and of the version that search finds."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("stated_language", sa.String))
    op.add_column("documents", sa.Column("language", sa.String))
