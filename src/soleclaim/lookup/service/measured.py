"""What is left of a measured outcome: the bound on what may be issued (invariant I6, R2).

One unit is a whole number of base units (1 GEC = 1,000 kWh). A remainder under one unit is carried into the
adjoining period after (rules.md B2), where it may be issued once: so what a period carries out is gone from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.lookup.domain import WHOLE, Claim, Lock, LockState, Outcome, OutcomeRecord
from soleclaim.lookup.ports import Transaction

MAX_CARRY_PERIODS: Final = 24
"""Through how many small periods in a row a remainder is followed."""


async def exceeding(transaction: Transaction, claims: Sequence[Claim]) -> list[DomainError | None]:
    """For each claim why it would exceed what was measured, or ``None``.

    Holds other grants and outcome changes of the same activities until the transaction ends, where one is measured.
    """
    await transaction.bar_outcome_changes()
    spots = [(each.request.activity_key, each.request.period, each.base_unit) for each in claims]
    outcomes = await transaction.outcomes(spots)
    bound = [i for i, claim in enumerate(claims) if claim.request.carried_in or (outcomes and spots[i] in outcomes)]
    answers: list[DomainError | None] = [None] * len(claims)
    if not bound:
        return answers
    await transaction.serialize_measured([spots[i][0] for i in bound])
    near = await transaction.locks_near([spots[i][:2] for i in bound])
    touching = await transaction.outcomes_touching([spots[i] for i in bound])
    for i, locks, adjoining in zip(bound, near, touching, strict=True):
        series = Series.of(transaction, claims[i], locks, adjoining)
        answers[i] = await _fault(series, claims[i], outcomes.get(spots[i]))
    return answers


async def issued_of(transaction: Transaction, record: OutcomeRecord, locks: Sequence[Lock], per_unit: int) -> int:
    """Base units of an outcome that are issued, locked or carried out under ``locks``.

    ``locks``: live ones near the outcome's period, at least one, all of one registry and instrument.
    """
    on_it = [each for each in locks if each.period == record.period]
    series = Series(
        transaction, record.activity_key, record.base_unit, per_unit, list(locks), [],
        locks[0].registry, locks[0].instrument,
    )  # fmt: skip
    taken = sum((each.issued_units + open_units(each)) * per_unit - each.carried_in for each in on_it)
    return max(0, taken) + await series.carried_out(record.period.end)


def open_units(lock: Lock) -> int:
    """Units of a grant that is not settled yet."""
    is_open = lock.state in (LockState.HELD, LockState.ISSUING) or lock.expire_time is not None
    return lock.units if is_open else 0


async def _fault(series: "Series", claim: Claim, outcome: Outcome | None) -> DomainError | None:
    request = claim.request
    first = series.lock_on(request.period)
    if first is not None and first.slice == request.slice:
        carried, taken = first.carried_in, first.issued_units * claim.base_units_per_unit
        if request.carried_in not in (0, carried):
            return _not_covered(claim, carried)
    else:
        carried, taken = request.carried_in, 0
        remained = await series.remainder(request.period.start) if carried else 0
        if carried > remained:
            return _not_covered(claim, remained)
    if outcome is None:
        return None
    measured = outcome.record.quantity + carried - await series.carried_out(request.period.end)
    if request.slice != WHOLE:
        measured = min(measured, request.slice.end) - request.slice.start
    available = max(0, measured - taken)
    if claim.quantity <= available:
        return None
    return DomainError(
        Reason.OUTCOME_EXHAUSTED,
        requested=claim.quantity,
        available=available,
        base_unit=claim.base_unit,
        period=request.period,
    )


def _not_covered(claim: Claim, available: int) -> DomainError:
    return DomainError(
        Reason.CARRY_NOT_COVERED,
        carried_in=claim.request.carried_in,
        available=available,
        base_unit=claim.base_unit,
    )


@dataclass(slots=True)
class Series:
    """One registry's adjoining periods of one activity: locks and outcomes, read on as far as needed."""

    transaction: Transaction
    key: ActivityKey
    base_unit: str
    per_unit: int
    locks: list[Lock]
    outcomes: list[Outcome]
    registry: str
    instrument: str

    @classmethod
    def of(cls, transaction: Transaction, claim: Claim, locks: Sequence[Lock], outcomes: Sequence[Outcome]) -> "Series":
        """The series of a claim, with what is known around its period."""
        request = claim.request
        own = [each for each in locks if (each.registry, each.instrument) == (request.registry, request.instrument)]
        return cls(
            transaction, request.activity_key, claim.base_unit, claim.base_units_per_unit, own, list(outcomes),
            request.registry, request.instrument,
        )  # fmt: skip

    def lock_on(self, period: Period) -> Lock | None:
        """The live lock on exactly this period."""
        return next((each for each in self.locks if each.period == period), None)

    async def remainder(self, at: datetime) -> int:
        """Base units under one unit that the period ending ``at`` leaves; 0 when it is not settled or not known."""
        total = 0
        for _ in range(MAX_CARRY_PERIODS):
            before = next((each for each in self.outcomes if each.record.period.end == at), None)
            if before is None:
                break
            lock = self.lock_on(before.record.period)
            if lock is not None:
                settled = lock.state is LockState.ISSUED and not open_units(lock)
                left = before.record.quantity + lock.carried_in - lock.issued_units * self.per_unit
                total = total + left if settled else 0
                break
            # Nothing was issued for that period: it passes all it has on, with what it was left itself.
            total += before.record.quantity
            at = before.record.period.start
            await self._read_on(before.record.period)
        return min(total, self.per_unit - 1)

    async def carried_out(self, at: datetime) -> int:
        """Base units that periods from ``at`` on have taken over from the one ending there."""
        passed_through = 0
        for _ in range(MAX_CARRY_PERIODS):
            taker = next((each for each in self.locks if each.period.start == at), None)
            if taker is not None:
                return max(0, taker.carried_in - passed_through)
            after = next((each for each in self.outcomes if each.record.period.start == at), None)
            if after is None or after.record.quantity >= self.per_unit:
                return 0
            passed_through += after.record.quantity
            at = after.record.period.end
            await self._read_on(after.record.period)
        return 0

    async def _read_on(self, period: Period) -> None:
        (locks,) = await self.transaction.locks_near([(self.key, period)])
        (outcomes,) = await self.transaction.outcomes_touching([(self.key, period, self.base_unit)])
        known = {each.lock_id for each in self.locks}
        self.locks += [
            each
            for each in locks
            if each.lock_id not in known and (each.registry, each.instrument) == (self.registry, self.instrument)
        ]
        self.outcomes += outcomes
