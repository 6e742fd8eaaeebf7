"""PostgreSQL: the exclusion rule is a constraint, so that no bug above it can double-issue (design section 4)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import Claim
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.relation import Relation, unnest
from soleclaim.lookup.store.rows import LOCK_COLUMNS, to_us
from soleclaim.lookup.store.transaction import SqlTransaction

_OPENERS, _POSITIONERS, _OUTCOMES = (0x501E_0001, 0x501E_0002, 0x501E_0003)
"""Keys of advisory locks; each names what it orders."""

_SEGMENT_COLUMNS: Final = (
    ("lock_id", "int"), ("activity_key", "int"), ("attributes", "text"), ("period_start_us", "int"),
    ("period_end_us", "int"), ("slice_start", "int"), ("slice_end", "int"),
)  # fmt: skip


def _segment_rows(claims: Mapping[int, Claim]) -> list[tuple[Any, ...]]:
    """Sorted by activity, period and slice: two batches that insert contended rows in one order do not deadlock."""
    rows = [
        (number, each.request.activity_key, f"{{{','.join(map(str, each.attributes))}}}",
         to_us(each.request.period.start), to_us(each.request.period.end), each.request.slice.start,
         each.request.slice.end)
        for number, each in claims.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row[1], row[3], row[5], row[4], row[6]))


class PostgresTransaction(SqlTransaction):
    """``Transaction`` on PostgreSQL 15 or newer, READ COMMITTED."""

    relation: ClassVar[Relation] = staticmethod(unnest)
    now_sql: ClassVar[str] = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    changed_lock: ClassVar[str] = LOCK_COLUMNS

    async def draw(self, sequence: str, count: int) -> list[int]:
        """See ``SqlTransaction``."""
        rows = await self._run(f"SELECT nextval('{sequence}') FROM generate_series(1, :count)", count=count)
        return [row[0] for row in rows]

    async def serialize_measured(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``. Row locks, in one order."""
        await self._run(
            "SELECT 1 FROM activity WHERE activity_key = ANY(CAST(:keys AS bigint[])) ORDER BY activity_key FOR UPDATE",
            keys=sorted(set(keys)),
        )

    async def bar_outcome_changes(self) -> None:
        """See ``Transaction``. One shared lock per transaction, not per item."""
        await self._run(f"SELECT pg_advisory_xact_lock_shared({_OUTCOMES})")

    async def bar_grants(self) -> None:
        """See ``Transaction``."""
        await self._run(f"SELECT pg_advisory_xact_lock({_OUTCOMES})")

    async def _win_segments(self, claims: Mapping[int, Claim]) -> set[int]:
        items, values = unnest(_SEGMENT_COLUMNS, _segment_rows(claims))
        rows = await self._run(
            "INSERT INTO segment (lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
            "slice_end, live) SELECT lock_id, activity_key, CAST(attributes AS int[]), period_start_us, "
            f"period_end_us, slice_start, slice_end, TRUE FROM {items} ON CONFLICT DO NOTHING RETURNING lock_id",
            **values,
        )
        return {row[0] for row in rows}

    async def _in_the_way(self, claims: Sequence[Claim]) -> Sequence[Any]:
        items, values = unnest(_SEGMENT_COLUMNS, _segment_rows(dict(enumerate(claims))))
        return await self._run(
            "SELECT item.lock_id, l.lock_id, l.registry, l.instrument, s.period_start_us, s.period_end_us, "
            f"s.slice_start, s.slice_end, l.state, l.expire_us FROM {items} JOIN segment s ON s.live "
            "AND s.activity_key = item.activity_key AND s.attributes && CAST(item.attributes AS int[]) "
            "AND int8range(s.period_start_us, s.period_end_us) && int8range(item.period_start_us, item.period_end_us) "
            "AND int8range(s.slice_start, s.slice_end) && int8range(item.slice_start, item.slice_end) "
            "JOIN issuance_lock l ON l.lock_id = s.lock_id",
            **values,
        )

    async def _add_blocks(self, rows: Sequence[tuple[Any, ...]]) -> int:
        columns = (("lock_id", "int"), ("token", "int"), ("registry", "text"), ("series", "text"),
                   ("series_key", "int"), ("start_serial", "int"), ("end_serial", "int"))  # fmt: skip
        items, values = unnest(columns, rows)
        names = ", ".join(name for name, _ in columns)
        added = await self._run(
            f"INSERT INTO unit_block ({names}) SELECT {names} FROM {items} ON CONFLICT DO NOTHING RETURNING 1", **values
        )
        return len(added)


class PostgresLookupStore(SqlLookupStore):
    """``LookupStore`` on PostgreSQL."""

    transaction_type = PostgresTransaction

    @staticmethod
    async def _bar_other_openers(connection: AsyncConnection) -> None:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_OPENERS})"))

    @staticmethod
    async def _bar_other_positioners(connection: AsyncConnection) -> None:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_POSITIONERS})"))

    @staticmethod
    async def _hold_view(connection: AsyncConnection) -> None:
        await connection.execution_options(isolation_level="REPEATABLE READ")
