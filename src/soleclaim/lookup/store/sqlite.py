"""SQLite: one writer at a time, so the exclusion rule is a question asked inside the writer's transaction."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import Claim, EventKind, Lock, LockId, LockRequest, LockState, Part
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.relation import Relation, json_each
from soleclaim.lookup.store.rows import LOCK_COLUMNS, WHOLE_LOCK, attribute_mask, to_us
from soleclaim.lookup.store.transaction import SqlTransaction

_NUMBERED: Final = {
    "activity_ordinal": "SELECT max(ordinal) FROM activity",
    "review_case_id": "SELECT max(case_id) FROM review_case",
    "activity_split_id": "SELECT max(split_id) FROM activity_split",
    "coverage_statement_number": "SELECT max(number) FROM coverage_statement",
    "settlement_number": "SELECT max(number) FROM settlement_line",
    "project_description_id": "SELECT max(description_id) FROM project_description",
    "dispute_id": "SELECT max(dispute_id) FROM dispute",
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


_LOCK_COLUMNS: Final = (
    ("lock_id", "int"), ("token", "int"), ("activity_key", "int"), ("country", "text"), ("registry", "text"),
    ("instrument", "text"), ("period_start_us", "int"), ("period_end_us", "int"), ("slice_start", "int"),
    ("slice_end", "int"), ("expire_us", "int"), ("units", "int"), ("carried_in", "int"), ("reference", "text"),
)  # fmt: skip


def _segment_rows(numbered: Iterable[tuple[int, Claim]]) -> list[tuple[Any, ...]]:
    return [
        (number, one.activity_key, attribute_mask(attributes), to_us(one.period.start), to_us(one.period.end),
         one.slice.start, one.slice.end)
        for number, (one, attributes, *_) in numbered
    ]  # fmt: skip


class SqliteTransaction(SqlTransaction):
    """``Transaction`` on SQLite 3.38 or newer, inside BEGIN IMMEDIATE."""

    relation: ClassVar[Relation] = staticmethod(json_each)
    now_sql: ClassVar[str] = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000"

    attributes_meet_sql: ClassVar[str] = "(a.attributes & b.attributes) <> 0"

    def __init__(self, connection: AsyncConnection, bundles: dict[int, str], bundle_id: int) -> None:
        super().__init__(connection, bundles, bundle_id)
        self._drawn: dict[str, int] = {}
        self.grants_barred = True  # there is one writer

    async def draw(self, sequence: str, count: int) -> list[int]:
        """See ``SqlTransaction``."""
        if sequence not in self._drawn:
            ((largest,),) = await self._run(_NUMBERED[sequence])
            self._drawn[sequence] = largest or 0
        first = self._drawn[sequence] + 1
        self._drawn[sequence] += count
        return list(range(first, first + count))

    async def hold_activities(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``. There is one writer."""

    async def hold_lock(self, lock_id: LockId) -> None:
        """See ``Transaction``. There is one writer."""

    async def bar_settlements(self) -> None:
        """See ``Transaction``. There is one writer."""

    async def bar_descriptions(self) -> None:
        """See ``Transaction``. There is one writer."""

    async def bar_outcome_changes(self) -> None:
        """See ``Transaction``. There is one writer."""

    async def bar_grants(self) -> None:
        """See ``Transaction``. There is one writer."""

    async def _grant_free(self, claims: Sequence[Claim]) -> list[tuple[int, int, int]]:
        lock_ids = await self.draw("issuance_lock_id", len(claims))
        place_of = {lock_id: place for place, lock_id in enumerate(lock_ids)}
        items, values = json_each(_SEGMENT_COLUMNS, _segment_rows(zip(lock_ids, claims, strict=True)))
        won = await self._run(
            "INSERT INTO segment (lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
            "slice_end, live) SELECT lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
            f"slice_end, TRUE FROM {items} WHERE NOT EXISTS (SELECT 1 FROM segment s WHERE {_CONFLICTS}) "
            "RETURNING lock_id",
            **values,
        )
        winners = sorted(lock_id for (lock_id,) in won)
        if not winners:
            return []
        tokens = await self.draw("history_entry_id", len(winners))
        granted = [(place_of[lock_id], lock_id, token) for lock_id, token in zip(winners, tokens, strict=True)]
        await self._insert_locks([(lock_id, token, claims[place].request) for place, lock_id, token in granted])
        await self._note(
            [
                (EventKind.LOCK_GRANTED, one.activity_key, one.activity_id[:2], one.registry, lock_id, token, None)
                for place, lock_id, token in granted
                for one in (claims[place].request,)
            ],
            tokens,
        )
        return granted

    async def _insert_locks(self, rows: Sequence[tuple[int, int, LockRequest]]) -> None:
        now = await self.now_us()
        items, values = json_each(
            _LOCK_COLUMNS,
            (
                (lock_id, token, one.activity_key, one.activity_id[:2], one.registry, one.instrument,
                 to_us(one.period.start), to_us(one.period.end), one.slice.start, one.slice.end, now + one.ttl_us,
                 one.units, one.carried_in, one.reference)
                for lock_id, token, one in rows
            ),
        )  # fmt: skip
        names = ", ".join(name for name, _ in _LOCK_COLUMNS)
        await self._run(
            f"INSERT INTO issuance_lock ({names}, state, issued_units, issuance_count, supplement, bundle_id, "
            f"create_us, update_us) SELECT {names}, {LockState.HELD:d}, 0, 0, FALSE, :bundle_id, :now, :now "
            f"FROM {items}",
            bundle_id=self._bundle_id,
            now=now,
            **values,
        )

    async def _change(
        self,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        change: str,
        condition: str,
        kind: EventKind,
    ) -> list[Lock]:
        items, values = json_each(columns, rows)
        changed = await self._run(
            f"UPDATE issuance_lock AS l SET {change}, update_us = :now FROM {items} "
            # SQLite's RETURNING knows no alias.
            f"WHERE l.lock_id = item.lock_id AND {condition} RETURNING {LOCK_COLUMNS.replace('l.', '')}",
            now=await self.now_us(),
            **values,
        )
        locks = await self._to_locks(changed)
        place = next((i for i, (name, _) in enumerate(columns) if name == "detail"), None)
        details = {} if place is None else {row[0]: row[place] for row in rows}
        await self._note(
            [
                (kind, each.activity_key, each.country, each.registry, each.lock_id, each.token,
                 details.get(each.lock_id))
                for each in locks
            ]
        )  # fmt: skip
        return locks

    async def _in_the_way(self, claims: Sequence[Claim]) -> Sequence[Any]:
        items, values = json_each(_SEGMENT_COLUMNS, _segment_rows(enumerate(claims)))
        return await self._run(
            "SELECT item.lock_id, l.lock_id, l.registry, l.instrument, s.period_start_us, s.period_end_us, "
            f"s.slice_start, s.slice_end, l.state, l.expire_us, {WHOLE_LOCK} FROM {items} "
            f"JOIN segment s ON {_CONFLICTS} JOIN issuance_lock l ON l.lock_id = s.lock_id",
            **values,
        )

    async def _add_parts(self, parts: Sequence[Part]) -> int:
        columns = (*_SEGMENT_COLUMNS, ("live", "int"))
        items, values = json_each(
            columns,
            (
                (each.lock_id, each.activity_key, attribute_mask(each.attributes), *each.where, int(each.live))
                for each in parts
            ),
        )
        names = ", ".join(name for name, _ in columns)
        added = await self._run(
            f"INSERT INTO segment ({names}) SELECT {names} FROM {items} "
            f"WHERE NOT item.live OR NOT EXISTS (SELECT 1 FROM segment s WHERE {_CONFLICTS}) RETURNING 1",
            **values,
        )
        return len(added)

    async def _add_blocks(self, rows: Sequence[tuple[Any, ...]]) -> bool:
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
        return len(added) == len(rows)


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
