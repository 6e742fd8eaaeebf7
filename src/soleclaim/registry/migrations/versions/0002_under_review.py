"""Issuances may wait for a review: a stage of their own, and how often they did."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "journal_0002"
down_revision = "journal_0001"
branch_labels = None
depends_on = None

_CHECK: Final = "issuance_stage_is_known"
_BEFORE: Final = (
    "stage IN ('ABSENT', 'ACCEPTED', 'HELD', 'IDENTIFIED', 'ISSUED', 'ISSUING', 'MADE', 'MEASURED', "
    "'REFUSED', 'SENDING', 'UNKNOWN')"
)
_AFTER: Final = _BEFORE.replace("'SENDING', ", "'SENDING', 'UNDER_REVIEW', ")


def upgrade() -> None:
    op.add_column("issuance", sa.Column("waits", sa.Integer, nullable=False, server_default="0"))
    _change_check(_BEFORE, _AFTER)


def downgrade() -> None:
    # The release before asks about them once more, gets the answer it got, and refuses them.
    op.execute("UPDATE issuance SET stage = 'ACCEPTED', refusal = NULL WHERE stage = 'UNDER_REVIEW'")
    _change_check(_AFTER, _BEFORE)
    op.drop_column("issuance", "waits")


def _change_check(before: str, after: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_sqlite(before, after)
    else:
        op.drop_constraint(_CHECK, "issuance")
        op.create_check_constraint(_CHECK, "issuance", sa.text(after))


def _rebuild_sqlite(before: str, after: str) -> None:
    """SQLite cannot change a check: both tables are made anew, the history too because it refers to the other."""
    connection = op.get_bind()
    parts = connection.execute(
        sa.text(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE tbl_name IN ('issuance', 'issuance_history') AND sql IS NOT NULL"
        )
    ).all()
    tables = {name: sql for kind, name, sql in parts if kind == "table"}
    others = [(kind, name, sql) for kind, name, sql in parts if kind != "table"]
    if before not in tables["issuance"]:
        raise RuntimeError("the table issuance is not as journal_0001 made it")
    for kind, name, _ in others:
        op.execute(f"DROP {kind} {name}")
    for name in tables:
        op.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    for name in ("issuance", "issuance_history"):
        op.execute(tables[name].replace(before, after))
        op.execute(f"INSERT INTO {name} SELECT * FROM old_{name}")  # noqa: S608  our own table names
    for name in ("issuance_history", "issuance"):
        op.execute(f"DROP TABLE old_{name}")
    for _, _, sql in others:
        op.execute(sql)
