"""Category 3: which activity a native project is."""

from typing import Final

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Stand, must
from soleclaim.core.activity_id import ActivityIdError, parse_activity_id
from soleclaim.core.errors import Reason

_PREFIX: Final = "activities/"


async def _resolved(stand: Stand, native_project_id: str) -> activity_pb.Activity:
    key = activity_pb.NativeProjectRef(registry=stand.fixture.registry, native_project_id=native_project_id)
    request = activity_pb.ResolveActivityRequest(native_project=key)
    return await stand.lookup.call(stand.lookup.activities.ResolveActivity, request)


async def _activity_of(stand: Stand, order: pb.RequestIssuanceRequest) -> str:
    return (await stand.ended(order)).activity


@case(
    "3.1",
    Text("a project that does not exist is refused", "不存在的项目被拒"),
    rule="design 3.2",
    sent=Text(
        "RequestIssuance for a project id that the native registry does not know", "以原系统不存在的项目编号申请签发"
    ),
    expected=Text("REFUSED NATIVE_PROJECT_UNKNOWN", "REFUSED NATIVE_PROJECT_UNKNOWN"),
    needs=(Need.ISSUES,),
)
async def unknown_project_is_refused(stand: Stand) -> Text:
    order = stand.order(stand.spot(), project_id=stand.fixture.unknown_project)
    refusal = await stand.refused(order, Reason.NATIVE_PROJECT_UNKNOWN)
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "3.2",
    Text("a project is registered at the lookup before it is issued for", "项目在签发前先于查询中心登记"),
    rule="R95; design 3.2, 5",
    sent=Text("RequestIssuance for a project never seen before", "对从未出现的项目申请签发"),
    expected=Text(
        "an activity id with right check digits, the same at the lookup", "校验位正确、与查询中心一致的唯一标识"
    ),
    needs=(Need.ISSUES,),
)
async def project_is_registered(stand: Stand) -> Text:
    spot = stand.fresh()
    activity = await _activity_of(stand, stand.order(spot))
    try:
        parse_activity_id(activity.removeprefix(_PREFIX))
    except ActivityIdError as error:
        must(condition=False, en=f"activity {activity!r}: {error}", zh=f"唯一标识 {activity!r}：{error}")
    known = await _resolved(stand, spot.project.id)
    must(
        known.name == activity,
        f"told {activity}, the lookup knows {known.name}",
        f"所告知为 {activity}，查询中心为 {known.name}",
    )
    return Text(activity, activity)


@case(
    "3.3",
    Text("the zone of its civil periods and its identifiers are told", "告知其民用时期的时区与各项标识"),
    rule="design 4 (periods), 5",
    sent=Text("ResolveActivity at the lookup", "在查询中心调用 ResolveActivity"),
    expected=Text("the fixture's time zone and identifiers", "与测试设定一致的时区与标识"),
    needs=(Need.ISSUES,),
)
async def zone_and_identifiers(stand: Stand) -> Text:
    spot = stand.spot()
    await _activity_of(stand, stand.order(spot))
    known = await _resolved(stand, spot.project.id)
    must(known.time_zone == stand.fixture.time_zone, f"time zone {known.time_zone}", f"时区为 {known.time_zone}")
    found = {(each.scheme, each.value) for each in known.identifiers}
    missing = set(spot.project.identifiers) - found
    must(not missing, f"identifiers missing: {sorted(missing)}", f"缺少标识：{sorted(missing)}")
    return Text(f"{known.time_zone}, {len(found)} identifiers", f"{known.time_zone}，{len(found)} 个标识")


@case(
    "3.4",
    Text("one project is one activity, two projects are two", "一个项目对应一个活动，两个项目对应两个"),
    rule="R95",
    sent=Text("RequestIssuance twice for one project, once for another", "对同一项目申请两次，对另一项目申请一次"),
    expected=Text("the same activity twice, then another", "前两次活动相同，第三次不同"),
    needs=(Need.ISSUES,),
)
async def one_project_one_activity(stand: Stand) -> Text:
    first, second = stand.pair()
    other = stand.pair()[0]
    found = [await _activity_of(stand, stand.order(spot)) for spot in (first, second, other)]
    told = ", ".join(each.removeprefix(_PREFIX) for each in found)
    must(all(found) and found[0] == found[1] != found[2], told, told)
    return Text(told, told)


CASES: Final[tuple[Case, ...]] = (
    unknown_project_is_refused,
    project_is_registered,
    zone_and_identifiers,
    one_project_one_activity,
)
