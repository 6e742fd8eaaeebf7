"""Two activities that are one: what stands on both, and moving it to the one that stays. Contracts: ``lookup.ports``.

Statements ask for live and ended segments apart, since two indexes serve them.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.lookup.domain import EventKind, Lock, LockId, LockState, Outcome
from soleclaim.lookup.store.locks import LockTables
from soleclaim.lookup.store.outcomes import OutcomeTables
from soleclaim.lookup.store.rows import LOCK_COLUMNS, to_us

_SAME_SPOT: Final = (
    "o.base_unit = outcome.base_unit AND o.period_start_us = outcome.period_start_us "
    "AND o.period_end_us = outcome.period_end_us"
)


class MergeTables(OutcomeTables, LockTables):
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
        ((country,),) = await self._run("SELECT country FROM activity WHERE activity_key = :key", key=into)
        keys: dict[str, object] = {"merged": merged, "into": into}
        moved: dict[str, Any] = {
            "locks": await self._move_locks(country, keys),
            "projects": await self._moved(
                "UPDATE native_project SET activity_key = :into, country = :country WHERE activity_key = :merged "
                "RETURNING registry, native_project_id",
                **keys,
                country=country,
            ),
            "identifiers": await self._moved(
                "UPDATE strong_identifier SET activity_key = :into WHERE activity_key = :merged "
                "RETURNING scheme, value",
                **keys,
            ),
            # Of one figure that both have, the survivor's stays.
            "outcomes_of_both": await self._moved(
                "DELETE FROM outcome WHERE activity_key = :merged AND EXISTS (SELECT 1 FROM outcome o "
                f"WHERE o.activity_key = :into AND {_SAME_SPOT}) "
                "RETURNING base_unit, period_start_us, period_end_us, quantity, registry, update_us",
                **keys,
            ),
            "outcomes": await self._moved(
                "UPDATE outcome SET activity_key = :into WHERE activity_key = :merged "
                "RETURNING base_unit, period_start_us, period_end_us",
                **keys,
            ),
            "parts": await self._move_parts(keys),
        }
        await self._leave_alias(merged, into, case_id)
        await self._run(
            "INSERT INTO activity_merge (case_id, merged_key, activity_key, moved, create_us) "
            "VALUES (:case_id, :merged, :into, :moved, :now)",
            case_id=case_id,
            moved=json.dumps(moved, ensure_ascii=False),
            now=await self.now_us(),
            **keys,
        )
        await self._note(
            [
                (
                    EventKind.ACTIVITY_MERGED,
                    into,
                    country,
                    "",
                    None,
                    0,
                    json.dumps({"merged": merged, "case": case_id}),
                ),
                *(
                    (EventKind.LOCK_MOVED, into, country, registry, lock_id, token, json.dumps({"from": merged}))
                    for lock_id, registry, token in moved["locks"]
                ),
            ]
        )

    async def _moved(self, statement: str, **values: object) -> list[list[Any]]:
        return [list(row) for row in await self._run(statement, **values)]

    async def _move_locks(self, country: str, keys: dict[str, object]) -> list[list[Any]]:
        """Locks before segments: a change of a lock under way ends first, and what it left of the segments is moved."""
        locks = await self._moved(
            "UPDATE issuance_lock SET activity_key = :into, country = :country WHERE lock_id IN ("
            "SELECT s.lock_id FROM segment s WHERE s.activity_key = :merged AND s.live "
            "UNION ALL SELECT s.lock_id FROM segment s WHERE s.activity_key = :merged AND NOT s.live) "
            "RETURNING lock_id, registry, token",
            **keys,
            country=country,
        )
        for condition in ("live", "NOT live"):
            await self._run(
                f"UPDATE segment SET activity_key = :into WHERE activity_key = :merged AND {condition}", **keys
            )
        return sorted(locks)

    async def _move_parts(self, keys: dict[str, object]) -> list[list[Any]]:
        for side, other in (("child_key", "parent_key"), ("parent_key", "child_key")):
            await self._run(
                f"INSERT INTO activity_part ({side}, {other}, case_id, create_us) "
                f"SELECT CAST(:into AS bigint), {other}, case_id, create_us FROM activity_part "
                f"WHERE {side} = :merged ON CONFLICT (child_key, parent_key) DO NOTHING",
                **keys,
            )
        return await self._moved(
            "DELETE FROM activity_part WHERE child_key = :merged OR parent_key = :merged "
            "RETURNING child_key, parent_key, case_id, create_us",
            merged=keys["merged"],
        )

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
