"""Recording measured outcomes. A figure never falls below what is issued or locked (invariant I6)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.lookup.domain import Lock, Outcome, OutcomeRecord
from soleclaim.lookup.ports import Transaction
from soleclaim.lookup.service.locks import unknown_activity
from soleclaim.lookup.service.measured import Series
from soleclaim.policy.bundle import Bundle


async def record(
    transaction: Transaction, bundle: Bundle, records: Sequence[OutcomeRecord]
) -> list[Outcome | DomainError]:
    """Record each outcome, in order of the batch; later items see what earlier ones change. All of one registry."""
    await transaction.bar_grants()
    standing = await transaction.standing(records[0].registry, [each.activity_key for each in records])
    spots = [(each.activity_key, each.period, each.base_unit) for each in records]
    known = await transaction.outcomes(spots)
    near = await transaction.locks_near([spot[:2] for spot in spots])
    figures: dict[tuple[ActivityKey, str], dict[Period, int]] = defaultdict(dict)
    faults: list[DomainError | None] = []
    first_of: dict[object, int] = {}
    for i, (each, locks) in enumerate(zip(records, near, strict=True)):
        first = first_of.setdefault(spots[i], i)
        fault = unknown_activity(each.registry, each.activity_id, standing.get(each.activity_key))
        if fault is None and records[first].quantity != each.quantity:
            fault = DomainError(Reason.CONTRADICTS_BATCH_ITEM, item=first)
        accepted = figures[each.activity_key, each.base_unit]
        fault = fault or await _fault(transaction, bundle, each, known.get(spots[i]), locks, accepted)
        if fault is None:
            accepted[each.period] = each.quantity
        faults.append(fault)
    to_write = [each for each, fault in zip(records, faults, strict=True) if fault is None]
    if to_write:
        await transaction.record_outcomes(to_write)
    recorded = await transaction.outcomes(spots)
    return [fault or recorded[spot] for fault, spot in zip(faults, spots, strict=True)]


def _only_overlaps(lock: Lock, record: OutcomeRecord) -> bool:
    return lock.period != record.period and lock.period.overlaps(record.period)


async def _fault(
    transaction: Transaction,
    bundle: Bundle,
    record: OutcomeRecord,
    known: Outcome | None,
    locks: Sequence[Lock],
    figures: Mapping[Period, int],
) -> DomainError | None:
    """``figures``: of the same activity and unit, accepted in this batch."""
    if known is not None and known.record.registry != record.registry:
        return DomainError(Reason.OUTCOME_OF_OTHER_REGISTRY, period=record.period, base_unit=record.base_unit)
    if known is not None and record.quantity >= known.record.quantity:
        return None
    adjoining: Sequence[Outcome] = ()
    if known is not None:
        # It may have passed a remainder on to a lock that does not touch it.
        (adjoining,) = await transaction.outcomes_touching([(record.activity_key, record.period, record.base_unit)])
    for code, row in bundle.instruments.items():
        if row.base_unit != record.base_unit or not row.measured:
            continue
        series = Series(
            transaction, record.activity_key, record.base_unit, row.base_units_per_unit, code,
            list(locks), list(adjoining), {record.period}, figures,
        )  # fmt: skip
        if known is None:
            odd = next((each for each in locks if each.instrument == code and _only_overlaps(each, record)), None)
            if odd is not None:
                return DomainError(
                    Reason.OUTCOME_PERIOD_DIFFERS,
                    period=record.period,
                    other_period=odd.period,
                    base_unit=record.base_unit,
                )
            if not series.own_on(record.period):
                continue
        issued = await series.needed(record.period)
        if record.quantity < issued:
            return DomainError(
                Reason.OUTCOME_BELOW_ISSUED,
                quantity=record.quantity,
                issued=issued,
                base_unit=record.base_unit,
                period=record.period,
            )
    return None
