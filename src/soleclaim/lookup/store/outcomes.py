"""The table of measured outcomes, and what keeps grants and outcomes apart. Contracts: ``lookup.ports``."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.period import Period
from soleclaim.lookup.domain import (
    EventKind,
    Outcome,
    OutcomeRecord,
)
from soleclaim.lookup.store.rows import (
    to_instant,
    to_period,
    to_us,
)
from soleclaim.lookup.store.unit_of_work import UnitOfWork


class OutcomeTables(UnitOfWork):
    """The part of a transaction that knows what was measured."""

    @abstractmethod
    async def bar_outcome_changes(self) -> None:
        """See ``Transaction``."""

    async def outcomes(
        self, wanted: Sequence[tuple[ActivityKey, Period, str]]
    ) -> dict[tuple[ActivityKey, Period, str], Outcome]:
        """See ``Reader``."""
        columns = (("activity_key", "int"), ("start_us", "int"), ("end_us", "int"), ("base_unit", "text"))
        items, values = self.relation(
            columns, ((key, to_us(period.start), to_us(period.end), unit) for key, period, unit in wanted)
        )
        rows = await self._run(
            f"SELECT o.*, a.country FROM {items} JOIN outcome o ON o.activity_key = item.activity_key "
            "AND o.base_unit = item.base_unit AND o.period_start_us = item.start_us AND o.period_end_us = item.end_us "
            "JOIN activity a ON a.activity_key = o.activity_key",
            **values,
        )
        found = (self._outcome(row) for row in rows)
        return {(each.record.activity_key, each.record.period, each.record.base_unit): each for each in found}

    async def list_outcomes(
        self, key: ActivityKey, *, period: Period | None, after: tuple[str, Period] | None, limit: int
    ) -> list[Outcome]:
        """See ``Reader``."""
        where, values = "", dict[str, object]()
        if period is not None:
            where += " AND o.period_start_us < :end_us AND o.period_end_us > :start_us"
            values |= {"start_us": to_us(period.start), "end_us": to_us(period.end)}
        if after is not None:
            base_unit, last = after
            where += " AND (o.base_unit, o.period_start_us, o.period_end_us) > (:after_unit, :after_start, :after_end)"
            values |= {"after_unit": base_unit, "after_start": to_us(last.start), "after_end": to_us(last.end)}
        rows = await self._run(
            "SELECT o.*, a.country FROM outcome o JOIN activity a ON a.activity_key = o.activity_key "
            f"WHERE o.activity_key = :key{where} ORDER BY o.base_unit, o.period_start_us, o.period_end_us LIMIT :limit",
            key=key,
            limit=limit,
            **values,
        )
        return [self._outcome(row) for row in rows]

    @staticmethod
    def _outcome(row: Any) -> Outcome:  # noqa: ANN401  a row of any statement that selects these columns
        key = ActivityKey(row.activity_key)
        period = to_period(row.period_start_us, row.period_end_us)
        activity_id = make_activity_id(row.country, key)
        record = OutcomeRecord(row.registry, activity_id, key, period, row.base_unit, row.quantity)
        return Outcome(record, to_instant(row.update_us))

    async def outcomes_overlapping(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """See ``Reader``."""
        return await self._outcomes_near(spots, "o.period_start_us < item.end_us AND o.period_end_us > item.start_us")

    async def outcomes_touching(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """See ``Reader``."""
        return await self._outcomes_near(spots, "(o.period_end_us = item.start_us OR o.period_start_us = item.end_us)")

    async def _outcomes_near(
        self, spots: Sequence[tuple[ActivityKey, Period, str]], condition: str
    ) -> list[list[Outcome]]:
        columns = (
            ("ordinal", "int"), ("activity_key", "int"), ("start_us", "int"), ("end_us", "int"), ("base_unit", "text"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            ((i, key, to_us(period.start), to_us(period.end), unit) for i, (key, period, unit) in enumerate(spots)),
        )
        rows = await self._run(
            f"SELECT o.*, a.country, item.ordinal FROM {items} JOIN outcome o ON o.activity_key = item.activity_key "
            "AND o.base_unit = item.base_unit "
            f"AND {condition} "
            "JOIN activity a ON a.activity_key = o.activity_key "
            "ORDER BY o.period_end_us - o.period_start_us",
            **values,
        )
        touching: list[list[Outcome]] = [[] for _ in spots]
        for row in rows:
            touching[row.ordinal].append(self._outcome(row))
        return touching

    async def record_outcomes(self, records: Sequence[OutcomeRecord]) -> None:
        """See ``Transaction``."""
        columns = (
            ("activity_key", "int"), ("base_unit", "text"), ("period_start_us", "int"), ("period_end_us", "int"),
            ("quantity", "int"), ("registry", "text"),
        )  # fmt: skip
        rows = {
            (each.activity_key, each.base_unit, to_us(each.period.start), to_us(each.period.end)): each
            for each in records
        }
        items, values = self.relation(
            columns, ((*spot, rows[spot].quantity, rows[spot].registry) for spot in sorted(rows))
        )
        names = ", ".join(name for name, _ in columns)
        changed = await self._run(
            f"INSERT INTO outcome ({names}, update_us) SELECT {names}, :now FROM {items} WHERE TRUE "
            "ON CONFLICT (activity_key, base_unit, period_start_us, period_end_us) DO UPDATE "
            "SET quantity = excluded.quantity, update_us = excluded.update_us "
            "WHERE outcome.quantity <> excluded.quantity "
            "RETURNING activity_key, base_unit, period_start_us, period_end_us",
            now=await self.now_us(),
            **values,
        )
        await self._note(
            [
                (EventKind.OUTCOME_RECORDED, each.activity_key, each.activity_id[:2], each.registry, None, 0,
                 f"{each.period} {each.quantity} {each.base_unit}")
                for each in (rows[tuple(spot)] for spot in changed)
            ]
        )  # fmt: skip
