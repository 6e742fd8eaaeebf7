"""The first schema.

Revision ID: lookup_0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "lookup_0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("history_entry", "issuance", "unit_block")
TABLES = (
    "registry_entry",
    "request",
    "outbox",
    "history_entry",
    "unit_block",
    "issuance",
    "segment",
    "issuance_lock",
    "policy_bundle",
    "outcome",
    "review_case",
    "native_project",
    "strong_identifier",
    "activity",
)


def upgrade() -> None:
    op.create_table(
        "activity",
        sa.Column("activity_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("activity_type", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("activity_key"),
        sa.UniqueConstraint("ordinal"),
    )
    op.create_table(
        "history_entry",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tx_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=True),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("lock_id", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_table(
        "issuance",
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("native_issuance_id", sa.Text(), nullable=False),
        sa.Column("lock_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("commit_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("registry", "native_issuance_id"),
    )
    op.create_index(op.f("ix_issuance_lock_id"), "issuance", ["lock_id"], unique=False)
    op.create_table(
        "issuance_lock",
        sa.Column("lock_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("period_start_us", sa.BigInteger(), nullable=False),
        sa.Column("period_end_us", sa.BigInteger(), nullable=False),
        sa.Column("slice_start", sa.BigInteger(), nullable=False),
        sa.Column("slice_end", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expire_us", sa.BigInteger(), nullable=True),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("carried_in", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("issued_units", sa.BigInteger(), nullable=False),
        sa.Column("issuance_count", sa.Integer(), nullable=False),
        sa.Column("supplement", sa.Boolean(), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.Column("update_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lock_id"),
        postgresql_with={"fillfactor": "60"},
    )
    op.create_table(
        "outbox",
        sa.Column("tx_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_entry", sa.BigInteger(), nullable=False),
        sa.Column("last_entry", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tx_id"),
        sa.UniqueConstraint("position"),
    )
    op.create_table(
        "policy_bundle",
        sa.Column("bundle_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bundle_id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "registry_entry",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=False),
        sa.Column("announce_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "request",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("payload_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "request_id"),
    )
    op.create_table(
        "review_case",
        sa.Column("case_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("candidates", sa.Text(), nullable=False),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("case_id"),
        sa.UniqueConstraint("registry", "native_project_id"),
    )
    op.create_table(
        "segment",
        sa.Column("lock_id", sa.BigInteger(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("attributes", postgresql.ARRAY(sa.Integer()).with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("period_start_us", sa.BigInteger(), nullable=False),
        sa.Column("period_end_us", sa.BigInteger(), nullable=False),
        sa.Column("slice_start", sa.BigInteger(), nullable=False),
        sa.Column("slice_end", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
    )
    op.create_index(
        "segment_ended",
        "segment",
        ["activity_key"],
        unique=False,
        postgresql_where=sa.text("NOT live"),
        sqlite_where=sa.text("NOT live"),
    )
    op.create_table(
        "unit_block",
        sa.Column("lock_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("series_key", sa.BigInteger(), nullable=False),
        sa.Column("start_serial", sa.BigInteger(), nullable=False),
        sa.Column("end_serial", sa.BigInteger(), nullable=False),
    )
    op.create_index(op.f("ix_unit_block_lock_id"), "unit_block", ["lock_id"], unique=False)
    op.create_table(
        "native_project",
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["activity_key"],
            ["activity.activity_key"],
        ),
        sa.PrimaryKeyConstraint("registry", "native_project_id"),
    )
    op.create_index("native_project_activity", "native_project", ["activity_key", "registry", "country"], unique=False)
    op.create_table(
        "outcome",
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("base_unit", sa.Text(), nullable=False),
        sa.Column("period_start_us", sa.BigInteger(), nullable=False),
        sa.Column("period_end_us", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("update_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["activity_key"],
            ["activity.activity_key"],
        ),
        sa.PrimaryKeyConstraint("activity_key", "base_unit", "period_start_us", "period_end_us"),
    )
    op.create_table(
        "strong_identifier",
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["activity_key"],
            ["activity.activity_key"],
        ),
        sa.PrimaryKeyConstraint("scheme", "value"),
    )
    op.create_index(op.f("ix_strong_identifier_activity_key"), "strong_identifier", ["activity_key"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        _postgresql()
    else:
        _sqlite()


def _postgresql() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.execute("CREATE EXTENSION IF NOT EXISTS intarray")
    # Design section 4: the rule that no bug above it can break.
    op.execute(
        "ALTER TABLE segment ADD CONSTRAINT segment_exclusion EXCLUDE USING gist ("
        " activity_key WITH =,"
        " attributes gist__int_ops WITH &&,"
        " int8range(period_start_us, period_end_us) WITH &&,"
        " int8range(slice_start, slice_end) WITH &&"
        ") WHERE (live)"
    )
    op.execute(
        "ALTER TABLE unit_block ADD CONSTRAINT unit_block_exclusion EXCLUDE USING gist ("
        " series_key WITH =, int8range(start_serial, end_serial, '[]') WITH &&)"
    )
    for sequence in ("activity_ordinal", "review_case_id", "issuance_lock_id", "history_entry_id", "transaction_id"):
        op.execute(f"CREATE SEQUENCE {sequence} CACHE 1")
    op.execute("CREATE INDEX outbox_unpositioned ON outbox (tx_id) WHERE position IS NULL")
    op.execute(
        "CREATE FUNCTION soleclaim_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION soleclaim_append_only()"
        )


def _sqlite() -> None:
    op.execute("CREATE INDEX segment_of_activity ON segment (activity_key, period_start_us)")
    op.execute("CREATE INDEX unit_block_of_series ON unit_block (series_key, start_serial)")
    op.execute("CREATE INDEX outbox_unpositioned ON outbox (tx_id) WHERE position IS NULL")
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END"
            )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION soleclaim_append_only")
        for sequence in (
            "activity_ordinal",
            "review_case_id",
            "issuance_lock_id",
            "history_entry_id",
            "transaction_id",
        ):
            op.execute(f"DROP SEQUENCE {sequence}")
