"""``bench import``: how fast history is taken over, as a ratio to the bare inserts it rests on.

Baseline ("raw"): one row per issuance into copies of the tables of segments, locks, issuances and unit blocks, with
their exclusion constraints and keys, a set-based insert each, from the same number of connections in the same batches;
no identity, no look for what stands, no history, no request, no transport. Against it, in the same run on the same
server, in turns: BatchImportIssuances over mutual TLS, each row a new issuance of a project that is known.
"""

import asyncio
import secrets
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from soleclaim.api.common.v1.types_pb2 import Identifier, UnitBlock
from soleclaim.api.lookup.v1 import history_service_pb2 as pb2
from soleclaim.bench.database import MONTH_US, fill, key_of, scratch_database
from soleclaim.bench.locks import (
    EPOCH_S,
    MONTH_S,
    TIMEOUT_S,
    TURNS,
    Plan,
    Work,
    free_months,
    repeat,
    served_lookup,
    take,
)
from soleclaim.client import LookupClient

_UNITS: Final = 100
_COPIES: Final = (
    "CREATE TABLE raw_lock (LIKE issuance_lock)",
    "ALTER TABLE raw_lock ADD PRIMARY KEY (lock_id)",
    "CREATE TABLE raw_issuance (LIKE issuance)",
    "ALTER TABLE raw_issuance ADD PRIMARY KEY (registry, native_issuance_id)",
    "CREATE INDEX ON raw_issuance (lock_id)",
    "CREATE TABLE raw_block (LIKE unit_block)",
    "ALTER TABLE raw_block ADD CONSTRAINT raw_block_exclusion EXCLUDE USING gist (series_key WITH =, "
    "int8range(start_serial, end_serial, '[]') WITH &&)",
    "CREATE INDEX ON raw_block (lock_id)",
)
_ROWS: Final = "unnest(CAST(:ids AS bigint[]), CAST(:keys AS bigint[]), CAST(:starts AS bigint[])) AS item(i, k, s)"
_INSERTS: Final = (
    "INSERT INTO raw_segment (lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
    f"slice_end, live) SELECT i, k, '{{1}}', s, s + {MONTH_US}, 0, 9223372036854775807, TRUE FROM {_ROWS} "
    "ON CONFLICT DO NOTHING",
    f"INSERT INTO raw_lock SELECT i, k, 'CN', 'gec', 'GEC', s, s + {MONTH_US}, 0, 9223372036854775807, 3, i, NULL, "
    f"{_UNITS}, 0, '', {_UNITS}, 1, FALSE, 1, 0, 0 FROM {_ROWS}",
    f"INSERT INTO raw_issuance SELECT 'gec', 'raw-' || i, i, i, '', {_UNITS}, 0 FROM {_ROWS}",
    f"INSERT INTO raw_block SELECT i, i, 'gec', 'raw-' || i, i, 1, {_UNITS} FROM {_ROWS}",
)


@dataclass(slots=True)
class Figures:
    """Rows per second."""

    raw_rows_per_s: float = 0.0
    imported_rows_per_s: float = 0.0
    ratio: float = 0.0
    limited_by: dict[str, dict[str, float]] = field(default_factory=dict)


async def measure(url: str, existing: int, plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure with ``existing`` locks in the store, on a scratch database of the server of ``url``."""
    figures = Figures()
    async with scratch_database(url) as database:
        say(f"{existing:,} existing locks: filling")
        await fill(database, existing)
        await _identify(database)
        with tempfile.TemporaryDirectory(prefix="soleclaim-bench-") as folder:
            async with served_lookup(database, Path(folder), plan) as (client, meter), _raw(database, plan) as insert:
                supply, raw, imported = free_months(), [], []
                turn = replace(plan, seconds=plan.seconds / TURNS)
                for i in range(1, TURNS + 1):
                    say(f"turn {i} of {TURNS}: raw inserts, imports through gRPC")
                    raw.append(await repeat(turn, insert))
                    imported.append(await meter("imports", repeat(turn, _importing(client, supply, plan))))
                figures.limited_by = meter.busy
    figures.raw_rows_per_s, figures.imported_rows_per_s = statistics.mean(raw), statistics.mean(imported)
    figures.ratio = figures.imported_rows_per_s / figures.raw_rows_per_s
    return figures


async def _identify(url: str) -> None:
    """A strong identifier for every activity, and the copies of tables for the baseline."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO strong_identifier (scheme, value, activity_key) SELECT 'metering_point', "
                    "'BENCH' || lpad(substr(native_project_id, 7), 8, '0'), activity_key FROM native_project"
                )
            )
            for statement in _COPIES:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


@asynccontextmanager
async def _raw(url: str, plan: Plan) -> AsyncIterator[Work]:
    """The bare inserts, on ``plan.connections`` connections."""
    engine = create_async_engine(url, pool_size=plan.connections)
    supply = free_months()
    numbers = iter(range(10**9, 2 * 10**9))
    connections: asyncio.Queue[AsyncConnection] = asyncio.Queue()

    async def insert() -> int:
        # Sorted as the store sorts, so that concurrent batches do not deadlock.
        rows = sorted((key_of(n), (EPOCH_S + month * MONTH_S) * 1_000_000) for n, month in take(supply, plan.batch))
        values = {
            "ids": [next(numbers) for _ in rows],
            "keys": [key for key, _ in rows],
            "starts": [start for _, start in rows],
        }
        connection = await connections.get()
        try:
            for statement in _INSERTS:
                await connection.execute(text(statement), values)
            await connection.commit()
        finally:
            connections.put_nowait(connection)
        return plan.batch

    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        for _ in range(plan.connections):
            connections.put_nowait(await stack.enter_async_context(engine.connect()))
        yield insert


def _importing(client: LookupClient, supply: Iterator[tuple[int, int]], plan: Plan) -> Work:
    async def work() -> int:
        request = pb2.BatchImportIssuancesRequest(request_id=secrets.token_hex(16))
        for n, month in take(supply, plan.batch):
            _fill(request.requests.add(), n, month)
        response = await client.call(client.history.BatchImportIssuances, request, timeout_s=TIMEOUT_S)
        return sum(each.imported.state == pb2.IMPORT_STATE_FITTED for each in response.results)

    return work


def _fill(row: pb2.ImportIssuanceRequest, n: int, month: int) -> None:
    project, issuance = row.project, row.issuance
    project.native_project.registry, project.native_project.native_project_id = "gec", f"bench-{n}"
    project.country, project.activity_type, project.display_name = "CN", "wind", "benchmark"
    project.time_zone = "Asia/Shanghai"
    project.identifiers.append(Identifier(scheme="metering_point", value=f"BENCH{n:08}"))
    start = EPOCH_S + month * MONTH_S
    issuance.instrument, issuance.units, issuance.native_issuance_id = "GEC", _UNITS, f"{n}-{month}"
    issuance.period.start_time.seconds, issuance.period.end_time.seconds = start, start + MONTH_S
    issuance.blocks.append(UnitBlock(series=f"{n}-{month}", start=1, end=_UNITS))
