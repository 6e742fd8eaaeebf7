"""The journal in SQL: one implementation for SQLite and PostgreSQL.

Every change of state is one set-based UPDATE for all entries of a step, conditional on their versions, in the
transaction that also checks the lease. Instants are whole microseconds since 1970 UTC in both databases.
"""

import dataclasses
import json
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from soleclaim.core.activity_id import ActivityId
from soleclaim.core.errors import Reason
from soleclaim.core.instants import to_instant, to_us
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.db import migrate as db_migrate
from soleclaim.db.engine import busy_is_refused, open_engine, reading, writing
from soleclaim.registry.domain import (
    FINAL,
    IN_DOUBT,
    MAX_BATCH,
    BatchId,
    Declaration,
    Entry,
    Evidence,
    EvidenceKind,
    IssuanceId,
    IssuanceState,
    Order,
    Refusal,
    Request,
    Stage,
    refuse_reused_request_id,
    stages_of,
)
from soleclaim.registry.journal import Accepted, HistoryRow, InDoubt, JournalFault, Lease, LeaseLost, elapsed_s

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MAX_DETAIL: Final = 1024


def _stage_list(stages: frozenset[Stage]) -> str:
    return ", ".join(f"'{stage.value}'" for stage in sorted(stages, key=lambda stage: stage.value))


METADATA: Final = sa.MetaData()

LEASE: Final = sa.Table(
    "lease",
    METADATA,
    sa.Column("lease_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("registry", sa.Text, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("expire_time", sa.BigInteger, nullable=False),
    sa.CheckConstraint("lease_id = 1", name="lease_is_one_row"),
)

# SQLite numbers rows by itself only in an INTEGER column.
_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer, "sqlite")

BATCH: Final = sa.Table(
    "batch",
    METADATA,
    sa.Column("batch_id", _NUMBER, sa.Identity(), primary_key=True),
    sa.Column("batch_key", sa.Text, nullable=False, unique=True),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("payload_hash", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("caller", "request_id", name="batch_request_is_unique"),
)

ISSUANCE: Final = sa.Table(
    "issuance",
    METADATA,
    sa.Column("issuance_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("batch_id", _NUMBER, sa.ForeignKey("batch.batch_id"), nullable=False, index=True),
    sa.Column("native_project_id", sa.Text, nullable=False),
    sa.Column("period_start", sa.BigInteger, nullable=False),
    sa.Column("period_end", sa.BigInteger, nullable=False),
    sa.Column("no_other_application", sa.Boolean, nullable=False),
    sa.Column("no_claim_after_transfer", sa.Boolean, nullable=False),
    sa.Column("document_uri", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False, unique=True),
    sa.Column("create_time", sa.BigInteger, nullable=False),
    sa.Column("update_time", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    # NULL: accepted by a release that kept the units asked for and those settled in one.
    sa.Column("ordered_units", sa.BigInteger),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("activity", sa.Text),
    sa.Column("carried_in", sa.BigInteger, nullable=False),
    sa.Column("lock_name", sa.Text, nullable=False),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("supplement", sa.Boolean, nullable=False),
    sa.Column("native_issuance_id", sa.Text, nullable=False),
    sa.Column("blocks", sa.Text, nullable=False),
    sa.Column("refusal", sa.Text),
    sa.Column("waits", sa.Integer, nullable=False, server_default="0"),
    sa.Column("evidence_kind", sa.Text),
    sa.Column("evidence_detail", sa.Text),
    sa.Column("begin_time", sa.BigInteger),
    sa.Column("absent_after", sa.BigInteger),
    sa.Column("not_found_time", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try_time", sa.BigInteger, nullable=False),
    sa.CheckConstraint(f"stage IN ({_stage_list(frozenset(Stage))})", name="issuance_stage_is_known"),
    sa.CheckConstraint("period_start < period_end", name="issuance_period_is_forward"),
)
_UNFINISHED: Final = sa.text(f"stage NOT IN ({_stage_list(FINAL)})")
sa.Index(
    "issuance_due",
    ISSUANCE.c.next_try_time,
    postgresql_where=_UNFINISHED,
    sqlite_where=_UNFINISHED,
)
sa.Index("issuance_activity", ISSUANCE.c.activity, ISSUANCE.c.period_start)
sa.Index("issuance_project", ISSUANCE.c.native_project_id, ISSUANCE.c.period_start)

HISTORY: Final = sa.Table(
    "issuance_history",
    METADATA,
    sa.Column("issuance_id", sa.BigInteger, sa.ForeignKey("issuance.issuance_id"), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("create_time", sa.BigInteger, nullable=False),
)

_CHANGING: Final = {
    "stage": "text",
    "units": "bigint",
    "activity": "text",
    "carried_in": "bigint",
    "lock_name": "text",
    "fencing_token": "bigint",
    "supplement": "boolean",
    "native_issuance_id": "text",
    "blocks": "text",
    "refusal": "text",
    "waits": "integer",
    "evidence_kind": "text",
    "evidence_detail": "text",
    "begin_time": "bigint",
    "absent_after": "bigint",
    "not_found_time": "bigint",
    "attempts": "integer",
    "next_try_time": "bigint",
}
"""The columns that ``record`` writes, with their PostgreSQL types."""

_READ: Final = sa.select(ISSUANCE, BATCH.c.batch_key).join(BATCH, BATCH.c.batch_id == ISSUANCE.c.batch_id)

_NOW: Final = {
    "sqlite": sa.text("SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"),
    "postgresql": sa.text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)"),
}


def _changes_source(dialect: str) -> str:
    """The changes, one JSON array, as a table: one parameter and one round trip however many they are."""
    columns = {"issuance_id": "bigint", "version": "bigint", **_CHANGING}
    if dialect == "sqlite":
        picked = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in columns)
        return f"(SELECT {picked} FROM json_each(:changes)) AS change"  # noqa: S608  our own column names
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    return f"jsonb_to_recordset(CAST(:changes AS jsonb)) AS change({typed})"


def _record_statements(dialect: str) -> tuple[sa.TextClause, sa.TextClause]:
    source = _changes_source(dialect)
    assigned = ", ".join(f"{name} = change.{name}" for name in _CHANGING)
    update = sa.text(
        f"UPDATE issuance SET {assigned}, version = change.version, update_time = :now FROM {source} "  # noqa: S608
        "WHERE issuance.issuance_id = change.issuance_id AND issuance.version = change.version - 1"
    )
    history = sa.text(
        "INSERT INTO issuance_history (issuance_id, version, stage, epoch, detail, create_time) "  # noqa: S608
        f"SELECT change.issuance_id, change.version, change.stage, :epoch, :detail, :now FROM {source}"
    )
    return update, history


def migrate(url: str) -> None:
    """Bring the journal's schema to the newest; safe to repeat and to race."""
    db_migrate.upgrade(url, MIGRATIONS)


async def require_schema(engine: AsyncEngine) -> None:
    """Raises ``SchemaFault``, which says what to run, unless the schema is the one this program knows."""
    await db_migrate.require_head(
        engine, MIGRATIONS, remedy="soleclaim migrate --store journal --database-url <url of this journal>"
    )


class SqlJournal:
    """``Journal`` on SQLite or PostgreSQL. ``registry``: whose journal this is; a first lease settles it for ever."""

    def __init__(self, url: str, registry: str) -> None:
        self._engine = open_engine(url)
        self._registry = registry
        self._dialect = self._engine.dialect.name
        self._update, self._add_history = _record_statements(self._dialect)

    async def require_schema(self) -> None:
        """See ``require_schema``."""
        await require_schema(self._engine)

    async def close(self) -> None:
        """See ``Journal``."""
        await self._engine.dispose()

    async def now(self) -> datetime:
        """See ``Journal``."""
        async with self._reading() as connection:
            return to_instant(await self._now(connection))

    # -- Lease --------------------------------------------------------------------------------------------------

    async def take_lease(self, holder: str, ttl: timedelta) -> Lease | None:
        """See ``Journal``. ``JournalFault`` when the journal is another registry's."""
        asked_s = elapsed_s()
        async with self._writing() as connection:
            row = (await connection.execute(sa.select(LEASE).with_for_update())).one()
            if row.registry not in ("", self._registry):
                raise JournalFault(
                    f"this journal belongs to registry {row.registry}, not {self._registry}; "
                    "give each registry a journal database of its own"
                )
            now = await self._now(connection)
            if row.expire_time > now:
                return None
            await connection.execute(
                sa.update(LEASE).values(
                    registry=self._registry, holder=holder, epoch=row.epoch + 1, expire_time=now + _span(ttl)
                )
            )
            # What the holder before put off, perhaps for long, the new one tries at once.
            await connection.execute(
                sa.update(ISSUANCE).where(_UNFINISHED, ISSUANCE.c.next_try_time > now).values(next_try_time=now)
            )
        return Lease(self._registry, holder, row.epoch + 1, asked_s + ttl.total_seconds())

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        """See ``Journal``."""
        asked_s = elapsed_s()
        async with self._writing() as connection:
            now = await self._now(connection)
            renewed = await connection.execute(
                sa.update(LEASE).where(*_is_valid(lease, now)).values(expire_time=now + _span(ttl))
            )
            if renewed.rowcount != 1:
                # Tasks under way hold this very object: they must see it too, before the next native call.
                lease.valid_until_s = 0.0
                raise LeaseLost(lease.registry)
        lease.valid_until_s = asked_s + ttl.total_seconds()

    async def release_lease(self, lease: Lease) -> None:
        """See ``Journal``."""
        lease.valid_until_s = 0.0
        async with self._writing() as connection:
            now = await self._now(connection)
            await connection.execute(sa.update(LEASE).where(*_is_valid(lease, now)).values(expire_time=now))

    # -- Writing ------------------------------------------------------------------------------------------------

    async def accept(self, lease: Lease, request: Request) -> Accepted:
        """See ``Journal``."""
        async with self._writing() as connection:
            now = await self._now(connection)
            await self._hold_lease(connection, lease, now)
            # The unique (caller, request_id) decides between racing repeats: the loser waits here, then reads.
            insert = (sqlite.insert if self._dialect == "sqlite" else postgresql.insert)(BATCH)
            batch_key = secrets.token_hex(8)
            created = await connection.execute(
                insert.values(
                    batch_key=batch_key,
                    caller=request.caller,
                    request_id=request.request_id,
                    payload_hash=request.payload_hash,
                    create_time=now,
                )
                .on_conflict_do_nothing(index_elements=["caller", "request_id"])
                .returning(BATCH.c.batch_id)
            )
            batch_id = created.scalar_one_or_none()
            if batch_id is not None:
                fixed = {"batch_id": batch_id, "create_time": now, "update_time": now, "next_try_time": now}
                rows = [
                    {
                        **fixed,
                        "issuance_id": batch_id * MAX_BATCH + position,
                        "reference": f"{self._registry}-{batch_key}-{position}",
                        **_new_row(order),
                    }
                    for position, order in enumerate(request.orders)
                ]
                await connection.execute(sa.insert(ISSUANCE), rows)
                history = {"version": 1, "stage": Stage.ACCEPTED.value, "epoch": lease.epoch, "create_time": now}
                await connection.execute(
                    sa.insert(HISTORY),
                    [{"issuance_id": row["issuance_id"], "detail": "request journalled", **history} for row in rows],
                )
                return Accepted(BatchId(batch_id), is_new=True)
            stored = (
                await connection.execute(
                    sa.select(BATCH.c.batch_id, BATCH.c.payload_hash).where(
                        BATCH.c.caller == request.caller, BATCH.c.request_id == request.request_id
                    )
                )
            ).one()
            refuse_reused_request_id(request, stored.payload_hash)
            return Accepted(BatchId(stored.batch_id), is_new=False)

    async def record(self, lease: Lease, entries: Sequence[Entry], detail: str) -> list[Entry]:
        """See ``Journal``."""
        return await self._write(lease, entries, detail)

    async def put_off(self, lease: Lease, entries: Sequence[Entry]) -> list[Entry]:
        """See ``Journal``."""
        return await self._write(lease, entries, None)

    async def _write(self, lease: Lease, entries: Sequence[Entry], detail: str | None) -> list[Entry]:
        """``detail``: ``None`` writes no history."""
        if not entries:
            return []
        changes = json.dumps([_changes(entry) for entry in entries])
        async with self._writing() as connection:
            now = await self._now(connection)
            await self._hold_lease(connection, lease, now)
            updated = await connection.execute(self._update, {"changes": changes, "now": now})
            if updated.rowcount != len(entries):
                raise JournalFault(
                    f"{len(entries) - updated.rowcount} of {len(entries)} entries changed since they were read; "
                    "two tasks work on one batch"
                )
            if detail is not None:
                await connection.execute(
                    self._add_history,
                    {"changes": changes, "now": now, "epoch": lease.epoch, "detail": detail[:_MAX_DETAIL]},
                )
        return [_bumped(entry, to_instant(now)) for entry in entries]

    # -- Reading ------------------------------------------------------------------------------------------------

    async def read_batch(self, batch_id: BatchId) -> list[Entry]:
        """See ``Journal``."""
        return await self._read(_READ.where(ISSUANCE.c.batch_id == batch_id))

    async def read(self, issuance_id: IssuanceId) -> Entry | None:
        """See ``Journal``."""
        found = await self._read(_READ.where(ISSUANCE.c.issuance_id == issuance_id))
        return found[0] if found else None

    async def list_entries(
        self,
        *,
        after: IssuanceId,
        limit: int,
        activity: ActivityId | None = None,
        period: Period | None = None,
        states: frozenset[IssuanceState] | None = None,
    ) -> list[Entry]:
        """See ``Journal``."""
        query = _READ.where(ISSUANCE.c.issuance_id > after).limit(limit)
        if activity is not None:
            query = query.where(ISSUANCE.c.activity == activity)
        if period is not None:
            query = query.where(*_overlaps(period))
        if states is not None:
            query = query.where(_is_in(states))
        return await self._read(query)

    async def find_entries(
        self,
        *,
        activities: Collection[ActivityId],
        native_project_ids: Collection[str],
        period: Period,
        states: Collection[IssuanceState],
        limit: int,
    ) -> list[Entry]:
        """See ``Journal``."""
        named = ISSUANCE.c.activity.in_(activities) | ISSUANCE.c.native_project_id.in_(native_project_ids)
        return await self._read(_READ.where(named, *_overlaps(period), _is_in(states)).limit(limit))

    async def due(self, limit: int) -> list[BatchId]:
        """See ``Journal``."""
        async with self._reading() as connection:
            now = await self._now(connection)
            rows = await connection.execute(
                sa.select(ISSUANCE.c.batch_id)
                .where(_UNFINISHED, ISSUANCE.c.next_try_time <= now)
                .group_by(ISSUANCE.c.batch_id)
                .order_by(
                    sa.func.min(sa.case((ISSUANCE.c.stage == Stage.UNDER_REVIEW.value, 1), else_=0)),
                    sa.func.min(ISSUANCE.c.next_try_time),
                )
                .limit(limit)
            )
            return [BatchId(batch_id) for (batch_id,) in rows]

    async def in_doubt(self) -> InDoubt:
        """See ``Journal``."""
        async with self._reading() as connection:
            now = await self._now(connection)
            row = (
                await connection.execute(
                    sa.select(sa.func.count(), sa.func.min(ISSUANCE.c.begin_time)).where(
                        _UNFINISHED, ISSUANCE.c.stage.in_([stage.value for stage in IN_DOUBT])
                    )
                )
            ).one()
            oldest = timedelta(microseconds=max(now - row[1], 0)) if row[1] is not None else timedelta()
            return InDoubt(row[0], oldest)

    async def under_review(self) -> int:
        """See ``Journal``."""
        waiting = ISSUANCE.c.stage == Stage.UNDER_REVIEW.value
        async with self._reading() as connection:
            found = await connection.execute(sa.select(sa.func.count()).where(_UNFINISHED, waiting))
            return int(found.scalar_one())

    async def history(self, issuance_id: IssuanceId) -> list[HistoryRow]:
        """See ``Journal``."""
        async with self._reading() as connection:
            rows = await connection.execute(
                sa.select(HISTORY).where(HISTORY.c.issuance_id == issuance_id).order_by(HISTORY.c.version)
            )
            return [
                HistoryRow(row.version, Stage(row.stage), row.epoch, row.detail, to_instant(row.create_time))
                for row in rows
            ]

    # -- Inside -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        with busy_is_refused():
            async with writing(self._engine) as connection:
                yield connection

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with busy_is_refused():
            async with reading(self._engine) as connection:
                yield connection

    async def _now(self, connection: AsyncConnection) -> int:
        return int((await connection.execute(_NOW[self._dialect])).scalar_one())

    async def _hold_lease(self, connection: AsyncConnection, lease: Lease, now: int) -> None:
        """Lock the lease's row until this transaction ends, so that nobody takes over in the middle of it."""
        lease.check()
        held = await connection.execute(
            sa.select(LEASE.c.epoch).where(*_is_valid(lease, now)).with_for_update(read=True)
        )
        if held.scalar_one_or_none() is None:
            lease.valid_until_s = 0.0
            raise LeaseLost(lease.registry)

    async def _read(self, query: sa.Select[Any]) -> list[Entry]:
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(ISSUANCE.c.issuance_id))
            return [_entry(row) for row in rows]


def _is_valid(lease: Lease, now: int) -> tuple[sa.ColumnElement[bool], ...]:
    return LEASE.c.holder == lease.holder, LEASE.c.epoch == lease.epoch, LEASE.c.expire_time > now


def _overlaps(period: Period) -> tuple[sa.ColumnElement[bool], ...]:
    return ISSUANCE.c.period_start < to_us(period.end), ISSUANCE.c.period_end > to_us(period.start)


def _is_in(states: Collection[IssuanceState]) -> sa.ColumnElement[bool]:
    return ISSUANCE.c.stage.in_([stage.value for state in states for stage in stages_of(state)])


def _new_row(order: Order) -> dict[str, object]:
    return {
        "native_project_id": order.native_project_id,
        "period_start": to_us(order.period.start),
        "period_end": to_us(order.period.end),
        "no_other_application": order.declaration.no_other_application,
        "no_claim_after_transfer": order.declaration.no_claim_after_transfer,
        "document_uri": order.declaration.document_uri,
        "version": 1,
        "stage": Stage.ACCEPTED.value,
        "ordered_units": order.units,
        "units": order.units,
        "carried_in": 0,
        "lock_name": "",
        "fencing_token": 0,
        "supplement": False,
        "native_issuance_id": "",
        "blocks": "[]",
        "attempts": 0,
    }


def _changes(entry: Entry) -> dict[str, object]:
    return {
        "issuance_id": entry.issuance_id,
        "version": entry.version + 1,
        "stage": entry.stage.value,
        "units": entry.units,
        "activity": entry.activity,
        "carried_in": entry.carried_in,
        "lock_name": entry.lock,
        "fencing_token": entry.fencing_token,
        "supplement": entry.supplement,
        "native_issuance_id": entry.native_issuance_id,
        "blocks": json.dumps([[block.series, block.start, block.end] for block in entry.blocks], ensure_ascii=False),
        "refusal": None if entry.refusal is None else _refusal_text(entry.refusal),
        "waits": entry.waits,
        "evidence_kind": entry.evidence.kind.value if entry.evidence else None,
        "evidence_detail": entry.evidence.detail if entry.evidence else None,
        "begin_time": _optional_micros(entry.begin_time),
        "absent_after": _optional_micros(entry.absent_after),
        "not_found_time": _optional_micros(entry.not_found_time),
        "attempts": entry.attempts,
        "next_try_time": _optional_micros(entry.next_try_time),
    }


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry(
        issuance_id=IssuanceId(row.issuance_id),
        batch_id=BatchId(row.batch_id),
        batch_key=row.batch_key,
        native_project_id=row.native_project_id,
        period=Period(to_instant(row.period_start), to_instant(row.period_end)),
        declaration=Declaration(row.no_other_application, row.no_claim_after_transfer, row.document_uri),
        reference=row.reference,
        create_time=to_instant(row.create_time),
        update_time=to_instant(row.update_time),
        version=row.version,
        stage=Stage(row.stage),
        ordered_units=row.units if row.ordered_units is None else row.ordered_units,
        units=row.units,
        activity=None if row.activity is None else ActivityId(row.activity),
        carried_in=row.carried_in,
        lock=row.lock_name,
        fencing_token=row.fencing_token,
        supplement=row.supplement,
        native_issuance_id=row.native_issuance_id,
        blocks=tuple(UnitBlock(series, start, end) for series, start, end in json.loads(row.blocks)),
        refusal=_refusal(row.refusal),
        waits=row.waits,
        evidence=Evidence(EvidenceKind(row.evidence_kind), row.evidence_detail) if row.evidence_kind else None,
        begin_time=_optional_instant(row.begin_time),
        absent_after=_optional_instant(row.absent_after),
        not_found_time=_optional_instant(row.not_found_time),
        attempts=row.attempts,
        next_try_time=_optional_instant(row.next_try_time),
    )


def _bumped(entry: Entry, now: datetime) -> Entry:
    return dataclasses.replace(entry, version=entry.version + 1, update_time=now)


def _refusal_text(refusal: Refusal) -> str:
    return json.dumps({"reason": refusal.reason.value, "variables": dict(refusal.variables)}, ensure_ascii=False)


def _refusal(text: str | None) -> Refusal | None:
    if text is None:
        return None
    stored = json.loads(text)
    return Refusal(Reason(stored["reason"]), tuple(stored["variables"].items()))


def _optional_micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_us(instant)


def _optional_instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else to_instant(microseconds)


def _span(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
