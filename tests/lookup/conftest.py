"""A lookup store with its schema, and short words for what tests do to it."""

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from soleclaim.core.activity_id import ActivityKey, make_activity_id, new_activity_key
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.db.engine import writing
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    WHOLE,
    Abortion,
    Claim,
    Commitment,
    Event,
    Evidence,
    EvidenceKind,
    GrantRef,
    Lock,
    LockId,
    LockRequest,
    LockState,
    Obstacle,
    OutcomeRecord,
    ProjectRegistration,
    Slice,
)
from soleclaim.lookup.ports import Moved, RequestKey, SerialConflict
from soleclaim.lookup.store import open_store, upgrade
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.schema import metadata
from soleclaim.policy.bundle import Bundle, Declaration, default_bundle

if TYPE_CHECKING:
    from tests.conftest import Kind, NewDatabase, PostgresServer

DAY_0 = datetime(2025, 1, 1, tzinfo=UTC)
REDUCTION, CAP = 1, 2


def ref(lock: Lock, **changed: Any) -> GrantRef:
    return GrantRef(lock.registry, lock.lock_id, lock.token)._replace(**changed)


@dataclass
class Bench:
    """One store. Every verb here is a transaction of its own."""

    kind: "Kind"
    url: str
    store: SqlLookupStore
    stack: contextlib.AsyncExitStack
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def key(self) -> ActivityKey:
        """A new activity, as far as locks are concerned."""
        return new_activity_key()

    def period(self, start: float = 0, end: float | None = None) -> Period:
        """In days since the first of January 2025; one day when ``end`` is missing."""
        last = start + 1 if end is None else end
        return Period(DAY_0 + timedelta(days=start), DAY_0 + timedelta(days=last))

    def claim(
        self,
        key: ActivityKey,
        period: Period | None = None,
        *,
        registry: str = "ccer",
        attributes: tuple[int, ...] = (REDUCTION, CAP),
        within: Slice = WHOLE,
        units: int = 10,
        ttl_s: float = 600,
    ) -> Claim:
        request = LockRequest(
            registry=registry,
            instrument=registry.upper(),
            activity_id=make_activity_id("CN", key),
            activity_key=key,
            period=period or self.period(),
            slice=within,
            units=units,
            carried_in=0,
            reference=f"reference-{next(self.numbers)}",
            declaration=Declaration(no_other_application=True, no_claim_after_transfer=True),
            ttl_us=int(ttl_s * 1_000_000),
        )
        return Claim(request, attributes, "kgCO2e", 1000)

    def commitment(self, lock: Lock, *blocks: UnitBlock, native_id: str = "", **changed: Any) -> Commitment:
        """For a grant; fresh serials of its units and a fresh native id where none are given."""
        number = next(self.numbers)
        fresh = (UnitBlock(f"series-{number}", 1, lock.units),)
        return Commitment(ref(lock, **changed), native_id or f"native-{number}", blocks or fresh)

    def abortion(self, lock: Lock, *, detail: str = "the registry said no", **changed: Any) -> Abortion:
        return Abortion(ref(lock, **changed), Evidence(EvidenceKind.NATIVE_REFUSED, detail))

    def request_key(self, request_id: str = "", payload: bytes = b"payload", method: str = "Acquire") -> RequestKey:
        identity = request_id or f"request-{next(self.numbers)}"
        return RequestKey("registry/ccer", identity, method, hashlib.sha256(payload).digest())

    async def grant(self, *claims: Claim) -> list[Lock | list[Obstacle]]:
        async with self.store.transaction() as transaction:
            return await transaction.grant(claims)

    async def held(self, claim: Claim) -> Lock:
        """Grant, and insist that it was."""
        [answer] = await self.grant(claim)
        assert isinstance(answer, Lock), answer
        return answer

    async def refused(self, claim: Claim) -> list[Obstacle]:
        """Try to grant, and insist that it was not."""
        [answer] = await self.grant(claim)
        assert isinstance(answer, list), answer
        assert answer
        return answer

    async def begin(self, *grants: GrantRef) -> list[Moved]:
        async with self.store.transaction() as transaction:
            return await transaction.begin(grants)

    async def commit(self, *commitments: Commitment) -> list[Moved | SerialConflict]:
        async with self.store.transaction() as transaction:
            return await transaction.commit(commitments)

    async def abort(self, *abortions: Abortion) -> list[Moved]:
        async with self.store.transaction() as transaction:
            return await transaction.abort(abortions)

    async def release(self, *grants: GrantRef) -> list[Moved]:
        async with self.store.transaction() as transaction:
            return await transaction.release(grants)

    async def supplement(self, lock: Lock, claim: Claim) -> Lock | None:
        async with self.store.transaction() as transaction:
            return await transaction.grant_supplement(lock.lock_id, claim)

    async def issuing(self, claim: Claim) -> Lock:
        return self.done(await self.begin(ref(await self.held(claim))))

    async def issued(self, claim: Claim, *blocks: UnitBlock, native_id: str = "") -> Lock:
        return self.done(await self.commit(self.commitment(await self.issuing(claim), *blocks, native_id=native_id)))

    async def supplemented(self, lock: Lock, **changed: Any) -> Lock:
        """Open a supplement under an issued lock, and insist that it was granted."""
        claim = self.claim(lock.activity_key, lock.period, registry=lock.registry, within=lock.slice, **changed)
        granted = await self.supplement(lock, claim)
        assert granted is not None
        return granted

    def done(self, answers: Sequence[Moved | SerialConflict]) -> Lock:
        """The lock of the only answer, which must be a change."""
        [answer] = answers
        assert isinstance(answer, Moved), answer
        assert answer.done, answer
        assert answer.lock is not None
        return answer.lock

    async def lock(self, lock: Lock) -> Lock:
        """As it stands in the store now."""
        async with self.store.reading() as reader:
            found = await reader.lock(lock.lock_id)
        assert found is not None
        return found

    async def lock_of(self, lock_id: LockId | None) -> Lock:
        """By its number."""
        assert lock_id is not None
        async with self.store.reading() as reader:
            found = await reader.lock(lock_id)
        assert found is not None
        return found

    async def state(self, lock: Lock) -> LockState:
        return (await self.lock(lock)).state

    async def locks(self) -> list[Lock]:
        async with self.store.reading() as reader:
            return await reader.list_locks(
                activity_key=None, registry=None, state=None, period=None, after=0, limit=100_000
            )

    async def expire(self, *locks: Lock) -> None:
        """Let the open grants of these locks end now."""
        ids = ", ".join(str(each.lock_id) for each in locks)
        await self.sql(f"UPDATE issuance_lock SET expire_us = 1 WHERE lock_id IN ({ids})")  # noqa: S608

    async def sql(self, statement: str, **values: object) -> list[Any]:
        """Past the store's methods."""
        async with writing(self.store._engine) as connection:
            result = await connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    async def events(self, after: tuple[int, int] = (0, 0), limit: int = 100_000) -> list[Event]:
        return [event async for event in self.store.events(after=after, limit=limit)]

    async def another(self, bundle: Bundle | None = None) -> "Bench":
        """The same database, opened by another process, as it were."""
        store = await open_store(self.url, bundle or default_bundle(), pool_size=4)
        self.stack.push_async_callback(store.close)
        return replace(self, store=store)

    def project(
        self, *identifiers: Identifier, registry: str = "ccer", native_id: str = "", name: str = "风电场"
    ) -> ProjectRegistration:
        number = next(self.numbers)
        native_project_id = native_id or f"project-{number}"
        return ProjectRegistration(registry, native_project_id, "CN", "wind", name, "Asia/Shanghai", identifiers)

    async def activity(self, project: ProjectRegistration | None = None) -> ActivityKey:
        """Register a project as a new activity."""
        key = self.key()
        async with self.store.transaction() as transaction:
            await transaction.add_activities([(key, project or self.project())])
        return key

    def outcome(self, key: ActivityKey, period: Period, quantity: int, *, unit: str = "kWh") -> OutcomeRecord:
        return OutcomeRecord("ccer", make_activity_id("CN", key), key, period, unit, quantity)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "lookup.db"
    upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres_server: "PostgresServer") -> Iterator[str]:
    """One database with the schema for all tests: making one takes longer than most tests."""
    with postgres_server.database() as url:
        upgrade(url)
        yield url


def _empty(url: str) -> None:
    """Delete every row. The triggers that forbid it are off in this session only."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        connection.execute("SET session_replication_role = replica; SET lock_timeout = '10s'")
        connection.execute("; ".join(f"DELETE FROM {table}" for table in metadata.tables).encode())  # noqa: S608


@pytest.fixture
def lookup_url(store_kind: "Kind", database_url: "NewDatabase", request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty store of each kind with the lookup's schema."""
    if store_kind == "sqlite":
        url = database_url("sqlite")
        shutil.copy(request.getfixturevalue("sqlite_template"), str(make_url(url).database))
        yield url
    else:
        url = request.getfixturevalue("postgres_url")
        yield url
        _empty(url)


@pytest.fixture
async def bench(store_kind: "Kind", lookup_url: str) -> AsyncIterator[Bench]:
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(lookup_url, default_bundle(), pool_size=4)
        stack.push_async_callback(store.close)
        yield Bench(store_kind, lookup_url, store, stack)
