"""By which rules the keys of a description were made, so that they can be made again.

Revision ID: lookup_0009
Revises: lookup_0008
"""

import sqlalchemy as sa
from alembic import op

revision = "lookup_0009"
down_revision = "lookup_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column; what the release before writes counts as filed by older rules, and is filed again."""
    op.add_column("project_description", sa.Column("filing", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """The keys stay as they are."""
    op.drop_column("project_description", "filing")
