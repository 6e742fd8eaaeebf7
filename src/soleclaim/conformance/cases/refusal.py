"""Category 6: what must not be issued, and how that is said."""

from typing import Final

from google.type.interval_pb2 import Interval

from soleclaim.api.common.v1.types_pb2 import Declaration
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RemoteRefusal
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.peer import PeerRegistry
from soleclaim.conformance.stand import Spot, Stand, must, must_be_refused, reason_name, refusal_of
from soleclaim.core.errors import Reason
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status

_OPEN: Final = (lock_pb.ISSUANCE_LOCK_STATE_HELD, lock_pb.ISSUANCE_LOCK_STATE_ISSUING)


async def _left_nothing(stand: Stand, spot: Spot) -> None:
    """Nothing was issued there natively, as far as that can be seen."""
    if Need.NATIVE_RECORDS in stand.offers():
        count = len(await stand.native_at(spot))
        must(not count, f"natively there are {count} issuances", f"原系统中有 {count} 笔签发")


def _tells_nobody(stand: Stand, refusal: RemoteRefusal) -> None:
    told = f"{refusal.message_en} {refusal.message_zh} {refusal.variables}"
    named = {"registry", "instrument", "period", "state"} - refusal.variables.keys()
    must(not named, f"does not tell {', '.join(sorted(named))}", f"未告知 {'、'.join(sorted(named))}")
    holder = stand.fixture.holder
    must(not holder or holder not in told, "it names the holder", "泄露了持有人")


@case(
    "6.1",
    Text("a period that is not measured is refused", "未计量的期间被拒"),
    rule="design 3.4, 6 (I6)",
    sent=Text("RequestIssuance for a period without measured outcome", "对未计量的期间申请签发"),
    expected=Text("REFUSED OUTCOME_NOT_MEASURED; nothing natively", "REFUSED OUTCOME_NOT_MEASURED；原系统无签发"),
    needs=(Need.ISSUES,),
)
async def unmeasured_is_refused(stand: Stand) -> Text:
    drawn = stand.spot()
    spot = Spot(drawn.project, stand.unmeasured(), drawn.units)
    refusal = await stand.refused(stand.order(spot), Reason.OUTCOME_NOT_MEASURED)
    await _left_nothing(stand, spot)
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "6.2",
    Text("more than was measured is refused, and its lock is given up", "超出已计量数量被拒，且不占用签发锁"),
    rule="design 6 (I6, I8)",
    sent=Text("RequestIssuance for one unit more than was measured", "申请比已计量多 1 个"),
    expected=Text(
        "REFUSED with a reason; nothing natively; no lock left open", "REFUSED 并说明原因；原系统无签发；无未结签发锁"
    ),
    needs=(Need.ISSUES,),
)
async def too_much_is_refused(stand: Stand) -> Text:
    spot = stand.spot()
    refused = await stand.ended(stand.order(spot, units=spot.units + 1))
    refusal = must_be_refused(refused)
    await _left_nothing(stand, spot)
    if refused.issuance_lock:
        lock = await stand.lock(refused.issuance_lock)
        state = lock_pb.IssuanceLockState.Name(lock.state)
        must(lock.state not in _OPEN, f"the lock is left {state}", f"签发锁仍为 {state}")
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "6.3",
    Text("without the declaration it is refused", "缺少承诺即被拒"),
    rule="R98",
    sent=Text("RequestIssuance with an empty declaration", "以空白承诺申请签发"),
    expected=Text(
        "REFUSED POLICY_REFUSED that names both rules; nothing natively",
        "REFUSED POLICY_REFUSED，列出两条规则；原系统无签发",
    ),
    needs=(Need.ISSUES,),
)
async def undeclared_is_refused(stand: Stand) -> Text:
    spot = stand.spot()
    refusal = await stand.refused(stand.order(spot, declaration=Declaration()), Reason.POLICY_REFUSED)
    await _left_nothing(stand, spot)
    told = refusal.variables.get("rules", "")
    must(told.count(",") >= 1, f"rules: {told!r}", f"规则：{told!r}")
    return Text(told, told)


@case(
    "6.4",
    Text(
        "what another registry has issued is refused, without naming the holder", "他方已签发的成果被拒，且不泄露持有人"
    ),
    rule="R21, R82; design 7",
    sent=Text(
        "another registry issues; then RequestIssuance and CheckIssuance for the period",
        "他方签发后，对同一期间申请签发并预检",
    ),
    expected=Text(
        "REFUSED ACTIVITY_ALREADY_ISSUED with registry, instrument, period, state; CheckIssuance says so too",
        "REFUSED ACTIVITY_ALREADY_ISSUED，告知登记簿、权益种类、期间、状态；预检结论相同",
    ),
    needs=(Need.ISSUES, Need.PEER),
)
async def issued_elsewhere_is_refused(stand: Stand) -> Text:
    known, spot = stand.pair()
    peer = PeerRegistry(stand, (await stand.issued(stand.order(known))).activity)
    await peer.join()
    await peer.issue(spot)
    refusal = await stand.refused(stand.order(spot), Reason.ACTIVITY_ALREADY_ISSUED)
    _tells_nobody(stand, refusal)
    await _left_nothing(stand, spot)
    order = stand.order(spot)
    check = pb.CheckIssuanceRequest(
        native_project_id=order.native_project_id, period=order.period, units=order.units, declaration=order.declaration
    )
    dry = await stand.operator.call(stand.operator.registry.CheckIssuance, check, timeout_s=30)
    told = [reason_name(from_status(each)) for each in dry.refusals]
    must(Reason.ACTIVITY_ALREADY_ISSUED.value in told, f"CheckIssuance: {told}", f"预检：{told}")
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "6.5",
    Text("what another registry holds is refused for now", "他方持有签发锁的期间暂被拒"),
    rule="R82; design 3",
    sent=Text(
        "another registry takes the lock; RequestIssuance; the lock is given back; RequestIssuance",
        "他方取得签发锁后申请签发；归还后再申请",
    ),
    expected=Text("REFUSED ISSUANCE_LOCK_HELD, then ISSUED", "先 REFUSED ISSUANCE_LOCK_HELD，后 ISSUED"),
    needs=(Need.ISSUES, Need.PEER),
)
async def held_elsewhere_is_refused(stand: Stand) -> Text:
    known, spot = stand.pair()
    peer = PeerRegistry(stand, (await stand.issued(stand.order(known))).activity)
    await peer.join()
    lock = await peer.hold(spot)
    refusal = await stand.refused(stand.order(spot), Reason.ISSUANCE_LOCK_HELD)
    await _left_nothing(stand, spot)
    await peer.release(lock)
    await stand.issued(stand.order(spot))
    return Text(refusal.message_en, refusal.message_zh)


@case(
    "6.6",
    Text("a malformed request is refused with all its faults at once", "格式错误的请求被拒，并一次列出全部错误"),
    rule="design 7",
    sent=Text(
        "RequestIssuance with a bad request_id, no project, a reversed period, negative units",
        "request_id 无效、无项目、期间颠倒、数量为负",
    ),
    expected=Text("INVALID_ARGUMENT naming all four fields", "INVALID_ARGUMENT，列出四个字段"),
    needs=(Need.ISSUES,),
)
async def malformed_is_refused(stand: Stand) -> Text:
    period = to_interval(stand.unmeasured())
    request = pb.RequestIssuanceRequest(
        request_id="!", period=Interval(start_time=period.end_time, end_time=period.start_time), units=-1
    )
    call = stand.operator.call(stand.operator.registry.RequestIssuance, request)
    refusal = await refusal_of(call, Reason.INVALID_REQUEST)
    fields = sorted({each.field.partition(".")[0] for each in refusal.violations})
    told = ", ".join(fields)
    must(fields == ["native_project_id", "period", "request_id", "units"], told or "no field", told or "无字段")
    return Text(told, told)


@case(
    "6.7",
    Text("a registry that issues nothing refuses to issue", "不签发的登记簿拒绝签发申请"),
    rule="design 1 (participation)",
    sent=Text("RequestIssuance", "申请签发"),
    expected=Text("REGISTRY_ISSUES_NOTHING", "REGISTRY_ISSUES_NOTHING"),
    needs=(Need.ISSUES_NOTHING,),
)
async def nothing_is_issued(stand: Stand) -> Text:
    project, period = stand.fixture.projects[0], stand.unmeasured()
    if project.outcomes:
        period = project.outcomes[0].period(stand.fixture.zone)
    request = stand.identified(stand.order(Spot(project, period, 1)))
    call = stand.operator.call(stand.operator.registry.RequestIssuance, request)
    refusal = await refusal_of(call, Reason.REGISTRY_ISSUES_NOTHING)
    return Text(refusal.message_en, refusal.message_zh)


CASES: Final[tuple[Case, ...]] = (
    unmeasured_is_refused,
    too_much_is_refused,
    undeclared_is_refused,
    issued_elsewhere_is_refused,
    held_elsewhere_is_refused,
    malformed_is_refused,
    nothing_is_issued,
)
