"""Adapters of registries that issue nothing, whole, over mutual TLS, with a real lookup and the native side."""

import asyncio
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from soleclaim.api.lookup.v1 import settlement_service_pb2 as pb2
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.core.errors import Reason
from soleclaim.natives.archive.client import ArchiveNative
from soleclaim.natives.greenpower.client import GreenPowerNative
from soleclaim.registry.native import SettlementSource
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn
from tests.wire.adapters import adapter
from tests.wire.conftest import DECLARED, GEC, OPERATOR, Wire, block, fresh, month, refused

TABLES: Final = Path(str(resources.files("soleclaim") / "sandbox/archive/panda")).as_uri()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[httpx.Client]:
    """The stand-in of gp-bj."""
    with (
        running("greenpower", StandIn(tmp_path / "native.db", "gp-bj")) as url,
        httpx.Client(base_url=url, trust_env=False, verify=False) as http,  # noqa: S501  plain HTTP
    ):
        yield http


@pytest.mark.parametrize(("code", "kind"), [("gp-bj", "greenpower"), ("panda", "archive")])
async def test_a_registry_that_issues_nothing_says_so_and_refuses_every_request(
    own_wire: Wire, tmp_path: Path, exchange: httpx.Client, code: str, kind: str
) -> None:
    url = str(exchange.base_url) if kind == "greenpower" else TABLES
    asked: dict[str, Any] = {
        "native_project_id": "FDWD2407150000123", "period": month(), "units": 1, "declaration": DECLARED,
    }  # fmt: skip
    requests = {
        "RequestIssuance": pb.RequestIssuanceRequest(request_id=fresh(), **asked),
        "BatchRequestIssuances": pb.BatchRequestIssuancesRequest(
            request_id=fresh(), requests=[pb.RequestIssuanceRequest(**asked)]
        ),
        "CheckIssuance": pb.CheckIssuanceRequest(**asked),
    }
    async with adapter(own_wire, tmp_path, code, kind, url) as client:
        told = await client.call(client.registry.GetRegistry, pb.GetRegistryRequest())
        assert (told.code, list(told.instruments)) == (code, [])
        for method, request in requests.items():
            await refused(client.call(getattr(client.registry, method), request), Reason.REGISTRY_ISSUES_NOTHING)
        listed = await client.call(client.registry.ListIssuances, pb.ListIssuancesRequest())
        assert not listed.issuances, "a refusal leaves nothing in the journal"


FILING_CODE: Final = "FDWD2407150000123"


def certificates(first: int, last: int) -> dict[str, str]:
    code = f"{FILING_CODE}202503%07d1T"
    return {"startCode": code % first, "endCode": code % last}


def settle(http: httpx.Client, *ranges: dict[str, str], **changed: str) -> str:
    """Settle a line of ten certificates, or what is said; its number."""
    line = {
        "filingCode": FILING_CODE, "contractNo": "BJGP2025000001", "month": "2025-03", "energy": "10000",
        "buyerCode": "91110000100003962T", "certificates": list(ranges), **changed,
    }  # fmt: skip
    [number] = http.post("/office/settlements", json={"lines": [line]}).raise_for_status().json()["settlementNos"]
    return str(number)


def enter_station(http: httpx.Client) -> None:
    station = {
        "filingCode": FILING_CODE, "stationName": "甲子一期海上风电", "owner": "某公司", "energyType": "风电",
        "province": "广东省",
    }  # fmt: skip
    http.post("/office/stations", json={"stations": [station]}).raise_for_status()


def lose_rows(http: httpx.Client) -> None:
    """The first pages of the list lack their last row."""
    switch = {"fault": "lost_rows", "path": "/trade/v1/settlements", "times": 3}
    http.post("/_faults", json=switch).raise_for_status()


def lose_stations(http: httpx.Client) -> None:
    """No station can be read."""
    switch = {"fault": "error_500", "path": "/trade/v1/stations", "times": 1000}
    http.post("/_faults", json=switch).raise_for_status()


async def until(wire: Wire, states: dict[str, pb2.SettlementState.ValueType]) -> dict[str, pb2.Settlement]:
    """Wait until the lines stand so at the lookup; what is there then."""
    operator = await wire.party(OPERATOR)
    async with asyncio.timeout(20):
        while True:
            page = await operator("ListSettlements", pb2.ListSettlementsRequest(page_size=1000))
            found = {each.settlement_id: each for each in page.settlements}
            if {key: each.state for key, each in found.items()} == states:
                return found
            await asyncio.sleep(0.1)


async def test_an_exchange_s_settlement_is_reported_with_its_stations_and_corrections_by_its_adapter(
    own_wire: Wire, tmp_path: Path, exchange: httpx.Client
) -> None:
    enter_station(exchange)
    gec = await own_wire.party(GEC)
    activity = await gec.register(("gec_filing_code", FILING_CODE))
    lock = await gec.issuing(activity.name, units=10)
    await gec.commit(lock, block(f"{FILING_CODE}202503-1T", 1, 10))
    first = settle(exchange, certificates(1, 10))
    second = settle(exchange, certificates(10, 11))
    async with adapter(own_wire, tmp_path, "gp-bj", "greenpower", str(exchange.base_url)):
        found = await until(own_wire, {first: pb2.SETTLEMENT_STATE_SETTLED, second: pb2.SETTLEMENT_STATE_CONTRADICTS})
        assert found[first].activity == activity.name
        assert [each.settlement_id for each in found[first].contradictions] == [second]
        third = settle(exchange, certificates(1, 9), energy="9000", corrects=first)
        fourth = settle(exchange, certificates(10, 10), energy="1000", corrects=second)
        found = await until(
            own_wire,
            {
                first: pb2.SETTLEMENT_STATE_CORRECTED, second: pb2.SETTLEMENT_STATE_CORRECTED,
                third: pb2.SETTLEMENT_STATE_SETTLED, fourth: pb2.SETTLEMENT_STATE_SETTLED,
            },
        )  # fmt: skip
        assert (found[fourth].corrects, found[fourth].certificates) == (second, 1)


async def test_a_list_that_breaks_off_is_reported_as_far_as_it_came_and_tried_again(
    own_wire: Wire, tmp_path: Path, exchange: httpx.Client
) -> None:
    enter_station(exchange)
    numbers = [settle(exchange, certificates(n, n), energy="1000") for n in range(1, 4)]
    lose_rows(exchange)
    unknown = pb2.SETTLEMENT_STATE_UNKNOWN_CERTIFICATES
    async with adapter(own_wire, tmp_path, "gp-bj", "greenpower", str(exchange.base_url)):
        await until(own_wire, dict.fromkeys(numbers[:2], unknown))
        await until(own_wire, dict.fromkeys(numbers, unknown))


async def test_a_station_that_cannot_be_read_stops_no_line(
    own_wire: Wire, tmp_path: Path, exchange: httpx.Client
) -> None:
    enter_station(exchange)
    number = settle(exchange, certificates(1, 1), energy="1000")
    lose_stations(exchange)
    async with adapter(own_wire, tmp_path, "gp-bj", "greenpower", str(exchange.base_url)):
        await until(own_wire, {number: pb2.SETTLEMENT_STATE_UNKNOWN_CERTIFICATES})


def test_what_makes_a_native_client_an_exchange_is_the_method() -> None:
    assert issubclass(GreenPowerNative, SettlementSource)
    assert not issubclass(ArchiveNative, SettlementSource)
