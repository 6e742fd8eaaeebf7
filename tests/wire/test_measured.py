"""Recorded outcomes bound the units, remainders and carries included (invariant I6), on both stores."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from soleclaim.api.common.v1.types_pb2 import BASE_UNIT_KGCO2E, BASE_UNIT_KWH, Slice
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb2
from soleclaim.client import RemoteRefusal
from soleclaim.core.activity_id import activity_key, parse_activity_id
from soleclaim.core.errors import Reason
from tests.wire.conftest import (
    GEC,
    Party,
    Wire,
    fresh,
    items_of,
    month,
    outcome,
    reason_of,
    refused,
    span,
    told,
    wish,
)

KWH = 1000
"""Of one green certificate."""


async def measured(wire: Wire, gec: Party, *quantities: int) -> str:
    """A new activity with the outcomes of its first months."""
    activity = await wire.activity(GEC)
    for i, quantity in enumerate(quantities):
        await gec.record(activity, quantity, month(i))
    return activity


def assert_covered(wire: Wire, activity: str) -> None:
    """All live units of an activity together are no more than what was measured of it."""
    key = activity_key(parse_activity_id(activity.partition("/")[2]))
    ((total,),) = wire.sql(f"SELECT coalesce(sum(quantity), 0) FROM outcome WHERE activity_key = {key}")  # noqa: S608
    rows = wire.sql(
        "SELECT state, issued_units, units, expire_us FROM issuance_lock "  # noqa: S608
        f"WHERE activity_key = {key} AND state IN (1, 2, 3)"
    )
    units = sum(issued + (open_units if state != 3 or expire else 0) for state, issued, open_units, expire in rows)
    assert units * KWH <= total


async def test_no_grant_exceeds_the_measured_outcome(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500)
    refusal = await refused(gec.acquire(activity, units=11), Reason.OUTCOME_EXHAUSTED)
    assert refusal.code == "FAILED_PRECONDITION"
    assert refusal.message_en == (
        "11000 kWh asked for, 10500 kWh available in 2025-01-01T00:00:00Z/2025-01-31T00:00:00Z; "
        "ask for no more than was measured, less what is issued or locked"
    )
    assert (await gec.acquire(activity, units=10)).units == 10
    nothing = await measured(wire, gec, 0)
    await refused(gec.acquire(nothing, units=1), Reason.OUTCOME_EXHAUSTED)


async def test_supplements_share_what_is_left(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500)
    await gec.issued(activity, units=6)
    refusal = await refused(gec.acquire(activity, units=5), Reason.OUTCOME_EXHAUSTED)
    assert refusal.variables["available"] == "4500"
    supplement = await gec.acquire(activity, units=3)
    assert supplement.supplement
    await gec.commit(await gec.begin(supplement))
    await gec.release(await gec.acquire(activity, units=1))
    await gec.issued(activity, units=1)
    refusal = await refused(gec.acquire(activity, units=1), Reason.OUTCOME_EXHAUSTED)
    assert refusal.variables["available"] == "500"
    # A better reading makes room.
    await gec.record(activity, 11_000)
    await gec.issued(activity, units=1)
    assert_covered(wire, activity)


async def test_a_remainder_is_carried_into_the_adjoining_month_once(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500, 500)
    first = await gec.acquire(activity, month(0), units=10)
    for _ in range(2):  # HELD, then ISSUING: not settled yet, so nothing is known to remain
        refusal = await refused(gec.acquire(activity, month(1), units=1, carried_in=500), Reason.CARRY_NOT_COVERED)
        assert refusal.variables["available"] == "0"
        first = await gec.begin(first) if first.state == lock_pb2.ISSUANCE_LOCK_STATE_HELD else first
    await gec.commit(first)
    refusal = await refused(gec.acquire(activity, month(1), units=1, carried_in=501), Reason.CARRY_NOT_COVERED)
    assert refusal.message_en == (
        "501 kWh carried in, 500 kWh remained in the adjoining period before; "
        "issue the period before first, and carry in only what remained there under one unit"
    )
    await refused(gec.acquire(activity, month(1), units=1), Reason.OUTCOME_EXHAUSTED)
    second = await gec.acquire(activity, month(1), units=1, carried_in=500)
    assert (await gec.get(second)).carried_in == 500
    # What is carried out is gone from the month it came from, as long as the lock lives.
    await gec.record(activity, 11_000, month(0))
    refusal = await refused(gec.acquire(activity, month(0), units=1), Reason.OUTCOME_EXHAUSTED)
    assert refusal.variables["available"] == "500"
    await refused(gec.record(activity, 10_400, month(0)), Reason.OUTCOME_BELOW_ISSUED)
    await gec.release(second)
    await gec.issued(activity, month(0), units=1)
    refusal = await refused(gec.acquire(activity, month(1), units=1, carried_in=500), Reason.CARRY_NOT_COVERED)
    assert refusal.variables["available"] == "0"
    assert_covered(wire, activity)


async def test_a_supplement_carries_no_more_than_its_lock_did(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500, 1_500)
    await gec.issued(activity, month(0), units=10)
    await gec.issued(activity, month(1), units=1, carried_in=500)
    refusal = await refused(gec.acquire(activity, month(1), units=1, carried_in=400), Reason.CARRY_NOT_COVERED)
    assert refusal.variables["available"] == "500"
    await gec.issued(activity, month(1), units=1, carried_in=500)
    await refused(gec.acquire(activity, month(1), units=1, carried_in=500), Reason.OUTCOME_EXHAUSTED)
    assert_covered(wire, activity)


async def test_months_too_small_for_a_unit_pass_their_remainder_on(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 1_200, 300, 250, 250)
    await gec.issued(activity, month(0), units=1)
    refusal = await refused(gec.acquire(activity, month(3), units=1, carried_in=751), Reason.CARRY_NOT_COVERED)
    assert refusal.variables["available"] == "750"
    await gec.issued(activity, month(3), units=1, carried_in=750)
    # It is used up for every month on its way.
    for number, quantity in ((1, 1_000), (2, 1_000)):
        await gec.record(activity, quantity, month(number))
        await refused(gec.acquire(activity, month(number), units=1, carried_in=0), Reason.OUTCOME_EXHAUSTED)
    assert_covered(wire, activity)


async def test_a_month_whose_remainder_was_taken_over_keeps_it(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 500, 500, 10)
    await gec.issued(activity, month(2), units=1, carried_in=990)
    # The same figure again changes nothing, and a larger one harms nobody.
    await gec.record(activity, 500, month(1))
    await gec.record(activity, 505, month(1))
    for number, least in ((0, 485), (1, 490)):
        refusal = await refused(gec.record(activity, least - 1, month(number)), Reason.OUTCOME_BELOW_ISSUED)
        assert refusal.variables["issued"] == str(least)
    await gec.record(activity, 490, month(1))
    await refused(gec.record(activity, 499, month(0)), Reason.OUTCOME_BELOW_ISSUED)
    await refused(gec.record(activity, 9, month(2)), Reason.OUTCOME_BELOW_ISSUED)
    assert_covered(wire, activity)


async def test_a_batch_takes_a_remainder_over_once(wire: Wire, gec: Party) -> None:
    """Both would be covered alone: 500 from the first month, or 999 of the first and second together."""
    for backwards in (False, True):
        activity = await measured(wire, gec, 500, 600, 1)
        both = [(month(1), 500), (month(2), 999)]
        wishes = [wish("gec", activity, period, units=1, carried_in=carried) for period, carried in both]
        items = items_of(*(reversed(wishes) if backwards else wishes))
        batch = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items)
        results = (await gec("BatchAcquireIssuanceLocks", batch)).results
        assert [reason_of(each) for each in results] == [None, Reason.CONTRADICTS_BATCH_ITEM]
        assert told(results[1].error).variables == {"item": "0"}
        assert_covered(wire, activity)


async def test_a_batch_of_months_may_carry_where_nothing_is_shared(wire: Wire, gec: Party) -> None:
    activity, other = await measured(wire, gec, 1_500, 500, 3_000), await measured(wire, gec, 1_500, 500)
    for each in (activity, other):
        await gec.issued(each, month(0), units=1)
    items = items_of(
        wish("gec", activity, month(1), units=1, carried_in=500),
        wish("gec", other, month(1), units=1, carried_in=500),
        wish("gec", activity, month(5), units=1),
    )
    batch = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items)
    results = (await gec("BatchAcquireIssuanceLocks", batch)).results
    assert [reason_of(each) for each in results] == [None, None, None]


async def test_a_supplement_to_one_slice_counts_what_that_slice_has_issued(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 2_000)
    for start in (0, KWH):
        await gec.issued(activity, units=1, slice=Slice(start=start, end=start + KWH))
    for start in (0, KWH):
        piece = Slice(start=start, end=start + KWH)
        refusal = await refused(gec.acquire(activity, units=1, slice=piece), Reason.OUTCOME_EXHAUSTED)
        assert refusal.variables["available"] == "0"
    assert_covered(wire, activity)


async def test_a_lock_that_ran_out_lends_its_carry_to_nobody(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500, 500)
    await gec.issued(activity, month(0), units=10)
    wire.expire(await gec.acquire(activity, month(1), units=1, carried_in=500))
    await refused(gec.acquire(activity, month(1), units=1), Reason.OUTCOME_EXHAUSTED)
    again = await gec.acquire(activity, month(1), units=1, carried_in=500)
    assert (await gec.get(again)).carried_in == 500
    # And the other way round: one that carried nothing keeps nobody from carrying.
    other = await measured(wire, gec, 10_500, 1_500)
    await gec.issued(other, month(0), units=10)
    wire.expire(await gec.acquire(other, month(1), units=1))
    await gec.acquire(other, month(1), units=2, carried_in=500)
    for each in (activity, other):
        assert_covered(wire, each)


async def test_an_outcome_never_falls_below_what_is_issued_or_locked(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500)
    await gec.issued(activity, units=6)
    refusal = await refused(gec.record(activity, 5_999), Reason.OUTCOME_BELOW_ISSUED)
    assert refusal.message_en == (
        "5999 kWh is less than the 6000 kWh already locked or issued in 2025-01-01T00:00:00Z/2025-01-31T00:00:00Z; "
        "a figure cannot fall below what is issued; settle the issuance first"
    )
    supplement = await gec.acquire(activity, units=2)
    await refused(gec.record(activity, 7_999), Reason.OUTCOME_BELOW_ISSUED)
    await gec.begin(supplement)
    await refused(gec.record(activity, 7_999), Reason.OUTCOME_BELOW_ISSUED)
    await gec.abort(supplement)
    assert (await gec.record(activity, 6_000)).quantity == 6_000
    # A first reading that comes after the issuance is held to it too.
    late = await wire.activity(GEC)
    await gec.issued(late, units=6)
    await refused(gec.record(late, 5_999), Reason.OUTCOME_BELOW_ISSUED)
    found = outcome_pb2.GetOutcomeRequest(activity=late, period=month(), base_unit=BASE_UNIT_KWH)
    await refused(gec("GetOutcome", found), Reason.OUTCOME_UNKNOWN)


async def test_items_of_one_batch_of_outcomes_do_not_contradict_each_other(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 500, 500, 10)
    await gec.issued(activity, month(2), units=1, carried_in=990)
    figures = [(3, 7), (3, 8), (3, 7), (0, 495), (1, 495)]
    items = items_of(*(outcome("gec", activity, quantity, month(number)) for number, quantity in figures))
    batch = outcome_pb2.BatchRecordOutcomesRequest(request_id=fresh(), requests=items)
    results = (await gec("BatchRecordOutcomes", batch)).results
    assert [reason_of(each) for each in results[:3]] == [None, Reason.CONTRADICTS_BATCH_ITEM, None]
    # Each of the last two is right alone; together they would leave 990 for 990, which is right as well.
    assert [reason_of(each) for each in results[3:]] == [None, None]
    figures = [(0, 490), (1, 490)]
    await gec.record(activity, 500, month(0))
    items = items_of(*(outcome("gec", activity, quantity, month(number)) for number, quantity in figures))
    batch = outcome_pb2.BatchRecordOutcomesRequest(request_id=fresh(), requests=items)
    results = (await gec("BatchRecordOutcomes", batch)).results
    assert Reason.OUTCOME_BELOW_ISSUED in [reason_of(each) for each in results]
    assert_covered(wire, activity)


async def test_an_outcome_stays_with_the_registry_whose_word_it_is(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    await gec.record(activity, 5_000)
    for quantity in (5_000, 6_000):
        refusal = await refused(ccer.record(activity, quantity), Reason.OUTCOME_OF_OTHER_REGISTRY)
        assert refusal.variables == {
            "period": "2025-01-01T00:00:00Z/2025-01-31T00:00:00Z",
            "base_unit": "kWh",
        }
    # Another unit is another outcome, and bounds the instrument that counts in it.
    await ccer.record(activity, 2_000, base_unit=BASE_UNIT_KGCO2E)
    await refused(ccer.acquire(activity, units=3), Reason.OUTCOME_EXHAUSTED)
    await refused(gec.acquire(activity, units=6), Reason.OUTCOME_EXHAUSTED)
    await ccer.acquire(activity, units=2)


async def test_the_dry_run_names_every_reason_at_once(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    await ccer.record(activity, 2_000, base_unit=BASE_UNIT_KGCO2E)
    await gec.acquire(activity, span(0, 10))
    await gec.issued(activity, span(10, 20))
    item = items_of(wish("ccer", activity, units=3, declaration=None))[0]
    answer = await ccer("CheckIssuanceLock", lock_pb2.CheckIssuanceLockRequest(request=item))
    assert [told(each).reason for each in answer.refusals] == [
        Reason.POLICY_REFUSED,
        Reason.OUTCOME_EXHAUSTED,
        Reason.ACTIVITY_ALREADY_ISSUED,
        Reason.ISSUANCE_LOCK_HELD,
    ]
    assert not (await ccer("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(activity=activity))).issuance_locks


async def test_the_dry_run_says_what_acquire_then_says(wire: Wire, gec: Party) -> None:
    activity = await wire.activity(GEC)

    async def says() -> list[Reason | None]:
        item = items_of(wish("gec", activity, units=1))[0]
        answer = await gec("CheckIssuanceLock", lock_pb2.CheckIssuanceLockRequest(request=item))
        return [told(each).reason for each in answer.refusals]

    assert await says() == []
    lock = await gec.acquire(activity, units=1)
    assert await says() == [Reason.ISSUANCE_LOCK_HELD]
    wire.expire(lock)
    assert await says() == []
    lock = await gec.issued(activity, units=1)
    assert await says() == []
    supplement = await gec.acquire(activity, units=1)
    assert await says() == [Reason.ISSUANCE_LOCK_HELD]
    await refused(gec.acquire(activity, units=1), Reason.ISSUANCE_LOCK_HELD)
    wire.expire(supplement)
    assert await says() == []
    assert (await gec.acquire(activity, units=1)).fencing_token > supplement.fencing_token


# While others write


async def settled(calls: Sequence[Any]) -> list[Reason | None]:
    """Run them side by side; why each was refused. Three times as many as the lookup has connections: none starves."""
    at_once = asyncio.Semaphore(24)

    async def run(call: Any) -> None:
        async with at_once:
            await call

    answers = await asyncio.gather(*map(run, calls), return_exceptions=True)
    reasons: list[Reason | None] = []
    for each in answers:
        if isinstance(each, BaseException):
            assert isinstance(each, RemoteRefusal), each
            reasons.append(each.reason)
        else:
            reasons.append(None)
    return reasons


async def test_outcomes_recorded_while_grants_race_are_never_exceeded(wire: Wire, gec: Party) -> None:
    """Ten units are asked for in each of 60 months while a reading of five units arrives."""
    activities = await wire.activities(3, GEC)
    others = [await wire.new_party(GEC) for _ in range(2)]
    spots = [(activity, month(i)) for i in range(20) for activity in activities]
    calls = [
        call for spot in spots for call in (gec.record(spot[0], 5_000, spot[1]), others[0].acquire(*spot, units=10))
    ]
    reasons = await settled(calls)
    pairs = list(zip(reasons[::2], reasons[1::2], strict=True))
    # Whoever came first, the other one was told.
    assert set(pairs) <= {(None, Reason.OUTCOME_EXHAUSTED), (Reason.OUTCOME_BELOW_ISSUED, None)}
    for activity, (recorded, _), (_, period) in zip((each[0] for each in spots), pairs, spots, strict=True):
        if recorded is None:
            await refused(gec.acquire(activity, period, units=6), Reason.OUTCOME_EXHAUSTED)


@pytest.mark.parametrize("months", [4])
async def test_a_remainder_is_taken_once_however_many_ask(wire: Wire, gec: Party, months: int) -> None:
    """The month itself, by a supplement, and the month after want the same 1,000 kWh at the same moment."""
    parties = [gec, *[await wire.new_party(GEC) for _ in range(2)]]
    for _ in range(months):
        activity = await measured(wire, gec, 1_900, 100)
        await gec.issued(activity, month(0), units=1)
        await gec.record(activity, 2_000, month(0))
        reasons = await settled(
            [
                parties[0].acquire(activity, month(0), units=1),
                parties[1].acquire(activity, month(1), units=1, carried_in=900),
                parties[2].acquire(activity, month(0), units=1),
            ]
        )
        assert reasons.count(None) == 1, reasons
        assert_covered(wire, activity)


async def test_readings_that_fall_while_supplements_race_stay_above_the_issued(wire: Wire, gec: Party) -> None:
    parties = [await wire.new_party(GEC) for _ in range(3)]
    activities = [await measured(wire, gec, 3_000) for _ in range(8)]
    for activity in activities:
        await gec.issued(activity, units=1)
    calls = [
        call
        for activity in activities
        for call in (
            parties[0].issued(activity, units=2),
            parties[1].record(activity, 1_500),
            parties[2].issued(activity, units=1),
        )
    ]
    await settled(calls)
    for activity in activities:
        assert_covered(wire, activity)


async def test_registries_do_not_borrow_from_each_other(wire: Wire, ccer: Party, gec: Party) -> None:
    """A remainder is left by one registry's own instrument, so no other carries it."""
    activity = await wire.activity()
    for number, quantity in ((0, 1_900), (1, 100)):
        await ccer.record(activity, quantity, month(number), base_unit=BASE_UNIT_KGCO2E)
        await gec.record(activity, quantity, month(number))
    await gec.issued(activity, month(0), units=1)
    refusal = await refused(ccer.acquire(activity, month(1), units=1, carried_in=900), Reason.CARRY_NOT_COVERED)
    assert refusal.variables["available"] == "0"
    assert (await gec.acquire(activity, month(1), units=1, carried_in=900)).units == 1


async def test_a_part_of_a_measured_period_has_no_figure_of_its_own(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec, 10_500)
    half = span(0, 15)
    refusal = await refused(gec.acquire(activity, half, units=1), Reason.OUTCOME_PERIOD_DIFFERS)
    assert refusal.variables["other_period"] == "2025-01-01T00:00:00Z/2025-01-31T00:00:00Z"
    longer = span(0, 60)
    await refused(gec.acquire(activity, longer, units=1), Reason.OUTCOME_PERIOD_DIFFERS)


async def test_an_outcome_is_recorded_for_the_period_that_is_locked(wire: Wire, gec: Party) -> None:
    activity = await measured(wire, gec)
    half = span(0, 15)
    await gec.issued(activity, half, units=1)
    await refused(gec.record(activity, 10_000, month(0)), Reason.OUTCOME_PERIOD_DIFFERS)
    await gec.record(activity, 1_000, half)
