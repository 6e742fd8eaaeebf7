"""Registries that exchange files: the contract of the port over a folder, with every way in which files go wrong."""

import contextlib
import csv
import hashlib
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from soleclaim.core.period import Period
from soleclaim.core.serials import first_overlap, total
from soleclaim.natives import NativeSettings, SettingsFault, open_native
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.natives.files import ENCODING, FileNative
from soleclaim.registry.native import (
    AbsenceProof,
    NativeIssuance,
    NativeOrder,
    NativeRefusal,
    NativeRegistry,
    NativeUnavailable,
    NativeUnknown,
)
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

UNITS: Final = 1_234
YEAR: Final = period_of_days(date(2024, 1, 1), date(2024, 12, 31), CHINA)
NEXT_YEAR: Final = period_of_days(date(2025, 1, 1), date(2025, 12, 31), CHINA)
PROJECT_CODE: Final = "2509-320193-89-01-544060"


@dataclass(frozen=True)
class Family:
    """How one registry of a family is set up with a project of ``UNITS`` units, and what is then expected."""

    kind: str
    project_id: str
    set_up: Callable[[httpx.Client], None]
    base: tuple[str, int]
    results: str
    """The part of a delivery with the results."""


def post(http: httpx.Client, path: str, /, **body: object) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def set_up_energyuse(http: httpx.Client) -> None:
    project = {
        "projectNo": "HEN-2024-00001", "name": "安阳某钢厂余热发电", "owner": "某钢铁公司",
        "uscc": "91410500MA4UQ0001X", "kind": "余热利用", "projectCode": PROJECT_CODE,
    }  # fmt: skip
    post(http, "/office/projects", projects=[project])
    saving = {"projectNo": "HEN-2024-00001", "from": "2024-01-01", "to": "2024-12-31", "amount": "1234.5",
              "unit": "吨标准煤"}  # fmt: skip
    post(http, "/office/savings", savings=[saving])


def set_up_local(http: httpx.Client) -> None:
    filing = {
        "filingNo": "BFCER-110109-2023-001", "divisionCode": "110109", "projectName": "门头沟造林碳汇",
        "applicant": "某林场", "category": "林业碳汇", "province": "北京市", "projectCode": PROJECT_CODE,
    }  # fmt: skip
    post(http, "/office/filings", filings=[filing])
    reduction = {"filingNo": "BFCER-110109-2023-001", "from": "2024-01-01", "to": "2024-12-31",
                 "verifiedTonnes": "1234.567"}  # fmt: skip
    post(http, "/office/reductions", reductions=[reduction])


FAMILIES: Final = {
    "bfcer": Family("local", "BFCER-110109-2023-001", set_up_local, ("kgCO2e", 1_234_567), "reductions"),
    "eur-hen": Family("energyuse", "HEN-2024-00001", set_up_energyuse, ("kgce", 1_234_500), "savings"),
}


@dataclass
class Exchange:
    """One registry's folder, its stand-in, and the client under test."""

    registry: str
    family: Family
    folder: Path
    http: httpx.Client
    native: NativeRegistry
    outbox: Path = field(init=False)
    inbox: Path = field(init=False)

    def __post_init__(self) -> None:
        self.outbox, self.inbox = self.folder / "to-registry", self.folder / "from-registry"

    def night(self) -> str:
        delivery: str = post(self.http, "/night")["delivery"]
        return delivery

    def fault(self, name: str, path: str = "/") -> None:
        post(self.http, "/_faults", fault=name, path=path)

    def order(self, reference: str, *, units: int = 10, token: int = 1, **changed: Any) -> NativeOrder:
        return replace(NativeOrder(reference, token, self.family.project_id, YEAR, units), **changed)

    async def issue(self, order: NativeOrder) -> NativeIssuance | NativeRefusal | NativeUnknown:
        [result] = await self.native.issue([order])
        return result

    async def issued(self, reference: str, *, units: int = 10, token: int = 1) -> NativeIssuance:
        """Hand over, wait a night, and insist that it worked."""
        order = self.order(reference, units=units, token=token)
        assert isinstance(await self.issue(order), NativeUnknown)
        self.night()
        result = await self.issue(order)
        assert isinstance(result, NativeIssuance), result
        return result

    async def listed(self) -> list[NativeIssuance]:
        return [issuance async for issuance in self.native.list_issuances()]

    def restarted(self) -> NativeRegistry:
        return open_native(self.family.kind, settings(self.registry, self.folder))

    def order_file(self) -> Path:
        [path] = self.outbox.glob(f"order-*.{self.suffix}")
        return path

    @property
    def suffix(self) -> str:
        return "csv" if self.family.kind == "energyuse" else "xlsx"


def settings(registry: str, folder: Path) -> NativeSettings:
    return NativeSettings(registry=registry, url=folder.as_uri(), timeout_s=10, longest_under_way_s=1)


@pytest.fixture(params=FAMILIES)
def registry(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def http(registry: str, tmp_path: Path, ending: Callable[[contextlib.ExitStack], None]) -> Iterator[httpx.Client]:
    family = FAMILIES[registry]
    stack = contextlib.ExitStack()
    url = stack.enter_context(running(family.kind, StandIn(tmp_path / "native.db", registry, folder=tmp_path)))
    with httpx.Client(base_url=url, trust_env=False, verify=False) as client:  # noqa: S501  plain HTTP
        family.set_up(client)
        yield client
    ending(stack)


@pytest.fixture
async def exchange(registry: str, tmp_path: Path, http: httpx.Client) -> AsyncIterator[Exchange]:
    native = open_native(FAMILIES[registry].kind, settings(registry, tmp_path))
    yield Exchange(registry, FAMILIES[registry], tmp_path, http, native)
    await native.close()


async def unavailable(native: NativeRegistry, reference: str, match: str) -> None:
    with pytest.raises(NativeUnavailable, match=match):
        await native.find(reference)


# --- the contract of the port ---------------------------------------------------------------------------------------


def written(path: Path) -> tuple[int, int, int]:
    """Which file it is and when it was written; when it was last read does not count."""
    told = path.stat()
    return told.st_ino, told.st_mtime_ns, told.st_size


async def test_before_the_first_delivery_nothing_is_said(exchange: Exchange) -> None:
    for read in (exchange.native.get_project(exchange.family.project_id), exchange.native.find("lock-1:1")):
        with pytest.raises(NativeUnavailable, match="no whole delivery has come"):
            await read
    assert exchange.native.capabilities.absence_proof is AbsenceProof.RESEND


async def test_project_and_outcome_are_told_for_exactly_what_was_asked(exchange: Exchange) -> None:
    exchange.night()
    native, project_id = exchange.native, exchange.family.project_id
    project = await native.get_project(project_id)
    assert project is not None
    assert (project.native_project_id, project.country, project.time_zone) == (project_id, "CN", "Asia/Shanghai")
    assert project.identifiers == (("cn_project_code", PROJECT_CODE),)
    outcome = await native.get_outcome(project_id, YEAR)
    assert outcome is not None
    assert (outcome.base_unit, outcome.quantity) == exchange.family.base
    assert (outcome.native_project_id, outcome.period, outcome.carried_in) == (project_id, YEAR, 0)
    unknown = project_id[:-1] + "9"
    assert await native.get_project(unknown) is None
    shifted = Period(YEAR.start + timedelta(hours=8), YEAR.end + timedelta(hours=8))
    for other in (shifted, NEXT_YEAR):
        assert await native.get_outcome(project_id, other) is None
    assert await native.get_outcome(unknown, YEAR) is None


async def test_an_order_is_unknown_until_a_delivery_answers_it(exchange: Exchange) -> None:
    exchange.night()
    order = exchange.order("lock-1:7", units=10, token=7)
    assert await exchange.native.find("lock-1:7") is None
    result = await exchange.issue(order)
    assert isinstance(result, NativeUnknown)
    assert "handed over" in result.detail
    await unavailable(exchange.native, "lock-1:7", "no delivery answers it yet")
    assert await exchange.native.find("lock-2:1") is None
    exchange.night()
    issuance = await exchange.issue(order)
    assert isinstance(issuance, NativeIssuance)
    assert (issuance.units, issuance.fencing_token, issuance.period) == (10, 7, YEAR)
    assert total(issuance.blocks) == 10
    assert await exchange.native.find("lock-1:7") == issuance
    assert await exchange.listed() == [issuance]


async def test_the_same_order_again_is_the_same_file_and_issues_once(exchange: Exchange) -> None:
    exchange.night()
    order = exchange.order("lock-1:1")
    await exchange.issue(order)
    path = exchange.order_file()
    assert path.name == f"order-{hashlib.sha256(b'lock-1:1').hexdigest()[:16]}.{exchange.suffix}"
    before = written(path)
    for native in (exchange.native, exchange.restarted()):
        await native.issue([order])
        await native.close()
    assert written(exchange.order_file()) == before, "an order that is there already stays as it is"
    assert sorted(each.name for each in exchange.outbox.iterdir()) == [path.name, f"{path.name}.sha256"]
    exchange.night()
    exchange.night()
    native = exchange.restarted()
    assert [issuance.external_reference async for issuance in native.list_issuances()] == ["lock-1:1"]
    await native.close()


async def test_supplements_share_the_outcome_and_no_serial(exchange: Exchange) -> None:
    first = await exchange.issued("lock-1:1", units=1_000)
    second = await exchange.issued("lock-1:2", units=234)
    assert first_overlap(first.blocks + second.blocks) is None
    assert await exchange.listed() == [first, second]


@pytest.mark.parametrize("case", ["unknown project", "not measured", "too many", "malformed", "stale token"])
async def test_a_refusal_comes_with_a_delivery_and_lasts(exchange: Exchange, case: str) -> None:
    first = await exchange.issued("lock-1:8", token=8)
    order, code = {
        "unknown project": (
            exchange.order("r", native_project_id=exchange.family.project_id[:-1] + "9"), "PROJECT_NOT_FOUND"
        ),
        "not measured": (exchange.order("r", period=NEXT_YEAR), "NOT_MEASURED"),
        "too many": (exchange.order("r", units=UNITS, token=9), "EXCEEDS_RESULT"),
        "malformed": (exchange.order("r", units=0), "BAD_REQUEST"),
        "stale token": (exchange.order("r", token=7), "STALE_TOKEN"),
    }[case]  # fmt: skip
    assert isinstance(await exchange.issue(order), NativeUnknown)
    exchange.night()
    result = await exchange.issue(order)
    assert isinstance(result, NativeRefusal), result
    assert (result.code, result.lasting) == (code, True)
    assert await exchange.native.find("r") is None
    exchange.night()
    assert await exchange.issue(order) == result, "a refused reference is never taken again"
    assert await exchange.listed() == [first]


@pytest.mark.parametrize("case", ["not civil", "no project number"])
async def test_what_cannot_be_written_down_is_refused_unsent(exchange: Exchange, case: str) -> None:
    exchange.night()
    shifted = Period(YEAR.start + timedelta(hours=8), YEAR.end + timedelta(hours=8))
    order = exchange.order("r", period=shifted) if case == "not civil" else exchange.order("r", native_project_id="=1")
    result = await exchange.issue(order)
    assert isinstance(result, NativeRefusal)
    assert (result.lasting, result.message.endswith("not sent")) == (True, True)
    assert list(exchange.outbox.iterdir()) == []
    assert await exchange.native.find("r") is None


async def test_more_orders_than_a_call_takes_is_a_mistake_of_the_caller(exchange: Exchange) -> None:
    with pytest.raises(ValueError, match="order"):
        await exchange.native.issue([exchange.order("a"), exchange.order("b")])
    assert await exchange.native.issue([]) == []


async def test_a_reference_cannot_be_voided(exchange: Exchange) -> None:
    with pytest.raises(NativeUnavailable, match="cannot void"):
        await exchange.native.void("lock-1:1")


async def test_an_answer_about_another_order_is_unknown(exchange: Exchange) -> None:
    await exchange.issued("lock-1:1", units=10)
    other = exchange.order("lock-1:1", units=11)
    result = await exchange.issue(other)
    assert isinstance(result, NativeUnknown)
    assert "units is 10 in the answer, 11 in the order" in result.detail
    refused = exchange.order("r", period=NEXT_YEAR)
    await exchange.issue(refused)
    exchange.night()
    result = await exchange.issue(exchange.order("r", period=NEXT_YEAR, units=11))
    assert isinstance(result, NativeUnknown)


async def test_another_order_under_a_reference_is_not_handed_over(exchange: Exchange) -> None:
    exchange.night()
    await exchange.issue(exchange.order("lock-1:1", units=10))
    before = exchange.order_file().read_bytes()
    result = await exchange.issue(exchange.order("lock-1:1", units=11))
    assert isinstance(result, NativeUnknown)
    assert "is there with another order" in result.detail
    assert exchange.order_file().read_bytes() == before


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "file:relative", "file://host/folder", "/folder", "file://"])
def test_only_a_folder_is_taken_as_url(registry: str, url: str) -> None:
    with pytest.raises(SettingsFault, match="file:///folder"):
        open_native(
            FAMILIES[registry].kind, NativeSettings(registry=registry, url=url, timeout_s=1, longest_under_way_s=1)
        )


async def test_a_folder_that_is_not_there_says_nothing(registry: str, tmp_path: Path) -> None:
    native = open_native(FAMILIES[registry].kind, settings(registry, tmp_path / "unmounted"))
    await unavailable(native, "lock-1:1", "the folder cannot be used")
    order = NativeOrder("lock-1:1", 1, FAMILIES[registry].project_id, YEAR, 1)
    [result] = await native.issue([order])
    assert isinstance(result, NativeUnknown)
    await native.close()


# --- orders that go wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "hash lost", "hash of another"])
async def test_an_order_file_that_is_damaged_is_written_again(exchange: Exchange, damage: str) -> None:
    exchange.night()
    order = exchange.order("lock-1:1")
    await exchange.issue(order)
    path = exchange.order_file()
    told = path.with_name(f"{path.name}.sha256")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "hash lost":
        told.unlink()
    else:
        told.write_text(f"{'0' * 64}  {path.name}\n")
    exchange.night()
    await unavailable(exchange.native, "lock-1:1", "no delivery answers it yet")
    assert isinstance(await exchange.issue(order), NativeUnknown)
    exchange.night()
    assert isinstance(await exchange.issue(order), NativeIssuance)


async def test_an_order_file_that_was_rejected_is_written_again_once(exchange: Exchange) -> None:
    exchange.night()
    order = exchange.order("lock-1:1")
    await exchange.issue(order)
    path = exchange.order_file()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = [("文件名", "SHA-256", "状态", "原因"), (path.name, digest, "已拒收", "磁盘满")]
    write_csv(exchange.inbox / f"ack-{path.stem}.csv", rows)
    first = written(path)
    await exchange.issue(order)
    second = written(path)
    assert second[0] != first[0]
    await exchange.issue(order)
    assert written(path) == second
    exchange.night()
    assert isinstance(await exchange.issue(order), NativeIssuance)


async def test_a_lost_acknowledgement_changes_nothing(exchange: Exchange) -> None:
    exchange.fault("lost_ack")
    assert (await exchange.issued("lock-1:1")).units == 10
    assert list(exchange.inbox.glob("ack-*")) == []
    exchange.night()
    assert len(list(exchange.inbox.glob("ack-*"))) == 1


# --- deliveries that go wrong ---------------------------------------------------------------------------------------


def part_of(exchange: Exchange, table: str) -> str:
    """The name of the file with a table, after the number."""
    return f"/{table}" if exchange.suffix == "csv" else "/delivery"


@pytest.mark.parametrize("file", ["issuances", "refusals", "manifest"])
@pytest.mark.parametrize("fault", ["half_file", "late_file"])
async def test_a_delivery_counts_only_when_it_is_whole(exchange: Exchange, fault: str, file: str) -> None:
    exchange.night()
    earlier = await exchange.issued("lock-0:1")
    order = exchange.order("lock-1:1")
    await exchange.issue(order)
    exchange.fault(fault, "/manifest" if file == "manifest" else part_of(exchange, file))
    exchange.night()
    assert isinstance(await exchange.issue(order), NativeUnknown)
    await unavailable(exchange.native, "lock-1:1", "a newer one is not whole")
    await unavailable(exchange.native, "lock-never:1", "a newer one is not whole")
    assert await exchange.native.find("lock-0:1") == earlier, "what an older delivery says for certain stays said"
    assert await exchange.native.get_project(exchange.family.project_id) is not None
    for read in (exchange.native.get_project("HEN-2024-00009"), exchange.listed()):
        with pytest.raises(NativeUnavailable, match="a newer one is not whole"):
            await read
    exchange.night()
    issuance = await exchange.issue(order)
    assert isinstance(issuance, NativeIssuance)
    assert await exchange.listed() == [earlier, issuance]
    assert await exchange.native.find("lock-never:1") is None


async def test_a_file_that_came_late_completes_its_delivery(exchange: Exchange) -> None:
    order = exchange.order("lock-1:1")
    await exchange.issue(order)
    exchange.fault("late_file", part_of(exchange, "issuances"))
    number = exchange.night()
    await unavailable(exchange.native, "lock-1:1", f"{number}: .* has not come")
    newer = exchange.night()
    for path in exchange.inbox.glob(f"{newer}-*"):
        path.unlink()
    assert isinstance(await exchange.issue(order), NativeIssuance)


@pytest.mark.parametrize("file", ["issuances", "manifest"])
async def test_a_doubled_file_is_one_file(exchange: Exchange, file: str) -> None:
    exchange.fault("doubled_file", "/manifest" if file == "manifest" else part_of(exchange, file))
    issuance = await exchange.issued("lock-1:1")
    assert len(list(exchange.inbox.glob("* (1).*"))) == 1
    assert await exchange.listed() == [issuance]


async def test_a_copy_stands_in_for_a_damaged_original(exchange: Exchange) -> None:
    exchange.fault("doubled_file", part_of(exchange, "issuances"))
    issuance = await exchange.issued("lock-1:1")
    [copy] = exchange.inbox.glob("* (1).*")
    copy.with_name(copy.name.replace(" (1)", "")).write_bytes(b"")
    assert await exchange.listed() == [issuance]


async def test_a_delivery_sent_again_with_a_correction_takes_the_place_of_the_first(exchange: Exchange) -> None:
    order = exchange.order("lock-1:1")
    await exchange.issue(order)
    exchange.fault("resent_delivery", "/issuances")
    number = exchange.night()
    assert await exchange.listed() == []
    await unavailable(exchange.native, "lock-1:1", "no delivery answers it yet")
    assert exchange.night() == number
    issuance = await exchange.issue(order)
    assert isinstance(issuance, NativeIssuance)
    assert await exchange.listed() == [issuance]


async def test_two_versions_of_one_revision_do_not_count(exchange: Exchange) -> None:
    exchange.night()
    [manifest] = exchange.inbox.glob("*-manifest.csv")
    text = manifest.read_bytes().decode(ENCODING)
    manifest.with_name("000001-manifest (1).csv").write_bytes(text.replace(",1\r\n", ",2\r\n", 1).encode(ENCODING))
    await unavailable(exchange.native, "lock-1:1", "2 manifests of revision 1")


@pytest.mark.parametrize(
    "change",
    [
        ("\r\n1,1,", "\r\n2,1,"),
        ("\r\n1,1,", "\r\n1,3,"),
        (",SHA-256", ""),
        (",1\r\n", ",2\r\n"),
        ("hash", "g"),
        ("refusals", "others"),
    ],
)
async def test_a_manifest_that_does_not_agree_makes_no_delivery(exchange: Exchange, change: tuple[str, str]) -> None:
    exchange.night()
    [manifest] = exchange.inbox.glob("*-manifest.csv")
    text = manifest.read_bytes().decode(ENCODING)
    if change[0] == "hash":
        change = (re.findall("[0-9a-f]{64}", text)[0], "g" * 64)
    elif exchange.suffix == "xlsx":
        change = (change[0].replace("refusals", "退回"), change[1])
    assert change[0] in text
    manifest.write_bytes(text.replace(*change, 1).encode(ENCODING))
    await unavailable(exchange.native, "lock-1:1", "no whole delivery has come, newest 000001")


async def test_a_delivery_is_read_once_until_a_file_changes(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "soleclaim.natives.files")
    exchange.night()
    for _ in range(3):
        assert await exchange.native.find("lock-1:1") is None
    assert [record.message for record in caplog.records].count(
        f"registry {exchange.registry}: delivery 000001 read"
    ) == 1  # fmt: skip
    manifest = exchange.inbox / "000001-manifest.csv"
    manifest.write_bytes(manifest.read_bytes()[:-3])
    await unavailable(exchange.native, "lock-1:1", "no whole delivery has come")


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    path.write_bytes(written.getvalue().encode(ENCODING))


def test_the_client_is_one_over_files(exchange: Exchange) -> None:
    assert isinstance(exchange.native, FileNative)
