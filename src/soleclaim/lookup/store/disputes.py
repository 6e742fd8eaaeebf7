"""Tables of disputes, and moving the claims that they are about. Contracts: ``lookup.ports``.

Whatever opens, settles or reopens one bars grants: these transactions come one after another, and no grant is under
way.
"""

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.rectangle import Rectangle
from soleclaim.lookup.domain import (
    Claim,
    Dispute,
    DisputeDecision,
    DisputeDecisionKind,
    DisputeDecisionTaken,
    DisputeKind,
    DisputeOutcome,
    DisputeState,
    EventKind,
    LockId,
    NewDispute,
    Part,
)
from soleclaim.lookup.store.history import tell_row
from soleclaim.lookup.store.locks import LockTables
from soleclaim.lookup.store.rows import to_instant, to_us

_COLUMNS: Final = (
    "d.dispute_id, d.kind, d.state, d.activity_key, d.country, d.period_start_us, d.period_end_us, d.slice_start, "
    "d.slice_end, d.standing_lock_id, d.late_lock_id, d.detail, d.create_us, d.update_us"
)


class DisputeTables(LockTables):
    """The part of a transaction that holds what two registries claim, until a person settles it."""

    @abstractmethod
    async def _add_parts(self, parts: Sequence[Part]) -> int:
        """See ``HistoryTables``."""

    async def disputes_barring(self, claims: Sequence[Claim]) -> dict[int, int]:
        """See ``Reader``."""
        columns = (
            ("place", "int"), ("activity_key", "int"), ("start_us", "int"), ("end_us", "int"), ("slice_start", "int"),
            ("slice_end", "int"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            (
                (i, one.activity_key, to_us(one.period.start), to_us(one.period.end), *one.slice)
                for i, claim in enumerate(claims)
                for one in (claim.request,)
            ),
        )
        rows = await self._run(
            f"SELECT item.place, min(d.dispute_id) FROM {items} JOIN dispute d ON d.holding "
            "AND d.activity_key = item.activity_key "
            "AND d.period_start_us < item.end_us AND item.start_us < d.period_end_us "
            "AND d.slice_start < item.slice_end AND item.slice_start < d.slice_end GROUP BY item.place",
            **values,
        )
        return {row[0]: row[1] for row in rows}

    async def disputes_on(self, keys: Sequence[ActivityKey]) -> list[Dispute]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in dict.fromkeys(keys)))
        rows = await self._run(
            f"SELECT {_COLUMNS} FROM {items} JOIN dispute d ON d.activity_key = item.activity_key "
            "ORDER BY d.dispute_id",
            **values,
        )
        return [_to_dispute(row) for row in rows]

    async def dispute(self, dispute_id: int) -> Dispute | None:
        """See ``Reader``."""
        rows = await self._run(
            f"SELECT {_COLUMNS} FROM dispute d WHERE d.dispute_id = :dispute_id", dispute_id=dispute_id
        )
        return _to_dispute(rows[0]) if rows else None

    async def list_disputes(
        self,
        *,
        registry: str | None,
        state: DisputeState | None,
        activity_key: ActivityKey | None,
        after: int,
        limit: int,
    ) -> list[Dispute]:
        """See ``Reader``."""
        side = "EXISTS (SELECT 1 FROM issuance_lock l WHERE l.registry = :registry AND l.lock_id IN "
        conditions: dict[str, dict[str, object] | None] = {
            f"{side}(d.standing_lock_id, d.late_lock_id))": {"registry": registry} if registry else None,
            "d.state = :state": {"state": int(state)} if state else None,
            "d.activity_key = :activity_key": {"activity_key": activity_key} if activity_key is not None else None,
        }
        where = "".join(f" AND {condition}" for condition, values in conditions.items() if values)
        values = {name: value for each in conditions.values() if each for name, value in each.items()}
        rows = await self._run(
            f"SELECT {_COLUMNS} FROM dispute d WHERE d.dispute_id > :after{where} ORDER BY d.dispute_id LIMIT :limit",
            after=after,
            limit=limit,
            **values,
        )
        return [_to_dispute(row) for row in rows]

    async def dispute_decisions(self, dispute_ids: Sequence[int]) -> dict[int, list[DisputeDecisionTaken]]:
        """See ``Reader``."""
        items, values = self.relation((("dispute_id", "int"),), ((each,) for each in dispute_ids))
        found: defaultdict[int, list[DisputeDecisionTaken]] = defaultdict(list)
        for row in await self._run(
            "SELECT d.dispute_id, d.kind, d.outcome, d.boundary, d.evidence, d.evidence_uri, d.decider, d.create_us "
            f"FROM dispute_decision d JOIN {items} ON item.dispute_id = d.dispute_id ORDER BY d.dispute_id, d.number",
            **values,
        ):
            found[row.dispute_id].append(
                DisputeDecisionTaken(
                    kind=DisputeDecisionKind(row.kind),
                    outcome=None if row.outcome is None else DisputeOutcome(row.outcome),
                    boundary=row.boundary,
                    evidence=row.evidence,
                    evidence_uri=row.evidence_uri,
                    decider=row.decider,
                    create_time=to_instant(row.create_us),
                )
            )
        return dict(found)

    async def open_disputes(self, disputes: Sequence[NewDispute]) -> list[int]:
        """See ``Transaction``."""
        if not disputes:
            return []
        ids = await self.draw("dispute_id", len(disputes))
        columns = (
            ("dispute_id", "int"), ("kind", "int"), ("activity_key", "int"), ("country", "text"),
            ("period_start_us", "int"), ("period_end_us", "int"), ("slice_start", "int"), ("slice_end", "int"),
            ("standing_lock_id", "int"), ("late_lock_id", "int"), ("detail", "text"), ("document", "text"),
            ("holding", "int"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            (
                (number, int(each.kind), each.activity_key, each.country, *each.where, each.standing, each.late,
                 each.detail, None if each.document is None else tell_row(each.document), int(each.holding))
                for number, each in zip(ids, disputes, strict=True)
            ),
        )  # fmt: skip
        names = ", ".join(name for name, _ in columns[:-1])
        await self._run(
            f"INSERT INTO dispute ({names}, bars, holding, state, create_us, update_us) SELECT {names}, "
            f"item.holding = 1, item.holding = 1, {DisputeState.OPEN:d}, :now, :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        await self._tell_sides(
            EventKind.DISPUTE_OPENED,
            [
                (number, each.activity_key, each.country, each.standing, each.late, {"kind": each.kind.name})
                for number, each in zip(ids, disputes, strict=True)
            ],
        )
        return ids

    async def differing(self, late: Sequence[NewDispute]) -> dict[int, int]:
        """See ``Reader``."""
        items, values = self.relation(
            (("place", "int"), ("activity_key", "int"), ("lock_id", "int"), ("document", "text")),
            (
                (i, each.activity_key, each.late, "" if each.document is None else tell_row(each.document))
                for i, each in enumerate(late)
            ),
        )
        rows = await self._run(
            f"SELECT item.place, min(d.dispute_id) FROM {items} JOIN dispute d ON d.activity_key = item.activity_key "
            "AND d.late_lock_id = item.lock_id AND d.document = item.document GROUP BY item.place",
            **values,
        )
        return {row[0]: row[1] for row in rows}

    async def _tell_sides(self, kind: EventKind, told: Sequence[tuple[Any, ...]]) -> None:
        """History for each registry that is a side: (number, key, country, standing, late, what else)."""
        locks = await self.locks(each for row in told for each in (row[3], row[4]) if each is not None)
        entries = []
        for number, key, country, standing, late, more in told:
            detail = json.dumps({"dispute": number, **more}, ensure_ascii=False)
            sides = {locks[each].registry: each for each in (standing, late) if each is not None}
            entries += [(kind, key, country, registry, lock, 0, detail) for registry, lock in sides.items()]
        await self._note(entries)

    async def record_dispute_decision(self, dispute: Dispute, decision: DisputeDecision) -> None:
        """See ``Transaction``."""
        reopened = decision.outcome is None
        kind = DisputeDecisionKind.REOPENED if reopened else DisputeDecisionKind.SETTLED
        await self._run(
            "INSERT INTO dispute_decision (dispute_id, number, kind, outcome, boundary, evidence, evidence_uri, "
            "decider, create_us) SELECT :dispute_id, count(*) + 1, :kind, :outcome, :boundary, :evidence, :uri, "
            ":decider, :now FROM dispute_decision WHERE dispute_id = :dispute_id",
            dispute_id=dispute.dispute_id,
            kind=int(kind),
            outcome=None if decision.outcome is None else int(decision.outcome),
            boundary=decision.boundary,
            evidence=decision.evidence,
            uri=decision.evidence_uri,
            decider=decision.decider,
            now=await self.now_us(),
        )
        await self._run(
            f"UPDATE dispute SET state = :state, holding = {'bars' if reopened else 'FALSE'}, update_us = :now "
            "WHERE dispute_id = :dispute_id",
            state=int(DisputeState.OPEN if reopened else DisputeState.SETTLED),
            now=await self.now_us(),
            dispute_id=dispute.dispute_id,
        )
        told = {
            "outcome": None if decision.outcome is None else decision.outcome.name,
            "boundary": decision.boundary,
            "evidence": decision.evidence,
            "evidence_uri": decision.evidence_uri,
            "decider": decision.decider,
        }
        sides = (dispute.activity_key, dispute.country, dispute.standing, dispute.late)
        await self._tell_sides(
            EventKind.DISPUTE_REOPENED if reopened else EventKind.DISPUTE_SETTLED,
            [(dispute.dispute_id, *sides, told)],
        )

    async def parts_of(self, key: ActivityKey) -> list[Part]:
        """See ``Reader``."""
        found = []
        for condition in ("s.live", "NOT s.live"):
            found += [
                Part(LockId(lock_id), key, _attributes(attributes), Rectangle(*where), bool(live))
                for lock_id, attributes, *where, live in await self._run(
                    "SELECT s.lock_id, s.attributes, s.period_start_us, s.period_end_us, s.slice_start, s.slice_end, "
                    f"s.live FROM segment s WHERE s.activity_key = :key AND {condition}",
                    key=key,
                )
            ]
        return sorted(found)

    async def replace_parts(self, removed: Sequence[Part], added: Sequence[Part]) -> None:
        """See ``Transaction``."""
        for each in removed:
            await self._run(
                "DELETE FROM segment WHERE activity_key = :key AND lock_id = :lock_id AND live = :live "
                "AND period_start_us = :start AND period_end_us = :end_us AND slice_start = :slice_start "
                "AND slice_end = :slice_end",
                key=each.activity_key,
                lock_id=each.lock_id,
                live=each.live,
                start=each.where.start,
                end_us=each.where.end,
                slice_start=each.where.slice_start,
                slice_end=each.where.slice_end,
            )
        if await self._add_parts(added) < len(added):
            raise AssertionError("a settlement was not looked at before it was made")


def _attributes(written: object) -> tuple[int, ...]:
    """PostgreSQL keeps a list of numbers, SQLite a bit mask."""
    if isinstance(written, int):
        return tuple(bit for bit in range(written.bit_length()) if written >> bit & 1)
    if isinstance(written, list):
        return tuple(written)
    raise AssertionError("attributes are neither a list nor a mask")


def _to_dispute(row: Sequence[Any]) -> Dispute:
    return Dispute(
        dispute_id=row[0],
        kind=DisputeKind(row[1]),
        state=DisputeState(row[2]),
        activity_key=ActivityKey(row[3]),
        country=row[4],
        where=Rectangle(*row[5:9]),
        standing=None if row[9] is None else LockId(row[9]),
        late=LockId(row[10]),
        detail=row[11],
        create_time=to_instant(row[12]),
        update_time=to_instant(row[13]),
    )
