"""Issuances taken over from the history of registries, and disputes over what they show twice.

Revision ID: lookup_0007
Revises: lookup_0006
"""

import sqlalchemy as sa
from alembic import op

revision = "lookup_0007"
down_revision = "lookup_0006"
branch_labels = None
depends_on = None

APPEND_ONLY = ("dispute_decision", "disputed_block")
TABLES = ("disputed_block", "dispute_decision", "dispute", "imported_issuance")


def upgrade() -> None:
    """New tables alone: a server of the release before goes on beside, and bars nothing for a dispute."""
    _imports()
    _disputes()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE dispute_id")
        for table in APPEND_ONLY:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION soleclaim_append_only()"
            )
    else:
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END"
                )


def _imports() -> None:
    op.create_table(
        "imported_issuance",
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("native_issuance_id", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("issue_us", sa.BigInteger(), nullable=True),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("lock_id", sa.BigInteger(), nullable=True),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("registry", "native_issuance_id"),
    )
    op.create_index(
        "imported_issuance_waiting",
        "imported_issuance",
        ["registry", "native_project_id"],
        unique=False,
        postgresql_where=sa.text("lock_id IS NULL"),
        sqlite_where=sa.text("lock_id IS NULL"),
    )
    op.create_table(
        "disputed_block",
        sa.Column("lock_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("series_key", sa.BigInteger(), nullable=False),
        sa.Column("start_serial", sa.BigInteger(), nullable=False),
        sa.Column("end_serial", sa.BigInteger(), nullable=False),
    )
    op.create_index(op.f("ix_disputed_block_lock_id"), "disputed_block", ["lock_id"], unique=False)


def _disputes() -> None:
    op.create_table(
        "dispute",
        sa.Column("dispute_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("period_start_us", sa.BigInteger(), nullable=False),
        sa.Column("period_end_us", sa.BigInteger(), nullable=False),
        sa.Column("slice_start", sa.BigInteger(), nullable=False),
        sa.Column("slice_end", sa.BigInteger(), nullable=False),
        sa.Column("standing_lock_id", sa.BigInteger(), nullable=True),
        sa.Column("late_lock_id", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("bars", sa.Boolean(), nullable=False),
        sa.Column("holding", sa.Boolean(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.Column("update_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dispute_id"),
    )
    op.create_index(op.f("ix_dispute_activity_key"), "dispute", ["activity_key"], unique=False)
    op.create_index(
        "dispute_holding",
        "dispute",
        ["activity_key"],
        unique=False,
        postgresql_where=sa.text("holding"),
        sqlite_where=sa.text("holding"),
    )
    op.create_table(
        "dispute_decision",
        sa.Column("dispute_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=True),
        sa.Column("boundary", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("evidence_uri", sa.Text(), nullable=False),
        sa.Column("decider", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["dispute_id"], ["dispute.dispute_id"]),
        sa.PrimaryKeyConstraint("dispute_id", "number"),
    )


def downgrade() -> None:
    """What was imported stays in the ledger; that it was imported, and the disputes over it, are lost."""
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE dispute_id")
