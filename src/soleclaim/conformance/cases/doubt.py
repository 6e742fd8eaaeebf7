"""Category 7: the answer of the native registry, or of the lookup, does not come."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RemoteRefusal
from soleclaim.conformance.model import Case, Failed, Need, Text, case
from soleclaim.conformance.stand import (
    POLL_S,
    Spot,
    Stand,
    given,
    must,
    must_be_issued,
    must_be_refused,
    reason_name,
    state_of,
)
from soleclaim.core.errors import Reason
from soleclaim.rpc.parse import to_interval

_SETTLES: Final = (pb.ISSUANCE_STATE_IN_DOUBT, pb.ISSUANCE_STATE_ISSUED)


def half(spot: Spot) -> int:
    """As many units as leave room to issue them twice: a second issuance is then seen, and not refused by luck."""
    return spot.units // 2


async def agrees(stand: Stand, spot: Spot, issuance: pb.Issuance) -> Text:
    """What the target says and what stands natively are the same: one issuance with that reference, or none."""
    found = await stand.native_at(spot)
    wanted = 1 if issuance.state == pb.ISSUANCE_STATE_ISSUED else 0
    told = f"{state_of(issuance)}, {len(found)} natively"
    must(len(found) == wanted, told, f"{state_of(issuance)}，原系统 {len(found)} 笔")
    must(
        all(each.reference == issuance.reference for each in found),
        f"{told}, under another reference",
        f"{state_of(issuance)}，原系统参考号不同",
    )
    return Text(told, f"{state_of(issuance)}，原系统 {len(found)} 笔")


async def _after_lost_answer(stand: Stand, fault: str) -> Text:
    """Ask while the issue call is done and its answer is lost; it must come to ISSUED, once."""
    spot = stand.spot()
    async with stand.native.fault(fault):
        first = await stand.request(stand.order(spot, units=half(spot)))
    must(first.state in _SETTLES, f"told {state_of(first)}", f"告知为 {state_of(first)}")
    settled = must_be_issued(await stand.settled(first))
    agreed = await agrees(stand, spot, settled)
    return Text(f"{state_of(first)}, then {agreed.en}", f"先 {state_of(first)}，后 {agreed.zh}")


@case(
    "7.1",
    Text("a native time-out after the work was done never issues again", "原系统已完成但超时，绝不再次签发"),
    rule="design 3.7, 3.9, 6 (I2)",
    sent=Text("RequestIssuance while the native registry issues and does not answer", "原系统已签发但不应答时申请签发"),
    expected=Text("IN_DOUBT, then ISSUED; exactly one native issuance", "先 IN_DOUBT，后 ISSUED；原系统恰有一笔"),
    needs=(Need.ISSUES, Need.ANSWER_LOST, Need.NATIVE_RECORDS),
)
async def answer_is_lost(stand: Stand) -> Text:
    return await _after_lost_answer(stand, "answer_lost")


@case(
    "7.2",
    Text("a native call that was never done is told as it is", "从未执行的原系统调用如实告知"),
    rule="design 3.9, table of proofs",
    sent=Text(
        "RequestIssuance while the native registry neither issues nor answers", "原系统既不签发也不应答时申请签发"
    ),
    expected=Text(
        "in the end REFUSED and none natively, or ISSUED and one", "最终 REFUSED 且原系统无，或 ISSUED 且恰有一笔"
    ),
    needs=(Need.ISSUES, Need.NOT_DONE, Need.NATIVE_RECORDS),
)
async def call_is_lost(stand: Stand) -> Text:
    spot = stand.spot()
    async with stand.native.fault("not_done"):
        first = await stand.request(stand.order(spot, units=half(spot)))
    settled = await stand.settled(first)
    if settled.state == pb.ISSUANCE_STATE_REFUSED:
        must_be_refused(settled, Reason.ISSUANCE_PROVEN_ABSENT, Reason.NATIVE_REGISTRY_REFUSED)
    return await agrees(stand, spot, settled)


@case(
    "7.3",
    Text("a native registry that is down is not a project that does not exist", "原系统不可用不等于项目不存在"),
    rule="R83; design 3: “not found” is not yet “absent”",
    sent=Text(
        "RequestIssuance for a new project while every native call fails", "原系统所有调用失败时，对新项目申请签发"
    ),
    expected=Text(
        "NATIVE_REGISTRY_UNAVAILABLE, never NATIVE_PROJECT_UNKNOWN",
        "NATIVE_REGISTRY_UNAVAILABLE，而非 NATIVE_PROJECT_UNKNOWN",
    ),
    needs=(Need.ISSUES, Need.DOWN),
)
async def down_is_not_unknown(stand: Stand) -> Text:
    request = stand.identified(stand.order(stand.fresh()))
    async with stand.native.fault("down"):
        call, limit_s = stand.operator.registry.RequestIssuance, stand.fixture.patience_s
        try:
            answer = await stand.operator.call(call, request, timeout_s=limit_s)
        except RemoteRefusal as error:
            raise Failed(reason_name(error), reason_name(error)) from error
        refusal = must_be_refused(await stand.settled(answer), Reason.NATIVE_REGISTRY_UNAVAILABLE)
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "7.4",
    Text("a native call that is done late is not taken for absent", "迟到执行的原系统调用不被视为未签发"),
    rule="design 3: “not found” is not yet “absent”",
    sent=Text(
        "RequestIssuance while the native registry issues only after the caller gave up", "原系统在调用方放弃之后才签发"
    ),
    expected=Text("what is told in the end is what stands natively", "最终告知与原系统一致"),
    needs=(Need.ISSUES, Need.DONE_LATE, Need.NATIVE_RECORDS),
)
async def done_late(stand: Stand) -> Text:
    spot = stand.spot()
    async with stand.native.fault("done_late"):
        first = await stand.request(stand.order(spot, units=half(spot)))
    settled = await stand.settled(first)
    delay_s = float(((stand.fixture.native.faults and stand.fixture.native.faults.done_late) or {}).get("delay_s", 0))
    await asyncio.sleep(delay_s)
    return await agrees(stand, spot, settled)


@case(
    "7.5",
    Text("an unreadable native answer is a doubt, not a failure", "无法读取的原系统应答为存疑，而非失败"),
    rule="design 3.7; style: never turn “unknown” into “failed”",
    sent=Text(
        "RequestIssuance while the native registry issues and answers with something else",
        "原系统已签发但应答内容不可读",
    ),
    expected=Text("IN_DOUBT, then ISSUED; exactly one native issuance", "先 IN_DOUBT，后 ISSUED；原系统恰有一笔"),
    needs=(Need.ISSUES, Need.GARBLED, Need.NATIVE_RECORDS),
)
async def answer_is_garbled(stand: Stand) -> Text:
    return await _after_lost_answer(stand, "garbled")


@case(
    "7.6",
    Text("while in doubt, other registries are told so", "存疑期间如实告知其他登记簿"),
    rule="R83; registry_service.proto FindIssuances",
    sent=Text(
        "FindIssuances by another registry while an issuance is in doubt", "签发存疑期间，其他登记簿调用 FindIssuances"
    ),
    expected=Text("one issuance, IN_DOUBT or PENDING; later ISSUED", "一笔，IN_DOUBT 或 PENDING；之后 ISSUED"),
    needs=(Need.ISSUES, Need.PEER, Need.ANSWER_LOST, Need.DOWN, Need.NATIVE_RECORDS),
)
async def doubt_is_told_to_others(stand: Stand) -> Text:
    peer, spot = given(stand.peer), stand.spot()
    # The first fault is used up by the issue call; from then on nothing can be asked, so the doubt stays.
    async with stand.native.fault("answer_lost"):
        asking = asyncio.create_task(stand.request(stand.order(spot, units=half(spot))))
        await stand.until_native_at(spot)
        async with stand.native.fault("down"):
            doubtful = await asking
            request = pb.FindIssuancesRequest(activity=doubtful.activity, period=to_interval(spot.period))
            found = await peer.call(peer.registry.FindIssuances, request)
    told = ", ".join(pb.IssuanceState.Name(each.state).removeprefix("ISSUANCE_STATE_") for each in found.issuances)
    must(
        [each.state for each in found.issuances] in ([pb.ISSUANCE_STATE_IN_DOUBT], [pb.ISSUANCE_STATE_PENDING]),
        f"told {told or 'nothing'}",
        f"告知为 {told or '无'}",
    )
    settled = must_be_issued(await stand.settled(doubtful))
    return Text(f"{told}, then {state_of(settled)}", f"先 {told}，后 {state_of(settled)}")


@case(
    "7.7",
    Text("nothing is told as ISSUED before the lookup has it", "查询中心入账之前不得告知 ISSUED"),
    rule="design 3.8; registry_service.proto ISSUANCE_STATE_ISSUED",
    sent=Text(
        "RequestIssuance; the lookup is ended during the native call, and started again",
        "申请签发；原系统调用期间终止查询中心，再行启动",
    ),
    expected=Text(
        "not ISSUED while the lookup is away, ISSUED afterwards; one natively",
        "查询中心缺席期间非 ISSUED，之后 ISSUED；原系统恰有一笔",
    ),
    needs=(Need.ISSUES, Need.SLOW, Need.LOOKUP_RESTART, Need.NATIVE_RECORDS),
)
async def not_issued_before_commit(stand: Stand) -> Text:
    lookup, spot = given(stand.stoppable_lookup), stand.spot()
    known = {lock.name for lock in await stand.locks_on(spot)}
    async with stand.native.fault("slow"):
        asking = asyncio.create_task(stand.request(stand.order(spot, units=half(spot))))
        await stand.until_begun(known, spot)
        await lookup.kill()
        try:
            await stand.until_native_at(spot)
            first, moments = await _states_seen(stand, asking)
        finally:
            asking.cancel()
            await lookup.start()
    settled = must_be_issued(await stand.settled(first))
    lock = await stand.lock(settled.issuance_lock)
    entered = [each.commit_time.ToDatetime(tzinfo=UTC) for each in lock.issuances]
    told = ", ".join(moments)
    # By the lookup's own time of entry: however slow this machine is, a right target is never told to be wrong.
    early = "ISSUED" in moments and moments["ISSUED"] < max(entered, default=datetime.max.replace(tzinfo=UTC))
    must(not early, f"told {told} while the lookup was away", f"查询中心缺席期间告知为 {told}")
    agreed = await agrees(stand, spot, settled)
    return Text(f"{told}, then {agreed.en}", f"先 {told}，后 {agreed.zh}")


async def _states_seen(stand: Stand, asking: "asyncio.Task[pb.Issuance]") -> tuple[pb.Issuance, dict[str, datetime]]:
    """The answer, and when each state was first seen, looking a few times more."""
    first = await asking
    moments = {state_of(first): datetime.now(UTC)}
    for _ in range(5):
        await asyncio.sleep(POLL_S)
        moments.setdefault(state_of(await stand.get(first.name)), datetime.now(UTC))
    return first, moments


CASES: Final[tuple[Case, ...]] = (
    answer_is_lost,
    call_is_lost,
    down_is_not_unknown,
    done_late,
    answer_is_garbled,
    doubt_is_told_to_others,
    not_issued_before_commit,
)
