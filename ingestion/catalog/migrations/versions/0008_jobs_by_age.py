"""An index of jobs by age, for the removal of old ones."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("jobs_created_at", "jobs", ["created_at"])
