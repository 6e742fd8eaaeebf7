"""Category 2: what the registry says of itself, and whether its clock is right."""

from datetime import UTC, datetime, timedelta
from typing import Final

from soleclaim.api.common.v1.types_pb2 import BaseUnit
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.conformance.model import Case, Need, Text, case
from soleclaim.conformance.stand import Stand, must

ABSENCE_PROOFS: Final = ("void", "resend", "search_twice", "operator")
MAX_BATCH: Final = 1000
SKEW: Final = timedelta(seconds=30)
"""How far the target's clock may be off."""


@case(
    "2.1",
    Text("the registry tells its code and API version", "登记簿告知其代码与接口版本"),
    rule="registry_service.proto RegistryInfo",
    sent=Text("GetRegistry", "GetRegistry"),
    expected=Text("the fixture's code, api_version v1", "与测试设定一致的代码，api_version 为 v1"),
)
async def code_and_version(stand: Stand) -> Text:
    info, code = stand.info, stand.fixture.registry
    must(info.code == code, f"code {info.code!r}, not {code!r}", f"代码为 {info.code!r}，而非 {code!r}")
    must(info.api_version == "v1", f"api_version {info.api_version!r}", f"api_version 为 {info.api_version!r}")
    return Text(f"{info.code}, {info.api_version}", f"{info.code}，{info.api_version}")


@case(
    "2.2",
    Text("it declares what proves absence, and its batch limit", "声明何为“未签发”的证明以及批量上限"),
    rule="design 3, table of proofs",
    sent=Text("GetRegistry", "GetRegistry"),
    expected=Text(
        f"one of {', '.join(ABSENCE_PROOFS)}; 1 to {MAX_BATCH}", f"{'、'.join(ABSENCE_PROOFS)} 之一；1 至 {MAX_BATCH}"
    ),
    needs=(Need.ISSUES,),
)
async def declares_its_proof(stand: Stand) -> Text:
    info = stand.info
    told = f"{info.absence_proof}, {info.max_batch_size}"
    must(info.absence_proof in ABSENCE_PROOFS and 1 <= info.max_batch_size <= MAX_BATCH, told, told)
    return Text(told, told)


@case(
    "2.3",
    Text("every instrument has a base unit", "每一权益种类都有计量单位"),
    rule="R2",
    sent=Text("GetRegistry", "GetRegistry"),
    expected=Text("a code, a known base unit, 1 or more of it in a unit", "代码、已知计量单位、每单位含 1 个或以上"),
    needs=(Need.ISSUES,),
)
async def instruments_have_units(stand: Stand) -> Text:
    for each in stand.info.instruments:
        told = f"{each.code!r}: {each.base_unit}, {each.base_units_per_unit}"
        must(bool(each.code) and each.base_unit in BaseUnit.values()[1:] and each.base_units_per_unit >= 1, told, told)
    told = ", ".join(each.code for each in stand.info.instruments)
    return Text(told, told)


@case(
    "2.4",
    Text("the directory knows where the adapter answers", "目录中有适配器的地址"),
    rule="design 2: registries find each other through the directory",
    sent=Text("GetRegistryEntry at the lookup", "在查询中心调用 GetRegistryEntry"),
    expected=Text("an endpoint, API version v1, reachable", "地址、接口版本 v1、可达"),
)
async def directory_knows_it(stand: Stand) -> Text:
    request = directory_pb.GetRegistryEntryRequest(name=f"registries/{stand.fixture.registry}")
    entry = directory_pb.Registry()

    async def reachable() -> directory_pb.Registry | None:
        nonlocal entry
        entry = await stand.lookup.call(stand.lookup.directory.GetRegistryEntry, request)
        return entry if entry.reachability == directory_pb.REACHABILITY_REACHABLE else None

    await stand.until(reachable, lambda: _entry(entry))
    told = _entry(entry)
    must(bool(entry.endpoint) and entry.api_version == "v1", *told)
    return told


def _entry(entry: directory_pb.Registry) -> Text:
    state = directory_pb.Reachability.Name(entry.reachability)
    told = f"{entry.endpoint or '-'}, {entry.api_version or '-'}, {state}"
    return Text(told, told)


@case(
    "2.5",
    Text("its clock is right", "时钟准确"),
    rule="google.protobuf.Timestamp is UTC",
    sent=Text("RequestIssuance for a project that does not exist", "对不存在的项目调用 RequestIssuance"),
    expected=Text(
        f"create_time within {SKEW.seconds} s of the kit's clock",
        f"create_time 与测试方时钟相差不超过 {SKEW.seconds} 秒",
    ),
    needs=(Need.ISSUES,),
)
async def clock_is_right(stand: Stand) -> Text:
    before = datetime.now(UTC)
    order = stand.order(stand.spot(), project_id=stand.fixture.unknown_project)
    issuance = await stand.ended(order)
    after = datetime.now(UTC)
    created = issuance.create_time.ToDatetime(tzinfo=UTC)
    off = max(before - created, created - after, timedelta())
    told = f"{off.total_seconds():.1f} s off"
    must(off <= SKEW, told, f"相差 {off.total_seconds():.1f} 秒")
    must(
        issuance.update_time.ToDatetime(tzinfo=UTC) >= created,
        "update_time lies before create_time",
        "update_time 早于 create_time",
    )
    return Text(told, f"相差 {off.total_seconds():.1f} 秒")


CASES: Final[tuple[Case, ...]] = (
    code_and_version,
    declares_its_proof,
    instruments_have_units,
    directory_knows_it,
    clock_is_right,
)
