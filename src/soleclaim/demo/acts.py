"""The acts. Each plays against given endpoints, counts what really happened, and fails when it must not be so.

1 register · 2 issue · 3 race · 4 crash · 5 replay · 6 identify. Acts 1 to 4 build on each other, in this order; 5 and 6
stand alone.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from soleclaim.api.common.v1.types_pb2 import Identifier
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb
from soleclaim.client import RemoteUnavailable
from soleclaim.core.errors import Reason
from soleclaim.demo.identify import identify
from soleclaim.demo.plants import (
    GENERATED_EN,
    GENERATED_ZH,
    Months,
    Plant,
    ccer_project,
    ccer_reduction,
    gec_filing,
    gec_reading,
)
from soleclaim.demo.replay import replay
from soleclaim.demo.stage import (
    DECLARATION,
    ActFailed,
    Line,
    Report,
    Stage,
    Victim,
    native_id,
    order,
    refusal_of,
    registered,
    repeated,
)
from soleclaim.rpc.parse import to_interval

__all__ = ["crash", "identify", "issue", "race", "register", "replay"]

GEC_MONTHS: Final = Months(date(2025, 1, 1), 6)
OVERLAP: Final = Months(date(2025, 4, 1), 3)
RACE: Final = Months(date(2025, 7, 1), 1)
DISJOINT: Final = Months(date(2025, 8, 1), 2)
CRASH: Final = Months(date(2025, 10, 1), 2)
"""What is asked for when: GEC January to June, CCER again April to June, both July, CCER alone the rest."""

HEAT: Final = 10
"""Plants in one pair of competing requests."""
HEATS_AT_ONCE: Final = 4

_TAKEN: Final = frozenset({Reason.ACTIVITY_ALREADY_ISSUED, Reason.ISSUANCE_LOCK_HELD})


async def register(stage: Stage) -> Report:
    """Act 1: both registries know every plant under ids of their own; the lookup knows it once."""
    act, plants = "register", stage.plants
    await _fill_natives(stage)
    answers: list[list[activity_pb.Activity]] = []
    for done, registry in enumerate(("gec", "ccer"), start=3):
        answers.append(await _register_with_lookup(stage, registry))
        stage.progress(act, done, 4)
    ids = {activity.name for answer in answers for activity in answer}
    apart = [plant for plant, gec, ccer in zip(plants, *answers, strict=True) if gec.name != ccer.name]
    if len(ids) != len(plants) or apart:
        raise ActFailed(
            act,
            f"{len(plants)} plants became {len(ids)} activities; {len(apart)} are two in the lookup",
            f"{len(plants)} 座电站成为 {len(ids)} 个减排活动，其中 {len(apart)} 座在查询中心被分为两个",
        )
    figures: dict[str, object] = {
        "plants": len(plants),
        "native_projects": sum(map(len, answers)),
        "activities": len(ids),
        "by_fuel": dict(Counter(plant.fuel for plant in plants)),
        "generated": GENERATED_EN,
    }
    lines = (
        Line(
            f"{figures['native_projects']} native projects of 2 registries are {len(ids)} activities: a shared national"
            " project code joins them",
            f"两个登记簿的 {figures['native_projects']} 个项目对应 {len(ids)} 个减排活动：以共同的国家项目代码归并",
        ),
        Line(f"generated, because not published: {GENERATED_EN}", f"未公开而由程序生成：{GENERATED_ZH}"),
    )
    return Report(act, figures, lines)


async def _fill_natives(stage: Stage) -> None:
    """What the native registries know before the gateway comes: projects, readings, certified reductions."""
    plants = stage.plants
    measured = Months(GEC_MONTHS.first, GEC_MONTHS.count + RACE.count)
    reductions = [ccer_reduction(plant, months) for plant in plants for months in (OVERLAP, RACE, DISJOINT, CRASH)]
    await asyncio.gather(
        stage.native("gec", "/api/v1/filings", {"filings": [gec_filing(plant) for plant in plants]}),
        stage.native("ccer", "/api/assumed/projects", {"projects": [ccer_project(plant) for plant in plants]}),
    )
    stage.progress("register", 1, 4)
    readings = [gec_reading(plant, month) for plant in plants for month in measured]
    await asyncio.gather(
        stage.native("gec", "/api/v1/readings", {"readings": readings}),
        stage.native("ccer", "/api/assumed/reductions", {"reductions": reductions}),
    )
    stage.progress("register", 2, 4)


async def _register_with_lookup(stage: Stage, registry: str) -> list[activity_pb.Activity]:
    client = stage.lookup[registry]
    requests = [
        activity_pb.RegisterActivityRequest(
            native_project=activity_pb.NativeProjectRef(
                registry=registry, native_project_id=native_id(registry, plant)
            ),
            country="CN",
            activity_type=plant.fuel,
            display_name=plant.name_in_gec if registry == "gec" else plant.name_in_ccer,
            time_zone="Asia/Shanghai",
            identifiers=_identifiers(registry, plant),
        )
        for plant in stage.plants
    ]
    return await registered(client, f"{stage.run}-register-{registry}", requests)


def _identifiers(registry: str, plant: Plant) -> list[Identifier]:
    own = [Identifier(scheme="gec_filing_code", value=plant.filing_code)] if registry == "gec" else []
    return [
        *own,
        Identifier(scheme="cn_project_code", value=plant.project_code),
        Identifier(scheme="cdm", value=plant.cdm_ref),
    ]


async def issue(stage: Stage) -> Report:
    """Act 2: GEC issues six months; CCER is refused where they overlap and issues where they do not."""
    act, plants = "issue", stage.plants
    steps = GEC_MONTHS.count + 3
    certificates = ranges = 0
    for done, month in enumerate(GEC_MONTHS, start=1):
        issued = await stage.request("gec", f"gec-{month:%Y-%m}", plants, Months(month, 1))
        _all_in_state(act, "gec", issued, registry_pb.ISSUANCE_STATE_ISSUED)
        certificates += sum(each.units for each in issued)
        ranges += sum(len(each.blocks) for each in issued)
        stage.progress(act, done, steps)
    refused = await stage.request("ccer", "ccer-overlap", plants, OVERLAP)
    _all_in_state(act, "ccer", refused, registry_pb.ISSUANCE_STATE_REFUSED)
    example = _refused_as_taken(plants, refused)
    stage.progress(act, GEC_MONTHS.count + 1, steps)
    question, answered = await _ask_before(stage, plants[0], OVERLAP)
    stage.progress(act, GEC_MONTHS.count + 2, steps)
    free = await stage.request("ccer", "ccer-disjoint", plants, DISJOINT)
    _all_in_state(act, "ccer", free, registry_pb.ISSUANCE_STATE_ISSUED)
    stage.progress(act, steps, steps)
    tonnes = sum(each.units for each in free)
    figures: dict[str, object] = {
        "gec_issuances": GEC_MONTHS.count * len(plants),
        "gec_certificates": certificates,
        "gec_serial_ranges": ranges,
        "carried_on_kwh": _left_over_kwh(plants),
        "ccer_refused": len(refused),
        "ccer_issued": len(free),
        "ccer_tonnes": tonnes,
        "refusal": example.english,
        "asked_before": {"question": question, "answer": answered.english},
    }
    lines = (
        Line(
            f"GEC issued {certificates:,} certificates for {GEC_MONTHS} in {ranges:,} serial ranges; remainders under"
            f" 1,000 kWh went on to the next month, {figures['carried_on_kwh']:,} kWh remain",
            f"GEC 就 {GEC_MONTHS} 核发 {certificates:,} 个绿证，共 {ranges:,} 个编码区段；不足 1,000 kWh 的结转下月，"
            f"尚余 {figures['carried_on_kwh']:,} kWh",
        ),
        Line(
            f"CCER asked for {OVERLAP}: {len(refused)} of {len(plants)} refused, for example: {example.english}",
            f"CCER 申请 {OVERLAP}：{len(plants)} 项中 {len(refused)} 项被拒，例如：{example.chinese}",
        ),
        Line(
            f"the CCER adapter asked the GEC adapter itself, {question}: {answered.english}",
            f"CCER 适配器直接询问 GEC 适配器，{question}：{answered.chinese}",
        ),
        Line(
            f"CCER asked for {DISJOINT}: {len(free)} of {len(plants)} issued, {tonnes:,} tCO2e",
            f"CCER 申请 {DISJOINT}：{len(plants)} 项中 {len(free)} 项签发，共 {tonnes:,} tCO2e",
        ),
    )
    return Report(act, figures, lines)


def _left_over_kwh(plants: Sequence[Plant]) -> int:
    return sum(sum(plant.reading_kwh(month) for month in GEC_MONTHS) % 1000 for plant in plants)


def _all_in_state(
    act: str, registry: str, issuances: Sequence[registry_pb.Issuance], state: "registry_pb.IssuanceState.ValueType"
) -> None:
    others = [each for each in issuances if each.state != state]
    if others:
        wanted, first = registry_pb.IssuanceState.Name(state), others[0]
        why = refusal_of(first) if first.HasField("error") else registry_pb.IssuanceState.Name(first.state)
        raise ActFailed(
            act,
            f"{len(others)} of {len(issuances)} at {registry} are not {wanted}; {first.name}: {why}",
            f"{registry} 的 {len(issuances)} 项中有 {len(others)} 项不是 {wanted}；{first.name}：{why}",
        )


def _refused_as_taken(plants: Sequence[Plant], refused: Sequence[registry_pb.Issuance]) -> Line:
    """Every refusal says what stands in the way and never whose it is; the first, as told."""
    for plant, issuance in zip(plants, refused, strict=True):
        refusal = refusal_of(issuance)
        told = f"{refusal.message_en} {refusal.message_zh} {refusal.variables}"
        named = {"registry", "instrument", "period", "state"} <= refusal.variables.keys()
        if refusal.reason is not Reason.ACTIVITY_ALREADY_ISSUED or not named:
            raise ActFailed("issue", f"refused for another reason: {refusal}", f"因其他原因被拒：{refusal.message_zh}")
        if any(secret in told for secret in (plant.filing_code, str(gec_filing(plant)["owner"]))):
            raise ActFailed("issue", f"the refusal names the holder: {refusal}", f"拒绝信息泄露了持有人：{refusal}")
    first = refusal_of(refused[0])
    return Line(first.message_en, first.message_zh)


async def _ask_before(stage: Stage, plant: Plant, months: Months) -> tuple[str, Line]:
    """A dry run at the CCER adapter, which asks the GEC adapter; the question, and what GEC answered."""
    client = stage.adapters["ccer"]
    wanted = order("ccer", plant, months)
    request = registry_pb.CheckIssuanceRequest(
        native_project_id=wanted.native_project_id, period=wanted.period, declaration=DECLARATION
    )
    answer = await repeated(lambda: client.call(client.registry.CheckIssuance, request, timeout_s=30))
    gec = [peer for peer in answer.peer_answers if peer.registry == "gec"]
    if not answer.refusals or not gec or gec[0].verdict != registry_pb.PEER_VERDICT_ISSUED:
        raise ActFailed(
            "issue",
            f"the dry run saw {len(answer.refusals)} refusals and GEC's answer {gec}",
            f"预检得到 {len(answer.refusals)} 条拒绝，GEC 的回答为 {gec}",
        )
    count = len(gec[0].issuances)
    instruments = ", ".join(sorted({found.instrument for found in gec[0].issuances}))
    return (
        f"FindIssuances({plant.name_in_gec}, {months.period})",
        Line(f"issued, {count} issuances of {instruments}", f"已签发，{instruments} 共 {count} 笔"),
    )


async def race(stage: Stage) -> Report:
    """Act 3: both registries ask for the same free plant-months at the same moment; one wins each, one is refused."""
    act, plants = "race", stage.plants
    gate, wins, reasons = asyncio.Semaphore(HEATS_AT_ONCE), Counter[str](), Counter[str]()

    async def heat(number: int, group: tuple[Plant, ...]) -> None:
        # Who is asked first takes turns: neither side gets a head start.
        order_of_asking = ("gec", "ccer") if number % 2 else ("ccer", "gec")
        async with gate:
            answers = await asyncio.gather(
                *(stage.request(registry, f"race-{registry}-{number}", group, RACE) for registry in order_of_asking)
            )
        for plant, *both in zip(group, *answers, strict=True):
            winner, refusal = _winner(plant, dict(zip(order_of_asking, both, strict=True)))
            wins[winner] += 1
            reasons[refusal] += 1
        stage.progress(act, wins.total(), len(plants))

    async with asyncio.TaskGroup() as tasks:
        for number, start in enumerate(range(0, len(plants), HEAT)):
            tasks.create_task(heat(number, plants[start : start + HEAT]))
    figures: dict[str, object] = {
        "plant_months": len(plants),
        "requests": 2 * len(plants),
        "issued": wins.total(),
        "won_by": dict(sorted(wins.items())),
        "refused": dict(sorted(reasons.items())),
    }
    told = ", ".join(f"{registry} {count}" for registry, count in sorted(wins.items()))
    line = Line(
        f"{len(plants)} free plant-months, asked for by both at once: each issued once ({told})",
        f"{len(plants)} 个空闲的电站月由双方同时申请：每个仅签发一次（{told}）",
    )
    return Report(act, figures, (line,))


def _winner(plant: Plant, outcome: Mapping[str, registry_pb.Issuance]) -> tuple[str, str]:
    """The one registry that issued, and the reason for which the other was refused; anything else fails the act."""
    winners = [code for code, each in outcome.items() if each.state == registry_pb.ISSUANCE_STATE_ISSUED]
    losers = [refusal_of(each) for code, each in outcome.items() if code not in winners]
    if len(winners) != 1 or losers[0].reason not in _TAKEN:
        raise ActFailed(
            "race",
            f"{plant.name_in_gec}, {RACE}: issued by {winners or 'nobody'}; refused: {list(map(str, losers))}",
            f"{plant.name_in_gec}，{RACE}：签发方 {winners or '无'}；被拒：{list(map(str, losers))}",
        )
    return winners[0], losers[0].reason.value


async def crash(stage: Stage, victim: Victim) -> Report:
    """Act 4: the CCER adapter dies between the native issuance and the commit, comes back and finds its own."""
    act, plant = "crash", stage.plants[0]
    await victim.arm()
    # It has just come up: until the channel has found it again, a call would fail for the wrong reason.
    adapter = stage.adapters["ccer"]
    await repeated(lambda: adapter.call(adapter.registry.GetRegistry, registry_pb.GetRegistryRequest()))
    stage.progress(act, 1, 5)
    try:
        await stage.request("ccer", "crash", (plant,), CRASH, patience_s=0)
    except RemoteUnavailable:
        ended = await victim.wait_for_death()
    else:
        raise ActFailed(act, "the adapter answered although it should have died", "适配器本应被杀却作出了应答")
    stage.progress(act, 2, 5)
    lock = await _crashed_lock(stage, plant)
    left = await _native_ids(stage, lock.reference)
    if lock.state != lock_pb.ISSUANCE_LOCK_STATE_ISSUING or len(left) != 1:
        state = lock_pb.IssuanceLockState.Name(lock.state)
        raise ActFailed(
            act,
            f"after the kill the lock is {state} and CCER has {len(left)} issuances of {lock.reference}",
            f"被杀后签发锁为 {state}，CCER 有 {len(left)} 笔 {lock.reference} 的签发",
        )
    stage.progress(act, 3, 5)
    started = asyncio.get_running_loop().time()
    await victim.revive()
    (issuance,) = await stage.request("ccer", "crash", (plant,), CRASH)
    settled_s = asyncio.get_running_loop().time() - started
    stage.progress(act, 4, 5)
    _all_in_state(act, "ccer", [issuance], registry_pb.ISSUANCE_STATE_ISSUED)
    after, lock = await _native_ids(stage, lock.reference), await _crashed_lock(stage, plant)
    committed = [each.native_issuance_id for each in lock.issuances]
    if not (after == left == committed == [issuance.native_issuance_id]):
        raise ActFailed(
            act,
            f"CCER had {left}, has {after}; the lookup knows {committed}, the adapter {issuance.native_issuance_id}",
            f"CCER 原有 {left}，现有 {after}；查询中心为 {committed}，适配器为 {issuance.native_issuance_id}",
        )
    stage.progress(act, 5, 5)
    figures: dict[str, object] = {
        "ended": ended,
        "lock_state_after_kill": "ISSUING",
        "native_issuances_after_kill": len(left),
        "native_issuances_after_restart": len(after),
        "committed": len(committed),
        "settled_after_s": round(settled_s, 1),
    }
    line = Line(
        f"the CCER adapter was killed ({ended}) after CCER had issued: lock ISSUING, {len(left)} native issuance;"
        f" {settled_s:.1f} s after its restart it had found it by {lock.reference} and committed: still {len(after)}",
        f"CCER 适配器在原系统签发后被杀（{ended}）：签发锁为签发中，原系统有 {len(left)} 笔；重启 {settled_s:.1f} 秒后"
        f"凭外部参考号 {lock.reference} 找到该笔并提交：仍为 {len(after)} 笔",
    )
    return Report(act, figures, (line,))


async def _crashed_lock(stage: Stage, plant: Plant) -> lock_pb.IssuanceLock:
    client = stage.lookup["ccer"]
    project = activity_pb.NativeProjectRef(registry="ccer", native_project_id=plant.ccer_project_id)
    activity = await client.call(
        client.activities.ResolveActivity, activity_pb.ResolveActivityRequest(native_project=project)
    )
    listed = await client.call(
        client.locks.ListIssuanceLocks,
        lock_pb.ListIssuanceLocksRequest(activity=activity.name, period=to_interval(CRASH.period)),
    )
    if len(listed.issuance_locks) != 1:
        count = len(listed.issuance_locks)
        raise ActFailed("crash", f"the lookup has {count} locks for {CRASH}", f"查询中心就 {CRASH} 有 {count} 个签发锁")
    return await client.call(
        client.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=listed.issuance_locks[0].name)
    )


async def _native_ids(stage: Stage, reference: str) -> list[str]:
    answer = await stage.native("ccer", "/api/assumed/find", {"externalReference": reference})
    rows = answer["dataInfo"]
    return [str(row["ccerId"]) for row in rows] if isinstance(rows, list) else []
