"""Splitting an activity: what goes with the projects that move, and whether that breaks what must always hold.

An activity that an open review case holds is not split: the candidates would change under the person who decides.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from soleclaim.core.activity_id import activity_key, new_activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.instants import to_instant
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    LIKENESS,
    Activity,
    ActivitySplit,
    Belongings,
    Lock,
    LockState,
    Merge,
    Outcome,
    SplitState,
    SplitWish,
    ToldApart,
)
from soleclaim.lookup.ports import Reader, Transaction
from soleclaim.lookup.service.locks import unknown_activity
from soleclaim.lookup.service.merging import excess_of, is_under_way
from soleclaim.policy.bundle import Bundle

_LIVE: Final = (LockState.HELD, LockState.ISSUING, LockState.ISSUED)


class _Plan(NamedTuple):
    """What a split moves."""

    moving: Belongings
    returning: tuple[Outcome, ...]
    """Figures that the restored activity gets back."""
    needs_two: bool
    """Whether units are issued on the activity, or under way: what leaves may then issue for the same outcomes."""
    left_projects: tuple[tuple[str, str], ...]
    left_identifiers: tuple[Identifier, ...]


async def split(transaction: Transaction, bundle: Bundle, wish: SplitWish) -> ActivitySplit | DomainError:
    """Split, or propose it where units are issued; or say why not, with nothing changed."""
    await _bar(transaction)
    plan = await _plan(transaction, bundle, wish)
    if isinstance(plan, DomainError):
        return plan
    split_id = await transaction.propose_split(wish, plan.moving)
    if not plan.needs_two:
        await _carry_out(transaction, split_id, wish, plan)
    return await _kept(transaction, split_id)


async def confirm_split(
    transaction: Transaction, bundle: Bundle, split_id: int, *, reason: str, decider: str
) -> ActivitySplit | DomainError:
    """As a second person, carry out a split that waits, as it was proposed; or say why not, with nothing moved."""
    await _bar(transaction)
    waiting, name = await transaction.activity_split(split_id), f"activitySplits/{split_id}"
    if waiting is None:
        return DomainError(Reason.SPLIT_UNKNOWN, split=name)
    if waiting.state is not SplitState.PROPOSED:
        return DomainError(Reason.SPLIT_NOT_WAITING, split=name, state=waiting.state.name)
    if waiting.wish.proposer == decider:
        return DomainError(Reason.SPLIT_SECOND_PERSON_NEEDED, split=name, decider=decider)
    plan = await _plan(transaction, bundle, waiting.wish)
    if isinstance(plan, DomainError):
        return plan
    if plan.moving != waiting.moved:
        again = await transaction.propose_split(waiting.wish, plan.moving)
        return DomainError(Reason.SPLIT_CHANGED, split=name, proposal=f"activitySplits/{again}")
    await _carry_out(transaction, split_id, waiting.wish, plan, confirm_reason=reason, confirmer=decider)
    return await _kept(transaction, split_id)


async def _carry_out(
    transaction: Transaction,
    split_id: int,
    wish: SplitWish,
    plan: _Plan,
    *,
    confirm_reason: str = "",
    confirmer: str = "",
) -> None:
    """Move, and settle what went where: the projects of one side may still be sent with identifiers of the other."""
    source = activity_key(wish.activity_id)
    into = new_activity_key() if wish.restore is None else activity_key(wish.restore)
    await transaction.split(
        split_id, into, plan.moving, plan.returning, confirm_reason=confirm_reason, confirmer=confirmer
    )
    sides = (
        (plan.moving.projects, plan.left_identifiers, source),
        (plan.left_projects, plan.moving.identifiers, into),
    )
    await transaction.tell_apart(
        [
            ToldApart(*project, identifier, key)
            for projects, identifiers, key in sides
            for project in projects
            for identifier in (*identifiers, LIKENESS)
        ]
    )


async def _bar(transaction: Transaction) -> None:
    """No grant, no decision, and no registration that goes by likeness is under way: they would not see what moved."""
    await transaction.bar_descriptions()
    await transaction.bar_grants()


async def _kept(reader: Reader, split_id: int) -> ActivitySplit:
    kept = await reader.activity_split(split_id)
    if kept is None:
        raise AssertionError("a split that was written is gone")
    return kept


async def _plan(transaction: Transaction, bundle: Bundle, wish: SplitWish) -> _Plan | DomainError:
    """What moves, or why that cannot be. The caller has barred grants."""
    key, name = activity_key(wish.activity_id), f"activities/{wish.activity_id}"
    await transaction.hold_activities([key] if wish.restore is None else [key, activity_key(wish.restore)])
    standing = (await transaction.standing("", [key])).get(key)
    fault = unknown_activity("", wish.activity_id, standing and standing._replace(registered=True))
    if fault is not None:
        return fault
    if standing is not None and standing.review_case is not None:
        return DomainError(Reason.IDENTITY_UNDER_REVIEW, activity=name, case=standing.review_case)
    merge = None if wish.restore is None else await transaction.merge_of(activity_key(wish.restore))
    if wish.restore is not None and (merge is None or merge.survivor != key):
        return DomainError(Reason.SPLIT_NOT_AN_ALIAS, restore=f"activities/{wish.restore}", activity=name)
    await transaction.expire_stale_on([key])
    now = to_instant(await transaction.now_us())
    activity = (await transaction.activities([key]))[key]
    locks, outcomes = await transaction.locks_on(key), await transaction.outcomes_of([key])
    parting = _Parting(wish, merge, activity, locks, outcomes)
    return (
        parting.fault(now)
        or parting.excess(bundle, now)
        or _Plan(
            parting.moving,
            parting.returning,
            parting.needs_two(now),
            left_projects=tuple(each for each in activity.native_projects if each not in parting.moving.projects),
            left_identifiers=tuple(each for each in activity.identifiers if each not in parting.moving.identifiers),
        )
    )


class _Parting:
    """An activity about to be split: who goes where."""

    def __init__(
        self,
        wish: SplitWish,
        merge: Merge | None,
        activity: Activity,
        locks: Sequence[Lock],
        outcomes: Sequence[Outcome],
    ) -> None:
        self._wish, self._merge, self._activity = wish, merge, activity
        self._back = merge.moved if merge is not None else Belongings((), (), (), ())
        named = {*wish.native_projects, *self._back.projects}
        self._projects = tuple(each for each in activity.native_projects if each in named)
        self._going = {registry for registry, _ in self._projects}
        self._left = {registry for registry, project in activity.native_projects if (registry, project) not in named}
        self._locks = [each for each in locks if self._lock_goes(each)]
        self._other_locks = [each for each in locks if not self._lock_goes(each)]
        self._all_locks = locks
        self._outcomes = [each for each in outcomes if self._outcome_goes(each)]
        self._other_outcomes = [each for each in outcomes if not self._outcome_goes(each)]

    @property
    def moving(self) -> Belongings:
        """All that moves."""
        named = {*self._wish.identifiers, *self._back.identifiers}
        return Belongings(
            projects=self._projects,
            identifiers=tuple(each for each in self._activity.identifiers if each in named),
            locks=tuple(each.lock_id for each in self._locks),
            outcomes=tuple((each.record.base_unit, each.record.period) for each in self._outcomes),
        )

    def needs_two(self, now: datetime) -> bool:
        """Whether units are issued or under way, on whichever side: what stands apart is not excluded any more."""
        return any(each.issuance_count or is_under_way(each, now) for each in self._all_locks)

    def _lock_goes(self, lock: Lock) -> bool:
        """With the projects of its registry; where that has some on both sides, as the merge or the wish says."""
        if lock.lock_id in self._wish.locks:
            return True
        goes, came = lock.registry in self._going, lock.lock_id in self._back.locks
        return (goes and came) if lock.registry in self._left else (goes or came)

    def _outcome_goes(self, outcome: Outcome) -> bool:
        """With the projects of its registry; where that has some on both sides, with its locks on that period."""
        record = outcome.record
        came = (record.base_unit, record.period) in self._back.outcomes
        if record.registry not in self._left:
            return record.registry in self._going or came
        # Nothing but what is named says which side a registry's other figures belong to.
        there = [each for each in self._all_locks if (each.registry, each.period) == (record.registry, record.period)]
        named = bool(there) and all(each.lock_id in self._wish.locks for each in there)
        return record.registry in self._going and (came or named)

    @property
    def returning(self) -> tuple[Outcome, ...]:
        """Figures that both had and the restored one gets back: those of the registries that go."""
        if self._merge is None:
            return ()
        taken = {(each.record.base_unit, each.record.period) for each in self._outcomes}
        return tuple(
            each
            for each in self._merge.outcomes_of_both
            if each.record.registry in self._going and (each.record.base_unit, each.record.period) not in taken
        )

    def fault(self, now: datetime) -> DomainError | None:
        """Why what was asked cannot move, whatever was measured."""
        name = f"activities/{self._activity.activity_id}"
        absent = self._absent()
        if absent is not None:
            return DomainError(Reason.SPLIT_NOT_THERE, what=absent, activity=name)
        if not self._projects:
            return DomainError(Reason.SPLIT_NOTHING_MOVES, restore=f"activities/{self._wish.restore}", activity=name)
        if not self._left:
            return DomainError(Reason.SPLIT_NOTHING_STAYS, activity=name)
        for lock in self._locks:
            lock_name = f"issuanceLocks/{lock.lock_id}"
            if lock.lock_id in self._wish.locks and lock.registry not in self._going:
                return DomainError(
                    Reason.SPLIT_LOCK_WITHOUT_PROJECT, lock=lock_name, registry=lock.registry, activity=name
                )
        for lock in self._all_locks:
            # Also one that stays: a lock names no project, and its project may be the one that goes. Of a merge it is
            # known which locks came with it.
            may_be_theirs = self._merge is None and lock.registry in self._going
            if is_under_way(lock, now) and (lock in self._locks or may_be_theirs):
                return DomainError(Reason.SPLIT_LOCK_UNDER_WAY, lock=f"issuanceLocks/{lock.lock_id}", activity=name)
        return None

    def _absent(self) -> str | None:
        """What was named and does not stand there."""
        for registry, project in self._wish.native_projects:
            if (registry, project) not in self._activity.native_projects:
                return f"project {registry}:{project}"
        for scheme, value in self._wish.identifiers:
            if (scheme, value) not in self._activity.identifiers:
                return f"identifier {scheme}:{value}"
        known = {each.lock_id for each in self._all_locks}
        return next((f"issuanceLocks/{each}" for each in self._wish.locks if each not in known), None)

    def excess(self, bundle: Bundle, now: datetime) -> DomainError | None:
        """Why one side would have issued more than is measured there (I6)."""
        sides = ((self._locks, [*self._outcomes, *self.returning]), (self._other_locks, self._other_outcomes))
        for locks, outcomes in sides:
            live = [each for each in locks if each.state in _LIVE]
            excess = excess_of(bundle, live, sorted(outcomes, key=lambda each: each.record.period), now)
            if excess is not None:
                return DomainError(Reason.SPLIT_EXCEEDS_MEASURED, **excess._asdict())
        return None
