"""Category 5: the same again, and nearly the same again."""

import asyncio
from typing import Final

from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Spot, Stand, must, must_be_issued, refusal_of, state_of
from soleclaim.core.errors import Reason


async def _at_most_measured(stand: Stand, spot: Spot, told_units: int) -> None:
    """``told_units`` is what the target says it issued; natively no more may stand than was measured, and the same."""
    must(
        told_units <= spot.units,
        f"{told_units} issued, {spot.units} measured",
        f"签发 {told_units}，已计量 {spot.units}",
    )
    if Need.NATIVE_RECORDS in stand.offers():
        native = sum(each.units for each in await stand.native_at(spot))
        must(
            native == told_units, f"{native} units natively, {told_units} told", f"原系统 {native}，所告知 {told_units}"
        )


@case(
    "5.1",
    Text("the same request again gets the same answer", "同一请求重发得到同一应答"),
    rule="design 3.3, 6 (I10)",
    sent=Text("RequestIssuance twice, same request_id, same content", "以同一 request_id、同一内容申请两次"),
    expected=Text("the same issuance both times, one natively", "两次为同一笔签发，原系统仅一笔"),
    needs=(Need.ISSUES,),
)
async def repeat_gets_the_first_answer(stand: Stand) -> Text:
    spot = stand.spot()
    request = stand.identified(stand.order(spot, units=1))
    first = await stand.issued(request)
    again = await stand.ended(request)
    must(
        again == first,
        f"first {first.name}, then {again.name} {state_of(again)}",
        f"先为 {first.name}，后为 {again.name}",
    )
    await _at_most_measured(stand, spot, first.units)
    return Text(f"twice {first.name}", f"两次均为 {first.name}")


@case(
    "5.2",
    Text("the same request id with another content is refused", "同一 request_id 内容不同则被拒"),
    rule="design 3.3",
    sent=Text("RequestIssuance twice, same request_id, other units", "以同一 request_id、不同数量申请两次"),
    expected=Text("REQUEST_ID_REUSED; nothing issued for the second", "REQUEST_ID_REUSED；第二次未签发"),
    needs=(Need.ISSUES,),
)
async def reused_id_is_refused(stand: Stand) -> Text:
    spot = stand.spot()
    first = stand.identified(stand.order(spot, units=1))
    await stand.issued(first)
    other = stand.identified(stand.order(spot, units=2), first.request_id)
    call = stand.operator.call(stand.operator.registry.RequestIssuance, other, timeout_s=stand.fixture.patience_s)
    await refusal_of(call, Reason.REQUEST_ID_REUSED)
    await _at_most_measured(stand, spot, 1)
    return Text("REQUEST_ID_REUSED", "REQUEST_ID_REUSED")


@case(
    "5.3",
    Text("the same order under a new id never issues the same units twice", "同一申请换新 id 也不会重复签发同一成果"),
    rule="R20; design 6 (I6)",
    sent=Text(
        "RequestIssuance for all that is measured, twice, two request ids", "以两个 request_id 两次申请全部已计量成果"
    ),
    expected=Text("ISSUED, then REFUSED with a reason", "先 ISSUED，后 REFUSED 并说明原因"),
    needs=(Need.ISSUES,),
)
async def same_order_again_is_refused(stand: Stand) -> Text:
    spot = stand.spot()
    first = await stand.issued(stand.order(spot))
    refusal = await stand.refused(stand.order(spot))
    await _at_most_measured(stand, spot, first.units)
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "5.4",
    Text(
        "the rest of an outcome is issued under the same lock, and no more",
        "剩余成果在同一签发锁下补充签发，且不得超出",
    ),
    rule="design 4 (supplement), 6 (I6)",
    sent=Text(
        "RequestIssuance for one unit, then for the rest, then for one more", "先申请 1 个，再申请其余，再多申请 1 个"
    ),
    expected=Text("ISSUED, a supplement under the same lock, REFUSED", "ISSUED、同一签发锁下的补充签发、REFUSED"),
    needs=(Need.ISSUES,),
)
async def supplement_up_to_the_measured(stand: Stand) -> Text:
    spot = stand.spot()
    first = await stand.issued(stand.order(spot, units=1))
    rest = await stand.issued(stand.order(spot, units=spot.units - 1))
    must(
        rest.supplement and rest.issuance_lock == first.issuance_lock,
        f"the rest under {rest.issuance_lock}, supplement {rest.supplement}",
        f"其余签发于 {rest.issuance_lock}，补充签发标志为 {rest.supplement}",
    )
    refusal = await stand.refused(stand.order(spot, units=1))
    await _at_most_measured(stand, spot, first.units + rest.units)
    return Text(
        f"1 + {rest.units} under {rest.issuance_lock}; {refusal.message_en}", f"1 + {rest.units}；{refusal.message_zh}"
    )


@case(
    "5.5",
    Text("two copies of one request at the same moment are one issuance", "同一请求同时到达两份也只是一笔签发"),
    rule="design 6 (I10)",
    sent=Text("RequestIssuance twice at once, same request_id", "以同一 request_id 同时申请两次"),
    expected=Text("the same issuance both times, one natively", "两次为同一笔签发，原系统仅一笔"),
    needs=(Need.ISSUES,),
)
async def two_copies_are_one(stand: Stand) -> Text:
    spot = stand.spot()
    request = stand.identified(stand.order(spot, units=1))
    one, other = await asyncio.gather(stand.ended(request), stand.ended(request))
    must(one.name == other.name, f"{one.name} and {other.name}", f"{one.name} 与 {other.name}")
    await _at_most_measured(stand, spot, must_be_issued(one).units)
    return Text(f"twice {one.name}", f"两次均为 {one.name}")


CASES: Final[tuple[Case, ...]] = (
    repeat_gets_the_first_answer,
    reused_id_is_refused,
    same_order_again_is_refused,
    supplement_up_to_the_measured,
    two_copies_are_one,
)
