"""History and disputes on the wire and on the command line: who sees what, and a run that ends anywhere goes on."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from soleclaim.api.lookup.v1 import dispute_service_pb2 as dispute_pb2
from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import history_service_pb2 as pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb2
from soleclaim.check.run import Targets, run_check
from soleclaim.cmd.output import MISTAKE
from soleclaim.core.errors import Reason
from soleclaim.rpc.tls import TlsFiles
from tests.wire.conftest import (
    ARB,
    CCER,
    GEC,
    LOOKUP,
    OPERATOR,
    REGULATOR,
    Wire,
    fresh,
    lookup_process,
    meter,
    month,
    past,
    refused,
    run_command,
    wish,
)

DATA = Path(__file__).parents[1] / "history" / "data"


async def disputed(wire: Wire) -> tuple[str, str]:
    """An activity on which arb's history conflicts with what ccer issued before; its dispute."""
    ccer, arb = await wire.party(CCER), await wire.party(ARB)
    shared = meter()
    first = await ccer("ImportIssuance", past("ccer", month(), shared))
    late = await arb("ImportIssuance", past("arb", month(), shared))
    assert (first.state, late.state) == (pb2.IMPORT_STATE_FITTED, pb2.IMPORT_STATE_DISPUTED)
    return late.activity, late.disputes[0]


def settle(name: str, **changed: Any) -> dispute_pb2.SettleDisputeRequest:
    fields: dict[str, Any] = {
        "request_id": fresh(),
        "name": name,
        "outcome": dispute_pb2.DISPUTE_OUTCOME_LATE,
        "evidence": "the project's file of 2019",
        "evidence_uri": "https://files.example/2019",
    }
    return dispute_pb2.SettleDisputeRequest(**fields | changed)


async def test_a_registry_imports_for_itself_and_an_operator_for_any(wire: Wire) -> None:
    gec, operator = await wire.party(GEC), await wire.party(OPERATOR)
    await refused(gec("ImportIssuance", past("arb", month())), Reason.REGISTRY_NOT_YOURS)
    assert (await operator("ImportIssuance", past("arb", month()))).state == pb2.IMPORT_STATE_FITTED


async def test_malformed_rows_are_told_by_field_and_harm_no_other(wire: Wire) -> None:
    arb = await wire.party(ARB)
    good = past("arb", month())
    bad = past("arb", month(), units=11)
    foreign = past("arb", month(), instrument="GEC")
    fine = past("arb", month(), issue_time=Timestamp(seconds=1_600_000_000, nanos=1))
    for each in (good, bad, foreign, fine):
        each.ClearField("request_id")
    answer = await arb(
        "BatchImportIssuances", pb2.BatchImportIssuancesRequest(request_id=fresh(), requests=[bad, good, foreign, fine])
    )
    assert [each.WhichOneof("result") for each in answer.results] == ["error", "imported", "error", "error"]
    assert "issuance.blocks" in str(answer.results[0].error)
    assert "issuance.instrument" in str(answer.results[2].error)
    assert "issuance.issue_time: must be a whole number of microseconds" in str(answer.results[3].error)


async def test_both_sides_and_the_regulator_see_a_dispute_and_nobody_else(wire: Wire) -> None:
    _, name = await disputed(wire)
    get = dispute_pb2.GetDisputeRequest(name=name)
    seen = {}
    for caller in (CCER, ARB, REGULATOR, OPERATOR):
        party = await wire.party(caller)
        seen[caller] = await party("GetDispute", get)
        listed = await party("ListDisputes", dispute_pb2.ListDisputesRequest(page_size=1000))
        assert name in {each.name for each in listed.disputes}
        kinds = {each.event.kind for each in await party.events()}
        assert event_pb2.EVENT_KIND_DISPUTE_OPENED in kinds
    await refused((await wire.party(GEC))("GetDispute", get), Reason.DISPUTE_UNKNOWN)
    for caller, theirs in ((CCER, "late"), (ARB, "standing")):
        side = getattr(seen[caller], theirs)
        assert (side.issuance_lock, side.issued_units) == ("", 10)
    assert seen[REGULATOR].standing.issuance_lock
    assert (seen[CCER].standing.registry, seen[CCER].late.registry) == ("ccer", "arb")


async def test_settle_and_reopen_are_answered_once_and_kept(wire: Wire) -> None:
    activity, name = await disputed(wire)
    operator, arb = await wire.party(OPERATOR), await wire.party(ARB)
    await refused(arb("SettleDispute", settle(name)), Reason.ROLE_NOT_ALLOWED)
    request = settle(name)
    first = await operator("SettleDispute", request)
    assert await operator("SettleDispute", request) == first
    await refused(operator("SettleDispute", settle(name)), Reason.DISPUTE_STATE_WRONG)
    reopen = dispute_pb2.ReopenDisputeRequest(request_id=fresh(), name=name, evidence="a new paper came up")
    again = await operator("ReopenDispute", reopen)
    assert await operator("ReopenDispute", reopen) == again
    assert again.state == dispute_pb2.DISPUTE_STATE_OPEN
    told = await arb("GetDispute", dispute_pb2.GetDisputeRequest(name=name))
    assert [each.evidence for each in told.decisions] == ["the project's file of 2019", "a new paper came up"]
    assert {each.decider for each in told.decisions} == {""}
    assert {each.decider for each in again.decisions} == {str(OPERATOR)}
    ccer = await wire.party(CCER)
    refusal = await refused(ccer.acquire(activity, month()), Reason.OUTCOME_DISPUTED)
    assert refusal.variables["dispute"] == name
    told = await ccer("CheckIssuanceLock", _check(activity))
    assert "OUTCOME_DISPUTED" in str(told.refusals)


def _check(activity: str) -> Any:
    request = wish("ccer", activity, month())
    request.ClearField("request_id")
    return lock_pb2.CheckIssuanceLockRequest(request=request)


async def test_the_command_line_imports_reports_and_settles(own_wire: Wire, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.csv", tmp_path / "picture.png"
    more = ("--csv", str(report), "--picture", str(picture))
    code, out = await run_command(
        own_wire, "import", str(DATA / "arb.csv"), "--registry", "arb", "--format", "arb", *more
    )
    assert code == 0, out
    code, out = await run_command(own_wire, "import", str(DATA), "--registry", "arb", "--format", "arb")
    assert code == MISTAKE
    assert "reads a folder" in out
    code, out = await run_command(own_wire, "import", str(DATA / "arb.csv"), "--registry", "abr", "--format", "csv")
    assert code == MISTAKE
    assert "--registry abr: no registry has this code" in out
    assert picture.stat().st_size > 0
    rows = (DATA / "arb.csv").read_text("utf-8").count("\n") - 1
    assert len(report.read_text("utf-8").splitlines()) == rows + 1
    code, out = await run_command(
        own_wire, "import", str(DATA / "arb.csv"), "--registry", "acr", "--format", "arb", "--json"
    )
    told = json.loads(out[out.index("{") : out.rindex("}") + 1])
    assert told["disputed"] == told["joined"] > 0
    code, out = await run_command(own_wire, "dispute", "list", "--state", "OPEN", "--json")
    listed = json.loads(out)["disputes"]
    assert len(listed) >= told["disputed"]
    number = listed[-1]["name"].removeprefix("disputes/")
    decide = ("--outcome", "standing", "--evidence", "converted credits: one issuance")
    code, out = await run_command(own_wire, "dispute", "settle", number, *decide)
    assert code == 0, out
    code, out = await run_command(own_wire, "dispute", "show", number)
    assert "kind SETTLED, outcome STANDING, evidence converted credits: one issuance, decider operator/" in out
    assert "boundary" not in out
    assert "start_time" not in out
    code, out = await run_command(own_wire, "dispute", "list", "--state", "settled")
    assert "may be more" not in out
    code, out = await run_command(own_wire, "dispute", "list", "--limit", "1")
    assert "the first 1 are shown; there may be more, see --limit" in out
    code, out = await run_command(own_wire, "dispute", "reopen", number, "--evidence", "look again")
    assert code == 0, out


async def test_what_was_refused_is_asked_anew_when_the_file_comes_again(own_wire: Wire, tmp_path: Path) -> None:
    ccer, gec = await own_wire.party(CCER), await own_wire.party(GEC)
    one, other = meter(), meter()
    await ccer.register(one)
    await gec.register(other)
    path, head = tmp_path / "past.csv", (
        "native_project_id,country,activity_type,display_name,time_zone,identifiers,instrument,period_start,period_end,"
        "native_issuance_id,capacity_mw,units"
    )  # fmt: skip
    place = f"p-1,CN,wind,A,Asia/Shanghai,{one[0]}:{one[1]};{other[0]}:{other[1]},ARBOC,2025-01-01,2025-02-01,i-1"

    async def told(*rows: str) -> dict[str, Any]:
        path.write_text("\n".join((head, *rows)), "utf-8")
        _, out = await run_command(own_wire, "import", str(path), "--registry", "arb", "--json")
        document: dict[str, Any] = json.loads(out[out.index("{") : out.rindex("}") + 1])
        return document

    first = await told(f"{place},,10", f"{place},1e30,10")
    assert (first["in_review"], first["faulty"]) == (1, 1)
    assert "line 3: row: a number is out of range" in first["faults"][0]
    assert (await told(f"{place},,11"))["faulty"] == 1, "waits with other content"
    operator = await own_wire.party(OPERATOR)
    [case] = (await operator("ListReviewCases", review_pb2.ListReviewCasesRequest())).review_cases
    await operator(
        "DecideReviewCase",
        review_pb2.DecideReviewCaseRequest(
            request_id=fresh(), name=case.name, kind=review_pb2.REVIEW_DECISION_KIND_DIFFERENT, reason="seen on site"
        ),
    )
    again = await told(f"{place},,11")
    assert (again["faulty"], again["disputed"]) == (0, 1)


async def _import(address: str, wire_files: Any, failpoint: str = "") -> tuple[int, str]:
    arguments = [
        "import", str(DATA / "arb.csv"), "--registry", "arb", "--format", "arb", "--json", "--lookup", address,
        "--authority", str(wire_files.authority), "--certificate", str(wire_files.certificate),
        "--key", str(wire_files.key),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SMALL_BATCHES, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "SOLECLAIM_FAILPOINT": failpoint},
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, (out or err).decode()


_SMALL_BATCHES = "from soleclaim.history import run; run.BATCH = 10; from soleclaim.cmd.main import main; main()"


@pytest.mark.parametrize("rows", [10, 30])
async def test_an_import_that_is_killed_goes_on_and_tells_the_same(
    store_kind: str, store_url_of: Any, certificates: Path, rows: int
) -> None:
    files = _files(certificates, OPERATOR)
    told = []
    for failpoint in ("", f"kill:import.{rows}"):
        url = store_url_of(store_kind, own=True)
        async with lookup_process(url, _files(certificates, LOOKUP)) as lookup:
            if failpoint:
                assert (await _import(lookup.address, files, failpoint))[0] == -9
            code, out = await _import(lookup.address, files)
            assert code == 0
            told.append(json.loads(out))
        findings = await run_check(Targets(url))
        assert (findings.violations, findings.not_looked) == ([], [])
    assert told[0] == told[1]
    assert told[0]["rows"] > 30


@pytest.mark.parametrize("moment", ["claimed", "written", "committed"])
async def test_a_lookup_killed_around_an_imports_write_loses_and_doubles_nothing(
    store_kind: str, store_url_of: Any, certificates: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, files = store_url_of(store_kind, own=True), _files(certificates, OPERATOR)
    with monkeypatch.context() as patched:
        patched.setenv("SOLECLAIM_FAILPOINT", f"kill:lookup.ImportIssuance.{moment}")
        async with lookup_process(url, _files(certificates, LOOKUP)) as lookup:
            given_up = asyncio.create_task(_import(lookup.address, files))
            killed = asyncio.create_task(lookup.process.wait())
            # An import that ends by itself would leave the lookup waiting: then say how it ended.
            await asyncio.wait([killed, given_up], return_when=asyncio.FIRST_COMPLETED)
            assert killed.done(), given_up.result()
            assert killed.result() == -9
            given_up.cancel()
            await asyncio.wait([given_up])
    async with lookup_process(url, _files(certificates, LOOKUP)) as lookup:
        code, out = await _import(lookup.address, files)
    assert code == 0
    told = json.loads(out)
    assert told["repeated"] == told["faulty"] == 0
    findings = await run_check(Targets(url))
    assert (findings.violations, findings.not_looked) == ([], [])
    assert findings.looked_at["I3"]["imported issuances"] == told["fitted"] + told["disputed"]


def _files(certificates: Path, caller: Any) -> Any:
    name = f"{caller.role.value}-{caller.code}"
    return TlsFiles(
        authority=certificates / "authority.crt",
        certificate=certificates / f"{name}.crt",
        key=certificates / f"{name}.key",
    )
