"""What was told apart: identifiers settled against the activities that had them then, no longer against all.

Revision ID: lookup_0010
Revises: lookup_0009
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "lookup_0010"
down_revision = "lookup_0009"
branch_labels = None
depends_on = None

DECIDED = 2
PART_INDEXES = ("parent_key", "case_id")


def upgrade() -> None:
    """One table, filled with what decided cases settled, and the indexes by which parts are looked for."""
    op.create_table(
        "told_apart",
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("native_project_id", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("activity_key", sa.BigInteger(), nullable=False),
        sa.Column("create_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["activity_key"], ["activity.activity_key"]),
        sa.PrimaryKeyConstraint("registry", "native_project_id", "scheme", "value", "activity_key"),
    )
    op.create_index(op.f("ix_told_apart_activity_key"), "told_apart", ["activity_key"], unique=False)
    for column in PART_INDEXES:
        op.create_index(op.f(f"ix_activity_part_{column}"), "activity_part", [column], unique=False)
    _carry_over()


def _carry_over() -> None:
    """Until now all that was ever sent to a decided case was settled, whoever has it."""
    connection = op.get_bind()
    sent = connection.execute(
        sa.text(
            "SELECT c.registry, c.native_project_id, e.registration, c.update_us FROM review_case c "
            "JOIN review_evidence e ON e.case_id = c.case_id WHERE c.state = :decided"
        ),
        {"decided": DECIDED},
    )
    for registry, project, registration, decided_us in sent.all():
        for scheme, value in json.loads(registration)["identifiers"]:
            connection.execute(
                sa.text(
                    "INSERT INTO told_apart (registry, native_project_id, scheme, value, activity_key, create_us) "
                    "SELECT CAST(:registry AS text), CAST(:project AS text), scheme, value, activity_key, "
                    "CAST(:decided_us AS bigint) FROM strong_identifier WHERE scheme = :scheme AND value = :value "
                    "ON CONFLICT DO NOTHING"
                ),
                {
                    "registry": registry,
                    "project": project,
                    "scheme": scheme,
                    "value": value,
                    "decided_us": decided_us,
                },
            )


def downgrade() -> None:
    """What was settled is lost but for what the cases keep."""
    for column in PART_INDEXES:
        op.drop_index(op.f(f"ix_activity_part_{column}"), table_name="activity_part")
    op.drop_table("told_apart")
