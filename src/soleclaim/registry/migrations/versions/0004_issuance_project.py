"""Issuances are found by their native project too."""

from alembic import op

revision = "journal_0004"
down_revision = "journal_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("issuance_project", "issuance", ["native_project_id", "period_start"])


def downgrade() -> None:
    op.drop_index("issuance_project", "issuance")
