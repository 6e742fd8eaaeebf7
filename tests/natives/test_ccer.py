"""What is particular to the CCER system."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.registry.native import NativeUnavailable, NativeUnknown

if TYPE_CHECKING:
    from tests.natives.conftest import Bench
else:
    Bench = Any


@pytest.fixture
def kind() -> str:
    return "ccer"


async def test_reference_is_not_guarded_and_the_second_issuance_is_not_hidden(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    first = await bench.issued("lock-1:1")
    assert await bench.native.find("lock-1:1") == first
    assert not caplog.records
    second = await bench.issued("lock-1:1")
    assert first != second
    assert await bench.native.find("lock-1:1") == first
    assert [record.levelno for record in caplog.records if record.name.startswith("soleclaim")] == [logging.ERROR]
    assert await bench.listed() == [first, second]


async def test_row_twice_in_a_search_is_one_issuance(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    first = await bench.issued("lock-1:1")
    bench.fault("duplicate_rows", bench.paths.find)
    assert await bench.native.find("lock-1:1") == first
    assert not [record for record in caplog.records if record.name.startswith("soleclaim")]


async def test_row_lost_in_a_search_is_not_absence(bench: Bench) -> None:
    await bench.issued("lock-1:1")
    bench.fault("lost_rows", bench.paths.find)
    with pytest.raises(NativeUnavailable, match="1 issuances announced, 0 shown"):
        await bench.native.find("lock-1:1")


async def test_late_call_with_an_old_token_is_refused_by_the_registry(bench: Bench) -> None:
    bench.fault("late_work", bench.paths.issue, delay_s=0.6)
    [late] = await bench.hasty.issue([bench.order("lock-1:1", token=1)])
    assert isinstance(late, NativeUnknown)
    newer = await bench.issued("lock-2:2", token=2)
    await asyncio.sleep(0.6)
    assert await bench.native.find("lock-1:1") is None
    assert await bench.listed() == [newer]


async def test_project_in_publicity_is_known_and_its_reduction_not_yet_measured(bench: Bench) -> None:
    project = {
        "projectCode": "2509-320193-89-01-544061",
        "projectName": "湖北五峰壶瓶山等三个国有林场及七个乡镇用材林造林碳汇项目",
        "orgCustomerName": "五峰长森林业投资开发有限责任公司",
        "projectType": "N0101",
        "projectTypeName": "造林碳汇",
        "methodologyNum": "CCER-14-001-V01",
        "provinceName": "湖北省",
        "expectYearNum": 6_170,
        "publicStartDate": "20260717",
        "stage": "public",
    }
    answer = bench.http.post("/api/assumed/projects", json={"projects": [project]}).json()
    project_id = answer["dataInfo"][0]["projectInfoId"]
    known = await bench.native.get_project(project_id)
    assert known is not None
    assert known.activity_type == "afforestation"
    reduction = {
        "projectInfoId": project_id,
        "startDate": "20250101",
        "endDate": "20250630",
        "certifiedNum": 5,
        "stage": "public",
    }
    answer = bench.http.post("/api/assumed/reductions", json={"reductions": [reduction]}).json()
    assert await bench.native.get_outcome(project_id, bench.period) is None
    application = {"applyId": answer["dataInfo"][0]["applyId"]}
    bench.http.post("/api/assumed/registrations", json={"applications": [application]}).raise_for_status()
    outcome = await bench.native.get_outcome(project_id, bench.period)
    assert outcome is not None
    assert outcome.quantity == 5_000
