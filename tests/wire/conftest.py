"""The real lookup with real mutual TLS on both stores, and short words for what its callers do."""

import asyncio
import contextlib
import itertools
import secrets
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.status_pb2 import Status
from google.type.interval_pb2 import Interval
from sqlalchemy import make_url

from soleclaim.api.common.v1.types_pb2 import BASE_UNIT_KWH, Declaration, Identifier, UnitBlock
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import history_service_pb2 as history_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb2
from soleclaim.client import LookupClient, RemoteRefusal
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.core.period import Period
from soleclaim.lookup.grpc.server import lookup_services
from soleclaim.lookup.store import open_store, upgrade
from soleclaim.policy.bundle import default_bundle
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.server import RpcServer, ServerOptions
from soleclaim.rpc.status import from_status
from soleclaim.rpc.tls import TlsFiles

if TYPE_CHECKING:
    from tests.conftest import Kind, NewDatabase, PostgresServer

LOOKUP = Caller(Role.OPERATOR, "lookup")
OPERATOR = Caller(Role.OPERATOR, "ops")
SECOND_OPERATOR = Caller(Role.OPERATOR, "second")
REGULATOR = Caller(Role.REGULATOR, "mee")
CCER, GEC, ARB = (Caller(Role.REGISTRY, code) for code in ("ccer", "gec", "arb"))
CEA, BEA, EUR_ZJ, CQCER = (Caller(Role.REGISTRY, code) for code in ("cea", "bea", "eur-zj", "cqcer"))
GP_BJ, GP_GZ, PANDA = (Caller(Role.REGISTRY, code) for code in ("gp-bj", "gp-gz", "panda"))
INSTRUMENTS = {
    "ccer": "CCER", "gec": "GEC", "arb": "ARBOC", "cea": "CEA", "bea": "BEA", "eur-zj": "EUR-ZJ", "cqcer": "CQCER",
}  # fmt: skip
DECLARED = Declaration(no_other_application=True, no_claim_after_transfer=True)
DAY_0 = datetime(2025, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


def fresh(kind: str = "request") -> str:
    """An id that no other test uses, in no other database either."""
    return f"{kind}-{secrets.token_hex(6)}-{next(_numbers)}"


def span(start: float, end: float) -> Interval:
    """A period in days since the first of January 2025."""
    return to_interval(Period(DAY_0 + timedelta(days=start), DAY_0 + timedelta(days=end)))


def month(number: int = 0) -> Interval:
    """Adjoining periods of thirty days."""
    return span(30 * number, 30 * number + 30)


def wish(registry: str, activity: str, period: Interval | None = None, /, **changed: Any) -> Any:
    """An AcquireIssuanceLockRequest that is right but for what is changed."""
    fields: dict[str, Any] = {
        "request_id": fresh(),
        "registry": registry,
        "instrument": INSTRUMENTS[registry],
        "activity": activity,
        "period": month() if period is None else period,
        "units": 10,
        "reference": fresh("reference"),
        "declaration": DECLARED,
    }
    return lock_pb2.AcquireIssuanceLockRequest(**fields | changed)


def project(registry: str, *identifiers: tuple[str, str], **changed: Any) -> Any:
    """A RegisterActivityRequest that is right but for what is changed."""
    fields: dict[str, Any] = {
        "request_id": fresh(),
        "native_project": activity_pb2.NativeProjectRef(registry=registry, native_project_id=fresh("project")),
        "country": "CN",
        "activity_type": "wind",
        "display_name": "张北风电场",
        "time_zone": "Asia/Shanghai",
        "identifiers": [Identifier(scheme=scheme, value=value) for scheme, value in identifiers],
    }
    return activity_pb2.RegisterActivityRequest(**fields | changed)


def past(registry: str, period: Interval, *identifiers: tuple[str, str], **changed: Any) -> Any:
    """An ImportIssuanceRequest that is right but for what is changed of the issuance."""
    native_id = fresh("past")
    fields: dict[str, Any] = {
        "instrument": INSTRUMENTS[registry],
        "period": period,
        "units": 10,
        "native_issuance_id": native_id,
        "blocks": [UnitBlock(series=native_id, start=1, end=10)],
    }
    return history_pb2.ImportIssuanceRequest(
        request_id=fresh(),
        project=project(registry, *(identifiers or (meter(),)), request_id=""),
        issuance=history_pb2.HistoricIssuance(**fields | changed),
    )


def meter() -> tuple[str, str]:
    """A strong identifier that no other activity has."""
    return "metering_point", f"{secrets.token_hex(8).upper()}{next(_numbers)}"


def grant_fields(lock: lock_pb2.IssuanceLock) -> dict[str, Any]:
    """What names a grant in a request that moves it on."""
    return {"request_id": fresh(), "name": lock.name, "fencing_token": lock.fencing_token}


def to_begin(lock: lock_pb2.IssuanceLock, /, **changed: Any) -> Any:
    return lock_pb2.BeginIssuanceRequest(**grant_fields(lock) | changed)


def to_release(lock: lock_pb2.IssuanceLock, **changed: Any) -> Any:
    return lock_pb2.ReleaseIssuanceLockRequest(**grant_fields(lock) | changed)


def to_commit(lock: lock_pb2.IssuanceLock, *blocks: UnitBlock, **changed: Any) -> Any:
    """With fresh serials of the grant's units where none are given."""
    new = (UnitBlock(series=fresh("series"), start=1, end=lock.units),)
    fields: dict[str, Any] = {"native_issuance_id": fresh("native"), "blocks": blocks or new}
    return lock_pb2.CommitIssuanceRequest(**grant_fields(lock) | fields | changed)


def to_abort(lock: lock_pb2.IssuanceLock, **changed: Any) -> Any:
    evidence = lock_pb2.AbsenceEvidence(kind=lock_pb2.ABSENCE_EVIDENCE_KIND_NEVER_SENT, detail="the journal says so")
    return lock_pb2.AbortIssuanceRequest(**grant_fields(lock) | {"evidence": evidence} | changed)


def outcome(registry: str, activity: str, quantity: int, period: Interval | None = None, /, **changed: Any) -> Any:
    """A RecordOutcomeRequest that is right but for what is changed."""
    fields: dict[str, Any] = {
        "request_id": fresh(),
        "registry": registry,
        "activity": activity,
        "period": month() if period is None else period,
        "base_unit": BASE_UNIT_KWH,
        "quantity": quantity,
    }
    return outcome_pb2.RecordOutcomeRequest(**fields | changed)


def items_of(*requests: Any) -> list[Any]:
    """As they stand in a batch: without ids of their own."""
    for each in requests:
        each.ClearField("request_id")
    return list(requests)


async def refused(call: Awaitable[Any], reason: Reason) -> RemoteRefusal:
    """Insist on a refusal for that reason."""
    with pytest.raises(RemoteRefusal) as caught:
        await call
    assert caught.value.reason is reason, caught.value
    return caught.value


def reason_of(result: Any) -> Reason | None:
    """Why an item of a batch was refused; ``None`` when it was not."""
    return told(result.error).reason if result.HasField("error") else None


def told(status: Status) -> RemoteRefusal:
    return from_status(status)


def violations(refusal: RemoteRefusal) -> list[tuple[str, str]]:
    """(field, description) of each."""
    return [(each.field, each.description) for each in refusal.violations]


@dataclass
class Party:
    """One caller with a connection of its own. Every verb is one call; a refusal raises."""

    code: str
    client: LookupClient

    async def __call__(self, method: str, request: Any) -> Any:
        """Call a unary method by its name."""
        client = self.client
        stubs = (
            client.locks,
            client.activities,
            client.outcomes,
            client.directory,
            client.reviews,
            client.coverage,
            client.history,
            client.disputes,
            client.settlements,
        )
        stub = next(found for each in stubs if (found := getattr(each, method, None)) is not None)
        return await client.call(stub, request)

    async def register(self, *identifiers: tuple[str, str], **changed: Any) -> activity_pb2.Activity:
        message: activity_pb2.Activity = await self("RegisterActivity", project(self.code, *identifiers, **changed))
        return message

    async def acquire(self, activity: str, period: Interval | None = None, **changed: Any) -> lock_pb2.IssuanceLock:
        lock: lock_pb2.IssuanceLock = await self("AcquireIssuanceLock", wish(self.code, activity, period, **changed))
        return lock

    async def begin(self, lock: lock_pb2.IssuanceLock, **changed: Any) -> lock_pb2.IssuanceLock:
        moved: lock_pb2.IssuanceLock = await self("BeginIssuance", to_begin(lock, **changed))
        return moved

    async def commit(self, lock: lock_pb2.IssuanceLock, *blocks: UnitBlock, **changed: Any) -> lock_pb2.IssuanceLock:
        moved: lock_pb2.IssuanceLock = await self("CommitIssuance", to_commit(lock, *blocks, **changed))
        return moved

    async def abort(self, lock: lock_pb2.IssuanceLock, **changed: Any) -> lock_pb2.IssuanceLock:
        moved: lock_pb2.IssuanceLock = await self("AbortIssuance", to_abort(lock, **changed))
        return moved

    async def release(self, lock: lock_pb2.IssuanceLock, **changed: Any) -> lock_pb2.IssuanceLock:
        moved: lock_pb2.IssuanceLock = await self("ReleaseIssuanceLock", to_release(lock, **changed))
        return moved

    async def issuing(self, activity: str, period: Interval | None = None, **changed: Any) -> lock_pb2.IssuanceLock:
        return await self.begin(await self.acquire(activity, period, **changed))

    async def issued(self, activity: str, period: Interval | None = None, **changed: Any) -> lock_pb2.IssuanceLock:
        return await self.commit(await self.issuing(activity, period, **changed))

    async def get(self, lock: lock_pb2.IssuanceLock) -> lock_pb2.IssuanceLock:
        found: lock_pb2.IssuanceLock = await self("GetIssuanceLock", lock_pb2.GetIssuanceLockRequest(name=lock.name))
        return found

    async def record(self, activity: str, quantity: int, period: Interval | None = None, **changed: Any) -> Any:
        return await self("RecordOutcome", outcome(self.code, activity, quantity, period, **changed))

    async def events(self, cursor: str = "") -> list[event_pb2.WatchEventsResponse]:
        """All there are until now."""
        return [each async for each in self.client.watch(cursor, until_now=True)]

    async def now(self) -> str:
        """A cursor after everything this caller may see."""
        seen = await self.events()
        return seen[-1].cursor if seen else ""


@dataclass
class Wire:
    """One lookup over one store, and who calls it."""

    kind: "Kind"
    url: str
    certificates: Path
    stack: contextlib.AsyncExitStack
    port: int = 0
    server: RpcServer | None = None
    parties: dict[Caller, Party] = field(default_factory=dict)

    def files(self, caller: Caller) -> TlsFiles:
        stem = self.certificates / f"{caller.role.value}-{caller.code}"
        return TlsFiles(self.certificates / "authority.crt", stem.with_suffix(".crt"), stem.with_suffix(".key"))

    async def serve(self, *, pool_size: int = 4, **changed: Any) -> None:
        """Start a lookup as `lookup serve` does; the parties that come after call this one."""
        store = await open_store(self.url, default_bundle(), pool_size=pool_size)
        self.stack.push_async_callback(store.close)
        options: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "tls": self.files(LOOKUP), "grace_s": 1.0}
        self.server = RpcServer(ServerOptions(**options | changed), lookup_services(store, default_bundle()))
        self.port = await self.server.start()
        self.stack.push_async_callback(self.server.stop)

    async def restart(self) -> None:
        """End the lookup and start another over the same store."""
        assert self.server is not None
        await self.server.stop()
        self.parties.clear()
        await self.serve()

    async def party(self, caller: Caller) -> Party:
        """Every call with the same caller gives the same connection."""
        if caller not in self.parties:
            self.parties[caller] = await self.new_party(caller)
        return self.parties[caller]

    async def new_party(self, caller: Caller, *, files: TlsFiles | None = None) -> Party:
        client = LookupClient(f"localhost:{self.port}", files or self.files(caller))
        return Party(caller.code, await self.stack.enter_async_context(client))

    async def activity(self, *callers: Caller) -> str:
        """The name of a new activity that all these registries know (both by default)."""
        name = ""
        identifier = meter()
        for caller in callers or (CCER, GEC):
            name = (await (await self.party(caller)).register(identifier)).name
        return name

    async def activities(self, count: int, *callers: Caller) -> list[str]:
        """Many at once."""
        identifiers = [meter() for _ in range(count)]
        names: list[str] = []
        for caller in callers or (CCER, GEC):
            requests = items_of(*(project(caller.code, each) for each in identifiers))
            batch = activity_pb2.BatchRegisterActivitiesRequest(request_id=fresh(), requests=requests)
            party = await self.party(caller)
            names = [each.activity.name for each in (await party("BatchRegisterActivities", batch)).results]
        return names

    def sql(self, statement: str) -> list[Any]:
        """Behind the lookup's back, in plain SQL."""
        url = make_url(self.url)
        if self.kind == "sqlite":
            with contextlib.closing(sqlite3.connect(str(url.database), timeout=10)) as file, file:
                return file.execute(statement).fetchall()
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def expire(self, *locks: lock_pb2.IssuanceLock) -> None:
        """Let the open grants of these locks run out now."""
        numbers = ", ".join(each.name.partition("/")[2] for each in locks)
        self.sql(f"UPDATE issuance_lock SET expire_us = 1 WHERE lock_id IN ({numbers})")  # noqa: S608


def ttl(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def block(series: str, start: int, end: int) -> UnitBlock:
    return UnitBlock(series=series, start=start, end=end)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a certificate per caller."""
    path = tmp_path_factory.mktemp("certificates")
    make_authority(path)
    for caller in (
        LOOKUP,
        OPERATOR,
        SECOND_OPERATOR,
        REGULATOR,
        CCER,
        GEC,
        ARB,
        CEA,
        BEA,
        EUR_ZJ,
        CQCER,
        GP_BJ,
        GP_GZ,
        PANDA,
    ):
        issue_certificate(path, caller)
    return path


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "lookup.db"
    upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: "PostgresServer") -> Iterator[str]:
    """Name of a database with the schema and nothing in it."""
    with postgres_server.database() as url:
        upgrade(url)
        name = make_url(url).database
        assert name is not None
        yield name


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: "PostgresServer", postgres_template: str) -> Iterator[str]:
    """One database for all tests that touch only activities of their own: a new one takes longer than most tests."""
    with postgres_server.database(postgres_template) as url:
        yield url


@pytest.fixture
def store_url_of(database_url: "NewDatabase", request: pytest.FixtureRequest) -> Iterator[Any]:
    """Gives the URL of a store of that kind with the schema; with ``own`` nobody else ever wrote to it."""
    with contextlib.ExitStack() as stack:

        def new(kind: "Kind", *, own: bool = False) -> str:
            if kind == "sqlite":
                url = database_url("sqlite")
                shutil.copy(request.getfixturevalue("sqlite_template"), str(make_url(url).database))
                return url
            if not own:
                shared: str = request.getfixturevalue("shared_postgres_url")
                return shared
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return stack.enter_context(server.database(request.getfixturevalue("postgres_template")))

        yield new


@pytest.fixture
async def wire(store_kind: "Kind", store_url_of: Any, certificates: Path) -> AsyncIterator[Wire]:
    """A lookup over a store that other tests may have used: keep to activities of your own."""
    async with contextlib.AsyncExitStack() as stack:
        one = Wire(store_kind, store_url_of(store_kind), certificates, stack)
        await one.serve()
        yield one


@pytest.fixture
async def own_wire(store_kind: "Kind", store_url_of: Any, certificates: Path) -> AsyncIterator[Wire]:
    """A lookup over an empty store of its own."""
    async with contextlib.AsyncExitStack() as stack:
        one = Wire(store_kind, store_url_of(store_kind, own=True), certificates, stack)
        await one.serve()
        yield one


@pytest.fixture
async def ccer(wire: Wire) -> Party:
    return await wire.party(CCER)


@pytest.fixture
async def gec(wire: Wire) -> Party:
    return await wire.party(GEC)


async def run_command(wire: Wire, *arguments: str, by: Caller | None = OPERATOR) -> tuple[int, str]:
    """`soleclaim …` as ``by`` (``None``: a verb that asks nobody); exit code and what it printed."""
    asking: list[str] = []
    if by is not None:
        files = wire.files(by)
        asking = [
            "--lookup", f"localhost:{wire.port}", "--authority", str(files.authority),
            "--certificate", str(files.certificate), "--key", str(files.key),
        ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "soleclaim.cmd.main", *arguments, *asking,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert b"Traceback" not in err
    assert process.returncode is not None
    return process.returncode, (out + err).decode()


@dataclass
class Command:
    """A `soleclaim lookup serve` under way."""

    process: asyncio.subprocess.Process
    address: str


@contextlib.asynccontextmanager
async def lookup_process(url: str, files: TlsFiles, *more: str) -> AsyncIterator[Command]:
    """`soleclaim lookup serve` on a free port, ended with SIGTERM. Without ``url`` a configuration file has it."""
    database = ["--database-url", url] if url else []
    tls = ["--authority", files.authority, "--certificate", files.certificate, "--key", files.key]
    arguments = ["lookup", "serve", *database, "--listen", "127.0.0.1:0", *tls, *more]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "soleclaim.cmd.main", *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on "), line
        yield Command(process, line.removeprefix("listening on ").strip())
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
