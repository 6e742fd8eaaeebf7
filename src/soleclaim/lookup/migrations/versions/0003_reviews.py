"""Review cases hold their candidates, are decided, and keep what was sent and decided; parts, merges, aliases.

Revision ID: lookup_0003
Revises: lookup_0002
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "lookup_0003"
down_revision = "lookup_0002"
branch_labels = None
depends_on = None

APPEND_ONLY = ("review_evidence", "review_decision", "activity_merge")
TABLES = ("activity_merge", "activity_alias", "activity_part", "review_decision", "review_evidence", "review_candidate")


def upgrade() -> None:
    """The cases that stand become open ones that hold their candidates.

    A server of the release before, while it still runs, opens cases that hold nothing: end it soon.
    """
    op.add_column("review_case", sa.Column("state", sa.SmallInteger(), server_default="1", nullable=False))
    op.add_column("review_case", sa.Column("question", sa.Text(), server_default="", nullable=False))
    op.add_column("review_case", sa.Column("update_us", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("review_case", sa.Column("proposal", sa.Integer(), nullable=True))
    _reviews()
    _parts()
    _merges()
    _carry_over()
    if op.get_bind().dialect.name == "postgresql":
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


def _reviews() -> None:
    op.create_table(
        "review_candidate",
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("holding", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["review_case.case_id"]),
        sa.PrimaryKeyConstraint("case_id", "activity_key"),
    )
    op.create_index(
        "review_candidate_holding",
        "review_candidate",
        ["activity_key", "case_id"],
        unique=False,
        postgresql_where=sa.text("holding"),
        sqlite_where=sa.text("holding"),
    )
    op.create_table(
        "review_evidence",
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("registration", sa.Text(), nullable=False),
        sa.Column("candidates", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["review_case.case_id"]),
        sa.PrimaryKeyConstraint("case_id", "number"),
    )
    op.create_table(
        "review_decision",
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=True),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decider", sa.Text(), nullable=False),
        sa.Column("proposed", sa.Boolean(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["review_case.case_id"]),
        sa.PrimaryKeyConstraint("case_id", "number"),
    )


def _parts() -> None:
    op.create_table(
        "activity_part",
        sa.Column("child_key", sa.BigInteger(), nullable=False),
        sa.Column("parent_key", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["child_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["parent_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["case_id"], ["review_case.case_id"]),
        sa.PrimaryKeyConstraint("child_key", "parent_key"),
    )


def _merges() -> None:
    op.create_table(
        "activity_alias",
        sa.Column("alias_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["alias_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["activity_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["case_id"], ["review_case.case_id"]),
        sa.PrimaryKeyConstraint("alias_key"),
    )
    op.create_index(op.f("ix_activity_alias_activity_key"), "activity_alias", ["activity_key"], unique=False)
    op.create_table(
        "activity_merge",
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("merged_key", sa.BigInteger(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.Text(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["review_case.case_id"]),
        sa.ForeignKeyConstraint(["merged_key"], ["activity.activity_key"]),
        sa.ForeignKeyConstraint(["activity_key"], ["activity.activity_key"]),
        sa.PrimaryKeyConstraint("case_id", "merged_key", "create_us"),
    )


def _carry_over() -> None:
    connection = op.get_bind()
    cases = connection.execute(
        sa.text("SELECT case_id, candidates, registration, detail, create_us FROM review_case ORDER BY case_id")
    )
    for case_id, candidates, registration, detail, create_us in cases.all():
        keys = list(dict.fromkeys(json.loads(candidates)))
        connection.execute(
            sa.text(
                "INSERT INTO review_evidence (case_id, number, registration, candidates, detail, create_us) "
                "VALUES (:case_id, 1, :registration, :candidates, :detail, :create_us)"
            ),
            {
                "case_id": case_id,
                "registration": registration,
                "candidates": json.dumps([[key, None, []] for key in keys]),
                "detail": detail,
                "create_us": create_us,
            },
        )
        for key in keys:
            connection.execute(
                sa.text(
                    "INSERT INTO review_candidate (case_id, activity_key, probability, reasons, holding) "
                    "VALUES (:case_id, :key, NULL, '[]', TRUE)"
                ),
                {"case_id": case_id, "key": key},
            )
    connection.execute(sa.text("UPDATE review_case SET update_us = create_us"))


def downgrade() -> None:
    """What was decided is lost; the cases stay."""
    for table in TABLES:
        op.drop_table(table)
    for column in ("proposal", "update_us", "question", "state"):
        op.drop_column("review_case", column)
