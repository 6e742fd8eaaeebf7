"""A scratch database for one benchmark run, filled with activities and existing locks by plain SQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from soleclaim.core.activity_id import ActivityKey
from soleclaim.db.engine import POSTGRESQL, StoreUrlFault, parse_store_url
from soleclaim.lookup.store import upgrade

ACTIVITIES: Final = 20_000
"""Activities of the benchmark. Keys are spread over the whole range, as real ones are."""

MONTH_US: Final = 30 * 86_400 * 1_000_000
"""Length of the benchmark's periods: thirty days."""

_KEY_SQL: Final = "((n::numeric * 57646075230342349) % 1152921504606846976)::bigint"


def key_of(n: int) -> ActivityKey:
    """Key of the n-th activity, counted from 1."""
    return ActivityKey(n * 57_646_075_230_342_349 % 2**60)


@asynccontextmanager
async def scratch_database(url: str) -> AsyncIterator[str]:
    """URL of a fresh database on the server of ``url``, dropped at the end. Needs the right to create databases."""
    if parse_store_url(url).drivername != POSTGRESQL:
        raise StoreUrlFault(f"the benchmark needs a PostgreSQL server: {POSTGRESQL}://user@host/database")
    name = f"soleclaim_bench_{secrets.token_hex(4)}"
    server = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with server.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            async with server.connect() as connection:
                await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        await server.dispose()


async def fill(url: str, existing: int) -> None:
    """Create the schema, ``ACTIVITIES`` activities of registry gec, and ``existing`` issued locks on them."""
    await asyncio.to_thread(upgrade, url)
    engine = create_async_engine(url)
    statements = [
        "INSERT INTO activity (activity_key, ordinal, country, activity_type, display_name, time_zone, create_us) "
        f"SELECT {_KEY_SQL}, n, 'CN', 'wind', 'benchmark', 'Asia/Shanghai', 0 FROM generate_series(1, :activities) n",
        "INSERT INTO native_project (registry, native_project_id, activity_key, country) "
        f"SELECT 'gec', 'bench-' || n, {_KEY_SQL}, 'CN' FROM generate_series(1, :activities) n",
        "SELECT setval('activity_ordinal', :activities)",
        "INSERT INTO policy_bundle (bundle_id, hash, version) VALUES (1, 'none', 'benchmark')",
        # Existing locks lie before the epoch the benchmark issues for, one month each, activity by activity.
        "CREATE TEMPORARY TABLE made AS SELECT n AS lock_id, "
        f"{_KEY_SQL.replace('n::numeric', '(1 + (n - 1) % :activities)::numeric')} AS activity_key, "
        "-(1 + (n - 1) / :activities) * CAST(:month_us AS bigint) AS start_us FROM generate_series(1, :existing) n",
        "INSERT INTO issuance_lock SELECT lock_id, activity_key, 'CN', 'gec', 'GEC', start_us, start_us + :month_us, "
        "0, 9223372036854775807, 3, lock_id, NULL, 1, 0, 'bench', 1, 1, FALSE, 1, 0, 0 FROM made",
        "INSERT INTO segment SELECT lock_id, activity_key, '{1}', start_us, start_us + :month_us, "
        "0, 9223372036854775807, TRUE FROM made",
        "INSERT INTO history_entry "
        "SELECT lock_id, 1, 5, activity_key, 'CN', 'gec', lock_id, lock_id, NULL, 0 FROM made",
        "INSERT INTO outbox VALUES (1, 1, :existing, 1)",
        "SELECT setval('issuance_lock_id', :existing + 1), setval('history_entry_id', :existing + 1), "
        "setval('transaction_id', 1)",
        # The baseline: the lock table's exclusion rule alone, over the same existing rows.
        "CREATE TABLE raw_segment (LIKE segment)",
        "ALTER TABLE raw_segment ADD CONSTRAINT raw_segment_exclusion EXCLUDE USING gist (activity_key WITH =, "
        "attributes gist__int_ops WITH &&, int8range(period_start_us, period_end_us) WITH &&, "
        "int8range(slice_start, slice_end) WITH &&) WHERE (live)",
        "INSERT INTO raw_segment SELECT * FROM segment",
    ]
    values = {"activities": ACTIVITIES, "existing": existing, "month_us": MONTH_US}
    try:
        async with engine.begin() as connection:
            for statement in statements:
                clause = text(statement)
                names = clause.compile().params
                await connection.execute(clause, {name: values[name] for name in names})
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.execute(text("VACUUM ANALYZE"))
    finally:
        await engine.dispose()
