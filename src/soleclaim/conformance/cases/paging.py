"""Category 10: lists that lose nothing, and limits that hold."""

from collections.abc import Callable
from typing import Final

from google.type.interval_pb2 import Interval

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.model import Case, Failed, Need, Skipped, Text, case
from soleclaim.conformance.stand import Stand, must, refusal_of
from soleclaim.core.errors import Reason

MAX_PAGE: Final = 1000
MAX_UNITS: Final = 10**15
MAX_PROJECT_ID: Final = 128


@case(
    "10.1",
    Text("small pages show what one large page shows", "小页与大页所示一致"),
    rule="registry_service.proto ListIssuances",
    sent=Text("ListIssuances in pages of 2, and in pages of 1,000", "以每页 2 项与每页 1,000 项分别列出"),
    expected=Text(
        "the same issuances, each once, in order of creation, none missing", "内容相同，各出现一次，按创建次序，无遗漏"
    ),
    needs=(Need.ISSUES,),
)
async def pages_lose_nothing(stand: Stand) -> Text:
    small = [each.name for each in await stand.listed(page_size=2)]
    large = await stand.listed(page_size=MAX_PAGE)
    names = [each.name for each in large]
    must(len(set(small)) == len(small), "an issuance is listed twice", "有签发重复出现")
    must(
        small == names,
        f"{len(small)} in small pages, {len(names)} in large",
        f"小页 {len(small)} 项，大页 {len(names)} 项",
    )
    missing = stand.told.keys() - set(names)
    must(not missing, f"missing: {sorted(missing)[:3]}", f"遗漏：{sorted(missing)[:3]}")
    times = [each.create_time.ToNanoseconds() for each in large]
    must(times == sorted(times), "not in order of creation", "未按创建次序")
    return Text(f"{len(names)} issuances", f"{len(names)} 笔签发")


@case(
    "10.2",
    Text("conditions of a list hold for every row", "清单条件对每一行成立"),
    rule="registry_service.proto ListIssuancesRequest",
    sent=Text("ListIssuances for one activity, for one period, for state ISSUED", "分别按活动、期间、状态 ISSUED 列出"),
    expected=Text("only such, and all of them", "仅符合者，且无遗漏"),
    needs=(Need.ISSUES,),
)
async def conditions_hold(stand: Stand) -> Text:
    every = await stand.listed()
    one = next((each for each in every if each.state == pb.ISSUANCE_STATE_ISSUED), None)
    if one is None:
        if not any(each.state == pb.ISSUANCE_STATE_ISSUED for each in stand.told.values()):
            raise Skipped("nothing was issued in this run", "本次运行没有签发")
        raise Failed("no issuance is listed", "清单为空")
    conditions: dict[str, tuple[pb.ListIssuancesRequest, Callable[[pb.Issuance], bool]]] = {
        "activity": (pb.ListIssuancesRequest(activity=one.activity), lambda each: each.activity == one.activity),
        "state": (pb.ListIssuancesRequest(state=one.state), lambda each: each.state == one.state),
        "period": (pb.ListIssuancesRequest(period=one.period), lambda each: _overlap(each.period, one.period)),
    }
    counts = {}
    for name, (request, holds) in conditions.items():
        found = [each.name for each in await stand.listed(request)]
        fitting = [each.name for each in every if holds(each)]
        told = f"{name}: {len(found)} listed, {len(fitting)} fit"
        must(found == fitting, told, f"{name}：列出 {len(found)}，应为 {len(fitting)}")
        counts[name] = len(found)
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    return Text(told, told)


def _overlap(one: Interval, other: Interval) -> bool:
    return (
        one.start_time.ToNanoseconds() < other.end_time.ToNanoseconds()
        and other.start_time.ToNanoseconds() < one.end_time.ToNanoseconds()
    )


@case(
    "10.3",
    Text("a page token serves its own query only", "分页令牌只用于其自身查询"),
    rule="registry_service.proto ListIssuancesRequest.page_token",
    sent=Text(
        "ListIssuances with a made-up token, then with a token of another query", "以伪造令牌、再以其他查询的令牌列出"
    ),
    expected=Text("INVALID_ARGUMENT twice", "两次 INVALID_ARGUMENT"),
    needs=(Need.ISSUES,),
)
async def tokens_are_bound(stand: Stand) -> Text:
    call = stand.operator.registry.ListIssuances
    first = await stand.operator.call(call, pb.ListIssuancesRequest(page_size=1))
    if not first.next_page_token:
        if len(stand.told) < 2:
            raise Skipped("too little was issued in this run for two pages", "本次运行的签发不足两页")
        raise Failed("a page of 1 has no page after it", "每页 1 项时没有下一页")
    other = pb.ListIssuancesRequest(page_size=1, state=pb.ISSUANCE_STATE_ISSUED, page_token=first.next_page_token)
    for request in (pb.ListIssuancesRequest(page_token="made-up"), other):  # noqa: S106  a page token is no secret
        await refusal_of(stand.operator.call(call, request), Reason.INVALID_REQUEST)
    return Text("INVALID_REQUEST twice", "两次 INVALID_REQUEST")


@case(
    "10.4",
    Text("pages above the limit are refused", "超限的分页被拒"),
    rule="registry_service.proto ListIssuancesRequest.page_size; design 9",
    sent=Text(f"ListIssuances with page_size {MAX_PAGE + 1}, then -1", f"page_size 为 {MAX_PAGE + 1}，再为 -1"),
    expected=Text("INVALID_ARGUMENT twice", "两次 INVALID_ARGUMENT"),
)
async def page_limit_holds(stand: Stand) -> Text:
    for size in (MAX_PAGE + 1, -1):
        request = pb.ListIssuancesRequest(page_size=size)
        await refusal_of(stand.operator.call(stand.operator.registry.ListIssuances, request), Reason.INVALID_REQUEST)
    return Text("INVALID_REQUEST twice", "两次 INVALID_REQUEST")


@case(
    "10.5",
    Text("too long, too many and too much are refused", "过长、过多、过大者被拒"),
    rule="registry_service.proto; design 9",
    sent=Text(
        "a project id of 129 characters; 10^15 + 1 units; a batch of one more than max_batch_size",
        "129 个字符的项目编号；10^15 + 1 的数量；比 max_batch_size 多一项的批次",
    ),
    expected=Text("INVALID_ARGUMENT three times", "三次 INVALID_ARGUMENT"),
    needs=(Need.ISSUES,),
)
async def limits_hold(stand: Stand) -> Text:
    spot, stub = stand.spot(), stand.operator.registry
    for order in (
        stand.order(spot, project_id="P" * (MAX_PROJECT_ID + 1)),
        stand.order(spot, units=MAX_UNITS + 1),
    ):
        await refusal_of(stand.operator.call(stub.RequestIssuance, stand.identified(order)), Reason.INVALID_REQUEST)
    many = [stand.order(spot, units=1)] * (stand.info.max_batch_size + 1)
    request = pb.BatchRequestIssuancesRequest(request_id=stand.request_id(), requests=many)
    await refusal_of(stand.operator.call(stub.BatchRequestIssuances, request), Reason.INVALID_REQUEST)
    return Text("INVALID_REQUEST three times", "三次 INVALID_REQUEST")


CASES: Final[tuple[Case, ...]] = (pages_lose_nothing, conditions_hold, tokens_are_bound, page_limit_holds, limits_hold)
