"""What is particular to local credits: their area, their filing numbers, and the form of each registry."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.natives import NativeSettings, SettingsFault, open_native
from soleclaim.natives.local.area import LocalRow
from soleclaim.natives.registries import registry_row
from soleclaim.registry.native import NativeOrder, NativeRefusal, NativeUnavailable
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

if TYPE_CHECKING:
    from tests.natives.conftest import Bench, Liar
else:
    Bench = Liar = Any

EXAMPLES = {
    "bfcer": ("BFCER-110109-2024-007", "BFCER-130102-2024-007"),
    "bjes": ("JNX1101080000012", "JNX1201080000012"),
    "bjph": ("京普惠110105-2025-0031", "京普惠440305-2025-0031"),
    "phcer": ("PHCER-441502-2024-00012", "PHCER-110105-2024-00012"),
    "szph": ("SZPH44030500000012", "SZPH44010600000012"),
    "tfcer": ("TFCER-120225-2024-001", "TFCER-110109-2024-001"),
    "ffcer": ("FFCER350721-000012", "FFCER360721-000012"),
    "cqcer": ("CQ-500101-LY-00012", "CQ-510101-LY-00012"),
    "shcer": ("SHCER-310115-2024-0012", "SHCER-320115-2024-0012"),
}
"""A filing number inside the area of each, and one elsewhere."""


@pytest.fixture
def kind() -> str:
    return "local"


def settings(registry: str) -> NativeSettings:
    # Port 9 is the discard service, which nobody runs: whoever calls it, gets an unclear answer.
    return NativeSettings(registry=registry, url="http://127.0.0.1:9", timeout_s=0.5, longest_under_way_s=1)


def row_of(registry: str) -> LocalRow:
    return registry_row("soleclaim.natives.local", registry, LocalRow)


@pytest.mark.parametrize("registry", sorted(EXAMPLES))
def test_each_registry_takes_projects_of_its_own_area_only(bench: Bench, registry: str) -> None:
    row, (inside, elsewhere) = row_of(registry), EXAMPLES[registry]
    assert row.refusal_of(bench.order("r", native_project_id=inside)) is None
    refusal = row.refusal_of(bench.order("r", native_project_id=elsewhere))
    assert refusal is not None
    assert (refusal.code, refusal.lasting) == ("PROJECT_OUTSIDE_AREA", True)
    assert row.authority in refusal.message
    assert row.area in refusal.message


@pytest.mark.parametrize("registry", sorted(code for code in EXAMPLES if row_of(code).form == "json"))
async def test_a_project_elsewhere_is_refused_before_any_call(bench: Bench, registry: str) -> None:
    native = open_native("local", settings(registry))
    inside, elsewhere = EXAMPLES[registry]
    [refusal] = await native.issue([bench.order("r", native_project_id=elsewhere)])
    assert isinstance(refusal, NativeRefusal)
    assert refusal.lasting
    [result] = await native.issue([bench.order("r", native_project_id=inside)])
    assert not isinstance(result, NativeRefusal), "this one was sent, to nobody"
    await native.close()


@pytest.mark.parametrize(
    "number",
    ["PHCER-441502-2024-12", "phcer-441502-2024-00012", "PHCER-44150２-2024-00012", "441502", "", "SZPH44030500000012"],
)
async def test_a_filing_number_of_another_form_is_refused_before_any_call(bench: Bench, number: str) -> None:
    native = open_native("local", settings("phcer"))
    [refusal] = await native.issue([bench.order("r", native_project_id=number)])
    assert isinstance(refusal, NativeRefusal)
    assert (refusal.code, refusal.lasting) == ("FILING_NUMBER_UNFIT", True)
    await native.close()


async def test_a_number_in_another_script_goes_there_and_back(bench: Bench, tmp_path: Path) -> None:
    number, _ = EXAMPLES["bjph"]
    filing = {
        "filingNo": number, "divisionCode": "110105", "projectName": "朝阳区绿色出行", "applicant": "某公司",
        "category": "低碳出行", "province": "北京市",
    }  # fmt: skip
    reduction = {"filingNo": number, "from": "2025-01-01", "to": "2025-06-30", "verifiedTonnes": "804.345"}
    with running("local", StandIn(tmp_path / "bjph.db", "bjph")) as url:
        for path, rows in (("filings", [filing]), ("reductions", [reduction])):
            bench.http.post(f"{url}/office/{path}", json={path: rows}).raise_for_status()
        native = open_native("local", NativeSettings(registry="bjph", url=url, timeout_s=5, longest_under_way_s=1))
        project = await native.get_project(number)
        assert project is not None
        assert (project.native_project_id, project.activity_type, project.identifiers) == (number, "transport", ())
        outcome = await native.get_outcome(number, bench.period)
        assert outcome is not None
        assert outcome.quantity == 804_345, "kilograms, exactly"
        order = NativeOrder("r:1", 1, number, bench.period, 804)
        [issuance] = await native.issue([order])
        assert await native.find("r:1") == issuance
        [refusal] = await native.issue([NativeOrder("r:2", 1, number, bench.period, 1)])
        assert isinstance(refusal, NativeRefusal), "the rest of 345 kg is no unit"
        await native.close()


@pytest.mark.parametrize(
    "change",
    [
        {"divisionCode": "110105"},
        {"divisionCode": 440106},
        {"divisionCode": "4401"},
        {"projectName": None},
        {"filingNo": "PHCER-440106-2024-00013"},
    ],
)
async def test_a_record_that_contradicts_its_number_or_lacks_a_field_is_no_answer(
    bench: Bench, liar: Liar, change: dict[str, object]
) -> None:
    answer = bench.http.get(bench.paths.project).json()
    answer["result"] |= change
    liar.body = json.dumps(answer).encode()
    native = bench.open(liar.url)
    with pytest.raises(NativeUnavailable, match="project PHCER"):
        await native.get_project(bench.project_id)
    await native.close()


@pytest.mark.parametrize("tonnes", ["804.3456", 804.345, "1.804,3", "-5", ""])
async def test_a_reduction_that_is_no_whole_kilograms_is_no_answer(bench: Bench, liar: Liar, tonnes: object) -> None:
    answer = bench.http.get(f"{bench.paths.outcome}/2025-01-01/2025-06-30").json()
    answer["result"]["verifiedTonnes"] = tonnes
    liar.body = json.dumps(answer).encode()
    native = bench.open(liar.url)
    with pytest.raises(NativeUnavailable, match="verifiedTonnes"):
        await native.get_outcome(bench.project_id, bench.period)
    await native.close()


async def test_a_thousands_mark_and_days_in_other_forms_are_read_right(bench: Bench, liar: Liar) -> None:
    issuance = await bench.issued("lock-1:1", units=1_200)
    answer = bench.http.get(bench.paths.find, params={"reference": "lock-1:1"}).json()
    answer["result"] |= {"tonnes": "1,200", "from": "2025年1月1日", "to": "2025/6/30"}
    liar.body = json.dumps(answer).encode()
    native = bench.open(liar.url)
    assert await native.find("lock-1:1") == issuance
    await native.close()


async def test_not_found_by_a_proxy_is_no_answer_of_the_registry(bench: Bench) -> None:
    with pytest.raises(NativeUnavailable, match="project"):
        await bench.native.get_project("no/such/route")


def test_form_and_registry_are_chosen_by_data() -> None:
    forms = {code: row_of(code).form for code in EXAMPLES}
    assert sorted(code for code, form in forms.items() if form == "workbook") == ["bfcer", "shcer", "tfcer"]
    with pytest.raises(SettingsFault, match="registry must be one of bfcer, bjes, bjph, cqcer, ffcer, phcer"):
        open_native("local", settings("ccer"))
