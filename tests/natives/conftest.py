"""A native stand-in over real HTTP with one measured project, and the client under test."""

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from soleclaim.core.period import Period
from soleclaim.natives import NativeSettings, open_native
from soleclaim.natives.civil import CHINA, period_of_days, period_of_month, period_of_year
from soleclaim.natives.signing import signature_of
from soleclaim.registry.native import NativeIssuance, NativeOrder, NativeRegistry
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

TIMEOUT_S = 10
HASTY_TIMEOUT_S = 0.3
"""For calls that are never answered, so that waiting for them does not take long."""

UNITS = 1_234
"""Units that the measured outcome allows."""

SECRET = b"a secret for tests"
REGISTRIES = {"ets": "cea", "local": "phcer"}
"""Which registry of a family of several is tried; a family of one is named like its registry."""

SIGNED = {"ets"}
"""Families whose requests are signed."""

UNIT_ID = "044000000123"
PROJECT_CODE = "2509-320193-89-01-544060"
FILING_NO = "PHCER-440106-2024-00012"
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
    "ets": Paths(
        project=f"/openapi/v1/units/{UNIT_ID}",
        outcome=f"/openapi/v1/units/{UNIT_ID}/allocations",
        issue="/openapi/v1/allowance-issues",
        find="/openapi/v1/allowance-issues/by-reference",
        listing="/openapi/v1/allowance-issues",
    ),
    "local": Paths(
        project=f"/api/filings/{FILING_NO}",
        outcome=f"/api/filings/{FILING_NO}/reductions",
        issue="/api/credits",
        find="/api/references",
        listing="/api/credits",
    ),
}


def settings_of(kind: str, url: str, secret_file: Path, *, timeout_s: float = TIMEOUT_S) -> NativeSettings:
    """As an adapter of the family's registry has them."""
    registry = REGISTRIES.get(kind, kind)
    settings = NativeSettings(registry=registry, url=url, timeout_s=timeout_s, longest_under_way_s=2)
    return replace(settings, key_id=registry, secret_file=secret_file) if kind in SIGNED else settings


class Liar:
    """A server that answers every request with the same body."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.content_type = "application/json"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers = dict(self.headers)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-type", outer.content_type)
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_POST = do_GET  # noqa: N815  the name that the base class calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


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
    secret_file: Path
    paths: Paths = field(init=False)

    def __post_init__(self) -> None:
        self.paths = PATHS[self.kind]

    def order(self, reference: str, *, units: int = 10, token: int = 1, **changed: Any) -> NativeOrder:
        return replace(NativeOrder(reference, token, self.project_id, self.period, units), **changed)

    def open(self, url: str, *, timeout_s: float = 5) -> NativeRegistry:
        """Another client of the kind, of a server elsewhere."""
        return open_native(self.kind, settings_of(self.kind, url, self.secret_file, timeout_s=timeout_s))

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
    assert answer.get("success", True), answer
    assert answer.get("retCode", "0000") == "0000", answer
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
        "capacityMw": "501.5",
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
        "capacityMw": "501.5",
    }
    post(http, "/api/v1/filings", filings=[filing])
    readings = [("2025-02", 5_700), ("2025-03", UNITS * 1_000 - 500)]
    post(
        http,
        "/api/v1/readings",
        readings=[{"filingCode": FILING_CODE, "month": month, "kwh": kwh} for month, kwh in readings],
    )


def set_up_ets(http: httpx.Client) -> None:
    unit = {
        "unitId": UNIT_ID,
        "unitName": "汕尾甲子一期热电厂",
        "uscc": "91441500MA4UQ0001X",
        "sector": "发电",
        "province": "广东省",
        "installedMw": "501.5",
        "projectCode": PROJECT_CODE,
    }
    post(http, "/office/units", units=[unit])
    allocation = {"unitId": UNIT_ID, "complianceYear": 2024, "approved": UNITS}
    post(http, "/office/allocations", allocations=[allocation])


def set_up_local(http: httpx.Client) -> None:
    filing = {
        "filingNo": FILING_NO,
        "divisionCode": "440106",
        "projectName": "甲子一期分布式光伏",
        "applicant": "中广核汕尾新能源有限公司",
        "category": "分布式光伏",
        "province": "广东省",
        "capacityMw": "501.5",
        "projectCode": PROJECT_CODE,
    }
    post(http, "/office/filings", filings=[filing])
    reduction = {"filingNo": FILING_NO, "from": "2025-01-01", "to": "2025-06-30", "verifiedTonnes": f"{UNITS}.000"}
    post(http, "/office/reductions", reductions=[reduction])


def years(measured: int, unmeasured: int) -> tuple[Period, Period]:
    return period_of_year(measured, CHINA), period_of_year(unmeasured, CHINA)


def months(measured: str, unmeasured: str) -> tuple[Period, Period]:
    return period_of_month(measured, CHINA), period_of_month(unmeasured, CHINA)


HALF_YEARS = (
    period_of_days(date(2025, 1, 1), date(2025, 6, 30), CHINA),
    period_of_days(date(2025, 7, 1), date(2025, 12, 31), CHINA),
)

SET_UPS: dict[str, tuple[Callable[[httpx.Client], None], str, tuple[Period, Period]]] = {
    "ccer": (set_up_ccer, CCER_ID, HALF_YEARS),
    "ets": (set_up_ets, UNIT_ID, years(2024, 2023)),
    "local": (set_up_local, FILING_NO, HALF_YEARS),
    "gec": (set_up_gec, FILING_CODE, months("2025-03", "2025-04")),
}
"""How a stand-in gets its project, the project's id, and a period that is measured and one that is not."""


@pytest.fixture
def benches() -> set[str]:
    return set(SET_UPS)


@pytest.fixture(params=sorted(SET_UPS))
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
    stand_in = StandIn(tmp_path / "native.db", REGISTRIES.get(kind, kind), secret=SECRET if kind in SIGNED else b"")
    yield stack.enter_context(running(kind, stand_in))
    ending(stack)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


@pytest.fixture
async def bench(kind: str, url: str, secret_file: Path) -> AsyncIterator[Bench]:
    set_up, project_id, (measured, unmeasured) = SET_UPS[kind]
    settings = settings_of(kind, url, secret_file)
    native = open_native(kind, settings)
    hasty = open_native(kind, replace(settings, timeout_s=HASTY_TIMEOUT_S))
    auth = signature_of(settings) if kind in SIGNED else None
    with httpx.Client(base_url=url, trust_env=False, verify=False, auth=auth) as http:  # noqa: S501  plain HTTP
        set_up(http)
        yield Bench(kind, url, native, hasty, http, project_id, measured, unmeasured, secret_file)
    await native.close()
    await hasty.close()
