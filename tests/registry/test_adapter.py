"""Whole adapters as processes over mutual TLS: against the real lookup and the stand-ins of the native registries."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import httpx
import pytest

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, RemoteUnavailable, TlsFiles
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.natives import open_native
from soleclaim.natives.civil import CHINA, period_of_days, period_of_month
from soleclaim.registry.sql_journal import migrate
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status
from soleclaim.sandbox.server import running

MARCH: Final = period_of_month("2025-03", CHINA)
HALF_YEAR: Final = period_of_days(date(2025, 1, 1), date(2025, 6, 30), CHINA)
CCER_PROJECT: Final = "1500000000000000777"
PROJECT_CODE: Final = "2509-320193-89-01-544060"
DECLARED: Final = types_pb2.Declaration(no_other_application=True, no_claim_after_transfer=True)
START_S: Final = 30
SETTLE_S: Final = 20


@dataclass
class Process:
    """A ``soleclaim`` server that prints where it listens."""

    arguments: list[str]
    log: Path
    failpoint: str = ""
    target: str = field(init=False)

    def __post_init__(self) -> None:
        environment = {**os.environ, "SOLECLAIM_FAILPOINT": self.failpoint, "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "soleclaim.cmd.main", *self.arguments],
                stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
            )  # fmt: skip
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line.startswith("listening on "), self.log.read_text()
        self.target = line.removeprefix("listening on ").strip()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self.popen.wait(START_S)
        if self.popen.stdout:
            self.popen.stdout.close()
        return code

    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return Path(f"/proc/{self.popen.pid}/stat").read_text().split(") ")[1][0] == "T"

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGCONT)
        self.popen.terminate()
        return self.ended()


@dataclass
class Stack:
    """The lookup, and a native stand-in for each registry."""

    folder: Path
    lookup: Process
    natives: dict[str, str]
    certificates: dict[str, TlsFiles]

    def adapter(self, registry: str, *, failpoint: str = "", lease_s: float = 15) -> Process:
        tls = self.certificates[registry]
        journal = f"sqlite+aiosqlite:///{self.folder / f'{registry}.db'}"
        migrate(journal)
        config = self.folder / f"{registry}.toml"
        config.write_text(f"""
            [registry]
            code = "{registry}"
            [server]
            listen = "127.0.0.1:0"
            [tls]
            authority = "{tls.authority}"
            certificate = "{tls.certificate}"
            key = "{tls.key}"
            [journal]
            url = "{journal}"
            [lookup]
            target = "{self.lookup.target}"
            [native]
            kind = "{registry}"
            url = "{self.natives[registry]}"
            longest_under_way_s = 1
            [lease]
            ttl_s = {lease_s}
            renew_every_s = {lease_s / 5}
            [recovery]
            poll_s = 0.1
            first_pause_s = 0.1
            """)
        arguments = ["adapter", "serve", "--registry", registry, "--config", str(config)]
        return Process(arguments, self.folder / f"{registry}.log", failpoint)

    def dial(self, adapter: Process, who: str = "desk") -> RegistryClient:
        return RegistryClient(adapter.target, self.certificates[who])

    async def native_references(self, registry: str) -> list[str]:
        """External references of all issuances in the native registry."""
        native = open_native(registry, self.natives[registry], timeout_s=10, longest_under_way_s=1)
        try:
            return [issuance.external_reference async for issuance in native.list_issuances()]
        finally:
            await native.close()


def filing_code(number: int) -> str:
    return f"FDWD24071500{number:05d}"


def _set_up_natives(natives: dict[str, str]) -> None:
    filings = [
        {
            "filingCode": filing_code(number), "projectName": f"风电场{number}", "owner": "某公司",
            "energyType": "风电", "province": "广东省", **({"projectCode": PROJECT_CODE} if number == 0 else {}),
        }
        for number in range(10)
    ]  # fmt: skip
    readings = [{"filingCode": filing_code(number), "month": "2025-03", "kwh": 12_345} for number in range(10)]
    with httpx.Client(base_url=natives["gec"], trust_env=False, verify=False) as http:  # noqa: S501
        http.post("/api/v1/filings", json={"filings": filings}).raise_for_status()
        http.post("/api/v1/readings", json={"readings": readings}).raise_for_status()
    project = {
        "projectInfoId": CCER_PROJECT, "projectCode": PROJECT_CODE, "projectName": "风电场0",
        "orgCustomerName": "某公司", "projectType": "A0102", "projectTypeName": "并网海上风力发电",
        "methodologyNum": "CCER-01-002-V01", "provinceName": "广东省", "expectYearNum": 804_345,
    }  # fmt: skip
    reduction = {"projectInfoId": CCER_PROJECT, "startDate": "20250101", "endDate": "20250630", "certifiedNum": 99}
    with httpx.Client(base_url=natives["ccer"], trust_env=False, verify=False) as http:  # noqa: S501
        http.post("/api/assumed/projects", json={"projects": [project]}).raise_for_status()
        http.post("/api/assumed/reductions", json={"reductions": [reduction]}).raise_for_status()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("adapter")
    make_authority(folder)
    callers = {
        "lookup": Caller(Role.OPERATOR, "lookup"),
        "desk": Caller(Role.OPERATOR, "desk"),
        "gec": Caller(Role.REGISTRY, "gec"),
        "ccer": Caller(Role.REGISTRY, "ccer"),
    }
    certificates = {name: issue_certificate(folder, caller) for name, caller in callers.items()}
    url = f"sqlite+aiosqlite:///{folder / 'lookup.db'}"
    subprocess.run(
        [sys.executable, "-m", "soleclaim.cmd.main", "migrate", "--store", "lookup", "--database-url", url],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    tls = certificates["lookup"]
    arguments = [
        "lookup", "serve", "--database-url", url, "--listen", "127.0.0.1:0", "--authority", str(tls.authority),
        "--certificate", str(tls.certificate), "--key", str(tls.key),
    ]  # fmt: skip
    with contextlib.ExitStack() as exits:
        lookup = Process(arguments, folder / "lookup.log")
        exits.callback(lookup.stop)
        natives = {kind: exits.enter_context(running(kind, folder / f"native-{kind}.db")) for kind in ("gec", "ccer")}
        _set_up_natives(natives)
        yield Stack(folder, lookup, natives, certificates)


@pytest.fixture
def adapters() -> Iterator[list[Process]]:
    """Append what the test starts; it is stopped afterwards."""
    started: list[Process] = []
    yield started
    for each in started:
        if each.popen.poll() is None:
            each.stop()


@pytest.fixture
async def lookup(stack: Stack) -> AsyncIterator[LookupClient]:
    async with LookupClient(stack.lookup.target, stack.certificates["desk"]) as client:
        yield client


def a_request(number: int, request_id: str = "") -> pb.RequestIssuanceRequest:
    return pb.RequestIssuanceRequest(
        request_id=request_id or f"request-{number}",
        native_project_id=filing_code(number),
        period=to_interval(MARCH),
        declaration=DECLARED,
    )


async def settled(client: RegistryClient, request: pb.RequestIssuanceRequest) -> pb.Issuance:
    """Repeat the request until its issuance is settled."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            with contextlib.suppress(RemoteUnavailable):
                issuance = await client.call(client.registry.RequestIssuance, request)
                if issuance.state in (pb.ISSUANCE_STATE_ISSUED, pb.ISSUANCE_STATE_REFUSED):
                    return issuance
            await asyncio.sleep(0.1)


async def test_one_outcome_is_issued_by_one_registry_only(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1], "ccer") as ccer:
        green = await gec.call(gec.registry.RequestIssuance, a_request(0))
        assert (green.state, green.units) == (pb.ISSUANCE_STATE_ISSUED, 12)
        assert sum(block.end - block.start + 1 for block in green.blocks) == 12
        assert green.reference in await stack.native_references("gec")
        lock = await lookup.call(lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=green.issuance_lock))
        assert lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUED

        asked = pb.RequestIssuanceRequest(
            request_id="credit-1",
            native_project_id=CCER_PROJECT,
            period=to_interval(HALF_YEAR),
            declaration=DECLARED,
        )
        credit = await ccer.call(ccer.registry.RequestIssuance, asked)
        assert credit.state == pb.ISSUANCE_STATE_REFUSED
        assert from_status(credit.error).reason is Reason.ACTIVITY_ALREADY_ISSUED
        assert credit.activity == green.activity
        assert await stack.native_references("ccer") == []

        dry_run = pb.CheckIssuanceRequest(native_project_id=CCER_PROJECT, period=asked.period, declaration=DECLARED)
        check = await ccer.call(ccer.registry.CheckIssuance, dry_run)
        assert [from_status(each).reason for each in check.refusals] == [Reason.ACTIVITY_ALREADY_ISSUED]
        answers = {answer.registry: answer for answer in check.peer_answers}
        assert answers["gec"].verdict == pb.PEER_VERDICT_ISSUED
        assert [found.instrument for found in answers["gec"].issuances] == ["GEC"]
        assert all(each.verdict == pb.PEER_VERDICT_UNKNOWN for code, each in answers.items() if code != "gec")

        assert adapters[0].stop() == 0
        check = await ccer.call(ccer.registry.CheckIssuance, dry_run)
        assert {each.verdict for each in check.peer_answers} == {pb.PEER_VERDICT_UNKNOWN}


async def test_a_registry_asks_only_its_own_adapter_to_issue(stack: Stack, adapters: list[Process]) -> None:
    adapters.append(stack.adapter("gec"))
    async with stack.dial(adapters[0], "ccer") as other, stack.dial(adapters[0], "gec") as own:
        with pytest.raises(RemoteRefusal) as refused:
            await other.call(other.registry.RequestIssuance, a_request(1))
        assert refused.value.reason is Reason.REGISTRY_NOT_YOURS
        batch = pb.BatchRequestIssuancesRequest(requests=[a_request(1), pb.RequestIssuanceRequest(units=-1)])
        with pytest.raises(RemoteRefusal) as refused:
            await own.call(own.registry.BatchRequestIssuances, batch)
        assert [each.field for each in refused.value.violations] == [
            "request_id",
            "requests[0].request_id",
            "requests[1].native_project_id",
            "requests[1].period",
            "requests[1].units",
        ]
        first = await own.call(own.registry.RequestIssuance, a_request(1))
        other_caller = await settled(stack.dial(adapters[0]), a_request(1))
        assert from_status(other_caller.error).reason is not None
        found = await other.call(
            other.registry.FindIssuances,
            pb.FindIssuancesRequest(activity=first.activity, period=to_interval(MARCH)),
        )
        assert [each.state for each in found.issuances] == [pb.ISSUANCE_STATE_ISSUED]
        page = await own.call(own.registry.ListIssuances, pb.ListIssuancesRequest(page_size=1))
        rest = await own.call(
            own.registry.ListIssuances, pb.ListIssuancesRequest(page_size=1, page_token=page.next_page_token)
        )
        assert page.issuances[0].name != rest.issuances[0].name
        assert await own.call(own.registry.GetIssuance, pb.GetIssuanceRequest(name=first.name)) == first


@pytest.mark.parametrize(("number", "point"), [(2, "ACQUIRE.after"), (3, "SEND.after"), (4, "NATIVE.after")])
async def test_a_killed_adapter_comes_back_and_settles_its_issuance(
    stack: Stack, adapters: list[Process], lookup: LookupClient, number: int, point: str
) -> None:
    adapters.append(stack.adapter("gec", failpoint=f"kill:registry.{point}", lease_s=1.5))
    async with stack.dial(adapters[0]) as client:
        with pytest.raises(RemoteUnavailable):
            await client.call(client.registry.RequestIssuance, a_request(number))
    assert adapters[0].ended() == -signal.SIGKILL
    adapters.append(stack.adapter("gec", lease_s=1.5))
    async with stack.dial(adapters[1]) as client:
        issuance = await settled(client, a_request(number))
    lock = await lookup.call(lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=issuance.issuance_lock))
    issued = issuance.reference in await stack.native_references("gec")
    # The native registry voids references, so what was about to be sent and was not there is proven absent.
    assert issued is (point != "SEND.after")
    assert issuance.state == (pb.ISSUANCE_STATE_ISSUED if issued else pb.ISSUANCE_STATE_REFUSED)
    assert lock.state == (lock_pb.ISSUANCE_LOCK_STATE_ISSUED if issued else lock_pb.ISSUANCE_LOCK_STATE_ABORTED)


async def test_a_stopped_adapter_that_wakes_up_finds_its_place_taken(stack: Stack, adapters: list[Process]) -> None:
    adapters.append(stack.adapter("gec", failpoint="stop:registry.NATIVE.before", lease_s=1.5))
    async with stack.dial(adapters[0]) as sleeper:
        asked = asyncio.create_task(sleeper.call(sleeper.registry.RequestIssuance, a_request(6), timeout_s=30))
        async with asyncio.timeout(SETTLE_S):
            while not adapters[0].is_stopped():  # noqa: ASYNC110  another process gives no event
                await asyncio.sleep(0.05)
        adapters.append(stack.adapter("gec", lease_s=1.5))
        async with stack.dial(adapters[1]) as twin:
            issuance = await settled(twin, a_request(6))
            assert issuance.state == pb.ISSUANCE_STATE_REFUSED
            adapters[0].popen.send_signal(signal.SIGCONT)
            with pytest.raises((RemoteRefusal, RemoteUnavailable)):
                await asked
            with pytest.raises(RemoteUnavailable) as refused:
                await sleeper.call(sleeper.registry.RequestIssuance, a_request(7))
            assert refused.value.refusal is not None
            assert refused.value.refusal.reason is Reason.ADAPTER_STANDING_BY
            assert (await settled(twin, a_request(7))).state == pb.ISSUANCE_STATE_ISSUED
    assert issuance.reference not in await stack.native_references("gec")
