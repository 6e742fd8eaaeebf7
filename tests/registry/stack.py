"""The real parts that whole adapters are tested against: the lookup over mutual TLS, and the native stand-ins."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Final

import httpx

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RegistryClient, RemoteUnavailable, TlsFiles
from soleclaim.core.identity import Caller, Role
from soleclaim.natives import NativeSettings, open_native
from soleclaim.natives.civil import CHINA, period_of_days, period_of_month
from soleclaim.registry.sql_journal import migrate
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.parse import to_interval
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

MARCH: Final = period_of_month("2025-03", CHINA)
HALF_YEAR: Final = period_of_days(date(2025, 1, 1), date(2025, 6, 30), CHINA)
CCER_PROJECT: Final = "1500000000000000777"
PROJECT_CODE: Final = "2509-320193-89-01-544060"
DECLARED: Final = types_pb2.Declaration(no_other_application=True, no_claim_after_transfer=True)
REGISTRIES: Final = ("gec", "ccer", "cea", "phcer")
BY_FILES: Final = ("eur-hen", "bfcer")
"""Their stand-ins are started by the tests that need them."""
KINDS: Final = {"cea": "ets", "phcer": "local", "eur-hen": "energyuse", "bfcer": "local"}
"""The family of a registry that is not named like it."""
SIGNED: Final = {"cea"}
SECRET: Final = b"a secret for tests"
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

    def adapter(
        self, registry: str, *, failpoint: str = "", lease_s: float = 15, review_wait_s: float = 600
    ) -> Process:
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
            kind = "{KINDS.get(registry, registry)}"
            url = "{self.natives[registry]}"
            {self._key(registry)}
            longest_under_way_s = 1
            [lease]
            ttl_s = {lease_s}
            renew_every_s = {lease_s / 5}
            [recovery]
            poll_s = 0.1
            first_pause_s = 0.1
            longest_review_pause_s = 0.4
            longest_review_wait_s = {review_wait_s}
            """)
        arguments = ["adapter", "serve", "--registry", registry, "--config", str(config)]
        return Process(arguments, self.folder / f"{registry}.log", failpoint)

    def _key(self, registry: str) -> str:
        return f'key_id = "{registry}"\nsecret_file = "{self.secret_file}"' if registry in SIGNED else ""

    @property
    def secret_file(self) -> Path:
        return self.folder / "secret"

    def dial(self, adapter: Process, who: str = "desk") -> RegistryClient:
        return RegistryClient(adapter.target, self.certificates[who])

    async def native_references(self, registry: str) -> list[str]:
        """External references of all issuances in the native registry."""
        settings = NativeSettings(registry=registry, url=self.natives[registry], timeout_s=10, longest_under_way_s=1)
        if registry in SIGNED:
            settings = replace(settings, key_id=registry, secret_file=self.secret_file)
        native = open_native(KINDS.get(registry, registry), settings)
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
    with httpx.Client(base_url=natives["gec"], trust_env=False, verify=False) as http:  # noqa: S501  plain HTTP
        http.post("/api/v1/filings", json={"filings": filings}).raise_for_status()
        http.post("/api/v1/readings", json={"readings": readings}).raise_for_status()
    project = {
        "projectInfoId": CCER_PROJECT, "projectCode": PROJECT_CODE, "projectName": "风电场0",
        "orgCustomerName": "某公司", "projectType": "A0102", "projectTypeName": "并网海上风力发电",
        "methodologyNum": "CCER-01-002-V01", "provinceName": "广东省", "expectYearNum": 804_345,
    }  # fmt: skip
    reduction = {"projectInfoId": CCER_PROJECT, "startDate": "20250101", "endDate": "20250630", "certifiedNum": 99}
    with httpx.Client(base_url=natives["ccer"], trust_env=False, verify=False) as http:  # noqa: S501  plain HTTP
        http.post("/api/assumed/projects", json={"projects": [project]}).raise_for_status()
        http.post("/api/assumed/reductions", json={"reductions": [reduction]}).raise_for_status()


def _stand_in(folder: Path, registry: str) -> StandIn:
    secret = SECRET if registry in SIGNED else b""
    return StandIn(folder / f"native-{registry}.db", registry, secret=secret)


@contextlib.contextmanager
def open_stack(folder: Path) -> Iterator[Stack]:
    """All of it but the adapters, over mutual TLS."""
    make_authority(folder)
    callers = {
        "lookup": Caller(Role.OPERATOR, "lookup"),
        "desk": Caller(Role.OPERATOR, "desk"),
        "second": Caller(Role.OPERATOR, "second"),
        **{registry: Caller(Role.REGISTRY, registry) for registry in (*REGISTRIES, *BY_FILES)},
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
        (folder / "secret").write_bytes(SECRET)
        natives = {
            registry: exits.enter_context(running(KINDS.get(registry, registry), _stand_in(folder, registry)))
            for registry in REGISTRIES
        }
        _set_up_natives(natives)
        yield Stack(folder, lookup, natives, certificates)


def a_request(number: int, request_id: str = "") -> pb.RequestIssuanceRequest:
    return pb.RequestIssuanceRequest(
        request_id=request_id or f"request-{number}",
        native_project_id=filing_code(number),
        period=to_interval(MARCH),
        declaration=DECLARED,
    )


def file_at_gec(stack: Stack, code: str, name: str, **changed: str) -> None:
    """A wind farm with one measured month."""
    filing = {
        "filingCode": code, "projectName": name, "owner": "某发电公司", "energyType": "风电", "province": "广东省",
        **changed,
    }  # fmt: skip
    reading = {"filingCode": code, "month": "2025-03", "kwh": 12_345}
    with httpx.Client(base_url=stack.natives["gec"], trust_env=False, verify=False) as http:  # noqa: S501  plain HTTP
        http.post("/api/v1/filings", json={"filings": [filing]}).raise_for_status()
        http.post("/api/v1/readings", json={"readings": [reading]}).raise_for_status()


def file_at_ccer(stack: Stack, number: str, name: str, **changed: str) -> None:
    """A wind farm with the certified reduction of one month."""
    project = {
        "projectInfoId": number, "projectName": name, "orgCustomerName": "某新能源公司", "projectType": "A0102",
        "projectTypeName": "并网海上风力发电", "methodologyNum": "CCER-01-002-V01", "provinceName": "广东省",
        "expectYearNum": 804_345, **changed,
    }  # fmt: skip
    reduction = {"projectInfoId": number, "startDate": "20250301", "endDate": "20250331", "certifiedNum": 9}
    with httpx.Client(base_url=stack.natives["ccer"], trust_env=False, verify=False) as http:  # noqa: S501  plain HTTP
        for path, rows in (("projects", [project]), ("reductions", [reduction])):
            answer = http.post(f"/api/assumed/{path}", json={path: rows}).json()
            assert answer["successful"], answer


async def ask(client: RegistryClient, request_id: str, project: str) -> pb.Issuance:
    """Ask once for its month."""
    request = pb.RequestIssuanceRequest(
        request_id=request_id, native_project_id=project, period=to_interval(MARCH), declaration=DECLARED
    )
    issuance: pb.Issuance = await client.call(client.registry.RequestIssuance, request)
    return issuance


async def settled(client: RegistryClient, request: pb.RequestIssuanceRequest) -> pb.Issuance:
    """Repeat the request until its issuance is settled."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            with contextlib.suppress(RemoteUnavailable):
                issuance = await client.call(client.registry.RequestIssuance, request)
                if issuance.state in (pb.ISSUANCE_STATE_ISSUED, pb.ISSUANCE_STATE_REFUSED):
                    return issuance
            await asyncio.sleep(0.1)
