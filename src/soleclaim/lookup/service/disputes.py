"""Settling disputes: a person says who stands, the claims move, and it can be opened again (design section 3)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.instants import to_instant
from soleclaim.core.period import Period
from soleclaim.core.rectangle import Rectangle
from soleclaim.lookup.domain import (
    Dispute,
    DisputeDecision,
    DisputeDecisionTaken,
    DisputeKind,
    DisputeOutcome,
    DisputeState,
    Lock,
    LockId,
    LockState,
    Part,
)
from soleclaim.lookup.ports import Reader, Transaction
from soleclaim.policy.bundle import Bundle

_ALL: Final = tuple(DisputeOutcome)
_POSSIBLE: Final[Mapping[DisputeKind, tuple[DisputeOutcome, ...]]] = {
    DisputeKind.OUTCOME_CLAIMED_TWICE: _ALL,
    DisputeKind.MORE_THAN_MEASURED: (DisputeOutcome.LATE, DisputeOutcome.NEITHER),
    # The ledger is append-only: a serial, and an issuance, stays where it stood first.
    DisputeKind.SERIALS_TWICE: (DisputeOutcome.STANDING,),
    DisputeKind.CONTENT_DIFFERS: (DisputeOutcome.STANDING,),
}


class Excess(NamedTuple):
    """More than was measured, in base units."""

    used: int
    available: int
    """Measured and carried in."""
    lock_ids: tuple[LockId, ...]


Spot = tuple[ActivityKey, Period, str]
"""Activity, period and base unit."""


async def excesses(reader: Reader, bundle: Bundle, spots: Sequence[Spot]) -> dict[Spot, Excess]:
    """Of spots that have a measured outcome those where live locks issued more, counted as ``check`` does (I6)."""
    distinct = list(dict.fromkeys(spots))
    outcomes = await reader.outcomes(distinct) if distinct else {}
    measured = [each for each in distinct if each in outcomes]
    near = await reader.locks_near([each[:2] for each in measured]) if measured else []
    found = {}
    for spot, locks in zip(measured, near, strict=True):
        _, period, base_unit = spot
        here = [
            (lock, unit.base_units_per_unit)
            for lock in locks
            for unit in (bundle.instruments.get(lock.instrument),)
            if unit is not None and unit.measured and unit.base_unit == base_unit and lock.period == period
            and lock.state in (LockState.ISSUING, LockState.ISSUED)
        ]  # fmt: skip
        used = sum(
            (lock.issued_units + (lock.units if lock.state is LockState.ISSUING else 0)) * factor
            for lock, factor in here
        )
        available = outcomes[spot].record.quantity + sum(lock.carried_in for lock, _ in here)
        if used > available:
            found[spot] = Excess(used, available, tuple(lock.lock_id for lock, _ in here))
    return found


@dataclass(frozen=True, slots=True)
class DisputeFile:
    """A dispute with its two sides and all decisions."""

    dispute: Dispute
    standing: Lock | None
    late: Lock
    decisions: tuple[DisputeDecisionTaken, ...]


async def read_all(reader: Reader, disputes: Sequence[Dispute]) -> list[DisputeFile]:
    """The files of a page of disputes."""
    if not disputes:
        return []
    sides = {side for each in disputes for side in (each.standing, each.late) if side is not None}
    locks = await reader.locks(sorted(sides))
    decisions = await reader.dispute_decisions([each.dispute_id for each in disputes])
    return [
        DisputeFile(
            each,
            None if each.standing is None else locks[each.standing],
            locks[each.late],
            tuple(decisions.get(each.dispute_id, ())),
        )
        for each in disputes
    ]


async def decide(transaction: Transaction, bundle: Bundle, decision: DisputeDecision) -> DisputeFile | DomainError:
    """Settle a dispute, or open it again; or say why not, with nothing changed.

    Raises ``DomainError`` where only the moved claims show that more would stand than was measured.
    """
    await transaction.bar_grants()
    dispute = await transaction.dispute(decision.dispute_id)
    if dispute is None:
        return DomainError(Reason.DISPUTE_UNKNOWN, dispute=name_of(decision.dispute_id))
    needed = DisputeState.SETTLED if decision.outcome is None else DisputeState.OPEN
    if dispute.state is not needed:
        return DomainError(
            Reason.DISPUTE_STATE_WRONG,
            dispute=name_of(dispute.dispute_id),
            state=dispute.state.name,
            action="ReopenDispute" if decision.outcome is None else "SettleDispute",
            needed=needed.name,
        )
    if decision.outcome is not None:
        fault = _impossible(dispute, decision, decision.outcome) or await _settle(
            transaction, bundle, dispute, decision, decision.outcome
        )
        if fault is not None:
            return fault
    await transaction.record_dispute_decision(dispute, decision)
    now = await transaction.dispute(dispute.dispute_id)
    if now is None:
        raise AssertionError("a dispute that was decided is gone")
    (file,) = await read_all(transaction, [now])
    return file


def name_of(dispute_id: int) -> str:
    """``disputes/{number}``."""
    return f"disputes/{dispute_id}"


def _impossible(dispute: Dispute, decision: DisputeDecision, outcome: DisputeOutcome) -> DomainError | None:
    possible, told = _POSSIBLE[dispute.kind], outcome.name
    names = ", ".join(each.name for each in possible)
    if outcome in possible:
        where = dispute.where
        if outcome is not DisputeOutcome.BOTH or where.slice_start < decision.boundary < where.slice_end:
            return None
        told = f"BOTH at {decision.boundary}"
        names = f"BOTH with a boundary between {where.slice_start} and {where.slice_end}"
    return DomainError(
        Reason.DISPUTE_OUTCOME_NOT_POSSIBLE,
        dispute=name_of(dispute.dispute_id),
        kind=dispute.kind.name,
        outcome=told,
        possible=names,
    )


async def _settle(
    transaction: Transaction, bundle: Bundle, dispute: Dispute, decision: DisputeDecision, outcome: DisputeOutcome
) -> DomainError | None:
    if dispute.kind in (DisputeKind.SERIALS_TWICE, DisputeKind.CONTENT_DIFFERS):
        return None
    await transaction.hold_activities([dispute.activity_key])
    await transaction.expire_stale_on([dispute.activity_key])
    locks = await transaction.locks([each for each in (dispute.standing, dispute.late) if each is not None])
    now = to_instant(await transaction.now_us())
    stands = _stands(dispute, decision.boundary, outcome)
    fault = _unsettled(dispute, locks.values(), stands, now)
    if fault is not None:
        return fault
    parts = await transaction.parts_of(dispute.activity_key)
    removed, added = _moved(dispute, parts, locks.keys(), stands)
    fault = _clash(parts, locks.keys(), added)
    if fault is not None:
        return fault
    await transaction.replace_parts(removed, added)
    if dispute.kind is DisputeKind.OUTCOME_CLAIMED_TWICE:
        await _require_measured(transaction, bundle, dispute, [locks[each] for each in stands])
    return None


def _stands(dispute: Dispute, boundary: int, outcome: DisputeOutcome) -> dict[LockId, Rectangle]:
    """What each side has of the disputed rectangle from now on."""
    where, standing, late = dispute.where, dispute.standing, dispute.late
    stands: dict[LockId, Rectangle] = {}
    if standing is not None and outcome is DisputeOutcome.STANDING:
        stands[standing] = where
    elif standing is not None and outcome is DisputeOutcome.BOTH:
        stands[standing] = where._replace(slice_end=boundary)
        stands[late] = where._replace(slice_start=boundary)
    elif outcome is DisputeOutcome.LATE:
        stands[late] = where
    return stands


def _unsettled(
    dispute: Dispute, locks: Collection[Lock], stands: Mapping[LockId, Rectangle], now: datetime
) -> DomainError | None:
    for lock in locks:
        name = f"issuanceLocks/{lock.lock_id}"
        is_open = lock.expire_time is not None and lock.expire_time > now
        if lock.state in (LockState.HELD, LockState.ISSUING) or is_open:
            return DomainError(Reason.DISPUTE_LOCK_UNDER_WAY, lock=name, dispute=name_of(dispute.dispute_id))
        if lock.lock_id in stands and lock.state is not LockState.ISSUED:
            return DomainError(
                Reason.DISPUTE_SIDE_ENDED, lock=name, dispute=name_of(dispute.dispute_id), state=lock.state.name
            )
    return None


def _moved(
    dispute: Dispute, parts: Sequence[Part], sides: Collection[LockId], stands: Mapping[LockId, Rectangle]
) -> tuple[list[Part], list[Part]]:
    """Parts of the sides that meet the dispute, and what takes their place; outside of it all stays as it is."""
    removed, added = [], []
    for part in parts:
        inside = part.where.shared(dispute.where)
        if part.lock_id not in sides or inside is None:
            continue
        removed.append(part)
        added += [part._replace(where=each) for each in part.where.minus(dispute.where)]
        target = stands.get(part.lock_id)
        mine = None if target is None else inside.shared(target)
        if mine is not None:
            added.append(part._replace(where=mine, live=True))
        added += [part._replace(where=each, live=False) for each in (inside.minus(mine) if mine else [inside])]
    return removed, added


def _clash(parts: Sequence[Part], sides: Collection[LockId], added: Sequence[Part]) -> DomainError | None:
    """A third lock that is live where a side shall be."""
    for mine in added:
        for other in parts:
            if (
                mine.live
                and other.live
                and other.lock_id not in sides
                and not set(mine.attributes).isdisjoint(other.attributes)
                and (shared := mine.where.shared(other.where)) is not None
            ):
                return DomainError(
                    Reason.SETTLEMENT_BREAKS_EXCLUSION,
                    lock=f"issuanceLocks/{mine.lock_id}",
                    other_lock=f"issuanceLocks/{other.lock_id}",
                    period=shared.period,
                )
    return None


async def _require_measured(transaction: Transaction, bundle: Bundle, dispute: Dispute, locks: Sequence[Lock]) -> None:
    """What is measured bounds what stands, except where that is in a dispute of its own."""
    spots = [
        (dispute.activity_key, lock.period, unit.base_unit)
        for lock in locks
        for unit in (bundle.instruments.get(lock.instrument),)
        if unit is not None
    ]
    over = await excesses(transaction, bundle, spots)
    if not over:
        return
    told = {
        each.late
        for each in await transaction.disputes_on([dispute.activity_key])
        if each.kind is DisputeKind.MORE_THAN_MEASURED
    }
    for (_, period, base_unit), excess in over.items():
        if told.isdisjoint(excess.lock_ids):
            raise DomainError(
                Reason.SETTLEMENT_EXCEEDS_MEASURED,
                used=excess.used,
                available=excess.available,
                base_unit=base_unit,
                period=period,
            )
