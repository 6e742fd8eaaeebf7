"""PostgreSQL: the exclusion rule is a constraint, so that no bug above it can double-issue (design section 4)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import Claim, EventKind, Lock, LockId, LockState, Part
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.relation import Relation, unnest
from soleclaim.lookup.store.rows import LOCK_COLUMNS, WHOLE_LOCK, to_us
from soleclaim.lookup.store.transaction import SqlTransaction

_OPENERS, _POSITIONERS, _OUTCOMES, _DESCRIPTIONS = (0x501E_0001, 0x501E_0002, 0x501E_0003, 0x501E_0004)
"""Keys of advisory locks; each names what it orders."""
_SETTLEMENTS: Final = 0x501E_0008

_SEGMENT_COLUMNS: Final = (
    ("place", "int"), ("activity_key", "int"), ("attributes", "text"), ("period_start_us", "int"),
    ("period_end_us", "int"), ("slice_start", "int"), ("slice_end", "int"),
)  # fmt: skip


_GRANT_COLUMNS: Final = (
    *_SEGMENT_COLUMNS, ("country", "text"), ("registry", "text"), ("instrument", "text"), ("expire_us", "int"),
    ("units", "int"), ("carried_in", "int"), ("reference", "text"),
)  # fmt: skip


@lru_cache(maxsize=256)
def _array(numbers: tuple[int, ...]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


def _segment_rows(claims: Sequence[Claim]) -> list[tuple[Any, ...]]:
    """The place of each claim, and its segment.

    Sorted by activity, period and slice: two batches that insert contended rows in one order do not deadlock.
    """
    rows = [
        (place, one.activity_key, _array(attributes), to_us(one.period.start), to_us(one.period.end), *one.slice)
        for place, (one, attributes, *_) in enumerate(claims)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row[1], row[3], row[5], row[4], row[6]))


class PostgresTransaction(SqlTransaction):
    """``Transaction`` on PostgreSQL 15 or newer, READ COMMITTED."""

    relation: ClassVar[Relation] = staticmethod(unnest)
    now_sql: ClassVar[str] = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    attributes_meet_sql: ClassVar[str] = "a.attributes && b.attributes"
    transaction_id_sql: ClassVar[str] = "nextval('transaction_id')"

    async def draw(self, sequence: str, count: int) -> list[int]:
        """See ``SqlTransaction``."""
        rows = await self._run(f"SELECT nextval('{sequence}') FROM generate_series(1, :count)", count=count)
        return [row[0] for row in rows]

    async def hold_activities(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``. Row locks, in one order."""
        await self._run(
            "SELECT 1 FROM activity WHERE activity_key = ANY(CAST(:keys AS bigint[])) ORDER BY activity_key FOR UPDATE",
            keys=sorted(set(keys)),
        )

    async def hold_lock(self, lock_id: LockId) -> None:
        """See ``Transaction``."""
        await self._run("SELECT 1 FROM issuance_lock WHERE lock_id = :lock_id FOR UPDATE", lock_id=lock_id)

    async def bar_descriptions(self) -> None:
        """See ``Transaction``."""
        if self.descriptions_barred:
            return
        if self.grants_barred:
            raise AssertionError("descriptions are barred before grants, else two may wait for each other")
        await self._run(f"SELECT pg_advisory_xact_lock({_DESCRIPTIONS})")
        self.descriptions_barred = True

    async def bar_settlements(self) -> None:
        """See ``Transaction``."""
        await self._run(f"SELECT pg_advisory_xact_lock({_SETTLEMENTS})")

    async def bar_outcome_changes(self) -> None:
        """See ``Transaction``. One shared lock per transaction, not per item."""
        await self._run(f"SELECT pg_advisory_xact_lock_shared({_OUTCOMES})")
        self.outcome_changes_barred = True

    async def bar_grants(self) -> None:
        """See ``Transaction``."""
        if self.outcome_changes_barred:
            # Two that share this lock and both want it alone would wait for each other.
            await self.bar_grants_first()
        await self._run(f"SELECT pg_advisory_xact_lock({_OUTCOMES})")
        self.grants_barred = True

    async def _grant_free(self, claims: Sequence[Claim]) -> list[tuple[int, int, int]]:
        # One statement, so that a batch crosses to the database once. Rows come sorted by activity, period and slice,
        # and are inserted in that order. The sort in `numbered` needs all of `won`: no token is drawn before.
        tx_id, now = await self._transaction_id(), await self.now_us()
        rows = [
            (i, *segment, one.activity_id[:2], one.registry, one.instrument, now + one.ttl_us, one.units,
             one.carried_in, one.reference)
            for i, *segment in _segment_rows(claims)
            for one in (claims[i].request,)
        ]  # fmt: skip
        items, values = unnest(_GRANT_COLUMNS, rows)
        granted = await self._run(
            f"WITH item AS MATERIALIZED (SELECT nextval('issuance_lock_id') AS lock_id, item.* FROM {items}), "
            "won AS (INSERT INTO segment (lock_id, activity_key, attributes, period_start_us, period_end_us, "
            "slice_start, slice_end, live) SELECT lock_id, activity_key, CAST(attributes AS int[]), period_start_us, "
            "period_end_us, slice_start, slice_end, TRUE FROM item ON CONFLICT DO NOTHING RETURNING lock_id), "
            "numbered AS MATERIALIZED (SELECT lock_id, nextval('history_entry_id') AS token "
            "FROM (SELECT lock_id FROM won ORDER BY lock_id) AS w), "
            "locked AS (INSERT INTO issuance_lock (lock_id, activity_key, country, registry, instrument, "
            "period_start_us, period_end_us, slice_start, slice_end, state, token, expire_us, units, carried_in, "
            "reference, issued_units, issuance_count, supplement, bundle_id, create_us, update_us) "
            "SELECT lock_id, activity_key, country, registry, instrument, period_start_us, period_end_us, "
            f"slice_start, slice_end, {LockState.HELD:d}, token, expire_us, units, carried_in, reference, 0, 0, FALSE, "
            ":bundle_id, :now, :now FROM numbered JOIN item USING (lock_id)), "
            "noted AS (INSERT INTO history_entry (entry_id, tx_id, kind, activity_key, country, registry, lock_id, "
            f"token, create_us) SELECT token, :tx_id, {EventKind.LOCK_GRANTED:d}, activity_key, country, registry, "
            "lock_id, token, :now FROM numbered JOIN item USING (lock_id)) "
            "SELECT place, lock_id, token FROM numbered JOIN item USING (lock_id)",
            tx_id=tx_id,
            now=now,
            bundle_id=self._bundle_id,
            **values,
        )
        if granted:
            self._noted([token for _, _, token in granted])
        return [(place, lock_id, token) for place, lock_id, token in granted]

    async def _change(
        self,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        change: str,
        condition: str,
        kind: EventKind,
    ) -> list[Lock]:
        # As in `_grant_free`: one statement, and no entry number is drawn before all rows are changed.
        items, values = unnest(columns, rows)
        detail = "item.detail" if ("detail", "text") in columns else "CAST(NULL AS text)"
        tx_id = await self._transaction_id()
        changed = await self._run(
            # In a CASE the planner cannot guess how few locks meet the condition: from statistics of a quieter hour it
            # would else look for those first, and compare each with every item of the batch.
            f"WITH changed AS (UPDATE issuance_lock AS l SET {change}, update_us = :now FROM {items} "
            f"WHERE l.lock_id = item.lock_id AND CASE WHEN {condition} THEN TRUE ELSE FALSE END "
            f"RETURNING {LOCK_COLUMNS}, {detail} AS detail), "
            "noted AS (INSERT INTO history_entry (entry_id, tx_id, kind, activity_key, country, registry, lock_id, "
            "token, detail, create_us) SELECT nextval('history_entry_id'), :tx_id, :kind, activity_key, country, "
            "registry, lock_id, token, detail, :now FROM (SELECT * FROM changed ORDER BY lock_id) AS c "
            "RETURNING entry_id) "
            "SELECT changed.*, (SELECT min(entry_id) FROM noted), (SELECT max(entry_id) FROM noted) FROM changed",
            tx_id=tx_id,
            kind=int(kind),
            now=await self.now_us(),
            **values,
        )
        if changed:
            self._noted(changed[0][-2:])
        return await self._to_locks(changed)

    async def _in_the_way(self, claims: Sequence[Claim]) -> Sequence[Any]:
        items, values = unnest(_SEGMENT_COLUMNS, _segment_rows(claims))
        return await self._run(
            "SELECT item.place, l.lock_id, l.registry, l.instrument, s.period_start_us, s.period_end_us, "
            f"s.slice_start, s.slice_end, l.state, l.expire_us, {WHOLE_LOCK} FROM {items} JOIN segment s ON s.live "
            "AND s.activity_key = item.activity_key AND s.attributes && CAST(item.attributes AS int[]) "
            "AND int8range(s.period_start_us, s.period_end_us) && int8range(item.period_start_us, item.period_end_us) "
            "AND int8range(s.slice_start, s.slice_end) && int8range(item.slice_start, item.slice_end) "
            "JOIN issuance_lock l ON l.lock_id = s.lock_id",
            **values,
        )

    async def _add_parts(self, parts: Sequence[Part]) -> int:
        columns = (("lock_id", "int"), *_SEGMENT_COLUMNS[1:], ("live", "int"))
        rows = [
            (each.lock_id, each.activity_key, _array(each.attributes), *each.where, int(each.live)) for each in parts
        ]
        # In the order in which grants insert: see `_segment_rows`.
        items, values = unnest(columns, sorted(rows, key=lambda row: (row[1], row[3], row[5], row[4], row[6])))
        added = await self._run(
            "INSERT INTO segment (lock_id, activity_key, attributes, period_start_us, period_end_us, slice_start, "
            "slice_end, live) SELECT lock_id, activity_key, CAST(attributes AS int[]), period_start_us, period_end_us, "
            f"slice_start, slice_end, live = 1 FROM {items} ON CONFLICT DO NOTHING RETURNING 1",
            **values,
        )
        return len(added)

    async def _add_blocks(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        columns = (("lock_id", "int"), ("token", "int"), ("registry", "text"), ("series", "text"),
                   ("series_key", "int"), ("start_serial", "int"), ("end_serial", "int"))  # fmt: skip
        items, values = unnest(columns, rows)
        names = ", ".join(name for name, _ in columns)
        return await self._add(f"INSERT INTO unit_block ({names}) SELECT {names} FROM {items}", **values)


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
