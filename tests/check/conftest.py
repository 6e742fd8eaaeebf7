"""A small world written by hand, in which everything holds; a test breaks one thing and the check must find it."""

import asyncio
import hashlib
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.check.findings import Findings
from soleclaim.check.natives import NativeTarget
from soleclaim.check.run import Targets, run_check
from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.db.engine import parse_store_url
from soleclaim.db.migrate import upgrade
from soleclaim.policy.bundle import default_bundle
from soleclaim.sandbox.server import running

MIGRATIONS = Path(__file__).parents[2] / "src" / "soleclaim"

KEY = 7
CODE = "FDWD2407150000123"
DAY_US = 86_400_000_000
JANUARY = (1_735_660_800_000_000, 1_735_660_800_000_000 + 31 * DAY_US)
FEBRUARY = (JANUARY[1], JANUARY[1] + 28 * DAY_US)
WHOLE = (0, 2**63 - 1)
GRANTED, SUPPLEMENTED, BEGUN, COMMITTED, ABORTED, RELEASED, MOVED = 5, 6, 7, 8, 9, 10, 15


@dataclass
class Store:
    """A store that a test writes into, around all triggers and constraints."""

    url: str
    postgres: bool = field(init=False)

    def __post_init__(self) -> None:
        self.postgres = self.url.startswith("postgresql")

    def run(self, statement: str, *values: object) -> None:
        parsed = parse_store_url(self.url)
        if self.postgres:
            conninfo = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
            with psycopg.connect(conninfo) as postgres:
                postgres.execute("SET synchronous_commit = off")
                postgres.execute(statement.replace("?", "%s").encode(), values or None)
            return
        with closing(sqlite3.connect(str(parsed.database))) as sqlite, sqlite:
            sqlite.execute("PRAGMA synchronous = OFF")
            sqlite.execute(statement, values)

    def insert(self, table: str, **row: object) -> None:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        self.run(f"INSERT INTO {table} ({names}) VALUES ({marks})", *row.values())  # noqa: S608

    def unguard(self) -> None:
        """Take away what the database itself would refuse: what is planted is what a bug or a hand could leave."""
        if self.postgres:
            for table in ("segment", "unit_block", "settlement_block"):
                self.run(f"ALTER TABLE IF EXISTS {table} DROP CONSTRAINT IF EXISTS {table}_exclusion")
            self.run("ALTER TABLE IF EXISTS batch DROP CONSTRAINT IF EXISTS batch_request_is_unique")
            self.run(
                "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables"
                " WHERE schemaname = 'public' LOOP EXECUTE format('ALTER TABLE %I DISABLE TRIGGER ALL', name);"
                " END LOOP; END $$"
            )
            return
        parsed = parse_store_url(self.url)
        with closing(sqlite3.connect(str(parsed.database))) as connection, connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in names:
                connection.execute(f"DROP TRIGGER {name}")


def series_key(registry: str, series: str) -> int:
    """As the stores make it."""
    digest = hashlib.sha256(f"{registry} {series}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass
class World:
    """Lookup store, GEC's journal and GEC's native registry."""

    lookup: Store
    journal: Store
    native_url: str

    def check(self, **changes: Any) -> Findings:
        targets = {
            "lookup_url": self.lookup.url,
            "journals": {"gec": self.journal.url},
            "natives": {"gec": NativeTarget("gec", self.native_url)},
        }
        return asyncio.run(run_check(Targets(**{**targets, **changes})))

    def kinds(self) -> list[str]:
        """Kinds of violation found, each once."""
        findings = self.check()
        assert findings.not_looked == []
        for violation in findings.violations:
            # A text with a variable that is not there would fail only in front of a user.
            assert violation.told("en")
            assert violation.told("zh")
        return sorted({violation.kind for violation in findings.violations})

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        answer = httpx.post(self.native_url + path, json=body, trust_env=False)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    # -- The lookup ---------------------------------------------------------------------------------------------

    def lock(
        self,
        lock_id: int,
        token: int,
        *,
        period: tuple[int, int] = JANUARY,
        registry: str = "gec",
        instrument: str = "GEC",
        units: int = 100,
        reference: str = "",
        carried_in: int = 0,
        key: int = KEY,
    ) -> None:
        """A lock in ISSUED with its segment, history, ledger and stored answer."""
        reference = reference or f"gec-{lock_id}"
        self.lookup.insert(
            "issuance_lock",
            lock_id=lock_id,
            activity_key=key,
            country="CN",
            registry=registry,
            instrument=instrument,
            period_start_us=period[0],
            period_end_us=period[1],
            slice_start=WHOLE[0],
            slice_end=WHOLE[1],
            state=3,
            token=token,
            units=units,
            carried_in=carried_in,
            reference=reference,
            issued_units=units,
            issuance_count=1,
            supplement=False,
            bundle_id=1,
            create_us=1,
            update_us=1,
        )
        self.segment(lock_id, period=period, key=key)
        for entry_id, kind in ((token, GRANTED), (token + 1, BEGUN), (token + 2, COMMITTED)):
            self.history(entry_id, kind, lock_id, token, key=key)
        self.lookup.insert(
            "issuance",
            registry=registry,
            native_issuance_id=f"{registry.upper()}{lock_id:012d}",
            lock_id=lock_id,
            token=token,
            reference=reference,
            units=units,
            commit_us=1,
        )
        self.block(lock_id, token, 1, units, registry=registry, series=f"{CODE}2025{lock_id:02d}-1T")
        self.answer(f"request-{lock_id}", lock_id, token, period, registry=registry, instrument=instrument)

    def segment(
        self,
        lock_id: int,
        *,
        period: tuple[int, int] = JANUARY,
        key: int = KEY,
        bounds: tuple[int, int] = WHOLE,
        live: bool = True,
    ) -> None:
        attributes: object = [1] if self.lookup.postgres else 2
        self.lookup.insert(
            "segment",
            lock_id=lock_id,
            activity_key=key,
            attributes=attributes,
            period_start_us=period[0],
            period_end_us=period[1],
            slice_start=bounds[0],
            slice_end=bounds[1],
            live=live,
        )

    def history(
        self, entry_id: int, kind: int, lock_id: int, token: int, *, key: int = KEY, detail: str = "{}"
    ) -> None:
        self.lookup.insert(
            "history_entry",
            entry_id=entry_id,
            tx_id=1,
            kind=kind,
            activity_key=key,
            country="CN",
            registry="gec",
            lock_id=lock_id,
            token=token,
            detail=detail,
            create_us=1,
        )

    def block(
        self, lock_id: int, token: int, start: int, end: int, *, registry: str = "gec", series: str = "S"
    ) -> None:
        self.lookup.insert(
            "unit_block",
            lock_id=lock_id,
            token=token,
            registry=registry,
            series=series,
            series_key=series_key(registry, series),
            start_serial=start,
            end_serial=end,
        )

    def answer(
        self,
        request_id: str,
        lock_id: int,
        token: int,
        period: tuple[int, int],
        *,
        registry: str = "gec",
        instrument: str = "GEC",
    ) -> None:
        """The stored answer of an AcquireIssuanceLock."""
        lock = lock_pb.IssuanceLock(
            name=f"issuanceLocks/{lock_id}",
            registry=registry,
            instrument=instrument,
            activity=f"activities/{make_activity_id('CN', ActivityKey(KEY))}",
            fencing_token=token,
        )
        lock.period.start_time.FromMicroseconds(period[0])
        lock.period.end_time.FromMicroseconds(period[1])
        self.lookup.insert(
            "request",
            caller="registry/gec",
            request_id=request_id,
            method="AcquireIssuanceLock",
            payload_hash=b"h" * 32,
            answer=lock_pb.BatchIssuanceLocksResponse(
                results=[lock_pb.IssuanceLockResult(lock=lock)]
            ).SerializeToString(),
            create_us=1,
        )

    def outcome(self, quantity: int, *, period: tuple[int, int] = JANUARY) -> None:
        self.lookup.insert(
            "outcome",
            activity_key=KEY,
            base_unit="kWh",
            period_start_us=period[0],
            period_end_us=period[1],
            quantity=quantity,
            registry="gec",
            update_us=1,
        )

    # -- The other two ------------------------------------------------------------------------------------------

    def entry(self, lock_id: int, token: int, *, stage: str = "ISSUED", units: int = 100, month: str = "01") -> None:
        """A journal entry with the answer that it was issued."""
        self.batch(lock_id, f"request-{lock_id}")
        self.journal.insert(
            "issuance",
            issuance_id=lock_id,
            batch_id=lock_id,
            native_project_id=CODE,
            period_start=JANUARY[0],
            period_end=JANUARY[1],
            no_other_application=True,
            no_claim_after_transfer=True,
            document_uri="",
            reference=f"gec-{lock_id}",
            create_time=1,
            update_time=1,
            version=2,
            stage=stage,
            units=units,
            carried_in=0,
            lock_name=f"issuanceLocks/{lock_id}",
            fencing_token=token,
            supplement=False,
            native_issuance_id=f"GEC{lock_id:012d}",
            blocks=f'[["{CODE}2025{month}-1T", 1, {units}]]',
            attempts=0,
            next_try_time=0,
        )
        self.journal.insert(
            "issuance_history",
            issuance_id=lock_id,
            version=2,
            stage=stage,
            epoch=1,
            detail="committed",
            create_time=1,
        )

    def batch(self, batch_id: int, request_id: str) -> None:
        overriding = "OVERRIDING SYSTEM VALUE" if self.journal.postgres else ""
        self.journal.run(
            "INSERT INTO batch (batch_id, batch_key, caller, request_id, payload_hash, create_time)"  # noqa: S608
            f" {overriding} VALUES (?, ?, 'operator/demo', ?, 'h', 1)",
            batch_id,
            f"key-{batch_id}",
            request_id,
        )

    def issue_natively(self, reference: str, token: int, *, month: str = "2025-01", units: int = 100) -> str:
        """The native id."""
        order = {
            "filingCode": CODE,
            "generationMonth": month,
            "certificates": units,
            "externalReference": reference,
            "fencingToken": token,
        }
        (result,) = self.post("/api/v1/issuances", {"orders": [order]})["results"]
        assert result["status"] == "ISSUED", result
        return str(result["issuance"]["issuanceNo"])


class Stores:
    """Migrated stores without their guards, made once: a copy per test on SQLite, emptied for each on PostgreSQL."""

    def __init__(self, folder: Path, postgres: Callable[[], Any]) -> None:
        self._folder = folder
        self._postgres = postgres
        self._made: dict[tuple[str, str], Store] = {}
        self._copies = itertools.count(1)

    def empty(self, kind: str, package: str) -> Store:
        """A store without a row."""
        made = self._made.get((kind, package)) or self._make(kind, package)
        if kind == "postgres":
            made.run(
                "DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') FROM pg_tables"
                " WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'lease')); END $$"
            )
            return made
        copy = self._folder / f"{package}-{next(self._copies)}.db"
        shutil.copy(str(parse_store_url(made.url).database), copy)
        return Store(f"sqlite+aiosqlite:///{copy}")

    def _make(self, kind: str, package: str) -> Store:
        url = f"sqlite+aiosqlite:///{self._folder / package}.db"
        if kind == "postgres":
            server = self._postgres()
            server.run(f'CREATE DATABASE "check_{package}"')
            url = server.url.set(database=f"check_{package}").render_as_string(hide_password=False)
        upgrade(url, MIGRATIONS / package / "migrations")
        store = self._made[kind, package] = Store(url)
        store.unguard()
        return store


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return Stores(tmp_path_factory.mktemp("stores"), lambda: request.getfixturevalue("postgres_server"))


@pytest.fixture
def empty_world(store_kind: str, stores: Stores, tmp_path: Path) -> Iterator[World]:
    lookup, journal = (stores.empty(store_kind, package) for package in ("lookup", "registry"))
    with running("gec", tmp_path / "native-gec.db") as native_url:
        world = World(lookup, journal, native_url)
        world.lookup.insert("policy_bundle", bundle_id=1, hash=default_bundle().hash, version="test")
        world.lookup.insert(
            "activity",
            activity_key=KEY,
            ordinal=1,
            country="CN",
            activity_type="wind",
            display_name="one",
            time_zone="Asia/Shanghai",
            create_us=1,
        )
        filing = {
            "filingCode": CODE,
            "projectName": "one",
            "owner": "its owner",
            "energyType": "风电",
            "province": "北京市",
        }
        world.post("/api/v1/filings", {"filings": [filing]})
        readings = [{"filingCode": CODE, "month": f"2025-{month:02d}", "kwh": 500_000} for month in (1, 2, 3)]
        world.post("/api/v1/readings", {"readings": readings})
        yield world


@pytest.fixture
def world(empty_world: World) -> World:
    """January is issued, and everybody knows."""
    empty_world.lock(1, 10)
    empty_world.outcome(500_000)
    empty_world.entry(1, 10)
    assert empty_world.issue_natively("gec-1", 10) == "GEC000000000001"
    return empty_world
