"""Whole adapters of the families of several registries: emission trading systems and local credits."""

from datetime import date
from typing import Final

import httpx
import pytest

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient
from soleclaim.core.errors import Reason
from soleclaim.core.period import Period
from soleclaim.natives.civil import CHINA, period_of_days, period_of_year
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status
from tests.registry.stack import DECLARED, Process, Stack, settled

YEAR: Final = period_of_year(2024, CHINA)
PLACES: Final = ("", "海丰", "陆河", "博罗", "龙门", "台山", "廉江", "乐昌")
"""Far from each other in name: a unit that looks like another would wait for a person."""

FIRST_HALF: Final = period_of_days(date(2024, 1, 1), date(2024, 6, 30), CHINA)


def file(stack: Stack, registry: str, path: str, **rows: list[dict[str, object]]) -> None:
    answer = httpx.post(f"{stack.natives[registry]}{path}", json=rows, trust_env=False).raise_for_status().json()
    assert answer.get("retCode", "0000") == "0000", answer
    assert answer.get("successful", True), answer


def file_unit(stack: Stack, number: int) -> str:
    """A covered unit with an allocation of 900 t for 2024."""
    unit_id = f"0{number:011d}"
    unit: dict[str, object] = {
        "unitId": unit_id, "unitName": f"{PLACES[number]}热电厂", "uscc": "91441500MA4UQ0001X", "sector": "发电",
        "province": "广东省", "projectCode": project_code(number),
    }  # fmt: skip
    file(stack, "cea", "/office/units", units=[unit])
    file(
        stack, "cea", "/office/allocations", allocations=[{"unitId": unit_id, "complianceYear": 2024, "approved": 900}]
    )
    return unit_id


def file_reduction(stack: Stack, number: int, last_day: str) -> str:
    """A CCER project of the same unit with a certified reduction from the first day of 2024."""
    project_id = f"15000000000000{number:05d}"
    project: dict[str, object] = {
        "projectInfoId": project_id, "projectCode": project_code(number),
        "projectName": f"{PLACES[number]}热电厂改造项目", "orgCustomerName": f"{PLACES[number]}热电厂",
        "projectType": "A0102", "projectTypeName": "节能改造",
        "methodologyNum": "CCER-01-003-V01", "provinceName": "广东省", "expectYearNum": 900,
    }  # fmt: skip
    file(stack, "ccer", "/api/assumed/projects", projects=[project])
    reduction: dict[str, object] = {
        "projectInfoId": project_id, "startDate": "20240101", "endDate": last_day, "certifiedNum": 99,
    }  # fmt: skip
    file(stack, "ccer", "/api/assumed/reductions", reductions=[reduction])
    return project_id


def set_fault(stack: Stack, registry: str, fault: dict[str, object]) -> None:
    httpx.delete(f"{stack.natives[registry]}/_faults", trust_env=False).raise_for_status()
    httpx.post(f"{stack.natives[registry]}/_faults", json=fault, trust_env=False).raise_for_status()


def hits(stack: Stack, registry: str) -> list[int]:
    """How often each fault that was set was met."""
    faults = httpx.get(f"{stack.natives[registry]}/_faults", trust_env=False).json()["faults"]
    return [each["hits"] for each in faults]


def project_code(number: int) -> str:
    return f"2401-441500-44-01-{number:06d}"


async def issue(client: RegistryClient, project_id: str, period: Period) -> pb.Issuance:
    request = pb.RequestIssuanceRequest(
        request_id=f"issue-{project_id}", native_project_id=project_id, period=to_interval(period), declaration=DECLARED
    )
    return await settled(client, request)


async def state_of(lookup: LookupClient, issuance: pb.Issuance) -> int:
    lock = await lookup.call(lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=issuance.issuance_lock))
    return lock.state


async def test_allowances_are_issued_under_a_lock(stack: Stack, adapters: list[Process], lookup: LookupClient) -> None:
    unit_id = file_unit(stack, 1)
    adapters.append(stack.adapter("cea"))
    async with stack.dial(adapters[0]) as cea:
        allowances = await issue(cea, unit_id, YEAR)
    assert (allowances.state, allowances.units) == (pb.ISSUANCE_STATE_ISSUED, 900), allowances.error.message
    assert [(block.start, block.end) for block in allowances.blocks] == [(1, 900)]
    assert await state_of(lookup, allowances) == lock_pb.ISSUANCE_LOCK_STATE_ISSUED
    assert allowances.reference in await stack.native_references("cea")


async def test_local_credits_are_issued_under_a_lock(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    number = "PHCER-441502-2024-00012"
    filing: dict[str, object] = {
        "filingNo": number, "divisionCode": "441502", "projectName": "城区分布式光伏", "applicant": "某公司",
        "category": "分布式光伏", "province": "广东省", "projectCode": project_code(2),
    }  # fmt: skip
    file(stack, "phcer", "/office/filings", filings=[filing])
    reduction: dict[str, object] = {
        "filingNo": number, "from": "2024-01-01", "to": "2024-06-30", "verifiedTonnes": "804.345",
    }  # fmt: skip
    file(stack, "phcer", "/office/reductions", reductions=[reduction])
    adapters.append(stack.adapter("phcer"))
    async with stack.dial(adapters[0]) as phcer:
        credit = await issue(phcer, number, FIRST_HALF)
    assert (credit.state, credit.units) == (pb.ISSUANCE_STATE_ISSUED, 804)
    assert await state_of(lookup, credit) == lock_pb.ISSUANCE_LOCK_STATE_ISSUED
    assert await stack.native_references("phcer") == [credit.reference]


@pytest.mark.parametrize(("number", "last_day", "period"), [(3, "20241231", YEAR), (4, "20240630", FIRST_HALF)])
async def test_a_unit_with_allowances_gets_no_credit_for_that_year(
    stack: Stack, adapters: list[Process], number: int, last_day: str, period: Period
) -> None:
    unit_id, project_id = file_unit(stack, number), file_reduction(stack, number, last_day)
    adapters += [stack.adapter("cea"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as cea, stack.dial(adapters[1]) as ccer:
        allowances = await issue(cea, unit_id, YEAR)
        assert allowances.state == pb.ISSUANCE_STATE_ISSUED
        credit = await issue(ccer, project_id, period)
    assert credit.state == pb.ISSUANCE_STATE_REFUSED
    assert credit.activity == allowances.activity
    assert from_status(credit.error).reason is Reason.ACTIVITY_ALREADY_ISSUED
    assert await stack.native_references("ccer") == []


async def test_a_unit_with_a_credit_gets_no_allowances_for_that_year(stack: Stack, adapters: list[Process]) -> None:
    unit_id, project_id = file_unit(stack, 5), file_reduction(stack, 5, "20240630")
    adapters += [stack.adapter("cea"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as cea, stack.dial(adapters[1]) as ccer:
        credit = await issue(ccer, project_id, FIRST_HALF)
        assert credit.state == pb.ISSUANCE_STATE_ISSUED
        allowances = await issue(cea, unit_id, YEAR)
    assert from_status(allowances.error).reason is Reason.ACTIVITY_ALREADY_ISSUED
    assert allowances.reference not in await stack.native_references("cea")
    assert allowances.activity == credit.activity


@pytest.mark.parametrize(
    ("number", "fault"),
    [(6, {"fault": "skewed_clock", "delay_s": 400}), (7, {"fault": "html_200", "after_work": True})],
    ids=["the clock was wrong", "the answer was lost"],
)
async def test_an_order_in_doubt_is_sent_again_and_issued_once(
    stack: Stack, adapters: list[Process], number: int, fault: dict[str, object]
) -> None:
    unit_id = file_unit(stack, number)
    adapters.append(stack.adapter("cea"))
    async with stack.dial(adapters[0]) as cea:
        set_fault(stack, "cea", {**fault, "path": "/openapi/v1/allowance-issues", "times": 1})
        allowances = await issue(cea, unit_id, YEAR)
    assert hits(stack, "cea") == [1]
    assert allowances.state == pb.ISSUANCE_STATE_ISSUED, allowances.error.message
    assert (await stack.native_references("cea")).count(allowances.reference) == 1
