"""Coverage: who said that which unit is inside its cap or market, and which of these statements count.

Revision ID: lookup_0006
Revises: lookup_0005
"""

import sqlalchemy as sa
from alembic import op

revision = "lookup_0006"
down_revision = "lookup_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables. A server of the release before, while it still runs, grants without looking at them: end it soon."""
    op.create_table(
        "coverage_statement",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("statement_id", sa.Text(), nullable=False),
        sa.Column("corrects", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("inside", sa.Text(), nullable=False),
        sa.Column("boundary", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("registry", "statement_id"),
    )
    op.create_index("coverage_statement_corrects", "coverage_statement", ["registry", "corrects"], unique=False)
    op.create_index("coverage_statement_unit", "coverage_statement", ["registry", "native_project_id"], unique=False)
    op.create_table(
        "coverage_in_force",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["number"], ["coverage_statement.number"]),
        sa.PrimaryKeyConstraint("number"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE coverage_statement_number")
        op.execute(
            "CREATE TRIGGER coverage_statement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON coverage_statement "
            "FOR EACH STATEMENT EXECUTE FUNCTION soleclaim_append_only()"
        )
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER coverage_statement_no_{verb.lower()} BEFORE {verb} ON coverage_statement "
                "BEGIN SELECT RAISE(ABORT, 'table coverage_statement is append-only'); END"
            )


def downgrade() -> None:
    """What was stated is lost; adapters state it again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE coverage_statement_number")
    op.drop_table("coverage_in_force")
    op.drop_table("coverage_statement")
