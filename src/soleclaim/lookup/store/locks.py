"""Tables of issuance locks: reading them, and granting by the exclusion rule. Contracts: ``lookup.ports``."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.lookup.domain import (
    Claim,
    CommittedIssuance,
    EventKind,
    Lock,
    LockId,
    LockState,
    Obstacle,
    Token,
)
from soleclaim.lookup.store.rows import (
    LOCK_COLUMNS,
    granted_lock,
    to_instant,
    to_lock,
    to_obstacle,
    to_us,
)
from soleclaim.lookup.store.unit_of_work import UnitOfWork

_LOCKS: Final = f"SELECT {LOCK_COLUMNS} FROM issuance_lock l"
GRANT_ROUNDS: Final = 3
"""How often a grant looks again after a lock in its way ended meanwhile."""
SETTLED_US: Final = 120_000_000
"""Longer than any unit of work lives: statements and idle transactions end far earlier."""
_BUNDLE_ID: Final = 20
"""Place of the bundle among ``LOCK_COLUMNS``."""


class Swept(NamedTuple):
    """What one look for stale locks did. ``go_on_from``: where the next should start; ``None``: at ``ended_to``."""

    expired: int
    ended_to: int
    """Up to this number no lock can be HELD any more, seen from where the look started."""
    go_on_from: int | None


class LockTables(UnitOfWork):
    """The part of a transaction that grants."""

    @abstractmethod
    async def hold_lock(self, lock_id: LockId) -> None:
        """See ``Transaction``."""

    @abstractmethod
    async def _grant_free(self, claims: Sequence[Claim]) -> list[tuple[int, int, int]]:
        """Insert segment, lock and history of each claim that conflicts with no live segment, in three tables.

        (index of the claim, lock id, token) of each that won. Tokens are drawn after the segments are won.
        """

    @abstractmethod
    async def _change(
        self,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        change: str,
        condition: str,
        kind: EventKind,
    ) -> list[Lock]:
        """One conditional change of the locks named in ``rows``, with its history; the locks that it changed.

        ``columns``: of ``rows``; the first is ``lock_id``, a text ``detail`` among them goes into the history.
        ``change`` and ``condition``: SQL over the lock ``l`` and its ``item``. ``rows`` come in order of the ids.
        """

    @abstractmethod
    async def _in_the_way(self, claims: Sequence[Claim]) -> Sequence[Any]:
        """Rows of (ordinal of the claim, then what ``to_obstacle`` takes): live locks that conflict."""

    async def lock(self, lock_id: LockId) -> Lock | None:
        """See ``Reader``."""
        return (await self.locks([lock_id])).get(lock_id)

    async def locks(self, lock_ids: Iterable[LockId]) -> dict[LockId, Lock]:
        """See ``Reader``."""
        items, values = self.relation((("lock_id", "int"),), ((each,) for each in dict.fromkeys(lock_ids)))
        rows = await self._run(f"{_LOCKS} JOIN {items} ON item.lock_id = l.lock_id", **values)
        return {each.lock_id: each for each in await self._to_locks(rows)}

    async def _to_locks(self, rows: Sequence[Any]) -> list[Lock]:
        """Rows of ``LOCK_COLUMNS``, perhaps with more behind."""
        if any(row[_BUNDLE_ID] not in self._bundles for row in rows):
            # Another process opened the store with a newer bundle since.
            self._bundles.update(
                {row[0]: row[1] for row in await self._run("SELECT bundle_id, hash FROM policy_bundle")}
            )
        return [to_lock(row, self._bundles) for row in rows]

    async def list_locks(
        self,
        *,
        activity_key: ActivityKey | None,
        registry: str | None,
        state: LockState | None,
        period: Period | None,
        after: int,
        limit: int,
    ) -> list[Lock]:
        """See ``Reader``."""
        conditions = {
            # Two questions, since two indexes serve it: live segments and ended ones.
            "l.lock_id IN (SELECT s.lock_id FROM segment s WHERE s.activity_key = :activity_key AND s.live "
            "UNION ALL SELECT s.lock_id FROM segment s WHERE s.activity_key = :activity_key AND NOT s.live)": {
                "activity_key": activity_key
            }
            if activity_key is not None
            else None,
            "l.registry = :registry": {"registry": registry} if registry else None,
            "l.state = :state": {"state": int(state)} if state else None,
            "l.period_start_us < :end_us AND l.period_end_us > :start_us": (
                {"start_us": to_us(period.start), "end_us": to_us(period.end)} if period else None
            ),
        }
        where = "".join(f" AND {condition}" for condition, values in conditions.items() if values)
        values = {name: value for each in conditions.values() if each for name, value in each.items()}
        rows = await self._run(
            f"{_LOCKS} WHERE l.lock_id > :after{where} ORDER BY l.lock_id LIMIT :limit",
            after=after,
            limit=limit,
            **values,
        )
        return await self._to_locks(rows)

    async def locks_near(self, spots: Sequence[tuple[ActivityKey, Period]]) -> list[list[Lock]]:
        """See ``Transaction``."""
        columns = (("ordinal", "int"), ("activity_key", "int"), ("start_us", "int"), ("end_us", "int"))
        items, values = self.relation(
            columns, ((i, key, to_us(period.start), to_us(period.end)) for i, (key, period) in enumerate(spots))
        )
        rows = await self._run(
            f"SELECT {LOCK_COLUMNS}, item.ordinal FROM {items} "
            "JOIN segment s ON s.live AND s.activity_key = item.activity_key "
            "AND s.period_start_us <= item.end_us AND s.period_end_us >= item.start_us "
            "JOIN issuance_lock l ON l.lock_id = s.lock_id ORDER BY l.lock_id",
            **values,
        )
        near: list[list[Lock]] = [[] for _ in spots]
        for row, lock in zip(rows, await self._to_locks(rows), strict=True):
            # Once, however many segments it has there.
            if not near[row[-1]] or near[row[-1]][-1].lock_id != lock.lock_id:
                near[row[-1]].append(lock)
        return near

    async def issuances(self, lock_ids: Sequence[LockId]) -> dict[LockId, list[CommittedIssuance]]:
        """See ``Reader``."""
        items, values = self.relation((("lock_id", "int"),), ((each,) for each in dict.fromkeys(lock_ids)))
        blocks: dict[tuple[int, int], list[UnitBlock]] = defaultdict(list)
        for lock_id, token, series, start, end in await self._run(
            "SELECT u.lock_id, u.token, u.series, u.start_serial, u.end_serial FROM unit_block u "
            f"JOIN {items} ON item.lock_id = u.lock_id ORDER BY u.series, u.start_serial",
            **values,
        ):
            blocks[lock_id, token].append(UnitBlock(series, start, end))
        found: dict[LockId, list[CommittedIssuance]] = defaultdict(list)
        for row in await self._run(
            "SELECT i.lock_id, i.token, i.native_issuance_id, i.reference, i.units, i.commit_us FROM issuance i "
            f"JOIN {items} ON item.lock_id = i.lock_id ORDER BY i.token",
            **values,
        ):
            found[LockId(row.lock_id)].append(
                CommittedIssuance(
                    native_issuance_id=row.native_issuance_id,
                    reference=row.reference,
                    units=row.units,
                    blocks=tuple(blocks[row.lock_id, row.token]),
                    token=Token(row.token),
                    commit_time=to_instant(row.commit_us),
                )
            )
        return dict(found)

    async def obstacles(self, claims: Sequence[Claim], *, stale: bool = False) -> list[list[Obstacle]]:
        """See ``Transaction``."""
        now = to_instant(await self.now_us())
        found: list[list[Obstacle]] = [[] for _ in claims]
        for row in await self._in_the_way(claims):
            found[row[0]].append(to_obstacle(row[1:]))
        for each in found:
            each[:] = [one for one in each if stale or not _is_stale(one, now)]
            each.sort(key=lambda one: (-one.state, one.period, one.lock_id))
        return found

    async def grant(self, claims: Sequence[Claim]) -> list[Lock | list[Obstacle]]:
        """See ``Transaction``."""
        answers: list[Lock | list[Obstacle] | None] = [None] * len(claims)
        for _ in range(GRANT_ROUNDS):
            open_claims = [i for i, answer in enumerate(answers) if answer is None]
            if not open_claims:
                break
            now, policy_hash = await self.now_us(), self._bundles[self._bundle_id]
            for place, lock_id, token in await self._grant_free([claims[i] for i in open_claims]):
                i = open_claims[place]
                answers[i] = granted_lock(claims[i], lock_id, token, now, policy_hash)
            lost = [i for i in open_claims if answers[i] is None]
            if not lost:
                break
            await self._expire_in_the_way([claims[i] for i in lost])
            for i, obstacles in zip(lost, await self.obstacles([claims[i] for i in lost]), strict=True):
                # Nothing left in the way: it was stale, or ended meanwhile. Another round tries again.
                answers[i] = obstacles or None
        if any(answer is None for answer in answers):
            raise DomainError(Reason.STORE_BUSY)
        return [answer for answer in answers if answer is not None]

    async def _expire_in_the_way(self, claims: Sequence[Claim]) -> None:
        now = to_instant(await self.now_us())
        stale = {one.lock_id for row in await self._in_the_way(claims) for one in (to_obstacle(row[1:]),)
                 if _is_stale(one, now)}  # fmt: skip
        await self._expire(stale)

    async def _expire(self, lock_ids: Iterable[LockId]) -> int:
        ordered = sorted(lock_ids)
        if not ordered:
            return 0
        locks = await self._change(
            (("lock_id", "int"),),
            [(each,) for each in ordered],
            f"state = {LockState.EXPIRED:d}, expire_us = NULL",
            f"l.state = {LockState.HELD:d} AND l.expire_us <= {self.now_sql}",
            EventKind.LOCK_EXPIRED,
        )
        await self._free_segments(locks)
        return len(locks)

    async def expire_above(self, lock_id: int, *, window: int, limit: int) -> Swept:
        """Expire at most ``limit`` stale locks among the ``window`` that follow ``lock_id``."""
        looked_at = (
            "WITH looked_at AS (SELECT lock_id, state, expire_us, create_us FROM issuance_lock "
            "WHERE lock_id > :lock_id ORDER BY lock_id LIMIT :window)"
        )
        bounds = {"lock_id": lock_id, "window": window}
        now = await self.now_us()
        stale = await self._run(
            f"{looked_at} SELECT lock_id FROM looked_at WHERE state = {LockState.HELD:d} AND expire_us <= :now "
            "ORDER BY lock_id LIMIT :limit",
            now=now,
            limit=limit,
            **bounds,
        )
        # Numbers are drawn before the commit: below the number of a young lock another may still come into sight.
        ((ended_to, last, number),) = await self._run(
            f"{looked_at}, unsettled AS (SELECT min(lock_id) AS first FROM looked_at "
            f"WHERE state = {LockState.HELD:d} OR create_us > :settled) "
            "SELECT (SELECT max(lock_id) FROM looked_at WHERE lock_id < coalesce(first, lock_id + 1)), "
            "(SELECT max(lock_id) FROM looked_at), (SELECT count(*) FROM looked_at) FROM unsettled",
            settled=now - SETTLED_US,
            **bounds,
        )
        expired = await self._expire(LockId(each) for (each,) in stale)
        go_on_from = lock_id if len(stale) == limit else last if number == window else None
        return Swept(expired, ended_to or lock_id, go_on_from)

    async def _free_segments(self, locks: Iterable[Lock]) -> None:
        """Take the segments of ended locks out of the exclusion rule."""
        columns = (("lock_id", "int"), ("activity_key", "int"))
        items, values = self.relation(columns, ((each.lock_id, each.activity_key) for each in locks))
        await self._run(
            f"UPDATE segment AS s SET live = FALSE FROM {items} "
            "WHERE s.live AND s.activity_key = item.activity_key AND s.lock_id = item.lock_id",
            **values,
        )

    async def grant_supplement(self, lock_id: LockId, claim: Claim) -> Lock | None:
        """See ``Transaction``."""
        # The row is taken before the token is drawn, so that tokens of one lock rise in the order of the grants.
        free = f"(expire_us IS NULL OR expire_us <= {self.now_sql})"
        taken = await self._run(
            f"UPDATE issuance_lock SET update_us = :now WHERE lock_id = :lock_id AND state = {LockState.ISSUED:d} "
            f"AND {free} RETURNING lock_id",
            lock_id=lock_id,
            now=await self.now_us(),
        )
        if not taken:
            return None
        (token,) = await self.draw("history_entry_id", 1)
        await self._run(
            "UPDATE issuance_lock SET token = :token, expire_us = :expire_us, units = :units, reference = :reference, "
            "supplement = TRUE WHERE lock_id = :lock_id",
            lock_id=lock_id,
            token=token,
            expire_us=await self.now_us() + claim.request.ttl_us,
            units=claim.request.units,
            reference=claim.request.reference,
        )
        lock = (await self.locks([lock_id]))[lock_id]
        entry = (EventKind.SUPPLEMENT_GRANTED, lock.activity_key, lock.country, lock.registry, lock_id, token, None)
        await self._note([entry], [token])
        return lock


def _is_stale(obstacle: Obstacle, now: datetime) -> bool:
    return obstacle.state is LockState.HELD and obstacle.expire_time is not None and obstacle.expire_time <= now
