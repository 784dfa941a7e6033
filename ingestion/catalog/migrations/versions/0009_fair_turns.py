"""Fair turns between jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

IN_QUEUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("documents", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    # Queued documents take turns from the first document of each job.
    documents = sa.table("documents", *(sa.column(name) for name in ("turn", "position", "due_at")))
    op.execute(sa.update(documents).where(documents.c.due_at.is_not(None)).values(turn=documents.c.position))
    op.drop_index("documents_due", "documents")
    op.create_index(
        "documents_due",
        "documents",
        ["background", "turn", "due_at"],
        sqlite_where=IN_QUEUE,
        postgresql_where=IN_QUEUE,
    )
    op.drop_column("documents", "position")
    turns = op.create_table(
        "turns",
        sa.Column("background", sa.Boolean, primary_key=True),
        sa.Column("claimed", sa.BigInteger, nullable=False),
        sa.Column("requeued", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(turns, [{"background": background, "claimed": 0, "requeued": 0} for background in (False, True)])
