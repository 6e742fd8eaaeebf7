"""Tables of what was taken over from the history of registries. Contracts: ``lookup.ports``.

Batches are set-based as those of grants are: a row costs no statement of its own.
"""

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.serials import UnitBlock
from soleclaim.lookup.domain import (
    WHOLE,
    Claim,
    DisputeState,
    EventKind,
    HistoricIssuance,
    HistoryRow,
    KnownIssuance,
    Lock,
    LockId,
    LockState,
    Part,
    Placed,
    ProjectRegistration,
    ReviewState,
    SerialOverlap,
)
from soleclaim.lookup.store.changes import LockChanges
from soleclaim.lookup.store.descriptions import tell_description
from soleclaim.lookup.store.locks import GRANT_ROUNDS
from soleclaim.lookup.store.reviews import read_registration, tell_registration
from soleclaim.lookup.store.rows import LOCK_COLUMNS, series_key, to_instant, to_period, to_us
from soleclaim.lookup.store.unit_of_work import RepeatableError

_STANDING: Final = f"({LockState.HELD:d}, {LockState.ISSUING:d}, {LockState.ISSUED:d})"
_BLOCK_COLUMNS: Final = (
    ("lock_id", "int"), ("token", "int"), ("registry", "text"), ("series", "text"), ("series_key", "int"),
    ("start_serial", "int"), ("end_serial", "int"),
)  # fmt: skip

_Block = tuple[int, int, str, str, int, int, int]
"""A row of ``_BLOCK_COLUMNS``."""


class HistoryTables(LockChanges):
    """The part of a transaction that takes over what was issued before."""

    @abstractmethod
    async def _add_parts(self, parts: Sequence[Part]) -> int:
        """Insert segments; how many. A live one that conflicts with another live one is left out."""

    async def known_issuances(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownIssuance]:
        """See ``Reader``."""
        items, values = self.relation((("registry", "text"), ("native_id", "text")), dict.fromkeys(names))
        found = {
            (registry, native_id): KnownIssuance(
                content,
                project,
                None if lock_id is None else LockId(lock_id),
                None if key is None else ActivityKey(key),
            )
            for registry, native_id, content, project, lock_id, key in await self._run(
                "SELECT m.registry, m.native_issuance_id, m.content, m.native_project_id, m.lock_id, l.activity_key "
                f"FROM {items} JOIN imported_issuance m ON m.registry = item.registry "
                "AND m.native_issuance_id = item.native_id LEFT JOIN issuance_lock l ON l.lock_id = m.lock_id",
                **values,
            )
        }
        issued = await self._run(
            f"SELECT i.registry, i.native_issuance_id, i.units, i.token, {LOCK_COLUMNS} FROM {items} JOIN issuance i "
            "ON i.registry = item.registry AND i.native_issuance_id = item.native_id "
            "JOIN issuance_lock l ON l.lock_id = i.lock_id",
            **values,
        )
        # What waits for a review and was issued through the gateway meanwhile stands in the ledger.
        fresh = [row for row in issued if (row[0], row[1]) not in found or found[row[0], row[1]].lock_id is None]
        ledger = await self.issuances([LockId(row.lock_id) for row in fresh]) if fresh else {}
        for row in fresh:
            blocks = next(one.blocks for one in ledger[LockId(row.lock_id)] if one.native_issuance_id == row[1])
            period = to_period(row.period_start_us, row.period_end_us)
            content = HistoricIssuance(row.instrument, period, row[2], row[1], blocks, None).content
            found[row[0], row[1]] = KnownIssuance(content, "", LockId(row.lock_id), ActivityKey(row.activity_key))
        return found

    async def settled_projects(self, projects: Sequence[ProjectRegistration]) -> dict[int, ActivityKey]:
        """See ``Reader``."""
        items, values = self.relation(
            (("place", "int"), ("registry", "text"), ("project", "text"), ("document", "text")),
            (
                (i, each.registry, each.native_project_id,
                 None if each.description is None
                 else json.dumps(tell_description(each.description), ensure_ascii=False))
                for i, each in enumerate(projects)
            ),
        )  # fmt: skip
        stands = {
            place: ActivityKey(key)
            for place, key in await self._run(
                f"SELECT item.place, p.activity_key FROM {items} JOIN native_project p "
                "ON p.registry = item.registry AND p.native_project_id = item.project "
                "WHERE NOT EXISTS (SELECT 1 FROM review_case c WHERE c.registry = item.registry "
                f"AND c.native_project_id = item.project AND c.state = {ReviewState.OPEN:d}) "
                "AND (item.document IS NULL OR EXISTS (SELECT 1 FROM project_description d "
                "WHERE d.registry = item.registry AND d.native_project_id = item.project "
                "AND d.document = item.document))",
                **values,
            )
        }
        named = dict.fromkeys(identifier for i in stands for identifier in projects[i].identifiers)
        items, values = self.relation((("scheme", "text"), ("value", "text")), named)
        owners = {
            (scheme, value): key
            for scheme, value, key in await self._run(
                f"SELECT i.scheme, i.value, i.activity_key FROM {items} JOIN strong_identifier i "
                "ON i.scheme = item.scheme AND i.value = item.value",
                **values,
            )
        }
        return {i: key for i, key in stands.items() if all(owners.get(each) == key for each in projects[i].identifiers)}

    async def set_aside_locks(self, claims: Sequence[Claim]) -> dict[int, Lock]:
        """See ``Reader``."""
        columns = (
            ("place", "int"), ("activity_key", "int"), ("registry", "text"), ("instrument", "text"),
            ("start_us", "int"), ("end_us", "int"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            (
                (i, one.activity_key, one.registry, one.instrument, to_us(one.period.start), to_us(one.period.end))
                for i, claim in enumerate(claims)
                for one in (claim.request,)
            ),
        )
        rows = await self._run(
            f"SELECT {LOCK_COLUMNS}, item.place FROM {items} "
            "JOIN segment s ON NOT s.live AND s.activity_key = item.activity_key "
            "AND s.period_start_us >= item.start_us AND s.period_end_us <= item.end_us "
            "JOIN issuance_lock l ON l.lock_id = s.lock_id AND l.registry = item.registry "
            "AND l.instrument = item.instrument AND l.period_start_us = item.start_us "
            f"AND l.period_end_us = item.end_us AND l.slice_start = 0 AND l.slice_end = {WHOLE.end} "
            f"AND l.state IN {_STANDING} WHERE EXISTS (SELECT 1 FROM dispute d WHERE d.activity_key = l.activity_key "
            f"AND d.state = {DisputeState.OPEN:d} AND l.lock_id IN (d.standing_lock_id, d.late_lock_id)) "
            "ORDER BY l.lock_id",
            **values,
        )
        return {row[-1]: lock for row, lock in zip(rows, await self._to_locks(rows), strict=True)}

    async def new_lock_ids(self, count: int) -> list[LockId]:
        """See ``Transaction``."""
        return [LockId(each) for each in await self.draw("issuance_lock_id", count)]

    async def end_open_grants(self, lock_ids: Sequence[LockId]) -> None:
        """See ``Transaction``."""
        changed = await self._change(
            (("lock_id", "int"), ("detail", "text")),
            [
                (each, json.dumps({"because": "an issuance of the past claims the outcome"}))
                for each in sorted(lock_ids)
            ],
            f"state = CASE WHEN l.state = {LockState.HELD:d} THEN {LockState.EXPIRED:d} ELSE l.state END, "
            "expire_us = NULL, supplement = FALSE",
            f"l.state IN ({LockState.HELD:d}, {LockState.ISSUED:d}) AND l.expire_us IS NOT NULL",
            EventKind.LOCK_EXPIRED,
        )
        await self._free_segments(each for each in changed if each.state is LockState.EXPIRED)

    async def record_history(
        self, placed: Sequence[Placed], fresh: frozenset[LockId], parts: Sequence[Part]
    ) -> list[SerialOverlap]:
        """See ``Transaction``."""
        if await self._add_parts(parts) < len(parts):
            # Somebody was granted a part of it since this transaction looked.
            raise RepeatableError
        await self._take_existing([each for each in placed if each.lock_id not in fresh])
        # As in a grant: drawn when the segments are won and the rows are taken, so tokens rise per activity.
        tokens = await self.draw("history_entry_id", len(placed))
        numbered = list(zip(placed, tokens, strict=True))
        await self._add_locks([each for each in numbered if each[0].lock_id in fresh])
        await self._raise_tokens([each for each in numbered if each[0].lock_id not in fresh])
        await self._note(
            [
                (EventKind.ISSUANCE_IMPORTED, each.activity_key, each.activity_id[:2], each.row.project.registry,
                 each.lock_id, token, None)
                for each, token in numbered
            ],
            tokens,
        )  # fmt: skip
        await self._add_issuances(numbered)
        await self._keep([(each.row, each.lock_id) for each in placed])
        return await self._add_all_blocks(numbered)

    async def _take_existing(self, placed: Sequence[Placed]) -> None:
        """Add to locks that stand: one that only waited to begin is issued now, and what it waits with a supplement."""
        sums: defaultdict[LockId, list[int]] = defaultdict(list)
        for each in placed:
            sums[each.lock_id].append(_issuance(each.row).units)
        if not sums:
            return
        items, values = self.relation(
            (("lock_id", "int"), ("units", "int"), ("number", "int")),
            ((lock_id, sum(units), len(units)) for lock_id, units in sorted(sums.items())),
        )
        taken = await self._run(
            "UPDATE issuance_lock AS l SET issued_units = l.issued_units + item.units, "
            "issuance_count = l.issuance_count + item.number, "
            f"supplement = l.supplement OR l.state <> {LockState.ISSUED:d}, "
            f"state = CASE WHEN l.state = {LockState.HELD:d} THEN {LockState.ISSUED:d} ELSE l.state END, "
            f"update_us = :now FROM {items} WHERE l.lock_id = item.lock_id AND l.state IN {_STANDING} "
            "RETURNING 1",
            now=await self.now_us(),
            **values,
        )
        if len(taken) < len(sums):
            raise RepeatableError

    async def _raise_tokens(self, numbered: Sequence[tuple[Placed, int]]) -> None:
        """The last issuance's token is the lock's, except where an open grant goes on under its own."""
        last = {each.lock_id: token for each, token in numbered}
        if last:
            items, values = self.relation((("lock_id", "int"), ("token", "int")), sorted(last.items()))
            await self._run(
                f"UPDATE issuance_lock AS l SET token = item.token FROM {items} WHERE l.lock_id = item.lock_id "
                f"AND l.state = {LockState.ISSUED:d} AND l.expire_us IS NULL",
                **values,
            )

    async def _add_locks(self, numbered: Sequence[tuple[Placed, int]]) -> None:
        grouped: defaultdict[LockId, list[tuple[Placed, int]]] = defaultdict(list)
        for each in numbered:
            grouped[each[0].lock_id].append(each)
        columns = (
            ("lock_id", "int"), ("activity_key", "int"), ("country", "text"), ("registry", "text"),
            ("instrument", "text"), ("period_start_us", "int"), ("period_end_us", "int"), ("token", "int"),
            ("units", "int"), ("issued_units", "int"), ("issuance_count", "int"),
        )  # fmt: skip
        rows = []
        for lock_id, members in grouped.items():
            (last, token), units = members[-1], [_issuance(each.row).units for each, _ in members]
            issuance = _issuance(last.row)
            rows.append(
                (lock_id, last.activity_key, last.activity_id[:2], last.row.project.registry, issuance.instrument,
                 to_us(issuance.period.start), to_us(issuance.period.end), token, units[-1], sum(units), len(units))
            )  # fmt: skip
        if not rows:
            return
        items, values = self.relation(columns, rows)
        names = ", ".join(name for name, _ in columns)
        await self._run(
            f"INSERT INTO issuance_lock ({names}, slice_start, slice_end, state, carried_in, reference, supplement, "
            f"bundle_id, create_us, update_us) SELECT {names}, 0, {WHOLE.end}, {LockState.ISSUED:d}, 0, '', FALSE, "
            f":bundle_id, :now, :now FROM {items}",
            bundle_id=self._bundle_id,
            now=await self.now_us(),
            **values,
        )

    async def _add_issuances(self, numbered: Sequence[tuple[Placed, int]]) -> None:
        columns = (
            ("registry", "text"), ("native_issuance_id", "text"), ("lock_id", "int"), ("token", "int"),
            ("units", "int"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            sorted(
                (each.row.project.registry, _issuance(each.row).native_issuance_id, each.lock_id, token,
                 _issuance(each.row).units)
                for each, token in numbered
            ),
        )  # fmt: skip
        names = ", ".join(name for name, _ in columns)
        added = await self._add(
            f"INSERT INTO issuance ({names}, reference, commit_us) SELECT {names}, '', :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        if not added:
            # Committed through the gateway since this transaction looked: then it is known.
            raise RepeatableError

    async def keep_waiting(self, rows: Sequence[HistoryRow]) -> None:
        """See ``Transaction``."""
        await self._keep([(each, None) for each in rows])

    async def _keep(self, rows: Sequence[tuple[HistoryRow, LockId | None]]) -> None:
        if not rows:
            return
        columns = (
            ("registry", "text"), ("native_issuance_id", "text"), ("native_project_id", "text"), ("content", "text"),
            ("issue_us", "int"), ("document", "text"), ("lock_id", "int"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            (
                (row.project.registry, issuance.native_issuance_id, row.project.native_project_id, issuance.content,
                 None if issuance.issue_time is None else to_us(issuance.issue_time),
                 None if lock_id else tell_row(row), lock_id)
                for row, lock_id in sorted(rows, key=_name)
                for issuance in (_issuance(row),)
            ),
        )  # fmt: skip
        names = ", ".join(name for name, _ in columns)
        await self._run(
            f"INSERT INTO imported_issuance ({names}, create_us) SELECT {names}, :now FROM {items} WHERE TRUE "
            "ON CONFLICT (registry, native_issuance_id) DO UPDATE SET lock_id = excluded.lock_id",
            now=await self.now_us(),
            **values,
        )

    async def waiting_rows(self, registry: str, native_project_id: str) -> list[HistoryRow]:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT document FROM imported_issuance WHERE lock_id IS NULL AND registry = :registry "
            "AND native_project_id = :project ORDER BY create_us, native_issuance_id",
            registry=registry,
            project=native_project_id,
        )
        return [read_row(registry, native_project_id, document) for (document,) in rows]

    async def _add_all_blocks(self, numbered: Sequence[tuple[Placed, int]]) -> list[SerialOverlap]:
        """What is free goes into the ledger; serials that stand there already are kept beside it, and told."""
        blocks: list[tuple[int, _Block]] = [
            (place, (each.lock_id, token, registry, block.series, series_key(registry, block.series), *_ends(block)))
            for place, (each, token) in enumerate(numbered)
            for registry in (each.row.project.registry,)
            for block in _issuance(each.row).blocks
        ]
        if not blocks:
            return []
        free = [row for _, row in blocks]
        overlaps: list[SerialOverlap] = []
        disputed: list[_Block] = []
        for _ in range(GRANT_ROUNDS):
            savepoint = await self._connection.begin_nested()
            if await self._add_blocks(sorted(free, key=lambda row: (row[4], row[5]))):
                await savepoint.commit()
                await self._add_disputed_blocks(disputed)
                return overlaps
            await savepoint.rollback()
            free, disputed, overlaps = _parted(blocks, await self._standing_blocks(free))
        raise RepeatableError

    async def _standing_blocks(self, rows: Sequence[_Block]) -> list[tuple[int, int, int, int]]:
        """(series key, start, end, lock) of ledger blocks that overlap any of these."""
        items, values = self.relation(_BLOCK_COLUMNS, rows)
        found = await self._run(
            f"SELECT DISTINCT u.series_key, u.start_serial, u.end_serial, u.lock_id FROM {items} JOIN unit_block u "
            "ON u.series_key = item.series_key AND u.start_serial <= item.end_serial "
            "AND item.start_serial <= u.end_serial",
            **values,
        )
        return [(row[0], row[1], row[2], row[3]) for row in found]

    async def _add_disputed_blocks(self, rows: Sequence[_Block]) -> None:
        if rows:
            items, values = self.relation(_BLOCK_COLUMNS, rows)
            names = ", ".join(name for name, _ in _BLOCK_COLUMNS)
            await self._run(f"INSERT INTO disputed_block ({names}) SELECT {names} FROM {items}", **values)


def _parted(
    placed: Sequence[tuple[int, _Block]], standing: Iterable[tuple[int, int, int, int]]
) -> tuple[list[_Block], list[_Block], list[SerialOverlap]]:
    """Free and disputed pieces of blocks, in their order: what came first in the batch stands against what follows."""
    taken: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for key, start, end, lock_id in standing:
        taken[key].append((start, end, lock_id))
    free: list[_Block] = []
    disputed: list[_Block] = []
    overlaps: list[SerialOverlap] = []
    for place, row in placed:
        series, key = row[3], row[4]
        pieces = [(row[5], row[6])]
        for start, end, lock_id in taken[key]:
            shared = [(max(start, low), min(end, high)) for low, high in pieces if start <= high and low <= end]
            disputed += [(*row[:5], low, high) for low, high in shared]
            overlaps += [SerialOverlap(place, LockId(lock_id), UnitBlock(series, low, high)) for low, high in shared]
            pieces = [
                part
                for low, high in pieces
                for part in ((low, min(high, start - 1)), (max(low, end + 1), high))
                if part[0] <= part[1]
            ] if shared else pieces  # fmt: skip
        free += [(*row[:5], low, high) for low, high in pieces]
        taken[key] += [(low, high, row[0]) for low, high in pieces]
    return free, disputed, overlaps


def _name(kept: tuple[HistoryRow, LockId | None]) -> tuple[str, str]:
    row = kept[0]
    return row.project.registry, _issuance(row).native_issuance_id


def _ends(block: UnitBlock) -> tuple[int, int]:
    return block.start, block.end


def _issuance(row: HistoryRow) -> HistoricIssuance:
    if row.issuance is None:
        raise AssertionError("a project without an issuance has no place in the ledger")
    return row.issuance


def tell_row(row: HistoryRow) -> str:
    """A row as it is kept."""
    issuance = _issuance(row)
    told: dict[str, Any] = {
        "project": json.loads(tell_registration(row.project)),
        "instrument": issuance.instrument,
        "period": [to_us(issuance.period.start), to_us(issuance.period.end)],
        "units": issuance.units,
        "native_issuance_id": issuance.native_issuance_id,
        "blocks": [[each.series, each.start, each.end] for each in issuance.blocks],
        "issue_us": None if issuance.issue_time is None else to_us(issuance.issue_time),
    }
    return json.dumps(told, ensure_ascii=False)


def read_row(registry: str, native_project_id: str, document: str) -> HistoryRow:
    """From how it is kept."""
    told = json.loads(document)
    issuance = HistoricIssuance(
        instrument=told["instrument"],
        period=to_period(*told["period"]),
        units=told["units"],
        native_issuance_id=told["native_issuance_id"],
        blocks=tuple(UnitBlock(*each) for each in told["blocks"]),
        issue_time=None if told["issue_us"] is None else to_instant(told["issue_us"]),
    )
    return HistoryRow(read_registration(registry, native_project_id, json.dumps(told["project"])), issuance)
