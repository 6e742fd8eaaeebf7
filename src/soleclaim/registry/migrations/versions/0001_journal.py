"""The journal: batches, issuances with their append-only history, and the lease."""

import sqlalchemy as sa
from alembic import op

revision = "journal_0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_STAGES = (
    "'ABSENT', 'ACCEPTED', 'HELD', 'IDENTIFIED', 'ISSUED', 'ISSUING', 'MADE', 'MEASURED', "
    "'REFUSED', 'SENDING', 'UNKNOWN'"
)
_UNFINISHED = sa.text("stage NOT IN ('ISSUED', 'REFUSED')")


def upgrade() -> None:
    lease = op.create_table(
        "lease",
        sa.Column("lease_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("registry", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.CheckConstraint("lease_id = 1", name="lease_is_one_row"),
    )
    op.bulk_insert(lease, [{"lease_id": 1, "registry": "", "holder": "", "epoch": 0, "expire_time": 0}])
    op.create_table(
        "batch",
        sa.Column("batch_id", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("batch_key", sa.Text, nullable=False, unique=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("payload_hash", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("caller", "request_id", name="batch_request_is_unique"),
    )
    _create_issuance()
    op.create_table(
        "issuance_history",
        sa.Column("issuance_id", sa.BigInteger, sa.ForeignKey("issuance.issuance_id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    _forbid_change_of_history()


def _create_issuance() -> None:
    op.create_table(
        "issuance",
        sa.Column("issuance_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("batch_id", _NUMBER, sa.ForeignKey("batch.batch_id"), nullable=False, index=True),
        sa.Column("native_project_id", sa.Text, nullable=False),
        sa.Column("period_start", sa.BigInteger, nullable=False),
        sa.Column("period_end", sa.BigInteger, nullable=False),
        sa.Column("no_other_application", sa.Boolean, nullable=False),
        sa.Column("no_claim_after_transfer", sa.Boolean, nullable=False),
        sa.Column("document_uri", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False, unique=True),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("activity", sa.Text),
        sa.Column("carried_in", sa.BigInteger, nullable=False),
        sa.Column("lock_name", sa.Text, nullable=False),
        sa.Column("fencing_token", sa.BigInteger, nullable=False),
        sa.Column("supplement", sa.Boolean, nullable=False),
        sa.Column("native_issuance_id", sa.Text, nullable=False),
        sa.Column("blocks", sa.Text, nullable=False),
        sa.Column("refusal", sa.Text),
        sa.Column("evidence_kind", sa.Text),
        sa.Column("evidence_detail", sa.Text),
        sa.Column("begin_time", sa.BigInteger),
        sa.Column("absent_after", sa.BigInteger),
        sa.Column("not_found_time", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try_time", sa.BigInteger, nullable=False),
        sa.CheckConstraint(f"stage IN ({_STAGES})", name="issuance_stage_is_known"),
        sa.CheckConstraint("period_start < period_end", name="issuance_period_is_forward"),
    )
    op.create_index(
        "issuance_due", "issuance", ["next_try_time"], postgresql_where=_UNFINISHED, sqlite_where=_UNFINISHED
    )
    op.create_index("issuance_activity", "issuance", ["activity", "period_start"])


def _forbid_change_of_history() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER issuance_history_no_{action.lower()} BEFORE {action} ON issuance_history "
                "BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_change_of_history() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the history is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER issuance_history_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON issuance_history "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history()"
    )


def downgrade() -> None:
    op.drop_table("issuance_history")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change_of_history()")
    for table in ("issuance", "batch", "lease"):
        op.drop_table(table)
