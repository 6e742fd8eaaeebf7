"""The units asked for stay beside those that were settled by measuring."""

import sqlalchemy as sa
from alembic import op

revision = "journal_0003"
down_revision = "journal_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Of older entries the two cannot be told apart: they stay NULL, and ``units`` counts for both.
    op.add_column("issuance", sa.Column("ordered_units", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("issuance", "ordered_units")
