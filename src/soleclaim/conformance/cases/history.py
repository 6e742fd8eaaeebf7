"""Category 12: what can be found out later, and by whom."""

from typing import Final

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Stand, given, must, refusal_of, state_of
from soleclaim.core.activity_id import parse_activity_id
from soleclaim.core.errors import Reason
from soleclaim.rpc.parse import to_interval

NO_ISSUANCE: Final = "issuances/999999999999999999"
FOUND_FIELDS: Final = len(pb.FoundIssuance.DESCRIPTOR.fields)


async def _found(stand: Stand, request: pb.FindIssuancesRequest) -> list[pb.FoundIssuance]:
    peer = given(stand.peer)
    return list((await peer.call(peer.registry.FindIssuances, request)).issuances)


@case(
    "12.1",
    Text("the list holds everything that was told, as it was told", "清单包含所有已告知的签发，且内容一致"),
    rule="R81; design 6 (I9, I10)",
    sent=Text("ListIssuances", "ListIssuances"),
    expected=Text("each issuance of this run, unchanged", "本次测试的每笔签发，内容未变"),
    needs=(Need.ISSUES,),
)
async def list_is_complete(stand: Stand) -> Text:
    listed = {each.name: each for each in await stand.listed()}
    for name, told in stand.told.items():
        now = listed.get(name)
        must(now is not None, f"{name} is not listed", f"{name} 未列出")
        must(now == told, f"{name} was {state_of(told)} and has changed", f"{name} 原为 {state_of(told)}，已有变化")
    return Text(f"{len(stand.told)} issuances of this run", f"本次测试 {len(stand.told)} 笔签发")


@case(
    "12.2",
    Text(
        "another registry learns registry, instrument, period, state, and nothing else",
        "其他登记簿仅得知登记簿、权益种类、期间、状态",
    ),
    rule="R81, R82; design 7; registry_service.proto FindIssuancesResponse",
    sent=Text("FindIssuances with another registry's certificate", "以其他登记簿证书调用 FindIssuances"),
    expected=Text(
        "one ISSUED with these four; no holder, project or serial", "一笔 ISSUED，仅含四项；无持有人、项目、编码"
    ),
    needs=(Need.ISSUES, Need.PEER),
)
async def others_learn_four_things(stand: Stand) -> Text:
    spot = stand.spot()
    issued = await stand.issued(stand.order(spot))
    found = await _found(stand, pb.FindIssuancesRequest(activity=issued.activity, period=to_interval(spot.period)))
    must(len(found) == 1, f"{len(found)} issuances found", f"查得 {len(found)} 笔")
    wanted = pb.FoundIssuance(
        registry=stand.fixture.registry,
        instrument=issued.instrument,
        period=issued.period,
        state=pb.ISSUANCE_STATE_ISSUED,
    )
    # Compared as bytes: what stands in fields that the API does not have would be passed over otherwise.
    same = found[0].SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)
    told = " ".join(str(found[0]).split())
    must(same, f"told {told}", f"告知为 {told}")
    return Text(f"{FOUND_FIELDS} fields", f"{FOUND_FIELDS} 项")


@case(
    "12.3",
    Text("what was not issued is not found", "未签发者查无"),
    rule="R82",
    sent=Text("FindIssuances for a period without issuance", "对无签发的期间调用 FindIssuances"),
    expected=Text("an empty answer", "空应答"),
    needs=(Need.ISSUES, Need.PEER),
)
async def nothing_is_found(stand: Stand) -> Text:
    issued = await stand.issued(stand.order(stand.spot()))
    period = to_interval(stand.unmeasured())
    found = await _found(stand, pb.FindIssuancesRequest(activity=issued.activity, period=period))
    must(not found, f"{len(found)} issuances found", f"查得 {len(found)} 笔")
    return Text("nothing", "无")


@case(
    "12.4",
    Text("FindIssuances finds nothing at a registry that issues nothing", "不签发的登记簿查无签发"),
    rule="R82; design 1 (participation)",
    sent=Text("FindIssuances with another registry's certificate", "以其他登记簿证书调用 FindIssuances"),
    expected=Text("an empty answer", "空应答"),
    needs=(Need.ISSUES_NOTHING, Need.PEER),
)
async def finds_nothing_where_nothing_is_issued(stand: Stand) -> Text:
    activity = f"activities/{parse_activity_id('CN7K3M9Q2X4T8A21')}"
    found = await _found(stand, pb.FindIssuancesRequest(activity=activity, period=to_interval(stand.unmeasured())))
    must(not found, f"{len(found)} issuances found", f"查得 {len(found)} 笔")
    return Text("nothing", "无")


@case(
    "12.5",
    Text("an issuance that does not exist is said not to exist", "不存在的签发被告知不存在"),
    rule="design 7",
    sent=Text(f"GetIssuance {NO_ISSUANCE}", f"GetIssuance {NO_ISSUANCE}"),
    expected=Text("NOT_FOUND ISSUANCE_UNKNOWN", "NOT_FOUND ISSUANCE_UNKNOWN"),
)
async def unknown_issuance(stand: Stand) -> Text:
    call = stand.operator.call(stand.operator.registry.GetIssuance, pb.GetIssuanceRequest(name=NO_ISSUANCE))
    refusal = await refusal_of(call, Reason.ISSUANCE_UNKNOWN)
    return Text(refusal.message_en, refusal.message_zh)


CASES: Final[tuple[Case, ...]] = (
    list_is_complete,
    others_learn_four_things,
    nothing_is_found,
    finds_nothing_where_nothing_is_issued,
    unknown_issuance,
)
