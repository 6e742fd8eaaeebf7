"""State changes of issuance locks, and the ledger of what was issued under them. Contracts: ``lookup.ports``."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.exc import IntegrityError

from soleclaim.core.serials import total
from soleclaim.db.engine import stands_already
from soleclaim.lookup.domain import (
    Abortion,
    Commitment,
    EventKind,
    GrantRef,
    Lock,
    LockId,
    LockState,
)
from soleclaim.lookup.ports import Moved, SerialConflict
from soleclaim.lookup.store.locks import LockTables
from soleclaim.lookup.store.rows import (
    series_key,
    to_instant,
)

_GRANT_COLUMNS: Final[tuple[tuple[str, str], ...]] = (("lock_id", "int"), ("token", "int"), ("registry", "text"))
_FITS: Final = "l.token = item.token AND l.registry = item.registry"


class LockChanges(LockTables):
    """The part of a transaction that moves grants on."""

    @abstractmethod
    async def _add_blocks(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Insert unit blocks (lock_id, token, registry, series, series_key, start, end); whether none overlaps another.

        Where one does, the caller goes back to its savepoint.
        """

    async def _move(
        self, grants: Sequence[GrantRef], change: str, condition: str, kind: EventKind, details: Sequence[str] = ()
    ) -> list[Moved]:
        """One conditional change of many locks: ``change`` where registry, token and ``condition`` fit."""
        if not grants:
            return []
        columns = _GRANT_COLUMNS
        rows: list[tuple[Any, ...]] = [(each.lock_id, each.token, each.registry) for each in grants]
        if details:
            columns = (*_GRANT_COLUMNS, ("detail", "text"))
            rows = [(*row, detail) for row, detail in zip(rows, details, strict=True)]
        changed = await self._change(columns, sorted(rows), change, f"{_FITS} AND {condition}", kind)
        return await self._answers(grants, {each.lock_id: each for each in changed})

    async def _answers(self, grants: Sequence[GrantRef], changed: Mapping[LockId, Lock]) -> list[Moved]:
        """Each grant's lock as it stands. A batch names a lock once."""
        missing = [each.lock_id for each in grants if each.lock_id not in changed]
        unchanged = await self.locks(missing) if missing else {}
        as_of = to_instant(await self.now_us())
        return [
            Moved(each.lock_id in changed, changed.get(each.lock_id) or unchanged.get(each.lock_id), as_of)
            for each in grants
        ]

    async def begin(self, grants: Sequence[GrantRef]) -> list[Moved]:
        """See ``Transaction``."""
        return await self._move(
            grants,
            f"state = {LockState.ISSUING:d}, expire_us = NULL",
            f"l.state IN ({LockState.HELD:d}, {LockState.ISSUED:d}) AND l.expire_us > {self.now_sql}",
            EventKind.ISSUANCE_BEGUN,
        )

    async def release(self, grants: Sequence[GrantRef]) -> list[Moved]:
        """See ``Transaction``."""
        moved = await self._move(
            grants,
            f"state = CASE WHEN l.state = {LockState.HELD:d} THEN {LockState.RELEASED:d} ELSE l.state END, "
            "expire_us = NULL, supplement = FALSE",
            f"l.state IN ({LockState.HELD:d}, {LockState.ISSUED:d}) AND l.expire_us IS NOT NULL",
            EventKind.LOCK_RELEASED,
        )
        await self._free_segments(_ended(moved, LockState.RELEASED))
        return moved

    async def abort(self, abortions: Sequence[Abortion]) -> list[Moved]:
        """See ``Transaction``."""
        details = [
            json.dumps({"evidence": each.evidence.kind.name, "detail": each.evidence.detail}, ensure_ascii=False)
            for each in abortions
        ]
        moved = await self._move(
            [each.grant for each in abortions],
            f"state = CASE WHEN l.issuance_count = 0 THEN {LockState.ABORTED:d} ELSE {LockState.ISSUED:d} END, "
            "supplement = FALSE",
            f"l.state = {LockState.ISSUING:d}",
            EventKind.ISSUANCE_ABORTED,
            details,
        )
        await self._free_segments(_ended(moved, LockState.ABORTED))
        return moved

    async def commit(self, commitments: Sequence[Commitment]) -> list[Moved | SerialConflict]:
        """See ``Transaction``."""
        if not commitments:
            return []
        savepoint = await self._connection.begin_nested()
        moved = await self._try_commit(commitments)
        if moved is not None:
            await savepoint.commit()
            return list(moved)
        # Some serial or native id stands in the ledger already: find whose, one by one, and spare the others.
        await savepoint.rollback()
        answers: list[Moved | SerialConflict] = []
        for each in commitments:
            savepoint = await self._connection.begin_nested()
            one = await self._try_commit([each])
            if one is None:
                await savepoint.rollback()
                answers.append(SerialConflict(each.blocks[0].series))
            else:
                await savepoint.commit()
                answers.extend(one)
        return answers

    async def _try_commit(self, commitments: Sequence[Commitment]) -> list[Moved] | None:
        """Commit all that fit their grant; ``None`` when a serial or native id of these stands in the ledger."""
        changed = await self._change(
            (*_GRANT_COLUMNS, ("units", "int")),
            sorted(
                (each.grant.lock_id, each.grant.token, each.grant.registry, total(each.blocks)) for each in commitments
            ),
            f"state = {LockState.ISSUED:d}, issued_units = l.issued_units + l.units, "
            "issuance_count = l.issuance_count + 1, supplement = FALSE",
            f"{_FITS} AND l.units = item.units AND l.state = {LockState.ISSUING:d}",
            EventKind.ISSUANCE_COMMITTED,
        )
        locks = {each.lock_id: each for each in changed}
        done = [each for each in commitments if each.grant.lock_id in locks]
        if done and not await self._write_ledger(done, locks):
            return None
        return await self._answers([each.grant for each in commitments], locks)

    async def _write_ledger(self, done: Sequence[Commitment], locks: Mapping[LockId, Lock]) -> bool:
        """Whether every issuance and block is new."""
        columns = (("registry", "text"), ("native_issuance_id", "text"), ("lock_id", "int"), ("token", "int"),
                   ("reference", "text"), ("units", "int"))  # fmt: skip
        items, values = self.relation(
            columns,
            (
                (each.grant.registry, each.native_issuance_id, each.grant.lock_id, each.grant.token,
                 locks[each.grant.lock_id].reference, total(each.blocks))
                for each in sorted(done, key=lambda one: one.native_issuance_id)
            ),
        )  # fmt: skip
        names = ", ".join(name for name, _ in columns)
        added = await self._add(
            f"INSERT INTO issuance ({names}, commit_us) SELECT {names}, :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        if not added:
            return False
        blocks = sorted(
            (
                (each.grant.lock_id, each.grant.token, each.grant.registry, block.series,
                 series_key(each.grant.registry, block.series), block.start, block.end)
                for each in done
                for block in each.blocks
            ),
            key=lambda row: (row[4], row[5]),
        )  # fmt: skip
        return await self._add_blocks(blocks)

    async def _add(self, statement: str, **values: object) -> bool:
        """Run an insert; whether it met nothing that stands already. If it did, go back to the savepoint.

        No ON CONFLICT: it searches an index once more before it inserts, and nearly always there is nothing to find.
        """
        try:
            await self._run(statement, **values)
        except IntegrityError as error:
            if not stands_already(error):
                raise
            return False
        return True


def _ended(moved: Sequence[Moved], state: LockState) -> list[Lock]:
    return [each.lock for each in moved if each.done and each.lock is not None and each.lock.state is state]
