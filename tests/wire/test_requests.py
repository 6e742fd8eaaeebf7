"""One request, one answer (invariant I10), for every mutation of the API, found in the descriptors."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import history_service_pb2 as history_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb2
from soleclaim.client import RemoteRefusal
from soleclaim.core.errors import Reason
from soleclaim.rpc.access import API_FILES
from tests.wire.conftest import (
    CCER,
    GEC,
    Party,
    Wire,
    fresh,
    items_of,
    meter,
    month,
    outcome,
    past,
    project,
    reason_of,
    refused,
    to_abort,
    to_begin,
    to_commit,
    to_release,
    wish,
)

Make = Callable[[Wire, Party, str], Awaitable[Any]]
"""Makes a new request of a method on that activity and gets ready what it acts on."""


async def _acquire(_wire: Wire, party: Party, activity: str) -> Any:
    return wish(party.code, activity, month(100))


async def _begin(_wire: Wire, party: Party, activity: str) -> Any:
    return to_begin(await party.acquire(activity, month(101)))


async def _commit(_wire: Wire, party: Party, activity: str) -> Any:
    return to_commit(await party.issuing(activity, month(102)))


async def _abort(_wire: Wire, party: Party, activity: str) -> Any:
    return to_abort(await party.issuing(activity, month(103)))


async def _release(_wire: Wire, party: Party, activity: str) -> Any:
    return to_release(await party.acquire(activity, month(104)))


async def _register(_wire: Wire, party: Party, _activity: str) -> Any:
    return project(party.code, meter())


async def _record(_wire: Wire, party: Party, activity: str) -> Any:
    return outcome(party.code, activity, 5_000, month(105))


async def _import(_wire: Wire, party: Party, activity: str) -> Any:
    known = await party("GetActivity", activity_pb2.GetActivityRequest(name=activity))
    request = past(party.code, month(106), *((each.scheme, each.value) for each in known.identifiers))
    request.project.native_project.CopyFrom(known.native_projects[0])
    return request


SINGLES: Final[dict[str, Make]] = {
    "AcquireIssuanceLock": _acquire,
    "BeginIssuance": _begin,
    "CommitIssuance": _commit,
    "AbortIssuance": _abort,
    "ReleaseIssuanceLock": _release,
    "RegisterActivity": _register,
    "RecordOutcome": _record,
    "ImportIssuance": _import,
}
BATCH_OF: Final = {
    "AcquireIssuanceLock": ("BatchAcquireIssuanceLocks", lock_pb2.BatchAcquireIssuanceLocksRequest),
    "BeginIssuance": ("BatchBeginIssuances", lock_pb2.BatchBeginIssuancesRequest),
    "CommitIssuance": ("BatchCommitIssuances", lock_pb2.BatchCommitIssuancesRequest),
    "AbortIssuance": ("BatchAbortIssuances", lock_pb2.BatchAbortIssuancesRequest),
    "ReleaseIssuanceLock": ("BatchReleaseIssuanceLocks", lock_pb2.BatchReleaseIssuanceLocksRequest),
    "RegisterActivity": ("BatchRegisterActivities", activity_pb2.BatchRegisterActivitiesRequest),
    "RecordOutcome": ("BatchRecordOutcomes", outcome_pb2.BatchRecordOutcomesRequest),
    "ImportIssuance": ("BatchImportIssuances", history_pb2.BatchImportIssuancesRequest),
}


def test_every_mutation_of_the_lookup_is_tried() -> None:
    lookup = [each for each in API_FILES if each.package == "soleclaim.api.lookup.v1"]
    methods = [each for file in lookup for one in file.services_by_name.values() for each in one.methods]
    protected = {each.name for each in methods if "request_id" in each.input_type.fields_by_name}
    # Repeats of what operators decide, and of what only registries with a cap state, are tried beside their service.
    decided = {
        "DecideReviewCase", "ConfirmReviewDecision", "ReopenReviewCase", "SplitActivity", "ConfirmActivitySplit",
        "RecordCoverage", "BatchRecordCoverage",
        "SettleDispute", "ReopenDispute",
    }  # fmt: skip
    # And those of power exchanges, beside theirs.
    settled = {"RecordSettlement", "BatchRecordSettlements"}
    assert protected - decided - settled == set(SINGLES) | {name for name, _ in BATCH_OF.values()}
    # The others read, or say the same thing again: "the last word counts".
    reads = ("Get", "BatchGet", "List", "Find", "Resolve", "Check", "Watch")
    assert {each.name for each in methods if not each.name.startswith(reads)} - protected == {"AnnounceRegistry"}


async def requests_of(wire: Wire, party: Party) -> dict[str, Any]:
    """A new request of every mutation, single and batch form, each on an activity of its own."""
    made: dict[str, Any] = {}
    for method, make in SINGLES.items():
        activity, other = await wire.activities(2, CCER)
        made[method] = await make(wire, party, activity)
        name, batch = BATCH_OF[method]
        made[name] = batch(request_id=fresh(), requests=items_of(await make(wire, party, other)))
    return made


async def answer(party: Party, method: str, request: Any) -> bytes:
    """The answer or the refusal, as bytes that can be compared."""
    try:
        message: bytes = (await party(method, request)).SerializeToString(deterministic=True)
    except RemoteRefusal as refusal:
        return repr((refusal.reason, refusal.variables, refusal.message_zh, refusal.retry_after)).encode()
    return message


def entries(wire: Wire) -> int:
    ((count,),) = wire.sql("SELECT count(*) FROM history_entry")
    return int(count)


async def test_a_repeat_gets_the_first_answer_also_after_a_restart(own_wire: Wire) -> None:
    wire, party = own_wire, await own_wire.party(CCER)
    requests = await requests_of(wire, party)
    first = {method: await answer(party, method, each) for method, each in requests.items()}
    before = entries(wire)
    assert {method: await answer(party, method, each) for method, each in requests.items()} == first
    await wire.restart()
    party = await wire.party(CCER)
    assert {method: await answer(party, method, each) for method, each in requests.items()} == first
    assert entries(wire) == before
    # Also when the state went on since: the answer is the first one, not today's.
    for lock in (await party("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest())).issuance_locks:
        if lock.state == lock_pb2.ISSUANCE_LOCK_STATE_HELD:
            await party.release(lock)
    assert {method: await answer(party, method, each) for method, each in requests.items()} == first


async def test_a_refusal_is_repeated_even_when_its_cause_is_gone(own_wire: Wire) -> None:
    wire, party, other = own_wire, await own_wire.party(CCER), await own_wire.party(GEC)
    activity = await wire.activity()
    standing = await other.acquire(activity)
    held = await party.acquire(activity, month(1))
    requests = {
        "AcquireIssuanceLock": wish("ccer", activity),
        "BeginIssuance": to_begin(held, fencing_token=held.fencing_token + 1),
        "CommitIssuance": to_commit(held),
        "AbortIssuance": to_abort(held),
        "ReleaseIssuanceLock": to_release(standing),
        "RegisterActivity": project("ccer", meter(), identifiers=[]),
        "RecordOutcome": outcome("ccer", activity, 5, month(7), base_unit=0),
    }
    first = {method: await answer(party, method, each) for method, each in requests.items()}
    assert b"ISSUANCE_LOCK_HELD" in first["AcquireIssuanceLock"]
    assert b"FENCING_TOKEN_STALE" in first["BeginIssuance"]
    assert b"LOCK_STATE_WRONG" in first["CommitIssuance"]
    assert b"LOCK_STATE_WRONG" in first["AbortIssuance"]
    assert b"LOCK_NOT_YOURS" in first["ReleaseIssuanceLock"]
    await other.release(standing)
    await party.begin(held)
    await wire.restart()
    party = await wire.party(CCER)
    assert {method: await answer(party, method, each) for method, each in requests.items()} == first
    # A new id asks anew.
    assert (await party.acquire(activity)).state == lock_pb2.ISSUANCE_LOCK_STATE_HELD


async def test_two_repeats_that_race_over_two_connections_are_one_request(own_wire: Wire) -> None:
    wire = own_wire
    parties = [await wire.new_party(CCER) for _ in range(2)]
    requests = await requests_of(wire, await wire.party(CCER))
    for method, request in requests.items():
        before = entries(wire)
        calls = [answer(parties[i % 2], method, request) for i in range(6)]
        assert len(set(await asyncio.gather(*calls))) == 1, method
        assert entries(wire) == before + 1, method


async def test_a_request_id_with_another_content_is_refused(wire: Wire, ccer: Party) -> None:
    requests = await requests_of(wire, ccer)
    others = await requests_of(wire, ccer)
    for method, request in requests.items():
        first = await answer(ccer, method, request)
        changed = others[method]
        changed.request_id = request.request_id
        refusal = await refused(ccer(method, changed), Reason.REQUEST_ID_REUSED)
        assert refusal.code == "FAILED_PRECONDITION"
        assert refusal.message_en == (
            f"request_id {request.request_id} was used before with another content; "
            "use a new request_id for a new request; repeat an old one unchanged"
        )
        assert await answer(ccer, method, request) == first


async def test_the_single_and_the_batch_form_share_their_request_ids(wire: Wire, ccer: Party) -> None:
    requests = await requests_of(wire, ccer)
    for method, (name, batch) in BATCH_OF.items():
        request = requests[method]
        first = await answer(ccer, method, request)
        copy = type(request)()
        copy.CopyFrom(request)
        same = batch(request_id=request.request_id, requests=items_of(copy))
        await refused(ccer(name, same), Reason.REQUEST_ID_REUSED)
        assert await answer(ccer, method, request) == first
        # And so do all methods among each other.
        if method != "RegisterActivity":
            await refused(ccer.register(meter(), request_id=request.request_id), Reason.REQUEST_ID_REUSED)


async def test_the_same_id_of_another_caller_is_another_request(wire: Wire, ccer: Party, gec: Party) -> None:
    activity, identity = await wire.activity(), fresh()
    mine = await ccer.acquire(activity, month(0), request_id=identity)
    theirs = await gec.acquire(activity, month(1), request_id=identity)
    assert mine.name != theirs.name
    await refused(gec.acquire(activity, month(2), request_id=identity), Reason.REQUEST_ID_REUSED)


async def test_a_malformed_request_uses_up_no_id(wire: Wire, ccer: Party) -> None:
    activity, identity = await wire.activity(CCER), fresh()
    await refused(ccer.acquire(activity, units=0, request_id=identity), Reason.INVALID_REQUEST)
    assert (await ccer.acquire(activity, units=1, request_id=identity)).units == 1


async def test_a_batch_answers_alike_item_by_item_when_repeated(wire: Wire, ccer: Party, gec: Party) -> None:
    activity = await wire.activity()
    await gec.acquire(activity, month(1))
    items = items_of(*(wish("ccer", activity, month(i)) for i in range(3)), wish("ccer", activity, units=0))
    batch = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items)
    first = await ccer("BatchAcquireIssuanceLocks", batch)
    expected = [None, Reason.ISSUANCE_LOCK_HELD, None, Reason.INVALID_REQUEST]
    assert [reason_of(each) for each in first.results] == expected
    assert await ccer("BatchAcquireIssuanceLocks", batch) == first
    # The order of the items is part of the content.
    batch.requests.reverse()
    await refused(ccer("BatchAcquireIssuanceLocks", batch), Reason.REQUEST_ID_REUSED)


async def test_an_answer_that_never_arrived_is_given_to_the_repeat(wire: Wire, ccer: Party) -> None:
    """The caller gives up at some moment of the call; the repeat says what came of it, and it came once.

    On SQLite a call cut in the middle of a statement once kept the write lock for good.
    """
    activity = await wire.activity(CCER)
    for number in range(20):
        request = wish("ccer", activity, month(number))
        call = ccer.client.locks.AcquireIssuanceLock(request)
        await asyncio.sleep(0.002 * (number % 10))
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await call
        lock = await ccer("AcquireIssuanceLock", request)
        assert lock.state == lock_pb2.ISSUANCE_LOCK_STATE_HELD
    listed = await ccer("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(activity=activity))
    assert len(listed.issuance_locks) == 20
