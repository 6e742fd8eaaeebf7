"""A native stand-in over real HTTP with one measured project, and the client under test."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import httpx
import pytest

from soleclaim.core.period import Period
from soleclaim.natives import open_native
from soleclaim.natives.civil import CHINA, period_of_days, period_of_month
from soleclaim.registry.native import NativeIssuance, NativeOrder, NativeRegistry
from soleclaim.sandbox.server import running

TIMEOUT_S = 10
HASTY_TIMEOUT_S = 0.3
"""For calls that are never answered, so that waiting for them does not take long."""

UNITS = 1_234
"""Units that the measured outcome allows."""

FILING_CODE = "FDWD2407150000123"
CCER_ID = "1500000000000000777"


@dataclass(frozen=True)
class Paths:
    """Where the stand-in answers what."""

    project: str
    outcome: str
    issue: str
    find: str
    listing: str


PATHS = {
    "ccer": Paths(
        project="/api/assumed/project",
        outcome="/api/assumed/reduction",
        issue="/api/assumed/issue",
        find="/api/assumed/find",
        listing="/api/assumed/issuances",
    ),
    "gec": Paths(
        project=f"/api/v1/filings/{FILING_CODE}",
        outcome=f"/api/v1/filings/{FILING_CODE}/outcomes",
        issue="/api/v1/issuances",
        find="/api/v1/references",
        listing="/api/v1/issuances",
    ),
}


@dataclass
class Bench:
    """One registry of one kind, with ``UNITS`` units to issue for ``period``."""

    kind: str
    url: str
    native: NativeRegistry
    hasty: NativeRegistry
    http: httpx.Client
    project_id: str
    period: Period
    unmeasured: Period
    paths: Paths = field(init=False)

    def __post_init__(self) -> None:
        self.paths = PATHS[self.kind]

    def order(self, reference: str, *, units: int = 10, token: int = 1, **changed: object) -> NativeOrder:
        content: dict[str, object] = {"native_project_id": self.project_id, "period": self.period, **changed}
        return NativeOrder(external_reference=reference, fencing_token=token, units=units, **content)  # type: ignore[arg-type]

    def fault(self, name: str, path: str, **options: object) -> None:
        self.http.post("/_faults", json={"fault": name, "path": path, **options}).raise_for_status()

    def clear_faults(self) -> None:
        self.http.delete("/_faults").raise_for_status()

    async def issued(self, reference: str, *, units: int = 10, token: int = 1) -> NativeIssuance:
        """Issue, and insist that it worked."""
        [result] = await self.native.issue([self.order(reference, units=units, token=token)])
        assert isinstance(result, NativeIssuance), result
        return result

    async def listed(self) -> list[NativeIssuance]:
        return [issuance async for issuance in self.native.list_issuances()]


def post(http: httpx.Client, path: str, **body: object) -> dict[str, object]:
    answer: dict[str, object] = http.post(path, json=body).raise_for_status().json()
    assert answer.get("successful", True), answer
    return answer


def set_up_ccer(http: httpx.Client) -> None:
    project = {
        "projectInfoId": CCER_ID,
        "projectCode": "2509-320193-89-01-544060",
        "projectName": "中广核汕尾甲子一期500兆瓦海上风电场项目",
        "orgCustomerName": "中广核汕尾新能源有限公司",
        "projectType": "A0102",
        "projectTypeName": "并网海上风力发电",
        "methodologyNum": "CCER-01-002-V01",
        "provinceName": "广东省",
        "expectYearNum": 804_345,
    }
    post(http, "/api/assumed/projects", projects=[project])
    reduction = {"projectInfoId": CCER_ID, "startDate": "20250101", "endDate": "20250630", "certifiedNum": UNITS}
    post(http, "/api/assumed/reductions", reductions=[reduction])


def set_up_gec(http: httpx.Client) -> None:
    filing = {
        "filingCode": FILING_CODE,
        "projectName": "汕尾甲子一期海上风电",
        "owner": "中广核汕尾新能源有限公司",
        "projectCode": "2509-320193-89-01-544060",
        "energyType": "风电",
        "province": "广东省",
    }
    post(http, "/api/v1/filings", filings=[filing])
    readings = [("2025-02", 5_700), ("2025-03", UNITS * 1_000 - 500)]
    post(
        http,
        "/api/v1/readings",
        readings=[{"filingCode": FILING_CODE, "month": month, "kwh": kwh} for month, kwh in readings],
    )


@pytest.fixture(params=["ccer", "gec"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def ending() -> Iterator[Callable[[contextlib.ExitStack], None]]:
    """Ends stand-ins beside the tests: a web server takes its time to stop, and every test has its own."""
    under_way = []
    with ThreadPoolExecutor(max_workers=4) as pool:
        yield lambda stack: under_way.append(pool.submit(stack.close))
    for ended in under_way:
        ended.result()


@pytest.fixture
def url(kind: str, tmp_path: Path, ending: Callable[[contextlib.ExitStack], None]) -> Iterator[str]:
    stack = contextlib.ExitStack()
    yield stack.enter_context(running(kind, tmp_path / "native.db"))
    ending(stack)


@pytest.fixture
async def bench(kind: str, url: str) -> AsyncIterator[Bench]:
    native = open_native(kind, url, timeout_s=TIMEOUT_S, longest_under_way_s=2)
    hasty = open_native(kind, url, timeout_s=HASTY_TIMEOUT_S, longest_under_way_s=2)
    with httpx.Client(base_url=url, trust_env=False, verify=False) as http:  # noqa: S501  plain HTTP
        if kind == "ccer":
            set_up_ccer(http)
            measured = period_of_days(date(2025, 1, 1), date(2025, 6, 30), CHINA)
            unmeasured = period_of_days(date(2025, 7, 1), date(2025, 12, 31), CHINA)
        else:
            set_up_gec(http)
            measured, unmeasured = (period_of_month(month, CHINA) for month in ("2025-03", "2025-04"))
        project_id = CCER_ID if kind == "ccer" else FILING_CODE
        yield Bench(kind, url, native, hasty, http, project_id, measured, unmeasured)
    await native.close()
    await hasty.close()
