"""Settlements of green power: which certificates moved with which power, each once.

Revision ID: lookup_0008
Revises: lookup_0006
"""

import sqlalchemy as sa
from alembic import op

revision = "lookup_0008"
down_revision = "lookup_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three tables; nothing that stands is touched."""
    op.create_table(
        "settlement_line",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("settlement_id", sa.Text(), nullable=False),
        sa.Column("corrects", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("contract", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("energy_kwh", sa.BigInteger(), nullable=False),
        sa.Column("buyer_code", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("registry", "settlement_id"),
    )
    op.create_table(
        "settlement_standing",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("look_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["settlement_line.number"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("settlement_standing_chain", "settlement_standing", ["registry", "chain"], unique=False)
    op.create_index("settlement_standing_state", "settlement_standing", ["state", "look_us"], unique=False)
    op.create_table(
        "settlement_block",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("series_key", sa.BigInteger(), nullable=False),
        sa.Column("start_serial", sa.BigInteger(), nullable=False),
        sa.Column("end_serial", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["settlement_line.number"]),
        sa.PrimaryKeyConstraint("number", "series_key", "start_serial"),
    )
    op.create_index("settlement_block_of_series", "settlement_block", ["series_key", "start_serial"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE settlement_number")
        op.execute(
            "ALTER TABLE settlement_block ADD CONSTRAINT settlement_block_exclusion EXCLUDE USING gist ("
            " series_key WITH =, int8range(start_serial, end_serial, '[]') WITH &&) WHERE (live)"
        )
        op.execute(
            "CREATE TRIGGER settlement_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_line "
            "FOR EACH STATEMENT EXECUTE FUNCTION soleclaim_append_only()"
        )
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER settlement_line_no_{verb.lower()} BEFORE {verb} ON settlement_line "
                "BEGIN SELECT RAISE(ABORT, 'table settlement_line is append-only'); END"
            )


def downgrade() -> None:
    """What was settled is lost; adapters state it again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE settlement_number")
    for table in ("settlement_block", "settlement_standing", "settlement_line"):
        op.drop_table(table)
