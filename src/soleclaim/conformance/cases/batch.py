"""Category 9: many orders in one request."""

from typing import Final

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Stand, must, must_be_issued, must_be_refused, refusal_of, state_of
from soleclaim.core.errors import Reason


@case(
    "9.1",
    Text("a batch answers per item, in order", "批量请求逐项、按序应答"),
    rule="registry_service.proto BatchRequestIssuances",
    sent=Text("BatchRequestIssuances for three projects", "对三个项目批量申请"),
    expected=Text("three ISSUED, in the order of the request", "三笔 ISSUED，次序与请求一致"),
    needs=(Need.ISSUES,),
)
async def answers_in_order(stand: Stand) -> Text:
    orders = [stand.order(stand.spot()) for _ in range(3)]
    answers = [must_be_issued(each) for each in await stand.batch(orders)]
    asked = [(order.native_project_id, order.period, order.units) for order in orders]
    answered = [(each.native_project_id, each.period, each.units) for each in answers]
    must(answered == asked, "not in the order of the request", "次序与请求不一致")
    told = ", ".join(each.name for each in answers)
    return Text(told, told)


@case(
    "9.2",
    Text("a bad item stops no good one", "一项不成立不影响其他项"),
    rule="design 4 (partial success per item)",
    sent=Text(
        "BatchRequestIssuances: a project, one that does not exist, another project",
        "批量：一个项目、一个不存在的项目、另一个项目",
    ),
    expected=Text("ISSUED, REFUSED with its reason, ISSUED", "ISSUED、REFUSED 并说明原因、ISSUED"),
    needs=(Need.ISSUES,),
)
async def bad_item_stops_no_other(stand: Stand) -> Text:
    one, other = stand.spot(), stand.spot()
    bad = stand.order(other, project_id=stand.fixture.unknown_project)
    answers = await stand.batch([stand.order(one), bad, stand.order(other)])
    must(len(answers) == 3, f"{len(answers)} answers", f"{len(answers)} 项应答")
    must_be_issued(answers[0])
    must_be_refused(answers[1], Reason.NATIVE_PROJECT_UNKNOWN)
    must_be_issued(answers[2])
    told = ", ".join(map(state_of, answers))
    return Text(told, told)


@case(
    "9.3",
    Text("the same outcome twice in one batch is never issued twice", "同一批内重复的成果不会重复签发"),
    rule="R20; design 6 (I6)",
    sent=Text("BatchRequestIssuances with all that is measured, twice", "同一批内两次申请全部已计量成果"),
    expected=Text(
        "at most what was measured; at least one item refused with a reason", "不超过已计量数量；至少一项被拒并说明原因"
    ),
    needs=(Need.ISSUES,),
)
async def twice_in_a_batch(stand: Stand) -> Text:
    spot = stand.spot()
    answers = await stand.batch([stand.order(spot), stand.order(spot)])
    units = sum(each.units for each in answers if each.state == pb.ISSUANCE_STATE_ISSUED)
    told = ", ".join(map(state_of, answers))
    must(units <= spot.units, f"{told}: {units} units, {spot.units} measured", f"{told}：{units}，已计量 {spot.units}")
    if Need.NATIVE_RECORDS in stand.offers():
        native = sum(each.units for each in await stand.native_at(spot))
        must(native == units, f"{told}: {native} units natively", f"{told}：原系统 {native}")
    return Text(told, told)


@case(
    "9.4",
    Text("a batch again gets the same answers, and with another content a refusal", "批量重发应答相同，内容不同则被拒"),
    rule="design 3.3, 6 (I10)",
    sent=Text(
        "BatchRequestIssuances, again the same, then the same id with one item less",
        "批量申请；原样重发；同一 id 少一项",
    ),
    expected=Text("the same issuances, then REQUEST_ID_REUSED", "应答相同，后为 REQUEST_ID_REUSED"),
    needs=(Need.ISSUES,),
)
async def batch_again(stand: Stand) -> Text:
    orders = [stand.order(stand.spot(), units=1), stand.order(stand.spot(), units=1)]
    request_id = stand.request_id()
    first = await stand.batch(orders, request_id)
    again = await stand.batch(orders, request_id)
    must(first == again, f"first {_names(first)}, then {_names(again)}", f"先为 {_names(first)}，后为 {_names(again)}")
    fewer = pb.BatchRequestIssuancesRequest(request_id=request_id, requests=orders[:1])
    call = stand.operator.call(stand.operator.registry.BatchRequestIssuances, fewer)
    await refusal_of(call, Reason.REQUEST_ID_REUSED)
    return Text(f"{_names(first)} twice, then REQUEST_ID_REUSED", f"两次 {_names(first)}，后为 REQUEST_ID_REUSED")


def _names(issuances: list[pb.Issuance]) -> str:
    return ", ".join(each.name for each in issuances)


@case(
    "9.5",
    Text("an empty batch, and items with request ids of their own, are refused", "空批次及自带 request_id 的项被拒"),
    rule="registry_service.proto BatchRequestIssuancesRequest",
    sent=Text(
        "BatchRequestIssuances with no item, then with an item that has a request_id",
        "无项的批量；项中带 request_id 的批量",
    ),
    expected=Text("INVALID_ARGUMENT twice", "两次 INVALID_ARGUMENT"),
    needs=(Need.ISSUES,),
)
async def malformed_batches(stand: Stand) -> Text:
    item = stand.identified(stand.order(stand.spot()))
    for requests in ([], [item]):
        request = pb.BatchRequestIssuancesRequest(request_id=stand.request_id(), requests=requests)
        call = stand.operator.call(stand.operator.registry.BatchRequestIssuances, request)
        await refusal_of(call, Reason.INVALID_REQUEST)
    return Text("INVALID_REQUEST twice", "两次 INVALID_REQUEST")


CASES: Final[tuple[Case, ...]] = (
    answers_in_order,
    bad_item_stops_no_other,
    twice_in_a_batch,
    batch_again,
    malformed_batches,
)
