"""What a registry sees of another: the registry, instrument, period and state that stand in its way; no more."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.core.activity_id import activity_key, parse_activity_id
from soleclaim.core.errors import Reason
from soleclaim.lookup.domain import WHOLE, Claim, LockRequest
from soleclaim.lookup.store import open_store
from soleclaim.policy.bundle import Declaration, default_bundle
from soleclaim.rpc.parse import Faults
from soleclaim.rpc.status import STATUS_KEY
from tests.wire.conftest import (
    CCER,
    GEC,
    OPERATOR,
    REGULATOR,
    Party,
    Wire,
    fresh,
    items_of,
    meter,
    month,
    refused,
    span,
    to_abort,
    to_begin,
    to_commit,
    to_release,
    told,
    wish,
)

STATES = lock_pb2.IssuanceLockState


async def test_another_registrys_lock_and_none_are_answered_alike(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    theirs, mine = await gec.acquire(activity), await ccer.acquire(activity, month(50))
    nothing = lock_pb2.IssuanceLock(name=f"issuanceLocks/{2**62}", fencing_token=theirs.fencing_token, units=10)
    for make in (
        lambda lock: ("GetIssuanceLock", lock_pb2.GetIssuanceLockRequest(name=lock.name)),
        lambda lock: ("BatchGetIssuanceLocks", lock_pb2.BatchGetIssuanceLocksRequest(names=[mine.name, lock.name])),
        lambda lock: ("BeginIssuance", to_begin(lock)),
        lambda lock: ("CommitIssuance", to_commit(lock)),
        lambda lock: ("AbortIssuance", to_abort(lock)),
        lambda lock: ("ReleaseIssuanceLock", to_release(lock)),
    ):
        answers = []
        for lock in (theirs, nothing):
            refusal = await refused(ccer(*make(lock)), Reason.LOCK_NOT_YOURS)
            assert refusal.code == "PERMISSION_DENIED"
            assert refusal.variables == {"lock": lock.name}
            answers.append((refusal.message_en + refusal.message_zh).replace(lock.name, "…"))
        assert answers[0] == answers[1]
    # Whatever the state, with the right token and the wrong one.
    for verb in (gec.begin, gec.commit):
        await verb(theirs)
        for token in (theirs.fencing_token, 1):
            await refused(ccer.commit(theirs, fencing_token=token), Reason.LOCK_NOT_YOURS)
            await refused(ccer.begin(theirs, fencing_token=token), Reason.LOCK_NOT_YOURS)
    assert (await gec.get(theirs)).state == STATES.ISSUANCE_LOCK_STATE_ISSUED


async def test_batches_tell_no_more_than_single_calls(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    theirs, mine = await gec.acquire(activity, month(0)), await ccer.acquire(activity, month(1))
    batch = lock_pb2.BatchBeginIssuancesRequest(request_id=fresh(), requests=items_of(to_begin(theirs), to_begin(mine)))
    results = (await ccer("BatchBeginIssuances", batch)).results
    assert told(results[0].error).reason is Reason.LOCK_NOT_YOURS
    assert results[1].lock.state == STATES.ISSUANCE_LOCK_STATE_ISSUING
    assert (await gec.get(theirs)).state == STATES.ISSUANCE_LOCK_STATE_HELD


async def test_lists_show_a_registry_its_own_and_supervisors_all(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    theirs, mine = await gec.issued(activity, month(0)), await ccer.acquire(activity, month(1))

    async def listed(party: Party, **changed: Any) -> list[str]:
        request = lock_pb2.ListIssuanceLocksRequest(activity=activity, **changed)
        return [each.name for each in (await party("ListIssuanceLocks", request)).issuance_locks]

    assert await listed(ccer) == await listed(ccer, registry="ccer") == [mine.name]
    assert await listed(ccer, period=month(0)) == await listed(ccer, state="ISSUANCE_LOCK_STATE_ISSUED") == []
    await refused(
        ccer("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(registry="gec")), Reason.REGISTRY_NOT_YOURS
    )
    for caller in (REGULATOR, OPERATOR):
        party = await wire.party(caller)
        assert await listed(party) == [theirs.name, mine.name]
        assert await listed(party, registry="gec") == [theirs.name]
        assert (await party.get(theirs)).issuances[0].units == 10
        both = lock_pb2.BatchGetIssuanceLocksRequest(names=[mine.name, theirs.name, mine.name])
        told = (await party("BatchGetIssuanceLocks", both)).issuance_locks
        assert list(told) == [await party.get(mine), await party.get(theirs), await party.get(mine)]
        unknown = lock_pb2.GetIssuanceLockRequest(name=f"issuanceLocks/{2**62}")
        await refused(party("GetIssuanceLock", unknown), Reason.LOCK_UNKNOWN)


async def raw_refusal(party: Party, request: lock_pb2.AcquireIssuanceLockRequest) -> tuple[Status, str]:
    """The status, and all that came with it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await party.client.locks.AcquireIssuanceLock(request)
    trailers = caught.value.trailing_metadata()
    assert trailers is not None
    raw = trailers[STATUS_KEY]
    assert isinstance(raw, bytes)
    everything = f"{raw!r} {raw.decode('utf-8', 'replace')} {caught.value.details()} {tuple(trailers)}"
    return Status.FromString(raw), everything


@pytest.mark.parametrize("state", ["HELD", "ISSUING", "ISSUED"])
async def test_a_refusal_names_registry_instrument_period_and_state_and_nothing_else(
    wire: Wire, ccer: Party, gec: Party, state: str
) -> None:
    activity = await wire.activity()
    reference, native, series = "ref-holder-secret", fresh("native-secret"), fresh("series-secret")
    lock = await gec.acquire(activity, span(0, 31), reference=reference, units=7_654_321)
    if state != "HELD":
        await gec.begin(lock)
    if state == "ISSUED":
        block = {"series": series, "start": 1, "end": 7_654_321}
        await gec.commit(lock, native_issuance_id=native, blocks=[block])
    status, everything = await raw_refusal(ccer, wish("ccer", activity, span(20, 50)))
    refusal = told(status)
    assert refusal.reason is (Reason.ACTIVITY_ALREADY_ISSUED if state == "ISSUED" else Reason.ISSUANCE_LOCK_HELD)
    assert refusal.code == ("ALREADY_EXISTS" if state == "ISSUED" else "ABORTED")
    assert (refusal.retry_after is None) == (state == "ISSUED")
    period = "2025-01-01T00:00:00Z/2025-02-01T00:00:00Z"
    assert refusal.variables == {"registry": "gec", "instrument": "GEC", "period": period, "state": state}
    for hidden in (lock.name, "issuanceLocks", reference, native, series, "secret", "7654321", "7,654,321"):
        assert hidden not in everything, hidden
    assert str(lock.fencing_token) not in refusal.message_en.replace(period, "")
    # The dry run tells the same.
    item = items_of(wish("ccer", activity, span(20, 50)))[0]
    (dry,) = (await ccer("CheckIssuanceLock", lock_pb2.CheckIssuanceLockRequest(request=item))).refusals
    assert dry == status


async def test_an_own_lock_in_the_way_is_told_as_ones_own(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    await ccer.issued(activity, span(0, 30))
    refusal = await refused(ccer.acquire(activity, span(10, 30)), Reason.PERIOD_OVERLAPS_OWN_LOCK)
    assert refusal.variables == {
        "registry": "ccer",
        "instrument": "CCER",
        "period": "2025-01-01T00:00:00Z/2025-01-31T00:00:00Z",
        "state": "ISSUED",
    }


async def test_a_registry_hears_of_its_own_locks_outcomes_and_projects_only(
    wire: Wire, ccer: Party, gec: Party
) -> None:
    cursors = {party.code: await party.now() for party in (ccer, gec)}
    activity = await wire.activity()
    await gec.record(activity, 50_000)
    mine, theirs = await ccer.acquire(activity, month(1)), await gec.issued(activity, month(0))
    await refused(
        ccer.register(("gec_filing_code", "A" * 17), ("gec_filing_code", "B" * 17)), Reason.IDENTITY_UNDER_REVIEW
    )
    wire.expire(mine)
    await gec.acquire(activity, month(1))  # ends the lock that ran out
    kinds = event_pb2.EventKind
    expected = {
        "ccer": ["ACTIVITY_REGISTERED", "LOCK_GRANTED", "REVIEW_OPENED", "LOCK_EXPIRED"],
        "gec": ["PROJECT_JOINED", "OUTCOME_RECORDED", "LOCK_GRANTED", "ISSUANCE_BEGUN", "ISSUANCE_COMMITTED",
                "LOCK_GRANTED"],
    }  # fmt: skip
    for party in (ccer, gec):
        seen = [each.event for each in await party.events(cursors[party.code])]
        assert {each.registry for each in seen} == {party.code}
        assert [kinds.Name(each.kind).removeprefix("EVENT_KIND_") for each in seen] == expected[party.code]
    seen = [each.event for each in await ccer.events(cursors["ccer"])]
    assert [each.issuance_lock for each in seen if each.issuance_lock] == [mine.name, mine.name]
    supervisor = await wire.party(REGULATOR)
    all_names = {each.event.issuance_lock for each in await supervisor.events(cursors["ccer"])}
    assert {mine.name, theirs.name} <= all_names


async def test_a_watch_resumes_after_its_cursor_at_every_event(own_wire: Wire) -> None:
    party = await own_wire.party(CCER)
    activity = await own_wire.activity(CCER)
    for number in range(4):
        await party.issued(activity, month(number))
    items = items_of(*(wish("ccer", activity, month(10 + i)) for i in range(5)))
    await party(
        "BatchAcquireIssuanceLocks", lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items)
    )
    whole = await party.events()
    assert len(whole) == 1 + 4 * 3 + 5
    entries = [each.event.entry for each in whole]
    assert entries == sorted(set(entries))
    for number, each in enumerate(whole):
        assert await party.events(each.cursor) == whole[number + 1 :]
    assert await party.events() == whole
    # A cursor from the future waits for what comes.
    assert await party.events(f"{10**17}.0") == []


async def test_a_stream_goes_on_over_a_restart_of_the_lookup(own_wire: Wire) -> None:
    wire = own_wire
    party = await wire.party(CCER)
    activity = await wire.activity(CCER)
    stream = party.client.watch()
    first = await anext(stream)
    assert first.event.kind == event_pb2.EVENT_KIND_ACTIVITY_REGISTERED
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    port = wire.port
    assert wire.server is not None
    await wire.server.stop()
    wire.parties.clear()
    await wire.serve(port=port)
    lock = await (await wire.party(CCER)).acquire(activity)
    assert (await waiting).event.issuance_lock == lock.name
    await stream.aclose()


async def write(party: Party, activities: Sequence[str], seed: int) -> None:
    for number in range(8):
        try:
            lock = await party.acquire(activities[(seed + number) % len(activities)], month(seed % 3 + 10 * number))
        except RemoteRefusal as refusal:
            if refusal.reason is Reason.ISSUANCE_LOCK_HELD:
                continue  # Somebody was first.
            raise
        await (party.release(lock) if number % 3 == 0 else party.begin(lock))


async def read(party: Party, done: asyncio.Event) -> list[event_pb2.WatchEventsResponse]:
    """Leaves and comes back at the last cursor at every turn."""
    seen: list[event_pb2.WatchEventsResponse] = []
    while True:
        last = done.is_set()
        with contextlib.suppress(RemoteUnavailable):
            seen += await party.events(seen[-1].cursor if seen else "")
            if last:
                return seen


async def test_nothing_is_missed_or_out_of_order_while_many_write(own_wire: Wire) -> None:
    wire = own_wire
    activities = await wire.activities(6)
    writers = [await wire.new_party(caller) for caller in (CCER, GEC) for _ in range(3)]
    readers = [await wire.new_party(CCER), await wire.new_party(REGULATOR)]
    done = asyncio.Event()
    reading = [asyncio.ensure_future(read(each, done)) for each in readers]
    await asyncio.gather(*(write(party, activities, seed) for seed, party in enumerate(writers)))
    done.set()
    streams = await asyncio.gather(*reading)
    written = {
        "ccer": wire.sql("SELECT entry_id FROM history_entry WHERE registry = 'ccer'"),
        "mee": wire.sql("SELECT entry_id FROM history_entry"),
    }
    for party, seen in zip(readers, streams, strict=True):
        assert sorted(each.event.entry for each in seen) == sorted(entry for (entry,) in written[party.code])
        order: dict[str, list[int]] = defaultdict(list)
        for each in seen:
            order[each.event.issuance_lock].append(each.event.kind)
        # GRANTED, then BEGUN or RELEASED: the numbers rise.
        assert [lock for lock, kinds in order.items() if lock and kinds != sorted(kinds)] == []


async def test_events_of_an_activity_come_in_the_order_of_their_dependence(own_wire: Wire) -> None:
    """A grant that waited for a release comes after it, even when its transaction began before."""
    wire = own_wire
    if wire.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    party = await wire.party(CCER)
    activity, other = await wire.activities(2, CCER)
    held = await party.acquire(activity)
    cursor = await party.now()
    # In the store's own words, because the moment between two rounds of a grant cannot be met from outside.

    def claim(name: str) -> Claim:
        period = Faults().period("period", True, month())
        assert period is not None
        identity = parse_activity_id(name.partition("/")[2])
        return Claim(
            LockRequest("ccer", "CCER", identity, activity_key(identity), period, WHOLE, 1, 0, "r",
                        Declaration(True, True), 600_000_000),
            (1, 2), "kgCO2e", 1000,
        )  # fmt: skip

    store = await open_store(wire.url, default_bundle(), pool_size=2)
    try:
        async with store.transaction() as transaction:
            await transaction.grant([claim(other)])
            await party.release(held)
            await transaction.grant([claim(activity)])
    finally:
        await store.close()
    events = [each.event for each in await party.events(cursor)]
    kinds = [each.kind for each in events if each.activity == activity]
    assert kinds == [event_pb2.EVENT_KIND_LOCK_RELEASED, event_pb2.EVENT_KIND_LOCK_GRANTED]


async def test_until_now_ends_and_without_it_the_stream_stays(wire: Wire, ccer: Party) -> None:
    cursor = await ccer.now()
    activity = await wire.activity(CCER)
    assert len(await ccer.events(cursor)) == 1
    stream = ccer.client.watch(cursor)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    lock = await ccer.acquire(activity)
    assert (await waiting).event.issuance_lock == lock.name
    await stream.aclose()
    assert await ccer.register(meter())
