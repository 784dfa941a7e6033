"""Chunk ids that the store holds of documents whose work was interrupted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("documents", sa.Column("rollback_ids", JSON))
    # What is queued after an attempt may have written some chunks. What was never searchable goes back to none; of the
    # others nobody knows any more what the version before consisted of.
    documents = sa.table(
        "documents",
        *(sa.column(name) for name in ("state", "attempts", "searchable_at")),
        sa.column("rollback_ids", JSON),
    )
    begun = (documents.c.state == "queued") & (documents.c.attempts > 0) & documents.c.searchable_at.is_(None)
    op.execute(sa.update(documents).where(begun).values(rollback_ids=[]))
