"""Power exchanges: they issue nothing, and tell which certificates moved with which power to whom."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from soleclaim.core.serials import UnitBlock
from soleclaim.natives import NativeSettings, SettingsFault, open_native
from soleclaim.natives.civil import CHINA, period_of_month
from soleclaim.natives.greenpower.client import GreenPowerNative
from soleclaim.registry.native import NativeOrder, NativeRefusal, NativeSettlement, NativeUnavailable
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

if TYPE_CHECKING:
    from tests.natives.conftest import Liar
else:
    Liar = Any

Json = dict[str, Any]

FILING_CODE = "FDWD2407150000123"
SERIES = f"{FILING_CODE}202503-1T"
BUYER = "91110000100003962T"
CONTRACTS = {"gp-bj": "BJGP2025000001", "gp-gz": "GZ-LD-00000001", "gp-nm": "000000000001"}
SETTLEMENTS = "/trade/v1/settlements"


def settings(url: str, registry: str = "gp-bj", timeout_s: float = 5) -> NativeSettings:
    return NativeSettings(registry=registry, url=url, timeout_s=timeout_s, longest_under_way_s=1)


def opened(url: str, registry: str = "gp-bj", timeout_s: float = 5) -> GreenPowerNative:
    native = open_native("greenpower", settings(url, registry, timeout_s))
    assert isinstance(native, GreenPowerNative)
    return native


def certificates(first: int, last: int, **changed: object) -> Json:
    code = f"{FILING_CODE}202503%07d1T"
    return {"startCode": code % first, "endCode": code % last, "count": last - first + 1, **changed}


def line(registry: str = "gp-bj", **changed: object) -> Json:
    """A line as the desk enters it."""
    return {
        "filingCode": FILING_CODE,
        "contractNo": CONTRACTS[registry],
        "month": "2025-03",
        "energy": "10000" if registry != "gp-gz" else "10.000",
        "buyerCode": BUYER,
        "certificates": [certificates(1, 10)],
        **changed,
    }


@pytest.fixture(params=sorted(CONTRACTS))
def registry(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def http(registry: str, tmp_path: Path, ending: Callable[[contextlib.ExitStack], None]) -> Iterator[httpx.Client]:
    stack = contextlib.ExitStack()
    url = stack.enter_context(running("greenpower", StandIn(tmp_path / "native.db", registry)))
    with httpx.Client(base_url=url, trust_env=False, verify=False) as client:  # noqa: S501  plain HTTP
        station = {
            "filingCode": FILING_CODE, "stationName": "甲子一期海上风电", "owner": "某公司", "energyType": "风电",
            "province": "广东省", "projectCode": "2509-320193-89-01-544060",
        }  # fmt: skip
        client.post("/office/stations", json={"stations": [station]}).raise_for_status()
        yield client
    ending(stack)


@pytest.fixture
async def native(http: httpx.Client, registry: str) -> AsyncIterator[GreenPowerNative]:
    client = opened(str(http.base_url), registry)
    yield client
    await client.close()


def settle(http: httpx.Client, *lines: Json) -> list[str]:
    numbers: list[str] = (
        http.post("/office/settlements", json={"lines": lines}).raise_for_status().json()["settlementNos"]
    )
    return numbers


async def listed(native: GreenPowerNative) -> list[NativeSettlement]:
    return [each async for each in native.list_settlements()]


def switch(http: httpx.Client, fault: str, path: str, **options: object) -> None:
    http.post("/_faults", json={"fault": fault, "path": path, **options}).raise_for_status()


async def test_an_exchange_issues_nothing_and_is_never_asked_to(native: GreenPowerNative) -> None:
    order = NativeOrder("lock-1:1", 1, FILING_CODE, period_of_month("2025-03", CHINA), 10)
    [refusal] = await native.issue([order])
    assert isinstance(refusal, NativeRefusal)
    assert (refusal.code, refusal.lasting) == ("ISSUES_NOTHING", True)
    assert not native.capabilities.issues
    assert await native.find("lock-1:1") is None
    assert await native.void("lock-1:1") is None
    assert [each async for each in native.list_issuances()] == []
    assert await native.get_outcome(FILING_CODE, order.period) is None


async def test_a_station_bears_the_filing_code_that_joins_it_to_the_certificate_centre(
    native: GreenPowerNative,
) -> None:
    station = await native.get_project(FILING_CODE)
    assert station is not None
    assert (station.activity_type, station.country, station.time_zone) == ("wind", "CN", "Asia/Shanghai")
    assert ("gec_filing_code", FILING_CODE) in station.identifiers
    assert await native.get_project(FILING_CODE[:-1] + "9") is None


async def test_lines_are_listed_with_energy_in_kwh_and_certificates_in_the_centres_series(
    http: httpx.Client, native: GreenPowerNative, registry: str
) -> None:
    [number] = settle(http, line(registry))
    assert await listed(native) == [
        NativeSettlement(
            number, None, FILING_CODE, CONTRACTS[registry], period_of_month("2025-03", CHINA), 10_000, BUYER,
            (UnitBlock(SERIES, 1, 10),),
        )
    ]  # fmt: skip


async def test_a_correction_comes_after_what_it_corrects(
    http: httpx.Client, native: GreenPowerNative, registry: str
) -> None:
    [first] = settle(http, line(registry))
    gone = {"energy": "0", "certificates": [], "corrects": first}
    [second] = settle(http, line(registry, **gone))
    found = await listed(native)
    assert [(each.settlement_id, each.corrects) for each in found] == [(first, None), (second, first)]
    assert (found[1].energy_kwh, found[1].blocks) == (0, ())


@pytest.mark.parametrize("fault", ["error_500", "html_200", "truncated_json", "cut_connection"])
async def test_an_unclear_answer_says_nothing_about_what_exists(
    http: httpx.Client, native: GreenPowerNative, registry: str, fault: str
) -> None:
    settle(http, line(registry))
    for path, read in (
        ("/trade/v1/stations", lambda: native.get_project(FILING_CODE)),
        (SETTLEMENTS, lambda: listed(native)),
    ):
        switch(http, fault, path, after_work=fault == "truncated_json")
        with pytest.raises(NativeUnavailable):
            await read()
    assert len(await listed(native)) == 1


async def test_pages_lose_no_line_and_a_lost_line_is_noticed(
    http: httpx.Client, native: GreenPowerNative, registry: str
) -> None:
    settle(http, *(line(registry, certificates=[certificates(n * 10 + 1, n * 10 + 10)]) for n in range(5)))
    switch(http, "clamped_pages", SETTLEMENTS, times=-1)
    switch(http, "duplicate_rows", SETTLEMENTS, times=1)
    assert len(await listed(native)) == 5
    switch(http, "lost_rows", SETTLEMENTS, times=-1)
    with pytest.raises(NativeUnavailable, match="5 settlement lines announced"):
        await listed(native)


# --- bad input -----------------------------------------------------------------------------------------------


def told(**changed: object) -> Json:
    """A line of gp-bj as its system tells it."""
    return {"settlementNo": "BJ202503-00000001", "corrects": None, **line(), **changed}


def body(*lines: Json) -> bytes:
    return json.dumps({"status": 0, "total": len(lines), "lines": lines}, ensure_ascii=False).encode()


GOOD = told(settlementNo="BJ202503-00000002", certificates=[certificates(11, 20)])


async def gather_numbers(native: GreenPowerNative, found: list[str]) -> None:
    """What came before the exception is in ``found``."""
    async for each in native.list_settlements():
        found.append(each.settlement_id)  # noqa: PERF401  a comprehension would lose them at the exception


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"energy": 10000.0}, "became a float"),
        ({"energy": "10.000,5"}, "is no number"),
        ({"energy": "10000.5"}, "no whole number"),
        ({"energy": None}, "energy"),
        ({"filingCode": 123}, "filingCode"),
        ({"contractNo": "BJGP000001"}, "contractNo is not of the form"),
        ({"contractNo": 2025000001}, "contractNo"),
        ({"buyerCode": BUYER[1:]}, "buyerCode is not of the form"),
        ({"buyerCode": BUYER[:-1] + "O"}, "buyerCode is not of the form"),
        ({"month": "2025-13"}, "cannot be read"),
        ({"month": "2025年3月"}, "month is not of the form"),
        ({"month": "03/2025"}, "month is not of the form"),
        ({"month": "202503"}, "month is not of the form"),
        ({"month": 45717}, "month"),
        ({"corrects": "1"}, "corrects is not of the form"),
        ({"certificates": [certificates(1, 10, count=9)]}, "are 10 certificates, not 9"),
        ({"certificates": [certificates(10, 1)]}, "run backwards"),
        ({"certificates": [certificates(1, 10), certificates(10, 11)]}, "share a certificate"),
        ({"certificates": []}, "both or neither"),
        ({"energy": 0, "certificates": []}, "corrects nothing"),
        ({"certificates": [{**certificates(1, 10), "endCode": f"{FILING_CODE[:-1]}920250300000101T"}]}, "not of"),
    ],
)
async def test_a_line_that_cannot_be_read_by_rule_is_told_and_hides_no_other(
    liar: Liar, changed: Json, why: str
) -> None:
    liar.body = body(told(**changed), GOOD)
    native = opened(liar.url)
    found: list[str] = []
    with pytest.raises(NativeUnavailable, match=f"1 of 2 settlement lines cannot be read.*{why}"):
        await gather_numbers(native, found)
    assert found == [GOOD["settlementNo"]]
    await native.close()


@pytest.mark.parametrize("field", sorted(told()))
async def test_a_line_that_lacks_a_field_is_not_guessed(liar: Liar, field: str) -> None:
    row = told()
    del row[field]
    liar.body = body(row)
    native = opened(liar.url)
    with pytest.raises(NativeUnavailable, match="1 of 1 settlement lines cannot be read"):
        await listed(native)
    await native.close()


async def test_numbers_with_a_mark_for_thousands_and_full_width_digits_are_read_by_rule(liar: Liar) -> None:
    native = opened(liar.url)
    for energy in ("10,000", "１００００", "10000.0", 10_000):
        liar.body = body(told(energy=energy))
        assert [each.energy_kwh for each in await listed(native)] == [10_000]
    await native.close()


async def test_a_line_number_that_lost_its_zeros_is_refused(liar: Liar) -> None:
    native = opened(liar.url, "gp-nm")
    for number in ("1", 1, 1.0):
        liar.body = body(told(settlementNo=number, contractNo=CONTRACTS["gp-nm"]))
        with pytest.raises(NativeUnavailable, match="settlementNo"):
            await listed(native)
    await native.close()


async def test_an_answer_in_another_encoding_is_refused(liar: Liar) -> None:
    station = {"filingCode": FILING_CODE, "stationName": "甲子一期", "energyType": "风电"}
    answer = json.dumps({"status": 0, "filingCode": FILING_CODE, "station": station}, ensure_ascii=False)
    native = opened(liar.url)
    liar.body = answer.encode("gb18030")
    with pytest.raises(NativeUnavailable):
        await native.get_project(FILING_CODE)
    liar.content_type = "application/json; charset=gbk"
    with pytest.raises(NativeUnavailable, match="instead of UTF-8"):
        await native.get_project(FILING_CODE)
    await native.close()


async def test_an_exchange_that_is_not_in_the_data_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsFault, match="gp-bj, gp-gz, gp-nm"):
        open_native("greenpower", settings("http://127.0.0.1:9", "gp-xx"))
