"""Recording measured outcomes. A figure never falls below what is issued or locked (invariant I6)."""

from collections import defaultdict
from collections.abc import Sequence

from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import Lock, Outcome, OutcomeRecord
from soleclaim.lookup.ports import Transaction
from soleclaim.lookup.service.locks import unknown_activity
from soleclaim.lookup.service.measured import issued_of
from soleclaim.policy.bundle import Bundle


async def record(
    transaction: Transaction, bundle: Bundle, records: Sequence[OutcomeRecord]
) -> list[Outcome | DomainError]:
    """Record each outcome, in order of the batch. All of one registry."""
    await transaction.bar_grants()
    standing = await transaction.standing(records[0].registry, [each.activity_key for each in records])
    spots = [(each.activity_key, each.period, each.base_unit) for each in records]
    known = await transaction.outcomes(spots)
    near = await transaction.locks_near([spot[:2] for spot in spots])
    faults: list[DomainError | None] = []
    first_of: dict[object, int] = {}
    for i, (each, locks) in enumerate(zip(records, near, strict=True)):
        first = first_of.setdefault(spots[i], i)
        fault = unknown_activity(each.registry, each.activity_id, standing.get(each.activity_key))
        if fault is None and records[first].quantity != each.quantity:
            fault = DomainError(Reason.CONTRADICTS_BATCH_ITEM, item=first)
        faults.append(fault or await _fault(transaction, bundle, each, known.get(spots[i]), locks))
    accepted = [each for each, fault in zip(records, faults, strict=True) if fault is None]
    if accepted:
        await transaction.record_outcomes(accepted)
    recorded = await transaction.outcomes(spots)
    return [fault or recorded[spot] for fault, spot in zip(faults, spots, strict=True)]


async def _fault(
    transaction: Transaction, bundle: Bundle, record: OutcomeRecord, known: Outcome | None, locks: Sequence[Lock]
) -> DomainError | None:
    if known is not None and known.record.registry != record.registry:
        return DomainError(Reason.OUTCOME_OF_OTHER_REGISTRY, period=record.period, base_unit=record.base_unit)
    by_issuer: dict[tuple[str, str], list[Lock]] = defaultdict(list)
    for lock in locks:
        by_issuer[lock.registry, lock.instrument].append(lock)
    for (_, instrument), own in by_issuer.items():
        row = bundle.instruments.get(instrument)
        if row is None or row.base_unit != record.base_unit or all(each.period != record.period for each in own):
            continue
        issued = await issued_of(transaction, record, own, row.base_units_per_unit)
        if record.quantity < issued:
            return DomainError(
                Reason.OUTCOME_BELOW_ISSUED,
                quantity=record.quantity,
                issued=issued,
                base_unit=record.base_unit,
                period=record.period,
            )
    return None
