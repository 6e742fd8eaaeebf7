"""Adapters pass on what their native registries state of a cap: to a real lookup, with a real journal and lease."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soleclaim import natives
from soleclaim.api.lookup.v1 import coverage_service_pb2 as pb2
from soleclaim.core.errors import Reason
from soleclaim.natives.gec.client import GecNative
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry import reporting
from soleclaim.registry.grpc.lookup_gateway import LookupGateway
from soleclaim.registry.instruments import INSTRUMENTS
from soleclaim.registry.lease import LeaseKeeper, LeaseTimes
from soleclaim.registry.native import (
    AbsenceProof,
    CoverageSource,
    NativeCapabilities,
    NativeCoverage,
    NativeProject,
    NativeUnavailable,
)
from soleclaim.registry.reporting import AGE, REFUSED, CoverageReport
from soleclaim.registry.sql_journal import SqlJournal, migrate
from tests.wire.adapters import adapter
from tests.wire.conftest import BEA, CCER, CEA, OPERATOR, Wire, fresh, meter, refused

START = datetime(2024, 1, 1, tzinfo=UTC)


def native_statement(*identifiers: tuple[str, str], **changed: Any) -> NativeCoverage:
    """A statement that is right but for what is changed."""
    project = NativeProject(fresh("unit"), f"热电厂{fresh()}", "CN", "heat", "Asia/Shanghai", identifiers)
    fields: dict[str, Any] = {
        "statement_id": fresh("statement"), "corrects": None, "project": project, "boundary": "全厂", "sector": "发电",
        "start": START, "end": None, "withdrawn": False,
    }  # fmt: skip
    return NativeCoverage(**fields | changed)


@dataclass
class Cap:
    """A native registry that knows who is inside its cap, and issues nothing."""

    statements: list[NativeCoverage] = field(default_factory=list)
    is_away: bool = False
    capabilities: NativeCapabilities = field(
        default=NativeCapabilities(AbsenceProof.OPERATOR, timedelta(seconds=1), 1, issues=False)
    )

    async def list_coverage(self) -> AsyncIterator[NativeCoverage]:
        for each in self.statements:
            yield each
        if self.is_away:
            raise NativeUnavailable("the last page did not come")

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Counting:
    """What the gateway was asked, before it asks the lookup."""

    gateway: LookupGateway
    calls: list[tuple[str, int]] = field(default_factory=list)

    async def record_coverage(self, request_id: str, statements: Sequence[NativeCoverage]) -> Any:
        self.calls.append((request_id, len(statements)))
        return await self.gateway.record_coverage(request_id, statements)


@dataclass
class Reporting:
    """A report over a real lookup."""

    report: CoverageReport
    cap: Cap
    lookup: Counting
    keeper: LeaseKeeper


async def reporting_of(wire: Wire, folder: Path, code: str = "cea") -> Reporting:
    party = await wire.party(CEA if code == "cea" else BEA)
    url = f"sqlite+aiosqlite:///{folder / f'{code}.db'}"
    migrate(url)
    journal = SqlJournal(url, code)
    wire.stack.push_async_callback(journal.close)
    keeper = LeaseKeeper(journal, code, LeaseTimes())
    await keeper.step()
    cap = Cap()
    lookup = Counting(LookupGateway(party.client, code, INSTRUMENTS[code], timeout_s=20))
    return Reporting(CoverageReport(code, cap, lookup, keeper, every_s=3600), cap, lookup, keeper)


async def of_registry(wire: Wire, code: str = "cea", **conditions: Any) -> list[pb2.Coverage]:
    operator = await wire.party(OPERATOR)
    request = pb2.ListCoverageRequest(registry=code, page_size=1000, **conditions)
    found: list[pb2.Coverage] = []
    while True:
        page = await operator("ListCoverage", request)
        found += page.coverages
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def until_reported(wire: Wire, code: str, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await of_registry(wire, code)) < count:  # noqa: ASYNC110  another process gives no event
            await asyncio.sleep(0.1)


async def test_all_that_a_registry_states_stands_at_the_lookup_and_refuses_credits(
    own_wire: Wire, tmp_path: Path
) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    identifier = meter()
    ccer = await wire.party(CCER)
    activity = (await ccer.register(identifier)).name
    plant = native_statement(identifier)
    boiler = native_statement(inside=plant.project.native_project_id, end=START + timedelta(days=366))
    wrong = native_statement()
    at.cap.statements = [boiler, plant, wrong, replace(wrong, statement_id=fresh(), corrects=wrong.statement_id,
                                                       withdrawn=True)]  # fmt: skip
    assert await at.report.step()
    kept = {each.statement_id: each for each in await of_registry(wire)}
    assert kept.keys() == {boiler.statement_id, plant.statement_id}, "a unit known by its name alone is a unit too"
    assert kept[plant.statement_id].activity == activity
    assert not kept[plant.statement_id].period.HasField("end_time")
    assert kept[boiler.statement_id].inside == plant.project.native_project_id
    await refused(ccer.acquire(activity), Reason.POLICY_REFUSED)
    first = await of_registry(wire, show_history=True)
    assert await at.report.step()
    assert await of_registry(wire, show_history=True) == first
    assert at.lookup.calls[0] == at.lookup.calls[1], "the same content is the same request"


async def test_many_statements_go_in_batches_and_what_is_new_goes_with_the_rest(
    own_wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    monkeypatch.setattr(reporting, "BATCH", 10)
    at.cap.statements = [native_statement(meter()) for _ in range(25)]
    assert await at.report.step()
    at.cap.statements.append(native_statement(meter()))
    assert await at.report.step()
    assert len(await of_registry(wire)) == 26
    assert [count for _, count in at.lookup.calls] == [10, 10, 5, 10, 10, 6]
    assert at.lookup.calls[:2] == at.lookup.calls[3:5]


async def test_a_full_batch_fits_into_one_call(own_wire: Wire, tmp_path: Path) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    at.cap.statements = [native_statement(meter(), boundary="炉" * 512, sector="业" * 128) for _ in range(1000)]
    assert await at.report.step()
    assert len(await of_registry(wire)) == 1000


async def test_a_failure_is_logged_once_and_tried_on_and_the_age_tells(
    own_wire: Wire, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    caplog.set_level(logging.INFO, logger="soleclaim.registry.reporting")
    at.cap.statements, at.cap.is_away = [native_statement(meter())], True
    assert not await at.report.step()
    assert not await at.report.step()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert wire.server is not None
    at.cap.is_away = False
    await wire.server.stop()
    assert not await at.report.step(), "the lookup is away"
    assert len(caplog.records) == 1
    await wire.serve()
    party = await wire.new_party(CEA)
    at.lookup.gateway = LookupGateway(party.client, "cea", INSTRUMENTS["cea"], timeout_s=20)
    assert await at.report.step()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_refused_statement_is_told_once_counted_and_asked_anew(
    own_wire: Wire, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    good, bad = native_statement(meter()), native_statement(meter(), boundary="x" * 513)
    at.cap.statements = [good, bad]
    assert await at.report.step()
    assert await at.report.step()
    [record] = caplog.records
    assert bad.statement_id in record.getMessage()
    assert REFUSED.labels("cea")._value.get() == 1
    assert at.lookup.calls[0][0] != at.lookup.calls[1][0], "a request repeats its refusals"
    at.cap.statements = [good, replace(bad, boundary="全厂")]
    assert await at.report.step()
    assert REFUSED.labels("cea")._value.get() == 0
    assert len(await of_registry(wire)) == 2


async def test_a_statement_whose_content_changed_is_refused_and_the_first_one_stands(
    own_wire: Wire, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    at.cap.statements = [native_statement(meter())]
    assert await at.report.step()
    first = await of_registry(wire)
    at.cap.statements = [replace(at.cap.statements[0], boundary="一号锅炉")]
    assert await at.report.step()
    assert "correct it by a new statement" in caplog.text
    assert await of_registry(wire) == first


async def test_only_the_process_with_the_lease_reports(own_wire: Wire, tmp_path: Path) -> None:
    wire, at = own_wire, await reporting_of(own_wire, tmp_path)
    at.cap.statements = [native_statement(meter())]
    await at.keeper.release()
    running = asyncio.create_task(at.report.run())
    await asyncio.sleep(0.3)
    assert not at.lookup.calls
    assert not await at.report.step(), "nor if the lease is lost while a report is under way"
    assert not at.lookup.calls
    await at.keeper.step()
    await until_reported(wire, "cea", 1)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert AGE.labels("cea")._value.get() >= 0


def test_what_makes_a_native_client_a_source_is_the_method() -> None:
    assert issubclass(Cap, CoverageSource)
    assert not issubclass(GecNative, CoverageSource)


async def test_an_adapter_of_a_source_reports_by_itself(
    own_wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, cap = own_wire, Cap([native_statement(meter())])

    def open_cap(_settings: NativeSettings) -> Any:
        return cap

    monkeypatch.setitem(natives.KINDS, "cap", open_cap)
    async with adapter(wire, tmp_path, "bea", "cap", "http://127.0.0.1:1"), asyncio.timeout(30):
        await until_reported(wire, "bea", 1)
        cap.statements.append(native_statement(meter()))
        await until_reported(wire, "bea", 2)
