"""Alembic's entry: the journal's tables."""

from soleclaim.db.migrate import run
from soleclaim.registry.sql_journal import METADATA

run(METADATA)
