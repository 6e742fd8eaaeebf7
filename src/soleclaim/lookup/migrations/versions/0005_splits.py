"""Splits of activities: what was taken off which, why, by whom.

Revision ID: lookup_0005
Revises: lookup_0004
"""

import sqlalchemy as sa
from alembic import op

revision = "lookup_0005"
down_revision = "lookup_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table; nothing that stands changes."""
    op.create_table(
        "activity_split",
        sa.Column("split_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("restored_key", sa.BigInteger(), nullable=True),
        sa.Column("into_key", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column("moved", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposer", sa.Text(), nullable=False),
        sa.Column("confirm_reason", sa.Text(), nullable=False),
        sa.Column("confirmer", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.Column("update_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["activity_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["restored_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["into_key"], ["activity.activity_key"]),
        sa.PrimaryKeyConstraint("split_id"),
    )
    op.create_index(op.f("ix_activity_split_activity_key"), "activity_split", ["activity_key"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE activity_split_id")


def downgrade() -> None:
    """Who split what, and why, is lost; where everything stands stays as it is."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE activity_split_id")
    op.drop_table("activity_split")
