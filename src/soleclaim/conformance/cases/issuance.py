"""Category 4: one plain issuance, from every side."""

from datetime import UTC, datetime, time
from typing import Final

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Spot, Stand, must, state_of
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock, first_overlap, total
from soleclaim.rpc.parse import to_interval


def _utc_days(stand: Stand, spot: Spot) -> Period:
    """The same civil days, taken for UTC."""
    first, last = (moment.astimezone(stand.fixture.zone).date() for moment in (spot.period.start, spot.period.end))
    return Period(datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC))


@case(
    "4.1",
    Text("an issuance carries lock, token, reference and native id", "签发附有签发锁、令牌、参考号与原系统编号"),
    rule="design 3.4, 3.7, 3.8",
    sent=Text("RequestIssuance for a measured period", "对已计量的期间申请签发"),
    expected=Text("ISSUED with all four, for what was asked", "ISSUED，四项齐全，内容与申请一致"),
    needs=(Need.ISSUES,),
)
async def carries_everything(stand: Stand) -> Text:
    spot = stand.spot()
    issued = await stand.issued(stand.order(spot))
    asked = (spot.project.id, to_interval(spot.period), spot.units)
    answered = (issued.native_project_id, issued.period, issued.units)
    must(answered == asked, f"answered {answered}, asked {asked}".replace("\n", " "), "应答内容与申请不一致")
    parts = {
        "issuance_lock": issued.issuance_lock,
        "fencing_token": issued.fencing_token,
        "reference": issued.reference,
        "native_issuance_id": issued.native_issuance_id,
        "instrument": issued.instrument,
    }
    missing = ", ".join(name for name, value in parts.items() if not value)
    must(not missing, f"without {missing}", f"缺少 {missing}")
    codes = {each.code for each in stand.info.instruments}
    must(issued.instrument in codes, f"instrument {issued.instrument}", f"权益种类为 {issued.instrument}")
    told = f"{issued.issuance_lock}, {issued.fencing_token}, {issued.reference}, {issued.native_issuance_id}"
    return Text(told, told)


@case(
    "4.2",
    Text("its serial ranges add up to the units and are those in the ledger", "区段之和等于签发量，且与台账一致"),
    rule="R84, R86; design 6 (I2, I3)",
    sent=Text("RequestIssuance, then GetIssuanceLock at the lookup", "申请签发，再于查询中心调用 GetIssuanceLock"),
    expected=Text(
        "no overlap, end - start + 1 summed is the units, equal at the lookup",
        "互不重叠、合计等于签发量、与查询中心一致",
    ),
    needs=(Need.ISSUES,),
)
async def serials_add_up(stand: Stand) -> Text:
    issued = await stand.issued(stand.order(stand.spot()))
    blocks = [UnitBlock(each.series, each.start, each.end) for each in issued.blocks]
    told = f"{total(blocks)} units in {len(blocks)} ranges, {issued.units} issued"
    must(total(blocks) == issued.units, told, f"区段合计 {total(blocks)}，签发量 {issued.units}")
    must(first_overlap(blocks) is None, "two ranges overlap", "区段重叠")
    lock = await stand.lock(issued.issuance_lock)
    entered = [each for each in lock.issuances if each.native_issuance_id == issued.native_issuance_id]
    same = len(entered) == 1 and list(entered[0].blocks) == list(issued.blocks)
    must(same, "the ledger has other serials", "台账中的区段不同")
    return Text(told, f"{len(blocks)} 个区段共 {total(blocks)}")


@case(
    "4.3",
    Text("its lock at the lookup is ISSUED for the same period and units", "查询中心的签发锁为 ISSUED，期间与数量一致"),
    rule="design 6 (I2)",
    sent=Text("RequestIssuance, then GetIssuanceLock at the lookup", "申请签发，再于查询中心调用 GetIssuanceLock"),
    expected=Text(
        "ISSUED; period, units, token, activity and reference equal", "ISSUED；期间、数量、令牌、活动、参考号一致"
    ),
    needs=(Need.ISSUES,),
)
async def lock_is_issued(stand: Stand) -> Text:
    issued = await stand.issued(stand.order(stand.spot()))
    lock = await stand.lock(issued.issuance_lock)
    state = lock_pb.IssuanceLockState.Name(lock.state)
    must(lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUED, f"the lock is {state}", f"签发锁为 {state}")
    pairs = {
        "period": (issued.period, lock.period),
        "units": (issued.units, lock.units),
        "fencing_token": (issued.fencing_token, lock.fencing_token),
        "activity": (issued.activity, lock.activity),
        "reference": (issued.reference, lock.reference),
        "instrument": (issued.instrument, lock.instrument),
    }
    wrong = ", ".join(name for name, (told, locked) in pairs.items() if told != locked)
    must(not wrong, f"other in the lock: {wrong}", f"签发锁中不同的字段：{wrong}")
    return Text(f"{lock.name} {state}", f"{lock.name} {state}")


@case(
    "4.4",
    Text("reference and token stand in the native record", "参考号与令牌载于原系统记录"),
    rule="design 3.7, 6 (I2, I7)",
    sent=Text("RequestIssuance, then a look into the native registry", "申请签发，再查看原系统"),
    expected=Text("one native issuance with that reference, token and units", "恰有一笔，参考号、令牌、数量一致"),
    needs=(Need.ISSUES, Need.NATIVE_RECORDS),
)
async def stands_in_the_native_record(stand: Stand) -> Text:
    spot = stand.spot()
    issued = await stand.issued(stand.order(spot))
    found = await stand.native_at(spot)
    told = ", ".join(f"{each.reference} ({each.fencing_token}, {each.units})" for each in found) or "-"
    wanted = (issued.reference, issued.fencing_token, issued.units)
    must(
        [(each.reference, each.fencing_token, each.units) for each in found] == [wanted],
        f"natively there is {told}; told was {wanted}",
        f"原系统中为 {told}；所告知为 {wanted}",
    )
    return Text(told, told)


@case(
    "4.5",
    Text("its period is the civil one of the activity's zone", "期间为活动所在时区的民用期间"),
    rule="design 4 (periods)",
    sent=Text("RequestIssuance for the same civil days taken for UTC", "以 UTC 计的同一民用日期申请签发"),
    expected=Text("REFUSED with a reason; nothing issued for that project", "REFUSED 并说明原因；该项目无任何签发"),
    needs=(Need.ISSUES,),
)
async def utc_days_are_refused(stand: Stand) -> Text:
    # The later of two: whatever comes of it overlaps no outcome that another case is given.
    _, spot = stand.pair()
    period = _utc_days(stand, spot)
    if period == spot.period:
        return Text("the zone is UTC: both are the same", "该时区即 UTC：二者相同")
    before = await _native_count(stand, spot)
    refusal = await stand.refused(stand.order(spot, period=period))
    must(await _native_count(stand, spot) == before, "and yet it was issued natively", "但原系统已签发")
    return Text(refusal.message_en, refusal.message_zh)


async def _native_count(stand: Stand, spot: Spot) -> int:
    if Need.NATIVE_RECORDS not in stand.offers():
        return 0
    return len(await stand.native.records(spot.project.id))


@case(
    "4.6",
    Text("units zero issues everything measured", "数量为零即签发全部已计量成果"),
    rule="registry_service.proto RequestIssuanceRequest.units",
    sent=Text("RequestIssuance with units 0", "以数量 0 申请签发"),
    expected=Text("ISSUED with the units that were measured", "ISSUED，数量等于已计量的数量"),
    needs=(Need.ISSUES,),
)
async def zero_is_everything(stand: Stand) -> Text:
    spot = stand.spot()
    issued = await stand.issued(stand.order(spot, units=0))
    told = f"{state_of(issued)} {issued.units}"
    must(issued.units == spot.units, f"{told}, measured {spot.units}", f"{told}，已计量 {spot.units}")
    return Text(told, told)


CASES: Final[tuple[Case, ...]] = (
    carries_everything,
    serials_add_up,
    lock_is_issued,
    stands_in_the_native_record,
    utc_days_are_refused,
    zero_is_everything,
)
