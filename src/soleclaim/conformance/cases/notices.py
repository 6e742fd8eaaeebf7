"""Category 11: what the lookup's event stream tells everybody."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Stand, must

GRANTED: Final = (event_pb.EVENT_KIND_LOCK_GRANTED, event_pb.EVENT_KIND_SUPPLEMENT_GRANTED)
BEGUN: Final = event_pb.EVENT_KIND_ISSUANCE_BEGUN
COMMITTED: Final = event_pb.EVENT_KIND_ISSUANCE_COMMITTED
ABORTED: Final = event_pb.EVENT_KIND_ISSUANCE_ABORTED


def _kinds(events: Sequence[event_pb.Event], issuance: pb.Issuance) -> list["event_pb.EventKind.ValueType"]:
    """What was told of an issuance's grant, in order."""
    return [
        event.kind
        for event in events
        if event.issuance_lock == issuance.issuance_lock and event.fencing_token == issuance.fencing_token
    ]


def _names(kinds: Sequence["event_pb.EventKind.ValueType"]) -> str:
    return ", ".join(event_pb.EventKind.Name(kind).removeprefix("EVENT_KIND_") for kind in kinds) or "-"


@case(
    "11.1",
    Text("an issuance is told as granted, begun, committed, in this order", "签发依次通知：已授予、已开始、已入账"),
    rule="R84, R94; design 3",
    sent=Text("RequestIssuance, then WatchEvents at the lookup", "申请签发，再于查询中心调用 WatchEvents"),
    expected=Text(
        "LOCK_GRANTED, ISSUANCE_BEGUN, ISSUANCE_COMMITTED with its lock and token",
        "LOCK_GRANTED、ISSUANCE_BEGUN、ISSUANCE_COMMITTED，附其签发锁与令牌",
    ),
    needs=(Need.ISSUES,),
)
async def told_in_order(stand: Stand) -> Text:
    issued = await stand.issued(stand.order(stand.spot()))
    kinds = _kinds(await stand.events(), issued)
    must(kinds[:1] in ([kind] for kind in GRANTED) and kinds[1:] == [BEGUN, COMMITTED], _names(kinds), _names(kinds))
    return Text(_names(kinds), _names(kinds))


@case(
    "11.2",
    Text("every issuance of this run is committed exactly once", "本次测试的每笔签发恰好入账一次"),
    rule="design 6 (I2, I9)",
    sent=Text("WatchEvents at the lookup", "在查询中心调用 WatchEvents"),
    expected=Text(
        "one ISSUANCE_COMMITTED for each ISSUED, none for a REFUSED",
        "每笔 ISSUED 一次 ISSUANCE_COMMITTED，REFUSED 则无",
    ),
    needs=(Need.ISSUES,),
)
async def committed_once(stand: Stand) -> Text:
    committed = Counter(
        (each.issuance_lock, each.fencing_token) for each in await stand.events() if each.kind == COMMITTED
    )
    for told in stand.told.values():
        if told.issuance_lock:
            count = committed[told.issuance_lock, told.fencing_token]
            wanted = int(told.state == pb.ISSUANCE_STATE_ISSUED)
            must(count == wanted, f"{told.name}: committed {count} times", f"{told.name}：入账 {count} 次")
    issued = sum(told.state == pb.ISSUANCE_STATE_ISSUED for told in stand.told.values())
    return Text(f"{issued} issuances, each once", f"{issued} 笔签发，各一次")


@case(
    "11.3",
    Text("what is refused beforehand is never told as granted", "事先被拒的申请不出现授予通知"),
    rule="design 3.4",
    sent=Text(
        "RequestIssuance for a period without measured outcome, then WatchEvents",
        "对未计量期间申请签发，再调用 WatchEvents",
    ),
    expected=Text("REFUSED, and no event with a lock of that request", "REFUSED，且无涉及该申请签发锁的通知"),
    needs=(Need.ISSUES,),
)
async def refused_is_not_granted(stand: Stand) -> Text:
    before = len([each for each in await stand.events() if each.kind in GRANTED])
    order = stand.order(stand.spot(), period=stand.unmeasured())
    refusal = await stand.refused(order)
    after = len([each for each in await stand.events() if each.kind in GRANTED])
    must(after == before, f"{after - before} locks granted", f"授予了 {after - before} 个签发锁")
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "11.4",
    Text("what is proven absent is told as aborted", "经证明未签发者通知为已中止"),
    rule="design 3.9, 6 (I8)",
    sent=Text("WatchEvents, for what was begun and ended REFUSED", "对已开始而最终 REFUSED 者调用 WatchEvents"),
    expected=Text("ISSUANCE_ABORTED, once", "一次 ISSUANCE_ABORTED"),
    needs=(Need.ISSUES,),
)
async def absent_is_aborted(stand: Stand) -> Text:
    events, ended = await stand.events(), 0
    for told in stand.told.values():
        kinds = _kinds(events, told) if told.issuance_lock else []
        if told.state == pb.ISSUANCE_STATE_REFUSED and BEGUN in kinds:
            must(kinds.count(ABORTED) == 1, f"{told.name}: {_names(kinds)}", f"{told.name}：{_names(kinds)}")
            ended += 1
    return Text(f"{ended} of this run", f"本次测试 {ended} 笔")


CASES: Final[tuple[Case, ...]] = (told_in_order, committed_once, refused_is_not_granted, absent_is_aborted)
