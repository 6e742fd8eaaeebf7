"""Act 6: three lists that share no key. What is one plant is told by names, places and sizes, or left to a person."""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib import resources
from typing import Final

from google.type.latlng_pb2 import LatLng

from soleclaim.api.common.v1.types_pb2 import Identifier
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb
from soleclaim.core.errors import Reason
from soleclaim.demo.plants import Months, Plant, ccer_project, ccer_reduction, gec_filing, gec_reading
from soleclaim.demo.stage import ActFailed, Line, Report, Stage, native_id, refusal_of, repeated
from soleclaim.rpc.status import from_status

ACT: Final = "identify"
MONTH: Final = Months(date(2025, 3, 1), 1)
FIRST_NUMBER: Final = 900_001
"""Of the plants of this act, so that their generated codes meet none of the other acts."""
_REGISTRY_OF: Final = {"gem": "gec", "cdm": "ccer"}


@dataclass(frozen=True, slots=True)
class Record:
    """One row of one list. ``truth``: which plant it is, as far as anybody can tell; looked at afterwards only."""

    source: str
    name: str
    name_local: str
    truth: str
    position: tuple[float, float] | None
    plant: Plant
    """For the codes that reality does not publish. No two records share one."""

    @property
    def told(self) -> str:
        """The name, for people."""
        return self.name or self.name_local

    @property
    def description(self) -> activity_pb.PlantDescription:
        """What the list says, beside the name."""
        return activity_pb.PlantDescription(
            name_local=self.name_local,
            capacity_kw=int(self.plant.capacity_mw * 1000),
            position=LatLng(latitude=self.position[0], longitude=self.position[1]) if self.position else None,
            region=self.plant.province if self.source == "gem" else "",
        )


def load_records() -> dict[str, list[Record]]:
    """The three lists of the extract."""
    text = resources.files("soleclaim.demo").joinpath("data", "three_lists", "records.csv").read_text("utf-8")
    lists: dict[str, list[Record]] = {"gem": [], "cdm": [], "wri": []}
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=FIRST_NUMBER):
        name = row["name"] or row["name_local"]
        plant = Plant(
            number=number, cdm_ref=row["id"], name_in_gec=name, name_in_ccer=name, fuel="hydro",
            capacity_mw=Decimal(row["capacity_mw"]), province=row["province"] or "Sichuan",
        )  # fmt: skip
        spot = (float(row["latitude"]), float(row["longitude"])) if row["latitude"] else None
        lists[row["list"]].append(Record(row["list"], row["name"], row["name_local"], row["plant"], spot, plant))
    return lists


async def identify(stage: Stage) -> Report:
    """GEC registers GEM's list, CCER the CDM's; WRI's asks before it applies; then one plant is issued for twice."""
    lists = load_records()
    gem = await _register(stage, lists["gem"])
    stage.progress(ACT, 1, 4)
    cdm = await _register(stage, lists["cdm"])
    stage.progress(ACT, 2, 4)
    holder = {name: record for record, name in zip(lists["gem"], gem, strict=True) if name}
    joined = [(one, holder[name]) for one, name in zip(lists["cdm"], cdm, strict=True) if name in holder]
    reviewed = [one for one, name in zip(lists["cdm"], cdm, strict=True) if not name]
    wrong = [(one, other) for one, other in joined if not one.truth or one.truth != other.truth]
    if wrong or not joined or not reviewed:
        told = "; ".join(f"{one.told} = {other.told}" for one, other in wrong)
        raise ActFailed(
            ACT,
            f"{len(joined)} joined, {len(reviewed)} to review, wrongly joined: {told or 'none'}",
            f"归并 {len(joined)} 项，待审 {len(reviewed)} 项，误归并：{told or '无'}",
        )
    asked = await _ask(stage, lists["wri"])
    stage.progress(ACT, 3, 4)
    by_hand, other = next((one, other) for one, other in joined if other.plant.province != "Tibet")
    refusal = await _issue_twice(stage, by_hand, other)
    stage.progress(ACT, 4, 4)
    separate = len(cdm) - len(joined) - len(reviewed)
    figures: dict[str, object] = {
        "records": {name: len(each) for name, each in lists.items()},
        "joined": len(joined),
        "to_review": len(reviewed),
        "separate": separate,
        "wrongly_joined": len(wrong),
        "asked_before": dict(asked),
        "example": {"gec": other.told, "ccer": by_hand.told, "refusal": refusal.english},
    }
    lines = (
        Line(
            f"CCER's {len(cdm)} CDM titles against GEC's {len(gem)} Chinese names, no key in common: {len(joined)}"
            f" joined, {len(reviewed)} held for a person, {separate} separate; none joined wrongly",
            f"CCER 的 {len(cdm)} 个 CDM 英文名与 GEC 的 {len(gem)} 个中文名，无共同标识：归并 {len(joined)} 项，"
            f"待人工审查 {len(reviewed)} 项，独立 {separate} 项；无误归并",
        ),
        Line(
            f"asked before applying, WRI's {len(lists['wri'])} names: {asked['same']} known already,"
            f" {asked['review']} perhaps, {asked['none']} not",
            f"申请前查询 WRI 的 {len(lists['wri'])} 个名称：已知 {asked['same']}，存疑 {asked['review']}，"
            f"未知 {asked['none']}",
        ),
        Line(
            f"GEC issued {MONTH} for {other.told}; CCER asked for {by_hand.told}: {refusal.english}",
            f"GEC 就 {other.told} 核发 {MONTH}；CCER 申请 {by_hand.told}：{refusal.chinese}",
        ),
    )
    return Report(ACT, figures, lines)


async def _register(stage: Stage, records: list[Record]) -> list[str]:
    """The activity of each record, by name; empty where a person has to tell."""
    registry = _REGISTRY_OF[records[0].source]
    requests = [
        activity_pb.RegisterActivityRequest(
            native_project=activity_pb.NativeProjectRef(
                registry=registry, native_project_id=native_id(registry, each.plant)
            ),
            country="CN",
            activity_type="hydro",
            display_name=each.told,
            time_zone="Asia/Shanghai",
            identifiers=[_own_code(registry, each.plant)],
            description=each.description,
        )
        for each in records
    ]
    client = stage.lookup[registry]
    batch = activity_pb.BatchRegisterActivitiesRequest(request_id=f"{stage.run}-identify-{registry}", requests=requests)
    answer = await repeated(lambda: client.call(client.activities.BatchRegisterActivities, batch, timeout_s=60))
    names = []
    for result in answer.results:
        if result.HasField("error"):
            refusal = from_status(result.error)
            if refusal.reason is not Reason.IDENTITY_UNDER_REVIEW:
                raise refusal
        names.append(result.activity.name)
    return names


def _own_code(registry: str, plant: Plant) -> Identifier:
    """What the registry itself numbers by: nobody else knows it."""
    if registry == "gec":
        return Identifier(scheme="gec_filing_code", value=plant.filing_code)
    return Identifier(scheme="cn_project_code", value=plant.project_code)


async def _ask(stage: Stage, records: list[Record]) -> Counter[str]:
    client, found = stage.lookup["ccer"], Counter[str]()
    for each in records:
        request = activity_pb.FindActivitiesRequest(
            country="CN", activity_type="hydro", display_name=each.name, description=each.description
        )
        answer = await client.call(client.activities.FindActivities, request)
        best = answer.candidates[0] if answer.candidates else None
        found["none" if best is None else "same" if best.same else "review"] += 1
    return found


async def _issue_twice(stage: Stage, at_ccer: Record, at_gec: Record) -> Line:
    """GEC issues a month under its name; CCER, under its own, is refused. Both through adapters and native systems."""
    # The filing carries no national code: else the two would share a key after all.
    filing = {name: value for name, value in gec_filing(at_gec.plant).items() if name != "projectCode"}
    await stage.native("gec", "/api/v1/filings", {"filings": [filing]})
    await stage.native("gec", "/api/v1/readings", {"readings": [gec_reading(at_gec.plant, MONTH.first)]})
    await stage.native("ccer", "/api/assumed/projects", {"projects": [ccer_project(at_ccer.plant)]})
    await stage.native("ccer", "/api/assumed/reductions", {"reductions": [ccer_reduction(at_ccer.plant, MONTH)]})
    (issued,) = await stage.request("gec", "identify-gec", (at_gec.plant,), MONTH)
    (refused,) = await stage.request("ccer", "identify-ccer", (at_ccer.plant,), MONTH)
    is_refused = refused.state == registry_pb.ISSUANCE_STATE_REFUSED
    if issued.state != registry_pb.ISSUANCE_STATE_ISSUED or not is_refused:
        states = [registry_pb.IssuanceState.Name(each.state) for each in (issued, refused)]
        raise ActFailed(ACT, f"GEC is {states[0]} and CCER {states[1]}", f"GEC 为 {states[0]}，CCER 为 {states[1]}")
    refusal = refusal_of(refused)
    if refusal.reason is not Reason.ACTIVITY_ALREADY_ISSUED:
        raise ActFailed(ACT, f"refused for another reason: {refusal}", f"因其他原因被拒：{refusal.message_zh}")
    return Line(refusal.message_en, refusal.message_zh)
