"""Whether activities can become one without breaking what must always hold: I1, I6, and who is under way."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.instants import to_instant
from soleclaim.core.period import Period
from soleclaim.lookup.domain import Lock, LockState, Outcome
from soleclaim.lookup.ports import Transaction
from soleclaim.policy.bundle import Bundle, Instrument

Spot = tuple[str, Period]
"""Base unit and period: what one figure stands for."""


class Merger(NamedTuple):
    """What merging activities would bring together."""

    fault: DomainError | None
    """Why they cannot become one."""
    has_issuances: bool
    """Whether units are issued on any of them: then it takes two persons."""


class Excess(NamedTuple):
    """A figure that does not suffice, in base units."""

    base_unit: str
    period: Period
    used: int
    available: int


class _Use(NamedTuple):
    """A live lock in base units."""

    lock: Lock
    used: int
    unit: Instrument


async def look(transaction: Transaction, bundle: Bundle, keys: Sequence[ActivityKey]) -> Merger:
    """See what stands in the way. The caller has barred grants and holds the activities; stale locks are expired."""
    await transaction.hold_activities(keys)
    await transaction.expire_stale_on(keys)
    now = to_instant(await transaction.now_us())
    locks = await transaction.live_locks_on(keys)
    clash = await transaction.clashing(keys)
    if clash is not None:
        fault: DomainError | None = _between(Reason.MERGE_BREAKS_EXCLUSION, *(_find(locks, each) for each in clash))
    else:
        fault = _both_under_way(locks, now) or _misfit(bundle, locks, await transaction.outcomes_of(keys), now)
    return Merger(fault, any(each.issuance_count for each in locks))


def _find(locks: Sequence[Lock], lock_id: int) -> Lock:
    return next(each for each in locks if each.lock_id == lock_id)


def _between(reason: Reason, one: Lock, other: Lock) -> DomainError:
    return DomainError(
        reason,
        lock=f"issuanceLocks/{one.lock_id}",
        other_lock=f"issuanceLocks/{other.lock_id}",
        activity=f"activities/{make_activity_id(one.country, one.activity_key)}",
        other_activity=f"activities/{make_activity_id(other.country, other.activity_key)}",
    )


def is_under_way(lock: Lock, now: datetime) -> bool:
    """Whether its holder may still issue by the grant that it has."""
    is_open = lock.expire_time is not None and lock.expire_time > now
    return lock.state in (LockState.HELD, LockState.ISSUING) or is_open


def _both_under_way(locks: Sequence[Lock], now: datetime) -> DomainError | None:
    under_way = {each.activity_key: each for each in locks if is_under_way(each, now)}
    if len(under_way) < 2:
        return None
    one, other, *_ = under_way.values()
    return _between(Reason.MERGE_LOCKS_UNDER_WAY, one, other)


def _misfit(bundle: Bundle, locks: Sequence[Lock], outcomes: Sequence[Outcome], now: datetime) -> DomainError | None:
    """The figures: one per spot, none that a lock of the other side overlaps in part, and none exceeded."""
    figures: dict[Spot, Outcome] = {}
    for each in outcomes:
        first = figures.setdefault((each.record.base_unit, each.record.period), each)
        if first.record.quantity != each.record.quantity:
            return _differ(each.record.base_unit, each.record.period, each.record.period)
    uses = _uses(bundle, locks, now)
    for use in uses:
        odd = _overlapped_in_part(use, figures)
        if odd is not None:
            return _differ(use.unit.base_unit, use.lock.period, odd)
    excess = _exceeded(uses, figures)
    return excess and DomainError(Reason.MERGE_EXCEEDS_MEASURED, **excess._asdict())


def excess_of(bundle: Bundle, locks: Sequence[Lock], outcomes: Sequence[Outcome], now: datetime) -> Excess | None:
    """Where the live locks of one activity would use more than its outcomes hold."""
    figures = {(each.record.base_unit, each.record.period): each for each in outcomes}
    return _exceeded(_uses(bundle, locks, now), figures)


def _uses(bundle: Bundle, locks: Sequence[Lock], now: datetime) -> list[_Use]:
    units = {code: row for code, row in bundle.instruments.items() if row.measured}
    return [_use(each, units[each.instrument], now) for each in locks if each.instrument in units]


def _use(lock: Lock, unit: Instrument, now: datetime) -> _Use:
    units = lock.issued_units + (lock.units if is_under_way(lock, now) else 0)
    return _Use(lock, units * unit.base_units_per_unit, unit)


def _differ(base_unit: str, period: Period, other: Period) -> DomainError:
    return DomainError(Reason.MERGE_OUTCOMES_DIFFER, base_unit=base_unit, period=period, other_period=other)


def _overlapped_in_part(use: _Use, figures: Mapping[Spot, Outcome]) -> Period | None:
    lock, unit = use.lock, use.unit.base_unit
    if (unit, lock.period) in figures:
        return None
    return next(
        (
            period
            for (base_unit, period), each in figures.items()
            if base_unit == unit and each.record.activity_key != lock.activity_key and period.overlaps(lock.period)
        ),
        None,
    )


def _exceeded(uses: Sequence[_Use], figures: Mapping[Spot, Outcome]) -> Excess | None:
    """As ``check`` counts it (I6): units against what was measured and carried in, which remained before."""
    left: dict[tuple[str, datetime], int] = {}
    for (base_unit, period), outcome in sorted(figures.items()):
        here = [each for each in uses if each.unit.base_unit == base_unit and each.lock.period == period]
        available = outcome.record.quantity + sum(each.lock.carried_in for each in here)
        used = sum(each.used for each in here)
        if used > available:
            return Excess(base_unit, period, used, available)
        before = left.get((base_unit, period.start))
        for each in here:
            if before is not None and each.lock.carried_in > before:
                return Excess(base_unit, period, each.lock.carried_in, before)
        left[base_unit, period.end] = available - used
    return None
