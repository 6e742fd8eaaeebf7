"""Category 8: the adapter is killed and comes back."""

import asyncio
from typing import Final

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.conformance.cases.doubt import agrees, half
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Spot, Stand, given, must, must_be_issued, state_of

SENT_S: Final = 0.3


async def _restart(stand: Stand) -> None:
    await given(stand.adapter).start()
    stand.restarts += 1


async def _killed_during(stand: Stand, fault: str) -> tuple[Spot, pb.Issuance]:
    """Ask, kill the adapter while the native call hangs, start it, and ask again with the same request id."""
    adapter, spot = given(stand.adapter), stand.spot()
    request = stand.identified(stand.order(spot, units=half(spot)))
    known = {lock.name for lock in await stand.locks_on(spot)}
    async with stand.native.fault(fault):
        asking = asyncio.create_task(stand.request(request))
        try:
            if fault == "answer_lost":
                await stand.until_native_at(spot)
            else:
                await stand.until_begun(known, spot)
                # The native call follows at once. Whether it was made or not: what is told must be what stands.
                await asyncio.sleep(SENT_S)
            await adapter.kill()
        finally:
            asking.cancel()
    await _restart(stand)
    return spot, await stand.ended(request)


@case(
    "8.1",
    Text("killed after the native issuance: it is found, not made again", "原系统签发之后被杀：找回而不重复签发"),
    rule="design 3.9, 6 (I2)",
    sent=Text(
        "kill while the native registry has issued and not answered; start; repeat",
        "原系统已签发未应答时杀死适配器；启动；重发",
    ),
    expected=Text("ISSUED; exactly one native issuance", "ISSUED；原系统恰有一笔"),
    needs=(Need.ISSUES, Need.RESTART, Need.ANSWER_LOST, Need.NATIVE_RECORDS),
)
async def killed_after_native(stand: Stand) -> Text:
    spot, settled = await _killed_during(stand, "answer_lost")
    return await agrees(stand, spot, must_be_issued(settled))


@case(
    "8.2",
    Text("killed before the native issuance: what is told is what stands", "原系统签发之前被杀：所告知即所存在"),
    rule="design 3.9, table of proofs",
    sent=Text(
        "kill while the native registry neither issues nor answers; start; repeat",
        "原系统既未签发也未应答时杀死适配器；启动；重发",
    ),
    expected=Text("REFUSED and none natively, or ISSUED and one", "REFUSED 且原系统无，或 ISSUED 且恰有一笔"),
    needs=(Need.ISSUES, Need.RESTART, Need.NOT_DONE, Need.NATIVE_RECORDS),
)
async def killed_before_native(stand: Stand) -> Text:
    spot, settled = await _killed_during(stand, "not_done")
    return await agrees(stand, spot, settled)


@case(
    "8.3",
    Text("a restart forgets no issuance and changes none", "重启不遗失、不改变任何签发"),
    rule="design 6 (I9, I10)",
    sent=Text("GetIssuance for every issuance told before", "对此前告知的每一笔调用 GetIssuance"),
    expected=Text("each as it was told", "与此前告知一致"),
    needs=(Need.ISSUES, Need.RESTART),
)
async def nothing_is_forgotten(stand: Stand) -> Text:
    must(stand.restarts > 0 or bool(stand.told), "nothing was told before", "此前未告知任何签发")
    if not stand.restarts:
        await given(stand.adapter).kill()
        await _restart(stand)
    before = dict(stand.told)
    for name, told in before.items():
        now = await stand.get(name)
        must(
            now == told,
            f"{name} was {state_of(told)}, is {state_of(now)}",
            f"{name} 原为 {state_of(told)}，现为 {state_of(now)}",
        )
    return Text(f"{len(before)} issuances as before", f"{len(before)} 笔签发未变")


@case(
    "8.4",
    Text("no lock is left ISSUING", "无签发锁滞留于 ISSUING"),
    rule="design 6 (I8)",
    sent=Text("ListIssuanceLocks at the lookup", "在查询中心调用 ListIssuanceLocks"),
    expected=Text("every lock of an issuance that was told is at its end", "所告知签发的签发锁均已了结"),
    needs=(Need.ISSUES,),
)
async def no_lock_is_left(stand: Stand) -> Text:
    locks = {told.issuance_lock for told in stand.told.values() if told.issuance_lock}
    for name in sorted(locks):
        lock = await stand.lock(name)
        left = lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUING
        must(not left, f"{name} is left ISSUING", f"{name} 滞留于 ISSUING")
    return Text(f"{len(locks)} locks", f"{len(locks)} 个签发锁")


CASES: Final[tuple[Case, ...]] = (killed_after_native, killed_before_native, nothing_is_forgotten, no_lock_is_left)
