"""Described projects, found by what they look like.

Revision ID: lookup_0004
Revises: lookup_0003
"""

import sqlalchemy as sa
from alembic import op

revision = "lookup_0004"
down_revision = "lookup_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables; projects registered before are found by strong identifiers alone until they are described."""
    op.create_table(
        "project_description",
        sa.Column("description_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("update_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("description_id"),
        sa.UniqueConstraint("registry", "native_project_id"),
    )
    op.create_table(
        "description_key",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("description_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", "description_id"),
    )
    op.create_index(op.f("ix_description_key_description_id"), "description_key", ["description_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE project_description_id")


def downgrade() -> None:
    """Descriptions are lost."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE project_description_id")
    op.drop_table("description_key")
    op.drop_table("project_description")
