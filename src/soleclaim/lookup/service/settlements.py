"""Recording settlements: facts, never refused for what they say, never edited (R7, R8; C11)."""

from collections.abc import Sequence

from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import Settlement, SettlementLine
from soleclaim.lookup.ports import Transaction


async def record(
    transaction: Transaction, lines: Sequence[SettlementLine], issuer: str
) -> list[Settlement | DomainError]:
    """Keep each line, in order of the batch, and say how it stands after all of them. All of one exchange.

    ``issuer``: the registry whose certificates they move. A known line is looked at anew: its certificates may have
    become known in between.
    """
    registry, ids = lines[0].registry, {each.settlement_id for each in lines}
    await transaction.bar_settlements()
    stated = await transaction.settlements_stated(registry, ids)
    fresh: dict[str, SettlementLine] = {}
    for each in lines:
        if each.settlement_id not in stated:
            fresh.setdefault(each.settlement_id, each)
    if fresh:
        await transaction.record_settlements(list(fresh.values()), issuer)
    await transaction.settle(registry, ids)
    stated = await transaction.settlements_stated(registry, ids)
    return [
        kept
        if kept.line == each
        else DomainError(Reason.SETTLEMENT_DIFFERS, settlement_id=each.settlement_id, registry=registry)
        for each in lines
        for kept in (stated[each.settlement_id],)
    ]
