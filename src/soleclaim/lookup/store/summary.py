"""All that is known of one activity in a few figures: relatives, what was measured, what was issued (R95).

Sums are made by the database: an activity may have any number of outcomes. Contracts: ``lookup.ports``.
"""

from typing import Final

from soleclaim.core.activity_id import ActivityId, ActivityKey, make_activity_id
from soleclaim.lookup.domain import IssuedTotal, MeasuredTotal, Summary
from soleclaim.lookup.store.rows import to_period
from soleclaim.lookup.store.unit_of_work import UnitOfWork

_PART: Final = 1_000_000_000
"""Sums are made of the billions and of the rest apart: SQLite fails where a sum leaves 63 bits."""
_BILLIONS_AND_REST: Final = f"sum({{0}} / {_PART}), sum({{0}} % {_PART})"


class SummaryTables(UnitOfWork):
    """The part of a transaction that sums up."""

    async def summary(self, key: ActivityKey) -> Summary:
        """See ``Reader``."""
        return Summary(
            wholes=await self._relatives("activity_part", "parent_key", "child_key", key),
            parts=await self._relatives("activity_part", "child_key", "parent_key", key),
            aliases=await self._relatives("activity_alias", "alias_key", "activity_key", key),
            measured=await self._measured_totals(key),
            issued=await self._issued_totals(key),
        )

    async def _relatives(self, table: str, column: str, of_column: str, key: ActivityKey) -> tuple[ActivityId, ...]:
        rows = await self._run(
            f"SELECT a.country, a.activity_key FROM {table} r JOIN activity a ON a.activity_key = r.{column} "
            f"WHERE r.{of_column} = :key ORDER BY r.create_us, a.activity_key",
            key=key,
        )
        return tuple(make_activity_id(country, ActivityKey(other)) for country, other in rows)

    async def _measured_totals(self, key: ActivityKey) -> tuple[MeasuredTotal, ...]:
        # In order of start, the longer first: what starts before the end of any before it may be a part of that one.
        rows = await self._run(
            "SELECT base_unit, min(period_start_us), max(period_end_us), sum(counted), count(*), "
            f"{_BILLIONS_AND_REST.format('quantity * counted')} FROM ("
            "SELECT o.base_unit, o.period_start_us, o.period_end_us, o.quantity, "
            "CASE WHEN o.period_start_us < max(o.period_end_us) OVER (PARTITION BY o.base_unit "
            "ORDER BY o.period_start_us, o.period_end_us DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
            "THEN 0 ELSE 1 END AS counted FROM outcome o WHERE o.activity_key = :key) AS looked_at "
            "GROUP BY base_unit ORDER BY base_unit",
            key=key,
        )
        return tuple(
            MeasuredTotal(unit, int(billions) * _PART + int(rest), to_period(start, end), counted, number - counted)
            for unit, start, end, counted, number, billions, rest in rows
        )

    async def _issued_totals(self, key: ActivityKey) -> tuple[IssuedTotal, ...]:
        # Two questions, since two indexes serve it: live segments and ended ones.
        rows = await self._run(
            "SELECT l.registry, l.instrument, min(l.period_start_us), max(l.period_end_us), "
            f"{_BILLIONS_AND_REST.format('l.issued_units')} FROM issuance_lock l WHERE l.issued_units > 0 "
            "AND l.lock_id IN (SELECT s.lock_id FROM segment s WHERE s.activity_key = :key AND s.live "
            "UNION ALL SELECT s.lock_id FROM segment s WHERE s.activity_key = :key AND NOT s.live) "
            "GROUP BY l.registry, l.instrument ORDER BY l.registry, l.instrument",
            key=key,
        )
        return tuple(
            IssuedTotal(registry, instrument, int(billions) * _PART + int(rest), to_period(start, end))
            for registry, instrument, start, end, billions, rest in rows
        )
