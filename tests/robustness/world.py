"""The world of one scenario: a lookup, both native stand-ins, a journal for each registry; all of them processes.

Every ``Plant`` is one activity, known to both registries and measured for the same month by both. Natively there is
room to issue twice, so that a second issuance is seen and not refused by luck.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import psycopg
from sqlalchemy import make_url

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient, TlsFiles
from soleclaim.core.identity import Caller, Role
from soleclaim.natives.civil import CHINA, period_of_month
from soleclaim.parts.process import free_port
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.parse import to_interval
from tests.robustness.processes import Process, Processes

Kind = Literal["sqlite", "postgres"]
Registry = Literal["ccer", "gec"]
REGISTRIES: Final[tuple[Registry, ...]] = ("ccer", "gec")

MONTH: Final = "2025-03"
PERIOD: Final = period_of_month(MONTH, CHINA)
DAYS: Final = {"startDate": "20250301", "endDate": "20250331"}
"""The month as CCER states it."""
UNITS: Final[dict[Registry, int]] = {"ccer": 9, "gec": 5}
ISSUE_PATH: Final[dict[Registry, str]] = {"ccer": "/api/assumed/issue", "gec": "/api/v1/issuances"}

NATIVE_TIMEOUT_S: Final = 0.8
UNDER_WAY_S: Final = 2.0
SEND_WITHIN_S: Final = 1.0
LATE_S: Final = 2.5
"""Late work is done this long after the call came in: the caller has long given up, and it is within the limit
(``NATIVE_TIMEOUT_S`` + ``UNDER_WAY_S``)."""

ACTIVE: Final = re.compile(r"active, lease epoch (\d+)")
DECLARED: Final = types_pb2.Declaration(no_other_application=True, no_claim_after_transfer=True)
DESK: Final = Caller(Role.OPERATOR, "desk")


@dataclass(frozen=True)
class Plant:
    """One activity. Its native ids follow from its number."""

    number: int

    def project(self, registry: Registry) -> str:
        """Its native id."""
        return f"15000000000001{self.number:05d}" if registry == "ccer" else f"FDWD24071500{self.number:05d}"

    @property
    def code(self) -> str:
        """The national project code, which both registries know."""
        return f"2509-320193-89-01-{self.number:06d}"

    def request(self, registry: Registry, request_id: str) -> pb.RequestIssuanceRequest:
        """Ask to issue its month."""
        return pb.RequestIssuanceRequest(
            request_id=request_id,
            native_project_id=self.project(registry),
            period=to_interval(PERIOD),
            units=UNITS[registry],
            declaration=DECLARED,
        )


@dataclass(frozen=True)
class Databases:
    """Empty databases of one kind, already migrated. ``new("lookup")`` or ``new("journal")`` gives a URL."""

    kind: Kind
    new: Callable[[str], str]


@dataclass
class World:
    """Where everything is, and how to start each part."""

    processes: Processes
    folder: Path
    kind: Kind
    urls: dict[str, str]
    """Database URL of ``lookup`` and of each registry's journal."""
    lookup: Process = field(init=False)
    certificates: dict[str, TlsFiles] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    natives: dict[Registry, str] = field(default_factory=dict)
    lease_s: float = 1.0
    renew_s: float = 0.3
    poll_s: float = 0.2
    longest_pause_s: float = 1.0

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    # -- Parts --------------------------------------------------------------------------------------------------

    async def start_lookup(self, failpoint: str = "") -> Process:
        """The lookup, always on the same port."""
        if "lookup" not in self.ports:
            self.ports["lookup"] = free_port()
        arguments = [
            "lookup", "serve", "--database-url", self.urls["lookup"], "--listen", f"127.0.0.1:{self.ports['lookup']}",
        ]  # fmt: skip
        if tls := self.certificates.get("lookup"):
            arguments += [
                "--authority",
                str(tls.authority),
                "--certificate",
                str(tls.certificate),
                "--key",
                str(tls.key),
            ]
        else:
            arguments += ["--insecure-loopback"]
        self.lookup = await self.processes.start(*arguments, log=self.log("lookup"), failpoint=failpoint)
        return self.lookup

    async def start_native(self, registry: Registry) -> Process:
        """A stand-in, always on the same port."""
        if registry not in self.ports:
            self.ports[registry] = free_port()
        listen = f"127.0.0.1:{self.ports[registry]}"
        self.natives[registry] = f"http://{listen}"
        return await self.processes.start(
            "sandbox", "serve", registry, "--database", str(self.folder / f"native-{registry}.db"), "--listen", listen,
            log=self.log(f"native-{registry}"),
        )  # fmt: skip

    async def start_adapter(self, registry: Registry, failpoint: str = "") -> Process:
        """An adapter on a port of its own; several share the registry's journal."""
        config = self.folder / f"{registry}.toml"
        tls = self.certificates.get(registry)
        written = f"""
            [registry]
            code = "{registry}"
            [server]
            listen = "127.0.0.1:0"
            grace_s = 1
            [journal]
            url = "{self.urls[registry]}"
            [lookup]
            target = "127.0.0.1:{self.ports["lookup"]}"
            timeout_s = 2
            [native]
            kind = "{registry}"
            url = "{self.natives[registry]}"
            timeout_s = {NATIVE_TIMEOUT_S}
            longest_under_way_s = {UNDER_WAY_S}
            send_within_s = {SEND_WITHIN_S}
            [lease]
            ttl_s = {self.lease_s}
            renew_every_s = {self.renew_s}
            [recovery]
            poll_s = {self.poll_s}
            first_pause_s = 0.1
            longest_pause_s = {self.longest_pause_s}
            longest_review_pause_s = {self.longest_pause_s}
            batches_at_once = 32
            """
        if tls:
            written += f"""
            [tls]
            authority = "{tls.authority}"
            certificate = "{tls.certificate}"
            key = "{tls.key}"
            """
        config.write_text(written)
        arguments = ["adapter", "serve", "--registry", registry, "--config", str(config)]
        if not tls:
            arguments.append("--insecure-loopback")
        return await self.processes.start(*arguments, log=self.log(registry), failpoint=failpoint)

    def dial(self, adapter: Process) -> RegistryClient:
        """A client of that adapter, as an operator's desk."""
        tls = self.certificates.get("desk")
        return RegistryClient(adapter.address, tls, caller=None if tls else DESK)

    def dial_lookup(self, caller: Caller = DESK) -> LookupClient:
        """A client of the lookup."""
        tls = self.certificates.get(caller.code)
        return LookupClient(f"127.0.0.1:{self.ports['lookup']}", tls, caller=None if tls else caller)

    # -- Natives ------------------------------------------------------------------------------------------------

    async def add_plants(self, plants: Sequence[Plant]) -> None:
        """Tell both native registries of them."""
        filings = [
            {
                "filingCode": plant.project("gec"), "projectName": f"风电场{plant.number}", "owner": "某公司",
                "energyType": "风电", "province": "广东省", "projectCode": plant.code,
            }
            for plant in plants
        ]  # fmt: skip
        readings = [{"filingCode": plant.project("gec"), "month": MONTH, "kwh": 12_345} for plant in plants]
        projects = [
            {
                "projectInfoId": plant.project("ccer"), "projectCode": plant.code,
                "projectName": f"风电场{plant.number}",
                "orgCustomerName": "某公司", "projectType": "A0102", "projectTypeName": "并网海上风力发电",
                "methodologyNum": "CCER-01-002-V01", "provinceName": "广东省", "expectYearNum": 804_345,
            }
            for plant in plants
        ]  # fmt: skip
        reductions = [{"projectInfoId": plant.project("ccer"), "certifiedNum": 99, **DAYS} for plant in plants]
        await self.native("gec", "POST", "/api/v1/filings", {"filings": filings})
        await self.native("gec", "POST", "/api/v1/readings", {"readings": readings})
        await self.native("ccer", "POST", "/api/assumed/projects", {"projects": projects})
        await self.native("ccer", "POST", "/api/assumed/reductions", {"reductions": reductions})

    async def native(self, registry: Registry, method: str, path: str, body: object = None) -> Any:
        """Speak to a stand-in directly, as nobody but a test may."""
        async with httpx.AsyncClient(base_url=self.natives[registry], trust_env=False, timeout=20) as http:
            answer = (await http.request(method, path, json=body)).raise_for_status().json()
        assert answer.get("successful", True), answer
        return answer

    async def set_fault(self, registry: Registry, fault: str | None) -> None:
        """From now on all native issue calls meet this fault; ``None``: no fault at all."""
        await self.native(registry, "DELETE", "/_faults")
        if fault is not None:
            body = {"fault": fault, "path": ISSUE_PATH[registry], "times": -1, "delay_s": LATE_S}
            await self.native(registry, "POST", "/_faults", body)

    async def fault_hits(self, registry: Registry) -> int:
        """How often the faults that are on were met."""
        return sum(each["hits"] for each in (await self.native(registry, "GET", "/_faults"))["faults"])

    def journal_is_free(self, registry: Registry) -> bool:
        """Whether somebody could write the journal now. A stopped process may have been stopped in mid-transaction."""
        url = make_url(self.urls[registry])
        if self.kind == "sqlite":
            with contextlib.closing(
                sqlite3.connect(str(url.database), isolation_level=None, timeout=0.2)
            ) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
                except sqlite3.OperationalError:
                    return False
            return True
        conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, connect_timeout=5) as connection:
            try:
                connection.execute("SET lock_timeout = '200ms'")
                connection.execute("SELECT 1 FROM lease FOR UPDATE")
            except psycopg.errors.LockNotAvailable:
                return False
        return True


@contextlib.asynccontextmanager
async def world(
    started: Processes, folder: Path, databases: Databases, plants: Sequence[Plant], *, tls: bool = False
) -> AsyncIterator[World]:
    """A world with its stand-ins and its lookup running, and no adapter."""
    os.mkdir(folder)
    urls = {"lookup": databases.new("lookup")}
    for registry in REGISTRIES:
        urls[registry] = databases.new("journal")
    made = World(started, folder, databases.kind, urls)
    if tls:
        make_authority(folder)
        callers = {"lookup": Caller(Role.OPERATOR, "lookup"), "desk": DESK}
        callers |= {registry: Caller(Role.REGISTRY, registry) for registry in REGISTRIES}
        made.certificates |= {name: issue_certificate(folder, caller) for name, caller in callers.items()}
    await made.start_lookup()
    natives = await asyncio.gather(*(made.start_native(registry) for registry in REGISTRIES))
    await made.add_plants(plants)
    try:
        yield made
    finally:
        await asyncio.gather(made.lookup.kill(), *(part.kill() for part in natives))


def copy_sqlite(template: Path, folder: Path) -> str:
    """A copy of a migrated SQLite file."""
    target = folder / f"{secrets.token_hex(6)}.db"
    shutil.copy(template, target)
    return f"sqlite+aiosqlite:///{target}"
