"""Recording coverage: facts, never refused for what they say, never edited (R30 to R33, R88 to R91)."""

from collections.abc import Sequence

from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import Coverage, CoverageStatement
from soleclaim.lookup.ports import Transaction
from soleclaim.lookup.service.activities import register


async def record(transaction: Transaction, statements: Sequence[CoverageStatement]) -> list[Coverage | DomainError]:
    """Keep each statement, in order of the batch, with its unit registered. All of one registry.

    A unit that has to wait for a review waits by itself: its statement takes effect when the case is decided.
    """
    registry, ids = statements[0].registry, {each.statement_id for each in statements}
    stated = await transaction.coverage_stated(registry, ids)
    if len(stated) < len(ids):
        # Grants under way end first, those that come after see what is recorded here. An adapter repeats all that its
        # registry states, over and over: what is known bars nobody.
        if any(each.unit.description is not None for each in statements):
            await transaction.bar_descriptions()
        await transaction.bar_grants()
        stated = await transaction.coverage_stated(registry, ids)
    fresh: dict[str, CoverageStatement] = {}
    for each in statements:
        if each.statement_id not in stated:
            fresh.setdefault(each.statement_id, each)
    if fresh:
        await register(transaction, [each.unit for each in fresh.values()])
        await transaction.record_coverage(list(fresh.values()))
        stated = await transaction.coverage_stated(registry, ids)
    return [
        kept
        if kept.statement == each
        else DomainError(Reason.COVERAGE_STATEMENT_DIFFERS, statement_id=each.statement_id, registry=registry)
        for each in statements
        for kept in (stated[each.statement_id],)
    ]
