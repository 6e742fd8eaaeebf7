"""An activity that is two after all: moving a part of it off, undoing a merge, the splits as they are kept.

Contracts: ``lookup.ports``.
"""

import json
from collections.abc import Sequence
from typing import Any

from soleclaim.core.activity_id import ActivityId, ActivityKey, activity_key, make_activity_id
from soleclaim.lookup.domain import (
    ActivitySplit,
    Belongings,
    DecisionKind,
    EventKind,
    LockId,
    Merge,
    Outcome,
    OutcomeRecord,
    SplitState,
    SplitWish,
)
from soleclaim.lookup.store.descriptions import read_description
from soleclaim.lookup.store.merging import MergeTables, read_belongings, tell_belongings
from soleclaim.lookup.store.rows import to_instant, to_period, to_us


class SplitTables(MergeTables):
    """The part of a transaction that splits."""

    async def merge_of(self, alias: ActivityKey) -> Merge | None:
        """See ``Reader``."""
        found = await self._merge_of(alias)
        if found is None:
            return None
        survivor, moved = found
        activity_id = make_activity_id(await self._country(alias), alias)
        of_both = tuple(
            Outcome(
                OutcomeRecord(registry, activity_id, alias, to_period(start_us, end_us), base_unit, quantity),
                to_instant(update_us),
            )
            for base_unit, start_us, end_us, quantity, registry, update_us in moved["outcomes_of_both"]
        )
        return Merge(alias, survivor, read_belongings(moved), of_both)

    async def _merge_of(self, alias: ActivityKey) -> tuple[ActivityKey, dict[str, Any]] | None:
        """Where an alias leads, and what moved when it became one."""
        rows = await self._run(
            "SELECT a.activity_key, m.moved FROM activity_alias a JOIN activity_merge m ON m.case_id = a.case_id "
            "AND m.merged_key = a.alias_key AND m.create_us = a.create_us WHERE a.alias_key = :alias",
            alias=alias,
        )
        return (ActivityKey(rows[0][0]), json.loads(rows[0][1])) if rows else None

    async def activity_split(self, split_id: int) -> ActivitySplit | None:
        """See ``Reader``."""
        found = await self._splits("s.split_id = :split_id", split_id=split_id)
        return found[0] if found else None

    async def list_activity_splits(self, *, key: ActivityKey | None, after: int, limit: int) -> list[ActivitySplit]:
        """See ``Reader``."""
        condition, values = "s.split_id > :after", {"after": after, "limit": limit}
        if key is not None:
            condition, values["key"] = f"{condition} AND s.activity_key = :key", key
        return await self._splits(f"{condition} ORDER BY s.split_id LIMIT :limit", **values)

    async def _splits(self, condition: str, **values: object) -> list[ActivitySplit]:
        rows = await self._run(
            "SELECT s.*, a.country, r.country AS restored_country, i.country AS into_country FROM activity_split s "
            "JOIN activity a ON a.activity_key = s.activity_key "
            "LEFT JOIN activity r ON r.activity_key = s.restored_key "
            f"LEFT JOIN activity i ON i.activity_key = s.into_key WHERE {condition}",
            **values,
        )
        return [_to_split(row) for row in rows]

    async def propose_split(self, wish: SplitWish, moving: Belongings) -> int:
        """See ``Transaction``."""
        key = activity_key(wish.activity_id)
        await self._run(
            f"UPDATE activity_split SET state = {SplitState.REPLACED:d}, update_us = :now "
            f"WHERE activity_key = :key AND state = {SplitState.PROPOSED:d}",
            key=key,
            now=await self.now_us(),
        )
        (split_id,) = await self.draw("activity_split_id", 1)
        named = {
            "projects": wish.native_projects,
            "identifiers": wish.identifiers,
            "locks": wish.locks,
        }
        await self._run(
            "INSERT INTO activity_split (split_id, activity_key, restored_key, state, wish, moved, reason, proposer, "
            "confirm_reason, confirmer, create_us, update_us) VALUES (:split_id, :key, :restored, "
            f"{SplitState.PROPOSED:d}, :wish, :moved, :reason, :proposer, '', '', :now, :now)",
            split_id=split_id,
            key=key,
            restored=None if wish.restore is None else activity_key(wish.restore),
            wish=json.dumps(named, ensure_ascii=False),
            moved=json.dumps(tell_belongings(moving), ensure_ascii=False),
            reason=wish.reason,
            proposer=wish.proposer,
            now=await self.now_us(),
        )
        return split_id

    async def split(
        self,
        split_id: int,
        into: ActivityKey,
        moving: Belongings,
        returning: Sequence[Outcome],
        *,
        confirm_reason: str = "",
        confirmer: str = "",
    ) -> None:
        """See ``Transaction``."""
        ((source, restored),) = await self._run(
            "SELECT activity_key, restored_key FROM activity_split WHERE split_id = :split_id", split_id=split_id
        )
        if restored is None:
            await self._add_activity_like(source, into, moving.projects[0])
        else:
            await self._end_alias(source, into)
            await self._return_outcomes(into, returning)
        sides = ((source, {"split": split_id, "to": into}), (into, {"split": split_id, "from": source}))
        told = [
            (EventKind.ACTIVITY_SPLIT, key, await self._country(key), "", None, 0, json.dumps(detail))
            for key, detail in sides
        ]
        moved = tell_belongings(moving)
        moved["locks"] = await self._carry(source, into, moving, told)
        await self._run(
            f"UPDATE activity_split SET state = {SplitState.DONE:d}, into_key = :into, moved = :moved, "
            "confirm_reason = :confirm_reason, confirmer = :confirmer, update_us = :now "
            f"WHERE split_id = :split_id AND state = {SplitState.PROPOSED:d}",
            split_id=split_id,
            into=into,
            moved=json.dumps(moved, ensure_ascii=False),
            confirm_reason=confirm_reason,
            confirmer=confirmer,
            now=await self.now_us(),
        )

    async def _add_activity_like(self, source: ActivityKey, key: ActivityKey, project: tuple[str, str]) -> None:
        """A new one, called as the project's description says, or else as the one it comes from."""
        described = await self._run(
            "SELECT document FROM project_description WHERE registry = :registry AND native_project_id = :project",
            registry=project[0],
            project=project[1],
        )
        names = [read_description(json.loads(document)) for (document,) in described]
        (ordinal,) = await self.draw("activity_ordinal", 1)
        await self._run(
            "INSERT INTO activity (activity_key, ordinal, country, activity_type, display_name, time_zone, create_us) "
            "SELECT CAST(:key AS bigint), CAST(:ordinal AS bigint), country, activity_type, "
            "coalesce(CAST(:name AS text), display_name), time_zone, :now FROM activity WHERE activity_key = :source",
            key=key,
            ordinal=ordinal,
            name=next((name for each in names for name in (each.name, each.name_local) if name), None),
            source=source,
            now=await self.now_us(),
        )

    async def _end_alias(self, source: ActivityKey, alias: ActivityKey) -> None:
        """The alias is an activity again, with its parts and the aliases that led to it."""
        found = await self._merge_of(alias)
        if found is None:
            raise AssertionError("what is restored is an alias; the service has looked")
        _, moved = found
        await self._return_parts(source, alias, moved)
        led = [each for each in await self._aliases_through(source, alias) if each != alias]
        items, values = self.relation((("alias_key", "int"),), ((each,) for each in led))
        await self._run(
            f"UPDATE activity_alias AS x SET activity_key = :alias FROM {items} WHERE x.alias_key = item.alias_key",
            alias=alias,
            **values,
        )
        await self._run("DELETE FROM activity_alias WHERE alias_key = :alias", alias=alias)

    async def _return_outcomes(self, key: ActivityKey, outcomes: Sequence[Outcome]) -> None:
        columns = (
            ("base_unit", "text"), ("period_start_us", "int"), ("period_end_us", "int"), ("quantity", "int"),
            ("registry", "text"), ("update_us", "int"),
        )  # fmt: skip
        names = ", ".join(name for name, _ in columns)
        rows = (
            (one.base_unit, to_us(one.period.start), to_us(one.period.end), one.quantity, one.registry, to_us(update))
            for one, update in ((each.record, each.update_time) for each in outcomes)
        )
        items, values = self.relation(columns, rows)
        await self._run(
            f"INSERT INTO outcome (activity_key, {names}) SELECT CAST(:key AS bigint), {names} FROM {items}",
            key=key,
            **values,
        )

    async def _return_parts(self, source: ActivityKey, alias: ActivityKey, moved: dict[str, Any]) -> None:
        """Those that moved, where they are now: the other side of one may have been merged since."""
        for child, _, case_id, create_us in moved["parts"]:
            side = "child_key" if child == alias else "parent_key"
            await self._run(
                f"UPDATE activity_part SET {side} = :alias WHERE {side} = :source AND case_id = :case_id "
                "AND create_us = :create_us",
                alias=alias,
                source=source,
                case_id=case_id,
                create_us=create_us,
            )
        for child, parent, case_id, create_us in moved.get("parts_of_both", ()):
            await self._run(
                "INSERT INTO activity_part (child_key, parent_key, case_id, create_us) "
                "SELECT CAST(:child AS bigint), CAST(:parent AS bigint), CAST(:case_id AS bigint), "
                "CAST(:create_us AS bigint) FROM review_decision WHERE case_id = :case_id AND number = "
                "(SELECT max(number) FROM review_decision WHERE case_id = :case_id) "
                # Not where a person has taken it back since.
                f"AND kind = {DecisionKind.PART_OF:d} ON CONFLICT (child_key, parent_key) DO NOTHING",
                child=alias if child == alias else await self.survivor_of(child),
                parent=alias if parent == alias else await self.survivor_of(parent),
                case_id=case_id,
                create_us=create_us,
            )

    async def _aliases_through(self, source: ActivityKey, alias: ActivityKey) -> set[int]:
        """Aliases of ``source`` that became so by way of this one: merged into it, or into one that was."""
        into = {
            row[0]: row[1]
            for row in await self._run(
                "SELECT a.alias_key, m.activity_key FROM activity_alias a JOIN activity_merge m "
                "ON m.case_id = a.case_id AND m.merged_key = a.alias_key AND m.create_us = a.create_us "
                "WHERE a.activity_key = :source",
                source=source,
            )
        }
        through: set[int] = {alias}
        while more := {each for each, parent in into.items() if parent in through} - through:
            through |= more
        return through


def _to_split(row: Any) -> ActivitySplit:  # noqa: ANN401  a row of the one statement above
    named = json.loads(row.wish)
    return ActivitySplit(
        split_id=row.split_id,
        state=SplitState(row.state),
        wish=SplitWish(
            activity_id=make_activity_id(row.country, ActivityKey(row.activity_key)),
            native_projects=tuple((registry, project) for registry, project in named["projects"]),
            identifiers=tuple((scheme, value) for scheme, value in named["identifiers"]),
            locks=tuple(LockId(each) for each in named["locks"]),
            restore=_id(row.restored_country, row.restored_key),
            reason=row.reason,
            proposer=row.proposer,
        ),
        into=_id(row.into_country, row.into_key),
        moved=read_belongings(json.loads(row.moved)),
        confirm_reason=row.confirm_reason,
        confirmer=row.confirmer,
        create_time=to_instant(row.create_us),
        update_time=to_instant(row.update_us),
    )


def _id(country: str | None, key: int | None) -> ActivityId | None:
    return None if country is None or key is None else make_activity_id(country, ActivityKey(key))
