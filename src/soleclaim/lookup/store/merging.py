"""Two activities that are one: what stands on both, and moving it from one to another. Contracts: ``lookup.ports``.

Statements ask for live and ended segments apart, since two indexes serve them.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import Belongings, EventKind, Lock, LockId, LockState, Outcome, SplitState
from soleclaim.lookup.store.identity import IdentityTables
from soleclaim.lookup.store.locks import LockTables
from soleclaim.lookup.store.outcomes import OutcomeTables
from soleclaim.lookup.store.rows import LOCK_COLUMNS, to_period, to_us

MAX_LOCKS_ON_ONE: Final = 2**31
"""No bound: all of them move, or are looked at."""

_SAME_SPOT: Final = (
    "o.base_unit = outcome.base_unit AND o.period_start_us = outcome.period_start_us "
    "AND o.period_end_us = outcome.period_end_us"
)


class MergeTables(IdentityTables, OutcomeTables, LockTables):
    """The part of a transaction that merges."""

    attributes_meet_sql: ClassVar[str]
    """Whether segments ``a`` and ``b`` share an attribute."""

    async def survivor_of(self, key: ActivityKey) -> ActivityKey:
        """See ``Reader``."""
        rows = await self._run("SELECT activity_key FROM activity_alias WHERE alias_key = :key", key=key)
        return ActivityKey(rows[0][0]) if rows else key

    async def live_locks_on(self, keys: Sequence[ActivityKey]) -> list[Lock]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in dict.fromkeys(keys)))
        rows = await self._run(
            f"SELECT {LOCK_COLUMNS} FROM issuance_lock l WHERE l.lock_id IN (SELECT s.lock_id FROM {items} "
            "JOIN segment s ON s.live AND s.activity_key = item.activity_key) ORDER BY l.lock_id",
            **values,
        )
        return await self._to_locks(rows)

    async def expire_stale_on(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``."""
        now = await self.now_us()
        locks = await self.live_locks_on(keys)
        await self._expire(each.lock_id for each in locks if each.state is LockState.HELD and _ran_out(each, now))

    async def clashing(self, keys: Sequence[ActivityKey]) -> tuple[LockId, LockId] | None:
        """See ``Reader``."""
        some, values = self.relation((("activity_key", "int"),), ((key,) for key in keys), "one")
        others, more = self.relation((("activity_key", "int"),), ((key,) for key in keys), "two")
        rows = await self._run(
            f"SELECT a.lock_id, b.lock_id FROM {some} JOIN {others} ON one.activity_key < two.activity_key "
            "JOIN segment a ON a.live AND a.activity_key = one.activity_key "
            "JOIN segment b ON b.live AND b.activity_key = two.activity_key "
            f"AND {self.attributes_meet_sql} "
            "AND a.period_start_us < b.period_end_us AND b.period_start_us < a.period_end_us "
            "AND a.slice_start < b.slice_end AND b.slice_start < a.slice_end ORDER BY a.lock_id, b.lock_id LIMIT 1",
            **values,
            **more,
        )
        return (LockId(rows[0][0]), LockId(rows[0][1])) if rows else None

    async def outcomes_of(self, keys: Sequence[ActivityKey]) -> list[Outcome]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in dict.fromkeys(keys)))
        rows = await self._run(
            f"SELECT o.*, a.country FROM {items} JOIN outcome o ON o.activity_key = item.activity_key "
            "JOIN activity a ON a.activity_key = o.activity_key "
            "ORDER BY o.base_unit, o.period_start_us, o.period_end_us",
            **values,
        )
        return [self._outcome(row) for row in rows]

    async def merge(self, merged: ActivityKey, into: ActivityKey, case_id: int) -> None:
        """See ``Transaction``."""
        # Of one figure that both have, the survivor's stays.
        of_both = await self._moved(
            "DELETE FROM outcome WHERE activity_key = :merged AND EXISTS (SELECT 1 FROM outcome o "
            f"WHERE o.activity_key = :into AND {_SAME_SPOT}) "
            "RETURNING base_unit, period_start_us, period_end_us, quantity, registry, update_us",
            merged=merged,
            into=into,
        )
        moved = tell_belongings(await self._belongings(merged))
        moved["outcomes_of_both"] = of_both
        moved["parts"], moved["parts_of_both"] = await self._move_parts(merged, into)
        told = (EventKind.ACTIVITY_MERGED, into, await self._country(into), "", None, 0,
                json.dumps({"merged": merged, "case": case_id}))  # fmt: skip
        moved["locks"] = await self._carry(merged, into, read_belongings(moved), [told])
        await self._leave_alias(merged, into, case_id)
        await self._run(
            "INSERT INTO activity_merge (case_id, merged_key, activity_key, moved, create_us) "
            "VALUES (:case_id, :merged, :into, :moved, :now)",
            case_id=case_id,
            merged=merged,
            into=into,
            moved=json.dumps(moved, ensure_ascii=False),
            now=await self.now_us(),
        )

    async def _country(self, key: ActivityKey) -> str:
        ((country,),) = await self._run("SELECT country FROM activity WHERE activity_key = :key", key=key)
        return str(country)

    async def _moved(self, statement: str, **values: object) -> list[list[Any]]:
        return [list(row) for row in await self._run(statement, **values)]

    async def _belongings(self, key: ActivityKey) -> Belongings:
        """All that stands on an activity."""
        activity = (await self.activities([key]))[key]
        return Belongings(
            projects=activity.native_projects,
            identifiers=activity.identifiers,
            locks=tuple(each.lock_id for each in await self.locks_on(key)),
            outcomes=tuple((each.record.base_unit, each.record.period) for each in await self.outcomes_of([key])),
        )

    async def locks_on(self, key: ActivityKey) -> list[Lock]:
        """See ``Reader``."""
        return await self.list_locks(
            activity_key=key, registry=None, state=None, period=None, after=0, limit=MAX_LOCKS_ON_ONE
        )

    async def _carry(
        self, source: ActivityKey, into: ActivityKey, what: Belongings, told: Sequence[tuple[Any, ...]]
    ) -> list[list[Any]]:
        """Move these from one activity to another, with history after what is ``told``; the locks as they stand."""
        country = await self._country(into)
        keys: dict[str, object] = {"source": source, "into": into}
        locks = await self._carry_locks(what.locks, country, keys)
        items, values = self.relation((("registry", "text"), ("project", "text")), what.projects)
        await self._run(
            f"UPDATE native_project AS p SET activity_key = :into, country = :country FROM {items} WHERE "
            "p.registry = item.registry AND p.native_project_id = item.project AND p.activity_key = :source",
            country=country,
            **keys,
            **values,
        )
        items, values = self.relation((("scheme", "text"), ("value", "text")), what.identifiers)
        await self._run(
            f"UPDATE strong_identifier AS i SET activity_key = :into FROM {items} "
            "WHERE i.scheme = item.scheme AND i.value = item.value AND i.activity_key = :source",
            **keys,
            **values,
        )
        items, values = self.relation(
            (("base_unit", "text"), ("start_us", "int"), ("end_us", "int")),
            ((unit, to_us(period.start), to_us(period.end)) for unit, period in what.outcomes),
        )
        await self._run(
            f"UPDATE outcome AS o SET activity_key = :into FROM {items} WHERE o.activity_key = :source AND "
            "o.base_unit = item.base_unit AND o.period_start_us = item.start_us AND o.period_end_us = item.end_us",
            **keys,
            **values,
        )
        from_there = json.dumps({"from": source})
        await self._note(
            [
                *told,
                *(
                    (EventKind.LOCK_MOVED, into, country, registry, lock_id, token, from_there)
                    for lock_id, registry, token in locks
                ),
            ]
        )
        return locks

    async def _carry_locks(self, lock_ids: Sequence[LockId], country: str, keys: dict[str, object]) -> list[list[Any]]:
        """Locks before segments: a change of a lock under way ends first, and what it left of the segments is moved."""
        items, values = self.relation((("lock_id", "int"),), ((each,) for each in lock_ids))
        locks = await self._moved(
            "UPDATE issuance_lock SET activity_key = :into, country = :country WHERE activity_key = :source "
            f"AND lock_id IN (SELECT item.lock_id FROM {items}) RETURNING lock_id, registry, token",
            country=country,
            **keys,
            **values,
        )
        for condition in ("s.live", "NOT s.live"):
            await self._run(
                f"UPDATE segment AS s SET activity_key = :into FROM {items} "
                f"WHERE s.activity_key = :source AND s.lock_id = item.lock_id AND {condition}",
                **keys,
                **values,
            )
        # A dispute goes with what came late: that is what it keeps from being live.
        await self._run(
            f"UPDATE dispute AS d SET activity_key = :into, country = :country FROM {items} "
            "WHERE d.activity_key = :source AND d.late_lock_id = item.lock_id",
            country=country,
            **keys,
            **values,
        )
        return sorted(locks)

    async def _move_parts(self, merged: ActivityKey, into: ActivityKey) -> tuple[list[list[Any]], list[list[Any]]]:
        """What it is a part of, and its parts: those that moved, and those that the survivor had as well."""
        moved: list[list[Any]] = []
        for side, other in (("child_key", "parent_key"), ("parent_key", "child_key")):
            moved += await self._moved(
                f"INSERT INTO activity_part ({side}, {other}, case_id, create_us) "
                f"SELECT CAST(:into AS bigint), {other}, case_id, create_us FROM activity_part "
                f"WHERE {side} = :merged ON CONFLICT (child_key, parent_key) DO NOTHING RETURNING case_id, create_us",
                merged=merged,
                into=into,
            )
        rows = await self._moved(
            "DELETE FROM activity_part WHERE child_key = :merged OR parent_key = :merged "
            "RETURNING child_key, parent_key, case_id, create_us",
            merged=merged,
        )
        return [row for row in rows if row[2:] in moved], [row for row in rows if row[2:] not in moved]

    async def _leave_alias(self, merged: ActivityKey, into: ActivityKey, case_id: int) -> None:
        await self._run(
            "UPDATE activity_alias SET activity_key = :into WHERE activity_key = :merged", into=into, merged=merged
        )
        await self._run(
            "INSERT INTO activity_alias (alias_key, activity_key, case_id, create_us) "
            "VALUES (:merged, :into, :case_id, :now)",
            merged=merged,
            into=into,
            case_id=case_id,
            now=await self.now_us(),
        )
        await self._run(
            f"UPDATE activity_split SET state = {SplitState.REPLACED:d}, update_us = :now "
            f"WHERE activity_key = :merged AND state = {SplitState.PROPOSED:d}",
            merged=merged,
            now=await self.now_us(),
        )
        # Open cases go on holding, and name what they hold.
        await self._run(
            "INSERT INTO review_candidate (case_id, activity_key, probability, reasons, holding) "
            "SELECT case_id, CAST(:into AS bigint), probability, reasons, TRUE FROM review_candidate "
            "WHERE activity_key = :merged AND holding ON CONFLICT (case_id, activity_key) DO UPDATE SET holding = TRUE",
            merged=merged,
            into=into,
        )
        await self._run(
            "UPDATE review_candidate SET holding = FALSE WHERE activity_key = :merged AND holding", merged=merged
        )


def _ran_out(lock: Lock, now_us: int) -> bool:
    return lock.expire_time is not None and to_us(lock.expire_time) <= now_us


def tell_belongings(what: Belongings) -> dict[str, Any]:
    """As they are kept. A lock is a list that its registry and token may follow."""
    return {
        "projects": what.projects,
        "identifiers": what.identifiers,
        "locks": [[lock_id] for lock_id in what.locks],
        "outcomes": [[unit, to_us(period.start), to_us(period.end)] for unit, period in what.outcomes],
    }


def read_belongings(told: dict[str, Any]) -> Belongings:
    """From how they are kept."""
    return Belongings(
        projects=tuple((registry, project) for registry, project in told["projects"]),
        identifiers=tuple((scheme, value) for scheme, value in told["identifiers"]),
        locks=tuple(LockId(lock_id) for lock_id, *_ in told["locks"]),
        outcomes=tuple((unit, to_period(start_us, end_us)) for unit, start_us, end_us in told["outcomes"]),
    )
