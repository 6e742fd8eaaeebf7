"""What is particular to emission trading systems: signed requests, clocks, and the list of who is covered."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.natives import NativeSettings, SettingsFault, open_native, signing
from soleclaim.natives.ets.client import EtsNative
from soleclaim.registry.native import NativeCoverage, NativeUnavailable, NativeUnknown

if TYPE_CHECKING:
    from tests.natives.conftest import Bench, Liar
else:
    Bench = Liar = Any

Json = dict[str, Any]

COVERED = "/openapi/v1/covered-units"


@pytest.fixture
def kind() -> str:
    return "ets"


def statement(entry: str, **changed: object) -> Json:
    return {
        "entryNo": entry,
        "corrects": None,
        "unitId": "044000000123",
        "unitName": "汕尾甲子一期热电厂",
        "uscc": "91441500MA4UQ0001X",
        "sector": "发电",
        "province": "广东省",
        "boundary": "1、2号机组",
        "from": "2024-01-01",
        "to": None,
        "withdrawn": False,
        **changed,
    }


def state(bench: Bench, *statements: Json) -> None:
    bench.http.post("/office/covered-units", json={"statements": statements}).raise_for_status()


async def covered(native: object) -> list[NativeCoverage]:
    assert isinstance(native, EtsNative)
    return [each async for each in native.list_coverage()]


async def read_all(entries: AsyncIterator[Any], name: Callable[[Any], str]) -> tuple[list[str], str]:
    """What could be read, and what was wrong at the end."""
    read: list[str] = []
    try:
        async for each in entries:
            read.append(name(each))  # noqa: PERF401  what came before the fault is wanted
    except NativeUnavailable as fault:
        return read, str(fault)
    return read, ""


# --- clocks and signatures -----------------------------------------------------------------------------------


async def test_a_wrong_clock_is_told_as_such_and_refuses_no_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await bench.issued("lock-1:1")
    with monkeypatch.context() as clock:
        clock.setattr(signing, "now_s", lambda: int(time.time()) - 400)
        [again] = await bench.native.issue([bench.order("lock-1:1")])
        assert isinstance(again, NativeUnknown), "the order was done; nothing may say that it was refused"
        assert "the clock of this machine is 400 s behind the registry's" in again.detail
        for read in (bench.native.find("lock-1:1"), bench.native.get_project("044000000999"), covered(bench.native)):
            with pytest.raises(NativeUnavailable, match="400 s behind the registry's; set it right"):
                await read
    assert await bench.native.find("lock-1:1") == done


@pytest.mark.parametrize("skew_s", [-290, 290])
async def test_a_clock_a_little_wrong_is_accepted(bench: Bench, monkeypatch: pytest.MonkeyPatch, skew_s: int) -> None:
    with monkeypatch.context() as clock:
        clock.setattr(signing, "now_s", lambda: int(time.time()) + skew_s)
        signed = bench.open(bench.url)
        assert await signed.find("lock-1:1") is None
        await signed.close()


async def test_a_registry_whose_own_clock_jumps_is_told_likewise(bench: Bench) -> None:
    bench.fault("skewed_clock", bench.paths.issue, delay_s=500)
    [result] = await bench.native.issue([bench.order("lock-1:1")])
    assert isinstance(result, NativeUnknown)
    assert "CLOCK_SKEW" in result.detail
    assert await bench.native.find("lock-1:1") is None
    assert (await bench.issued("lock-1:1")).units == 10


async def test_a_wrong_key_is_neither_not_found_nor_a_refusal(bench: Bench, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"another secret")
    settings = NativeSettings(
        registry="cea", url=bench.url, timeout_s=5, longest_under_way_s=2, key_id="cea", secret_file=wrong
    )
    for changed, code in ((settings, "SIGNATURE_WRONG"), (replace(settings, key_id="shea"), "KEY_UNKNOWN")):
        native = open_native("ets", changed)
        with pytest.raises(NativeUnavailable, match=code):
            await native.find("lock-1:1")
        [result] = await native.issue([bench.order("lock-1:1")])
        assert isinstance(result, NativeUnknown)
        await native.close()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"key_id": None}, "key_id is missing"),
        ({"secret_file": None}, "secret_file is missing"),
        ({"secret_file": Path("/nowhere/secret")}, "secret_file /nowhere/secret cannot be read"),
        ({"secret_file": Path("/dev/null")}, "secret_file /dev/null is empty"),
        ({"registry": "xea"}, "registry must be one of bea, cea, cqea, fjea, gdea, hbea, shea, szea, tjea, not 'xea'"),
    ],
)
def test_a_setting_that_is_missing_is_named(changed: Json, named: str, secret_file: Path) -> None:
    settings = NativeSettings(
        registry="cea", url="http://127.0.0.1:9", timeout_s=1, longest_under_way_s=1, key_id="cea",
        secret_file=secret_file,
    )  # fmt: skip
    with pytest.raises(SettingsFault, match=named):
        open_native("ets", replace(settings, **changed))


# --- the list of covered units ---------------------------------------------------------------------------------


async def test_statements_come_in_order_with_civil_days_as_instants(bench: Bench) -> None:
    state(
        bench,
        statement("2024-1", to="2024-12-31", projectCode="2509-320193-89-01-544060"),
        statement("2024-1b", corrects="2024-1", to="2024-06-30"),
        statement("2024-2", unitId="004400000007", unitName="某钢铁厂", sector="钢铁", boundary="全厂", withdrawn=True),
    )
    first, corrected, steel = await covered(bench.native)
    assert (first.start, first.end) == (
        datetime(2023, 12, 31, 16, tzinfo=UTC), datetime(2024, 12, 31, 16, tzinfo=UTC),
    )  # fmt: skip
    assert first.project.identifiers == (("cn_project_code", "2509-320193-89-01-544060"),)
    assert (first.corrects, first.boundary, first.sector, first.withdrawn) == (None, "1、2号机组", "发电", False)
    assert (corrected.corrects, corrected.end) == ("2024-1", datetime(2024, 6, 30, 16, tzinfo=UTC))
    assert (steel.project.native_project_id, steel.project.activity_type) == ("004400000007", "steel")
    assert (steel.end, steel.withdrawn) == (None, True)


async def test_list_of_covered_units_is_reconciled(bench: Bench) -> None:
    state(bench, *(statement(f"S{n}") for n in range(52)))
    assert [each.statement_id for each in await covered(bench.native)] == [f"S{n}" for n in range(52)]
    bench.fault("duplicate_rows", COVERED, times=-1)
    assert len(await covered(bench.native)) == 52
    bench.clear_faults()
    bench.fault("clamped_pages", COVERED, times=-1)
    assert len(await covered(bench.native)) == 52
    bench.clear_faults()
    bench.fault("lost_rows", COVERED, times=-1)
    with pytest.raises(NativeUnavailable, match="52 statements announced, 50"):
        await covered(bench.native)


BAD_ROWS: dict[str, Json] = {
    "a unit that became a number": {"unitId": 44000000123},
    "a unit that lost its zero": {"unitId": "44000000123"},
    "a day with the year last": {"from": "01/02/2024"},
    "a day that became a serial number": {"from": 45292},
    "no such day": {"to": "2024-02-30"},
    "an end before the beginning": {"to": "2023-06-30"},
    "the last day there is": {"to": "9999-12-31"},
    "no name": {"unitName": ""},
    "withdrawn as a text": {"withdrawn": "false"},
}


@pytest.mark.parametrize("case", [*BAD_ROWS, "no corrects", "no to"])
async def test_one_bad_row_hides_no_other_and_the_list_is_not_called_whole(bench: Bench, liar: Liar, case: str) -> None:
    bad = statement("S2", **BAD_ROWS.get(case, {}))
    if case not in BAD_ROWS:
        del bad[case.removeprefix("no ")]
    rows = [statement("S1"), bad, statement("S3")]
    liar.body = json.dumps({"retCode": "0000", "retMsg": "", "totalCount": 3, "data": rows}).encode()
    native = bench.open(liar.url)
    assert isinstance(native, EtsNative)
    read, fault = await read_all(native.list_coverage(), lambda each: each.statement_id)
    assert read == ["S1", "S3"]
    assert fault.startswith("1 of 3 statements cannot be read, first: entry S2: "), fault
    await native.close()


async def test_days_in_five_forms_are_one_day(bench: Bench, liar: Liar) -> None:
    forms = ["2024-03-01", "20240301", "2024/3/1", "2024-03-01 00:00:00", "2024年3月1日"]
    rows = [statement(f"S{n}", **{"from": form}) for n, form in enumerate(forms)]
    liar.body = json.dumps({"retCode": "0000", "retMsg": "", "totalCount": 5, "data": rows}).encode()
    native = bench.open(liar.url)
    assert {each.start for each in await covered(native)} == {datetime(2024, 2, 29, 16, tzinfo=UTC)}
    await native.close()


@pytest.mark.parametrize("content_type", ["application/json; charset=GBK", "text/json", "text/html; charset=utf-8"])
async def test_list_in_another_encoding_or_type_is_no_answer(bench: Bench, liar: Liar, content_type: str) -> None:
    answer = {"retCode": "0000", "retMsg": "", "totalCount": 1, "data": [statement("S1")]}
    liar.body = json.dumps(answer, ensure_ascii=False).encode("gbk")
    native = bench.open(liar.url)
    with pytest.raises(NativeUnavailable, match="is not JSON"):
        await covered(native)
    liar.content_type = content_type
    with pytest.raises(NativeUnavailable, match="content type"):
        await covered(native)
    await native.close()


# --- allowances ---------------------------------------------------------------------------------------------------


async def test_allowances_keep_the_zeros_of_their_unit_and_serials(bench: Bench) -> None:
    [block] = (await bench.issued("lock-1:1", units=10)).blocks
    assert (block.series, block.start, block.end) == ("CEA-2024-044000000123", 1, 10)


async def test_one_bad_issuance_hides_no_other(bench: Bench, liar: Liar) -> None:
    await bench.issued("lock-1:1")
    await bench.issued("lock-2:1")
    query = {"pageNo": "1", "pageSize": "50"}
    answer = bench.http.get(bench.paths.listing, params=query).json()
    answer["data"][0]["quantity"] = 10.0
    liar.body = json.dumps(answer).encode()
    native = bench.open(liar.url)
    read, fault = await read_all(native.list_issuances(), lambda issuance: issuance.external_reference)
    assert read == ["lock-2:1"]
    assert fault.startswith("1 of 2 issuances cannot be read, first: quantity")
    await native.close()
