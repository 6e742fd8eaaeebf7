"""SQLite: one writer at a time, so the exclusion rule is a question asked inside the writer's transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import Claim
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.relation import Relation, json_each
from soleclaim.lookup.store.rows import LOCK_COLUMNS, attribute_mask, to_us
from soleclaim.lookup.store.transaction import SqlTransaction

_NUMBERED: Final = {
    "activity_ordinal": "SELECT max(ordinal) FROM activity",
    "review_case_id": "SELECT max(case_id) FROM review_case",
    "issuance_lock_id": "SELECT max(lock_id) FROM issuance_lock",
    "history_entry_id": "SELECT max(entry_id) FROM history_entry",
    "transaction_id": "SELECT max(tx_id) FROM outbox",
}
"""Nothing is ever deleted from these tables, and there is one writer: the largest number plus one is new."""

_SEGMENT_COLUMNS: Final = (
    ("lock_id", "int"), ("activity_key", "int"), ("attributes", "int"), ("period_start_us", "int"),
    ("period_end_us", "int"), ("slice_start", "int"), ("slice_end", "int"),
)  # fmt: skip
_CONFLICTS: Final = (
    "s.live AND s.activity_key = item.activity_key AND (s.attributes & item.attributes) <> 0 "
    "AND s.period_start_us < item.period_end_us AND item.period_start_us < s.period_end_us "
    "AND s.slice_start < item.slice_end AND item.slice_start < s.slice_end"
)


def _segment_rows(claims: Mapping[int, Claim]) -> list[tuple[Any, ...]]:
    return [
        (number, each.request.activity_key, attribute_mask(each.attributes), to_us(each.request.period.start),
         to_us(each.request.period.end), each.request.slice.start, each.request.slice.end)
        for number, each in claims.items()
    ]  # fmt: skip


class SqliteTransaction(SqlTransaction):
    """``Transaction`` on SQLite 3.38 or newer, inside BEGIN IMMEDIATE."""

    relation: ClassVar[Relation] = staticmethod(json_each)
    now_sql: ClassVar[str] = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000"
    # SQLite's RETURNING knows no alias.
    changed_lock: ClassVar[str] = LOCK_COLUMNS.replace("l.", "")

    def __init__(self, connection: AsyncConnection, bundles: dict[int, str], bundle_id: int) -> None:
        super().__init__(connection, bundles, bundle_id)
        self._drawn: dict[str, int] = {}

    async def draw(self, sequence: str, count: int) -> list[int]:
        """See ``SqlTransaction``."""
        if sequence not in self._drawn:
            ((largest,),) = await self._run(_NUMBERED[sequence])
            self._drawn[sequence] = largest or 0
        first = self._drawn[sequence] + 1
        self._drawn[sequence] += count
        return list(range(first, first + count))

    async def serialize_measured(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``. There is one writer."""

    async def bar_outcome_changes(self) -> None:
        """See ``Transaction``. There is one writer."""

    async def bar_grants(self) -> None:
        """See ``Transaction``. There is one writer."""

    async def _win_segments(self, claims: Mapping[int, Claim]) -> set[int]:
        items, values = json_each(_SEGMENT_COLUMNS, _segment_rows(claims))
        rows = await self._run(
            "INSERT INTO segment (lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
            "slice_end, live) SELECT lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
            f"slice_end, TRUE FROM {items} WHERE NOT EXISTS (SELECT 1 FROM segment s WHERE {_CONFLICTS}) "
            "RETURNING lock_id",
            **values,
        )
        return {row[0] for row in rows}

    async def _in_the_way(self, claims: Sequence[Claim]) -> Sequence[Any]:
        items, values = json_each(_SEGMENT_COLUMNS, _segment_rows(dict(enumerate(claims))))
        return await self._run(
            "SELECT item.lock_id, l.lock_id, l.registry, l.instrument, s.period_start_us, s.period_end_us, "
            f"s.slice_start, s.slice_end, l.state, l.expire_us FROM {items} JOIN segment s ON {_CONFLICTS} "
            "JOIN issuance_lock l ON l.lock_id = s.lock_id",
            **values,
        )

    async def _add_blocks(self, rows: Sequence[tuple[Any, ...]]) -> int:
        columns = (("lock_id", "int"), ("token", "int"), ("registry", "text"), ("series", "text"),
                   ("series_key", "int"), ("start_serial", "int"), ("end_serial", "int"))  # fmt: skip
        names = ", ".join(name for name, _ in columns)
        last: dict[int, int] = {}
        fresh = []
        # Sorted by series and start: within the batch a block overlaps the one before it or none.
        for row in rows:
            if row[5] > last.get(row[4], -1):
                fresh.append(row)
            last[row[4]] = max(last.get(row[4], -1), row[6])
        items, values = json_each(columns, fresh)
        added = await self._run(
            f"INSERT INTO unit_block ({names}) SELECT {names} FROM {items} "
            "WHERE NOT EXISTS (SELECT 1 FROM unit_block u WHERE u.series_key = item.series_key "
            "AND u.start_serial <= item.end_serial AND item.start_serial <= u.end_serial) RETURNING 1",
            **values,
        )
        return len(added)


class SqliteLookupStore(SqlLookupStore):
    """``LookupStore`` in an SQLite file."""

    transaction_type = SqliteTransaction

    @staticmethod
    async def _bar_other_openers(connection: AsyncConnection) -> None:
        """BEGIN IMMEDIATE bars them already."""

    @staticmethod
    async def _bar_other_positioners(connection: AsyncConnection) -> None:
        """BEGIN IMMEDIATE bars them already."""

    @staticmethod
    async def _hold_view(connection: AsyncConnection) -> None:
        """A transaction in WAL mode does so by itself."""
