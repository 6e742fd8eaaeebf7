"""What is left of a measured outcome: the bound on what may be issued (invariant I6, R2).

One unit is a whole number of base units (1 GEC = 1,000 kWh). A remainder under one unit is carried into the
adjoining period after (rules.md B2), where it may be issued once: so what a period carries out is gone from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.lookup.domain import WHOLE, Claim, Lock, LockRequest, LockState, Outcome
from soleclaim.lookup.ports import Reader, Transaction

MAX_CARRY_PERIODS: Final = 24
"""Through how many small periods in a row a remainder is followed."""


async def exceeding(
    reader: Reader, claims: Sequence[Claim], *, hold: Transaction | None = None
) -> list[DomainError | None]:
    """For each claim why it would exceed what was measured, or ``None``. Claims that carry do not depend on each other.

    ``hold``: the transaction whose end other grants of measured activities then wait for; it has barred outcome
    changes.
    """
    spots = [(each.request.activity_key, each.request.period, each.base_unit) for each in claims]
    overlapping = await reader.outcomes_overlapping(spots)
    measured = [found if claim.measured else [] for found, claim in zip(overlapping, claims, strict=True)]
    outcomes = [_exact(found, claim) for found, claim in zip(measured, claims, strict=True)]
    answers: list[DomainError | None] = [
        None if exact or not found else _other_period(claim, found[0])
        for exact, found, claim in zip(outcomes, measured, claims, strict=True)
    ]
    bound = [i for i, claim in enumerate(claims) if answers[i] is None and (claim.request.carried_in or outcomes[i])]
    if not bound:
        return answers
    if hold is not None:
        await hold.hold_activities([spots[i][0] for i in bound])
    near = await reader.locks_near([spots[i][:2] for i in bound])
    touching = await reader.outcomes_touching([spots[i] for i in bound])
    series = [
        Series.of(reader, claims[i], locks, adjoining)
        for i, locks, adjoining in zip(bound, near, touching, strict=True)
    ]
    await _read_months_before(reader, [(claims[i], one) for i, one in zip(bound, series, strict=True)])
    for i, one in zip(bound, series, strict=True):
        answers[i] = await _fault(one, claims[i], outcomes[i])
    return answers


def _exact(found: Sequence[Outcome], claim: Claim) -> Outcome | None:
    return next((each for each in found if each.record.period == claim.request.period), None) if found else None


def _other_period(claim: Claim, outcome: Outcome) -> DomainError:
    """A part of a measured period, or more than one, has no figure of its own that could bound it."""
    return DomainError(
        Reason.OUTCOME_PERIOD_DIFFERS,
        period=claim.request.period,
        other_period=outcome.record.period,
        base_unit=claim.base_unit,
    )


async def _read_months_before(reader: Reader, pairs: Sequence[tuple[Claim, "Series"]]) -> None:
    """The locks of the periods that remainders come from, in one question for all claims that carry."""
    carrying = [
        (series, before.record.period)
        for claim, series in pairs
        if claim.request.carried_in and (before := series.outcome_until(claim.request.period.start)) is not None
    ]
    if carrying:
        found = await reader.locks_near([(series.key, period) for series, period in carrying])
        for (series, period), locks in zip(carrying, found, strict=True):
            series.learn(period, locks)


def open_units(lock: Lock) -> int:
    """Units of a grant that is not settled yet."""
    is_open = lock.state in (LockState.HELD, LockState.ISSUING) or lock.expire_time is not None
    return lock.units if is_open else 0


async def _fault(series: "Series", claim: Claim, outcome: Outcome | None) -> DomainError | None:
    request = claim.request
    # A HELD lock there has run out, and this grant replaces it, or it stands in the way: nothing of it is added to.
    supplemented = next(
        (
            each
            for each in series.own_on(request.period)
            if each.slice == request.slice and each.state is not LockState.HELD
        ),
        None,
    )
    if supplemented is not None:
        carried, taken = supplemented.carried_in, supplemented.issued_units * claim.base_units_per_unit
        if request.carried_in not in (0, carried):
            return _not_covered(claim, carried)
    else:
        carried, taken = request.carried_in, 0
        remained = await series.remainder(request.period.start) if carried else 0
        remained = max(0, remained - series.carried_beside(request))
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
    """One instrument's adjoining periods of one activity: locks and outcomes, read on as far as needed."""

    reader: Reader
    key: ActivityKey
    base_unit: str
    per_unit: int
    instrument: str
    locks: list[Lock]
    """Live ones of every registry, around the periods looked at so far."""
    outcomes: list[Outcome]
    looked_at: set[Period]
    """Periods whose locks are known."""
    figures: Mapping[Period, int] = field(default_factory=dict)
    """Quantities that count instead of the recorded ones: accepted, not written yet."""

    @classmethod
    def of(cls, reader: Reader, claim: Claim, locks: Sequence[Lock], outcomes: Sequence[Outcome]) -> "Series":
        """The series of a claim, with what is known around its period."""
        request = claim.request
        return cls(
            reader, request.activity_key, claim.base_unit, claim.base_units_per_unit, request.instrument,
            list(locks), list(outcomes), {request.period},
        )  # fmt: skip

    def learn(self, period: Period, locks: Sequence[Lock]) -> None:
        """Take in the locks near a period."""
        known = {each.lock_id for each in self.locks}
        self.locks += [each for each in locks if each.lock_id not in known]
        self.looked_at.add(period)

    def own_on(self, period: Period) -> list[Lock]:
        """The instrument's live locks on exactly this period: one, or one per slice."""
        return [each for each in self.locks if each.instrument == self.instrument and each.period == period]

    def outcome_until(self, end: datetime) -> Outcome | None:
        """The outcome of the period that ends there."""
        return next((each for each in self.outcomes if each.record.period.end == end), None)

    def carried_beside(self, request: LockRequest) -> int:
        """What other slices of the request's period have carried in already."""
        return sum(
            each.carried_in
            for each in self.own_on(request.period)
            if each.slice.end <= request.slice.start or request.slice.end <= each.slice.start
        )

    async def remainder(self, at: datetime) -> int:
        """Base units under one unit that the period ending ``at`` leaves; 0 when it is not settled or not known."""
        total = 0
        for _ in range(MAX_CARRY_PERIODS):
            before = self.outcome_until(at)
            if before is None:
                break
            period, quantity = before.record.period, self._quantity(before)
            await self._read_locks(period)
            own = self.own_on(period)
            if any(each not in own and each.period.overlaps(period) for each in self.locks):
                break  # Somebody claims that outcome, or a part of its time: no telling what remains of it.
            if own:
                if any(each.state is not LockState.ISSUED or open_units(each) for each in own):
                    return 0
                total += quantity + sum(each.carried_in - each.issued_units * self.per_unit for each in own)
                break
            # Nothing was issued for that period: it passes all it has on, with what it was left itself.
            total += quantity
            at = period.start
            await self._read_outcomes(period)
        return max(0, min(total, self.per_unit - 1))

    async def carried_out(self, at: datetime) -> int:
        """Base units that periods from ``at`` on have taken over from the one ending there."""
        passed_through = 0
        for _ in range(MAX_CARRY_PERIODS):
            takers = [each for each in self.locks if each.instrument == self.instrument and each.period.start == at]
            if takers:
                return max(0, sum(each.carried_in for each in takers) - passed_through)
            after = next((each for each in self.outcomes if each.record.period.start == at), None)
            if after is None or self._quantity(after) >= self.per_unit:
                return 0
            passed_through += self._quantity(after)
            at = after.record.period.end
            await self._read_locks(after.record.period)
            await self._read_outcomes(after.record.period)
        return 0

    async def needed(self, period: Period) -> int:
        """Base units of the period's outcome that are issued, locked or carried out."""
        own = self.own_on(period)
        taken = sum((each.issued_units + open_units(each)) * self.per_unit - each.carried_in for each in own)
        out = await self.carried_out(period.end)
        if out and not own:
            # What the periods before it passed through it is not its own.
            out = max(0, out - await self.remainder(period.start))
        return max(0, taken) + out

    def _quantity(self, outcome: Outcome) -> int:
        return self.figures.get(outcome.record.period, outcome.record.quantity)

    async def _read_locks(self, period: Period) -> None:
        if period not in self.looked_at:
            (locks,) = await self.reader.locks_near([(self.key, period)])
            self.learn(period, locks)

    async def _read_outcomes(self, period: Period) -> None:
        (outcomes,) = await self.reader.outcomes_touching([(self.key, period, self.base_unit)])
        self.outcomes += outcomes
