"""One unit of work on the lookup's store: what both databases share. Contracts: ``lookup.ports``.

Batches are one statement each, over a relation of rows; nothing here makes a round trip per item.
"""

import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    Abortion,
    Activity,
    Claim,
    Commitment,
    CommittedIssuance,
    EventKind,
    GrantRef,
    Lock,
    LockId,
    LockState,
    Obstacle,
    Outcome,
    OutcomeRecord,
    ProjectRegistration,
    RegistryEntry,
    Token,
)
from soleclaim.lookup.ports import Moved, RequestKey, SerialConflict, Standing
from soleclaim.lookup.store.relation import Relation
from soleclaim.lookup.store.rows import (
    LOCK_COLUMNS,
    granted_lock,
    series_key,
    to_instant,
    to_lock,
    to_obstacle,
    to_us,
)

_LOCKS: Final = f"SELECT {LOCK_COLUMNS} FROM issuance_lock l"
GRANT_ROUNDS: Final = 3
"""How often a grant looks again after a lock in its way ended meanwhile."""
SETTLED_US: Final = 120_000_000
"""Longer than any unit of work lives: statements and idle transactions end far earlier."""
_BUNDLE_ID: Final = 20
"""Place of the bundle among ``LOCK_COLUMNS``."""
_GRANT_COLUMNS: Final[tuple[tuple[str, str], ...]] = (("lock_id", "int"), ("token", "int"), ("registry", "text"))
_FITS: Final = "l.token = item.token AND l.registry = item.registry"


class RepeatableError(Exception):
    """The unit of work met another one and may simply be repeated."""


class SqlTransaction(ABC):
    """``Transaction`` over SQLAlchemy Core; the subclasses bring what differs between the databases."""

    relation: ClassVar[Relation]

    def __init__(self, connection: AsyncConnection, bundles: dict[int, str], bundle_id: int) -> None:
        self._connection = connection
        self._bundles = bundles
        self._bundle_id = bundle_id
        self._tx_id: int | None = None
        self._entries: tuple[int, int] | None = None
        """First and last history entry of this transaction."""
        self._now: int | None = None

    now_sql: ClassVar[str]
    """The database's clock in microseconds, read when the statement runs."""

    @abstractmethod
    async def draw(self, sequence: str, count: int) -> list[int]:
        """Rising numbers, never given before."""

    @abstractmethod
    async def serialize_measured(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``."""

    @abstractmethod
    async def bar_outcome_changes(self) -> None:
        """See ``Transaction``."""

    @abstractmethod
    async def bar_grants(self) -> None:
        """See ``Transaction``."""

    @abstractmethod
    async def _grant_free(self, claims: Sequence[Claim]) -> list[tuple[int, int, int]]:
        """Insert segment, lock and history of each claim that conflicts with no live segment, in three tables.

        (index of the claim, lock id, token) of each that won. Tokens are drawn after the segments are won.
        """

    @abstractmethod
    async def _change(
        self,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[tuple[Any, ...]],
        change: str,
        condition: str,
        kind: EventKind,
    ) -> list[Lock]:
        """One conditional change of the locks named in ``rows``, with its history; the locks that it changed.

        ``columns``: of ``rows``; the first is ``lock_id``, a text ``detail`` among them goes into the history.
        ``change`` and ``condition``: SQL over the lock ``l`` and its ``item``. ``rows`` come in order of the ids.
        """

    @abstractmethod
    async def _in_the_way(self, claims: Sequence[Claim]) -> Sequence[Any]:
        """Rows of (ordinal of the claim, then what ``to_obstacle`` takes): live locks that conflict."""

    @abstractmethod
    async def _add_blocks(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Insert unit blocks (lock_id, token, registry, series, series_key, start, end) that overlap none; how many."""

    async def _run(self, statement: str, **values: object) -> Sequence[Any]:
        result = await self._connection.execute(text(statement), values)
        return result.all() if result.returns_rows else []

    async def now_us(self) -> int:
        """The database's clock, read once per transaction."""
        if self._now is None:
            ((self._now,),) = await self._run(f"SELECT {self.now_sql}")
        return self._now

    async def _note(self, entries: Sequence[tuple[Any, ...]], entry_ids: Sequence[int] | None = None) -> None:
        """Append history: (kind, activity_key, country, registry, lock_id, token, detail) each."""
        if not entries:
            return
        tx_id = await self._transaction_id()
        ids = entry_ids or await self.draw("history_entry_id", len(entries))
        self._noted(ids)
        columns = (
            ("entry_id", "int"),
            ("kind", "int"),
            ("activity_key", "int"),
            ("country", "text"),
            ("registry", "text"),
            ("lock_id", "int"),
            ("token", "int"),
            ("detail", "text"),
        )
        items, values = self.relation(columns, ((i, *entry) for i, entry in zip(ids, entries, strict=True)))
        await self._run(
            "INSERT INTO history_entry (entry_id, tx_id, kind, activity_key, country, registry, lock_id, token, "
            "detail, create_us) SELECT entry_id, :tx_id, kind, activity_key, country, registry, lock_id, token, "
            f"detail, :now FROM {items}",
            tx_id=tx_id,
            now=await self.now_us(),
            **values,
        )

    async def _transaction_id(self) -> int:
        """The number under which the history of this transaction stands."""
        if self._tx_id is None:
            (self._tx_id,) = await self.draw("transaction_id", 1)
        return self._tx_id

    def _noted(self, entry_ids: Sequence[int]) -> None:
        """Remember which entries are this transaction's."""
        first, last = min(entry_ids), max(entry_ids)
        self._entries = (min(first, self._entries[0]), max(last, self._entries[1])) if self._entries else (first, last)

    async def finish(self) -> None:
        """Tell the event stream of this transaction's history; the last thing before the commit."""
        if self._entries is not None:
            await self._run(
                "INSERT INTO outbox (tx_id, first_entry, last_entry) VALUES (:tx_id, :first_entry, :last_entry)",
                tx_id=self._tx_id,
                first_entry=self._entries[0],
                last_entry=self._entries[1],
            )

    async def _note_locks(
        self, kind: EventKind, locks: Iterable[Lock], details: Mapping[LockId, str] | None = None
    ) -> None:
        """Append one entry per lock."""
        await self._note(
            [
                (kind, each.activity_key, each.country, each.registry, each.lock_id, each.token,
                 details.get(each.lock_id) if details else None)
                for each in locks
            ]
        )  # fmt: skip

    async def claim_request(self, key: RequestKey) -> bytes | None:
        """Take the id for this transaction, or give the answer of the one that had it (REQUEST_ID_REUSED)."""
        values = {"caller": key.caller, "request_id": key.request_id}
        claimed = await self._run(
            "INSERT INTO request (caller, request_id, method, payload_hash, create_us) "
            f"VALUES (:caller, :request_id, :method, :payload_hash, {self.now_sql}) "
            "ON CONFLICT (caller, request_id) DO NOTHING RETURNING create_us",
            method=key.method,
            payload_hash=key.payload_hash,
            **values,
        )
        if claimed:
            self._now = claimed[0][0]
            return None
        ((method, payload_hash, answer),) = await self._run(
            "SELECT method, payload_hash, answer FROM request WHERE caller = :caller AND request_id = :request_id",
            **values,
        )
        if method != key.method or bytes(payload_hash) != key.payload_hash:
            raise DomainError(Reason.REQUEST_ID_REUSED, request_id=key.request_id)
        return bytes(answer)

    async def store_answer(self, key: RequestKey, answer: bytes) -> None:
        """Keep the first answer."""
        await self._run(
            "UPDATE request SET answer = :answer WHERE caller = :caller AND request_id = :request_id",
            answer=answer,
            caller=key.caller,
            request_id=key.request_id,
        )

    async def activities(self, keys: Sequence[ActivityKey]) -> dict[ActivityKey, Activity]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in dict.fromkeys(keys)))
        rows = await self._run(
            f"SELECT a.* FROM activity a JOIN {items} ON item.activity_key = a.activity_key", **values
        )
        return {ActivityKey(row.activity_key): activity for row, activity in await self._with_identity(rows)}

    async def _with_identity(self, rows: Sequence[Any]) -> list[tuple[Any, Activity]]:
        items, values = self.relation((("activity_key", "int"),), ((row.activity_key,) for row in rows))
        identifiers: dict[int, list[Identifier]] = defaultdict(list)
        for key, scheme, value in await self._run(
            "SELECT i.activity_key, i.scheme, i.value FROM strong_identifier i "
            f"JOIN {items} ON item.activity_key = i.activity_key ORDER BY i.scheme, i.value",
            **values,
        ):
            identifiers[key].append((scheme, value))
        projects: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for key, registry, project in await self._run(
            "SELECT p.activity_key, p.registry, p.native_project_id FROM native_project p "
            f"JOIN {items} ON item.activity_key = p.activity_key ORDER BY p.registry, p.native_project_id",
            **values,
        ):
            projects[key].append((registry, project))
        return [
            (
                row,
                Activity(
                    key=ActivityKey(row.activity_key),
                    activity_id=make_activity_id(row.country, ActivityKey(row.activity_key)),
                    country=row.country,
                    activity_type=row.activity_type,
                    display_name=row.display_name,
                    time_zone=row.time_zone,
                    identifiers=tuple(identifiers[row.activity_key]),
                    native_projects=tuple(projects[row.activity_key]),
                    create_time=to_instant(row.create_us),
                ),
            )
            for row in rows
        ]

    async def activity_of_project(self, registry: str, native_project_id: str) -> ActivityKey | None:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT activity_key FROM native_project WHERE registry = :registry AND native_project_id = :project",
            registry=registry,
            project=native_project_id,
        )
        return ActivityKey(rows[0][0]) if rows else None

    async def activity_of_identifier(self, identifier: Identifier) -> ActivityKey | None:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT activity_key FROM strong_identifier WHERE scheme = :scheme AND value = :value",
            scheme=identifier[0],
            value=identifier[1],
        )
        return ActivityKey(rows[0][0]) if rows else None

    async def list_activities(self, *, registry: str | None, after: int, limit: int) -> list[tuple[int, Activity]]:
        """See ``Reader``."""
        narrowed = (
            "AND EXISTS (SELECT 1 FROM native_project p WHERE p.activity_key = a.activity_key "
            "AND p.registry = :registry) "
            if registry
            else ""
        )
        rows = await self._run(
            f"SELECT a.* FROM activity a WHERE a.ordinal > :after {narrowed}ORDER BY a.ordinal LIMIT :limit",
            after=after,
            limit=limit,
            **({"registry": registry} if registry else {}),
        )
        return [(row.ordinal, activity) for row, activity in await self._with_identity(rows)]

    async def standing(self, registry: str, keys: Sequence[ActivityKey]) -> dict[ActivityKey, Standing]:
        """See ``Transaction``."""
        wanted = dict.fromkeys(keys)
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in wanted))
        rows = await self._run(
            f"SELECT item.activity_key, p.country FROM {items} "
            "JOIN native_project p ON p.activity_key = item.activity_key AND p.registry = :registry",
            registry=registry,
            **values,
        )
        standing = {ActivityKey(key): Standing(country, registered=True) for key, country in rows}
        missing = [key for key in wanted if key not in standing]
        if missing:
            items, values = self.relation((("activity_key", "int"),), ((key,) for key in missing))
            rows = await self._run(
                f"SELECT a.activity_key, a.country FROM activity a JOIN {items} ON item.activity_key = a.activity_key",
                **values,
            )
            standing |= {ActivityKey(key): Standing(country, registered=False) for key, country in rows}
        return standing

    async def identity_of(
        self, projects: Sequence[ProjectRegistration]
    ) -> tuple[
        dict[tuple[str, str], ActivityKey], dict[Identifier, ActivityKey], dict[ActivityKey, frozenset[Identifier]]
    ]:
        """See ``Transaction``."""
        items, values = self.relation(
            (("registry", "text"), ("project", "text")),
            dict.fromkeys((each.registry, each.native_project_id) for each in projects),
        )
        registered = {
            (registry, project): ActivityKey(key)
            for registry, project, key in await self._run(
                "SELECT p.registry, p.native_project_id, p.activity_key FROM native_project p "
                f"JOIN {items} ON item.registry = p.registry AND item.project = p.native_project_id",
                **values,
            )
        }
        items, values = self.relation(
            (("scheme", "text"), ("value", "text")),
            dict.fromkeys(identifier for each in projects for identifier in each.identifiers),
        )
        owners = {
            (scheme, value): ActivityKey(key)
            for scheme, value, key in await self._run(
                "SELECT i.scheme, i.value, i.activity_key FROM strong_identifier i "
                f"JOIN {items} ON item.scheme = i.scheme AND item.value = i.value",
                **values,
            )
        }
        concerned = await self.activities([*registered.values(), *owners.values()])
        return registered, owners, {key: frozenset(each.identifiers) for key, each in concerned.items()}

    async def add_activities(self, created: Sequence[tuple[ActivityKey, ProjectRegistration]]) -> None:
        """See ``Transaction``."""
        if not created:
            return
        columns = (
            ("activity_key", "int"), ("ordinal", "int"), ("country", "text"), ("activity_type", "text"),
            ("display_name", "text"), ("time_zone", "text"),
        )  # fmt: skip
        ordinals = await self.draw("activity_ordinal", len(created))
        items, values = self.relation(
            columns,
            (
                (key, ordinal, each.country, each.activity_type, each.display_name, each.time_zone)
                for ordinal, (key, each) in zip(ordinals, created, strict=True)
            ),
        )
        names = ", ".join(name for name, _ in columns)
        await self._run(
            f"INSERT INTO activity ({names}, create_us) SELECT {names}, :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        await self._add_identity([(key, each, each.identifiers) for key, each in created])
        await self._note(
            [
                (EventKind.ACTIVITY_REGISTERED, key, each.country, each.registry, None, 0, each.native_project_id)
                for key, each in created
            ]
        )

    async def join_projects(
        self, joined: Sequence[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]]
    ) -> None:
        """See ``Transaction``."""
        if not joined:
            return
        added = await self._add_identity(joined)
        await self._note(
            [
                (EventKind.PROJECT_JOINED, key, each.country, each.registry, None, 0, each.native_project_id)
                for key, each, new in joined
                if new or (each.registry, each.native_project_id) in added
            ]
        )

    async def _add_identity(
        self, projects: Sequence[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]]
    ) -> set[tuple[str, str]]:
        """Insert projects and identifiers; the projects that were new. Sorted, so that two batches do not deadlock.

        ``RepeatableError`` when another transaction registered a project elsewhere since this one looked.
        """
        columns = (("registry", "text"), ("project", "text"), ("activity_key", "int"))
        rows = sorted({(each.registry, each.native_project_id, key) for key, each, _ in projects})
        items, values = self.relation(columns, rows)
        added = await self._run(
            "INSERT INTO native_project (registry, native_project_id, activity_key, country) "
            "SELECT item.registry, item.project, item.activity_key, a.country "
            f"FROM {items} JOIN activity a ON a.activity_key = item.activity_key WHERE TRUE "
            "ON CONFLICT (registry, native_project_id) DO NOTHING RETURNING registry, native_project_id, activity_key",
            **values,
        )
        if len(added) < len(rows):
            items, values = self.relation(columns, set(rows).difference(tuple(row) for row in added))
            elsewhere = await self._run(
                f"SELECT 1 FROM {items} JOIN native_project p ON p.registry = item.registry "
                "AND p.native_project_id = item.project AND p.activity_key <> item.activity_key",
                **values,
            )
            if elsewhere:
                raise RepeatableError
        identifiers = sorted({(*identifier, key) for key, _, new in projects for identifier in new})
        if identifiers:
            items, values = self.relation((("scheme", "text"), ("value", "text"), ("activity_key", "int")), identifiers)
            await self._run(
                "INSERT INTO strong_identifier (scheme, value, activity_key) "
                f"SELECT scheme, value, activity_key FROM {items}",
                **values,
            )
        return {(registry, project) for registry, project, _ in added}

    async def open_review(self, project: ProjectRegistration, candidates: Sequence[ActivityKey], detail: str) -> int:
        """See ``Transaction``."""
        known = await self._run(
            "SELECT case_id FROM review_case WHERE registry = :registry AND native_project_id = :project",
            registry=project.registry,
            project=project.native_project_id,
        )
        if known:
            return int(known[0][0])
        (case_id,) = await self.draw("review_case_id", 1)
        registration = {
            "country": project.country,
            "activity_type": project.activity_type,
            "display_name": project.display_name,
            "time_zone": project.time_zone,
            "identifiers": list(project.identifiers),
        }
        await self._run(
            "INSERT INTO review_case (case_id, registry, native_project_id, candidates, registration, detail, "
            "create_us) VALUES (:case_id, :registry, :project, :candidates, :registration, :detail, :now)",
            case_id=case_id,
            registry=project.registry,
            project=project.native_project_id,
            candidates=json.dumps(list(candidates)),
            registration=json.dumps(registration, ensure_ascii=False),
            detail=detail,
            now=await self.now_us(),
        )
        await self._note(
            [(EventKind.REVIEW_OPENED, None, project.country, project.registry, None, 0, f"{case_id}: {detail}")]
        )
        return case_id

    async def outcomes(
        self, wanted: Sequence[tuple[ActivityKey, Period, str]]
    ) -> dict[tuple[ActivityKey, Period, str], Outcome]:
        """See ``Reader``."""
        columns = (("activity_key", "int"), ("start_us", "int"), ("end_us", "int"), ("base_unit", "text"))
        items, values = self.relation(
            columns, ((key, to_us(period.start), to_us(period.end), unit) for key, period, unit in wanted)
        )
        rows = await self._run(
            f"SELECT o.*, a.country FROM {items} JOIN outcome o ON o.activity_key = item.activity_key "
            "AND o.base_unit = item.base_unit AND o.period_start_us = item.start_us AND o.period_end_us = item.end_us "
            "JOIN activity a ON a.activity_key = o.activity_key",
            **values,
        )
        found = (self._outcome(row) for row in rows)
        return {(each.record.activity_key, each.record.period, each.record.base_unit): each for each in found}

    @staticmethod
    def _outcome(row: Any) -> Outcome:  # noqa: ANN401  a row of any statement that selects these columns
        key = ActivityKey(row.activity_key)
        period = Period(to_instant(row.period_start_us), to_instant(row.period_end_us))
        activity_id = make_activity_id(row.country, key)
        record = OutcomeRecord(row.registry, activity_id, key, period, row.base_unit, row.quantity)
        return Outcome(record, to_instant(row.update_us))

    async def outcomes_touching(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """See ``Transaction``."""
        columns = (
            ("ordinal", "int"), ("activity_key", "int"), ("start_us", "int"), ("end_us", "int"), ("base_unit", "text"),
        )  # fmt: skip
        items, values = self.relation(
            columns,
            ((i, key, to_us(period.start), to_us(period.end), unit) for i, (key, period, unit) in enumerate(spots)),
        )
        rows = await self._run(
            f"SELECT o.*, a.country, item.ordinal FROM {items} JOIN outcome o ON o.activity_key = item.activity_key "
            "AND o.base_unit = item.base_unit "
            "AND (o.period_end_us = item.start_us OR o.period_start_us = item.end_us) "
            "JOIN activity a ON a.activity_key = o.activity_key "
            "ORDER BY o.period_end_us - o.period_start_us",
            **values,
        )
        touching: list[list[Outcome]] = [[] for _ in spots]
        for row in rows:
            touching[row.ordinal].append(self._outcome(row))
        return touching

    async def record_outcomes(self, records: Sequence[OutcomeRecord]) -> None:
        """See ``Transaction``."""
        columns = (
            ("activity_key", "int"), ("base_unit", "text"), ("period_start_us", "int"), ("period_end_us", "int"),
            ("quantity", "int"), ("registry", "text"),
        )  # fmt: skip
        rows = {
            (each.activity_key, each.base_unit, to_us(each.period.start), to_us(each.period.end)): each
            for each in records
        }
        items, values = self.relation(
            columns, ((*spot, rows[spot].quantity, rows[spot].registry) for spot in sorted(rows))
        )
        names = ", ".join(name for name, _ in columns)
        changed = await self._run(
            f"INSERT INTO outcome ({names}, update_us) SELECT {names}, :now FROM {items} WHERE TRUE "
            "ON CONFLICT (activity_key, base_unit, period_start_us, period_end_us) DO UPDATE "
            "SET quantity = excluded.quantity, update_us = excluded.update_us "
            "WHERE outcome.quantity <> excluded.quantity "
            "RETURNING activity_key, base_unit, period_start_us, period_end_us",
            now=await self.now_us(),
            **values,
        )
        await self._note(
            [
                (EventKind.OUTCOME_RECORDED, each.activity_key, each.activity_id[:2], each.registry, None, 0,
                 f"{each.period} {each.quantity} {each.base_unit}")
                for each in (rows[tuple(spot)] for spot in changed)
            ]
        )  # fmt: skip

    async def lock(self, lock_id: LockId) -> Lock | None:
        """See ``Reader``."""
        return (await self._locks([lock_id])).get(lock_id)

    async def _locks(self, lock_ids: Iterable[int]) -> dict[LockId, Lock]:
        items, values = self.relation((("lock_id", "int"),), ((each,) for each in dict.fromkeys(lock_ids)))
        rows = await self._run(f"{_LOCKS} JOIN {items} ON item.lock_id = l.lock_id", **values)
        return {each.lock_id: each for each in await self._to_locks(rows)}

    async def _to_locks(self, rows: Sequence[Any]) -> list[Lock]:
        """Rows of ``LOCK_COLUMNS``, perhaps with more behind."""
        if any(row[_BUNDLE_ID] not in self._bundles for row in rows):
            # Another process opened the store with a newer bundle since.
            self._bundles.update(
                {row[0]: row[1] for row in await self._run("SELECT bundle_id, hash FROM policy_bundle")}
            )
        return [to_lock(row, self._bundles) for row in rows]

    async def list_locks(
        self,
        *,
        activity_key: ActivityKey | None,
        registry: str | None,
        state: LockState | None,
        period: Period | None,
        after: int,
        limit: int,
    ) -> list[Lock]:
        """See ``Reader``."""
        conditions = {
            # Two questions, since two indexes serve it: live segments and ended ones.
            "l.lock_id IN (SELECT s.lock_id FROM segment s WHERE s.activity_key = :activity_key AND s.live "
            "UNION ALL SELECT s.lock_id FROM segment s WHERE s.activity_key = :activity_key AND NOT s.live)": {
                "activity_key": activity_key
            }
            if activity_key is not None
            else None,
            "l.registry = :registry": {"registry": registry} if registry else None,
            "l.state = :state": {"state": int(state)} if state else None,
            "l.period_start_us < :end_us AND l.period_end_us > :start_us": (
                {"start_us": to_us(period.start), "end_us": to_us(period.end)} if period else None
            ),
        }
        where = "".join(f" AND {condition}" for condition, values in conditions.items() if values)
        values = {name: value for each in conditions.values() if each for name, value in each.items()}
        rows = await self._run(
            f"{_LOCKS} WHERE l.lock_id > :after{where} ORDER BY l.lock_id LIMIT :limit",
            after=after,
            limit=limit,
            **values,
        )
        return await self._to_locks(rows)

    async def locks_near(self, spots: Sequence[tuple[ActivityKey, Period]]) -> list[list[Lock]]:
        """See ``Transaction``."""
        columns = (("ordinal", "int"), ("activity_key", "int"), ("start_us", "int"), ("end_us", "int"))
        items, values = self.relation(
            columns, ((i, key, to_us(period.start), to_us(period.end)) for i, (key, period) in enumerate(spots))
        )
        rows = await self._run(
            f"SELECT {LOCK_COLUMNS}, item.ordinal FROM {items} "
            "JOIN segment s ON s.live AND s.activity_key = item.activity_key "
            "AND s.period_start_us <= item.end_us AND s.period_end_us >= item.start_us "
            "JOIN issuance_lock l ON l.lock_id = s.lock_id ORDER BY l.lock_id",
            **values,
        )
        near: list[list[Lock]] = [[] for _ in spots]
        for row, lock in zip(rows, await self._to_locks(rows), strict=True):
            near[row[-1]].append(lock)
        return near

    async def issuances(self, lock_ids: Sequence[LockId]) -> dict[LockId, list[CommittedIssuance]]:
        """See ``Reader``."""
        items, values = self.relation((("lock_id", "int"),), ((each,) for each in dict.fromkeys(lock_ids)))
        blocks: dict[tuple[int, int], list[UnitBlock]] = defaultdict(list)
        for lock_id, token, series, start, end in await self._run(
            "SELECT u.lock_id, u.token, u.series, u.start_serial, u.end_serial FROM unit_block u "
            f"JOIN {items} ON item.lock_id = u.lock_id ORDER BY u.series, u.start_serial",
            **values,
        ):
            blocks[lock_id, token].append(UnitBlock(series, start, end))
        found: dict[LockId, list[CommittedIssuance]] = defaultdict(list)
        for row in await self._run(
            "SELECT i.lock_id, i.token, i.native_issuance_id, i.reference, i.units, i.commit_us FROM issuance i "
            f"JOIN {items} ON item.lock_id = i.lock_id ORDER BY i.token",
            **values,
        ):
            found[LockId(row.lock_id)].append(
                CommittedIssuance(
                    native_issuance_id=row.native_issuance_id,
                    reference=row.reference,
                    units=row.units,
                    blocks=tuple(blocks[row.lock_id, row.token]),
                    token=Token(row.token),
                    commit_time=to_instant(row.commit_us),
                )
            )
        return dict(found)

    async def obstacles(self, claims: Sequence[Claim]) -> list[list[Obstacle]]:
        """See ``Transaction``."""
        now = to_instant(await self.now_us())
        found: list[list[Obstacle]] = [[] for _ in claims]
        for row in await self._in_the_way(claims):
            found[row[0]].append(to_obstacle(row[1:]))
        for each in found:
            each[:] = [one for one in each if not _is_stale(one, now)]
            each.sort(key=lambda one: (-one.state, one.period, one.lock_id))
        return found

    async def grant(self, claims: Sequence[Claim]) -> list[Lock | list[Obstacle]]:
        """See ``Transaction``."""
        answers: list[Lock | list[Obstacle] | None] = [None] * len(claims)
        for _ in range(GRANT_ROUNDS):
            open_claims = [i for i, answer in enumerate(answers) if answer is None]
            if not open_claims:
                break
            now, policy_hash = await self.now_us(), self._bundles[self._bundle_id]
            for place, lock_id, token in await self._grant_free([claims[i] for i in open_claims]):
                i = open_claims[place]
                answers[i] = granted_lock(claims[i], lock_id, token, now, policy_hash)
            lost = [i for i in open_claims if answers[i] is None]
            if not lost:
                break
            await self._expire_in_the_way([claims[i] for i in lost])
            for i, obstacles in zip(lost, await self.obstacles([claims[i] for i in lost]), strict=True):
                # Nothing left in the way: it was stale, or ended meanwhile. Another round tries again.
                answers[i] = obstacles or None
        if any(answer is None for answer in answers):
            raise DomainError(Reason.STORE_BUSY)
        return [answer for answer in answers if answer is not None]

    async def _expire_in_the_way(self, claims: Sequence[Claim]) -> None:
        now = to_instant(await self.now_us())
        stale = {one.lock_id for row in await self._in_the_way(claims) for one in (to_obstacle(row[1:]),)
                 if _is_stale(one, now)}  # fmt: skip
        await self._expire(stale)

    async def _expire(self, lock_ids: Iterable[LockId]) -> int:
        ordered = sorted(lock_ids)
        if not ordered:
            return 0
        locks = await self._change(
            (("lock_id", "int"),),
            [(each,) for each in ordered],
            f"state = {LockState.EXPIRED:d}, expire_us = NULL",
            f"l.state = {LockState.HELD:d} AND l.expire_us <= {self.now_sql}",
            EventKind.LOCK_EXPIRED,
        )
        await self._free_segments(locks)
        return len(locks)

    async def expire_above(self, lock_id: int, *, window: int, limit: int) -> tuple[int, int]:
        """Expire stale locks among the ``window`` after ``lock_id``; how many, and up to which id none can be HELD."""
        looked_at = (
            "WITH looked_at AS (SELECT * FROM issuance_lock WHERE lock_id > :lock_id ORDER BY lock_id LIMIT :window)"
        )
        bounds = {"lock_id": lock_id, "window": window}
        held = await self._run(
            f"{looked_at} SELECT lock_id, expire_us FROM looked_at WHERE state = {LockState.HELD:d} ORDER BY lock_id",
            **bounds,
        )
        now = await self.now_us()
        # Numbers are drawn before the commit: below the number of a young lock another may still come into sight.
        ((ended_to,),) = await self._run(
            f"{looked_at} SELECT max(lock_id) FROM looked_at WHERE lock_id < coalesce((SELECT min(lock_id) "
            f"FROM looked_at WHERE state = {LockState.HELD:d} OR create_us > :settled), {2**63 - 1})",
            settled=now - SETTLED_US,
            **bounds,
        )
        stale = [LockId(each) for each, expire_us in held if expire_us <= now][:limit]
        return await self._expire(stale), ended_to or lock_id

    async def _free_segments(self, locks: Iterable[Lock]) -> None:
        """Take the segments of ended locks out of the exclusion rule."""
        columns = (("lock_id", "int"), ("activity_key", "int"))
        items, values = self.relation(columns, ((each.lock_id, each.activity_key) for each in locks))
        await self._run(
            f"UPDATE segment AS s SET live = FALSE FROM {items} "
            "WHERE s.live AND s.activity_key = item.activity_key AND s.lock_id = item.lock_id",
            **values,
        )

    async def grant_supplement(self, lock_id: LockId, claim: Claim) -> Lock | None:
        """See ``Transaction``."""
        # The row is taken before the token is drawn, so that tokens of one lock rise in the order of the grants.
        free = f"(expire_us IS NULL OR expire_us <= {self.now_sql})"
        taken = await self._run(
            f"UPDATE issuance_lock SET update_us = :now WHERE lock_id = :lock_id AND state = {LockState.ISSUED:d} "
            f"AND {free} RETURNING lock_id",
            lock_id=lock_id,
            now=await self.now_us(),
        )
        if not taken:
            return None
        (token,) = await self.draw("history_entry_id", 1)
        await self._run(
            "UPDATE issuance_lock SET token = :token, expire_us = :expire_us, units = :units, reference = :reference, "
            "supplement = TRUE WHERE lock_id = :lock_id",
            lock_id=lock_id,
            token=token,
            expire_us=await self.now_us() + claim.request.ttl_us,
            units=claim.request.units,
            reference=claim.request.reference,
        )
        lock = (await self._locks([lock_id]))[lock_id]
        entry = (EventKind.SUPPLEMENT_GRANTED, lock.activity_key, lock.country, lock.registry, lock_id, token, None)
        await self._note([entry], [token])
        return lock

    async def _move(
        self, grants: Sequence[GrantRef], change: str, condition: str, kind: EventKind, details: Sequence[str] = ()
    ) -> list[Moved]:
        """One conditional change of many locks: ``change`` where registry, token and ``condition`` fit."""
        columns = _GRANT_COLUMNS
        rows: list[tuple[Any, ...]] = [(each.lock_id, each.token, each.registry) for each in grants]
        if details:
            columns = (*_GRANT_COLUMNS, ("detail", "text"))
            rows = [(*row, detail) for row, detail in zip(rows, details, strict=True)]
        changed = await self._change(columns, sorted(rows), change, f"{_FITS} AND {condition}", kind)
        return await self._answers(grants, {each.lock_id: each for each in changed})

    async def _answers(self, grants: Sequence[GrantRef], changed: Mapping[LockId, Lock]) -> list[Moved]:
        """Each grant's lock as it stands. A batch names a lock once."""
        missing = [each.lock_id for each in grants if each.lock_id not in changed]
        unchanged = await self._locks(missing) if missing else {}
        as_of = to_instant(await self.now_us())
        return [
            Moved(each.lock_id in changed, changed.get(each.lock_id) or unchanged.get(each.lock_id), as_of)
            for each in grants
        ]

    async def begin(self, grants: Sequence[GrantRef]) -> list[Moved]:
        """See ``Transaction``."""
        return await self._move(
            grants,
            f"state = {LockState.ISSUING:d}, expire_us = NULL",
            f"l.state IN ({LockState.HELD:d}, {LockState.ISSUED:d}) AND l.expire_us > {self.now_sql}",
            EventKind.ISSUANCE_BEGUN,
        )

    async def release(self, grants: Sequence[GrantRef]) -> list[Moved]:
        """See ``Transaction``."""
        moved = await self._move(
            grants,
            f"state = CASE WHEN l.state = {LockState.HELD:d} THEN {LockState.RELEASED:d} ELSE l.state END, "
            "expire_us = NULL, supplement = FALSE",
            f"l.state IN ({LockState.HELD:d}, {LockState.ISSUED:d}) AND l.expire_us IS NOT NULL",
            EventKind.LOCK_RELEASED,
        )
        await self._free_segments(_ended(moved, LockState.RELEASED))
        return moved

    async def abort(self, abortions: Sequence[Abortion]) -> list[Moved]:
        """See ``Transaction``."""
        details = [
            json.dumps({"evidence": each.evidence.kind.name, "detail": each.evidence.detail}, ensure_ascii=False)
            for each in abortions
        ]
        moved = await self._move(
            [each.grant for each in abortions],
            f"state = CASE WHEN l.issuance_count = 0 THEN {LockState.ABORTED:d} ELSE {LockState.ISSUED:d} END, "
            "supplement = FALSE",
            f"l.state = {LockState.ISSUING:d}",
            EventKind.ISSUANCE_ABORTED,
            details,
        )
        await self._free_segments(_ended(moved, LockState.ABORTED))
        return moved

    async def commit(self, commitments: Sequence[Commitment]) -> list[Moved | SerialConflict]:
        """See ``Transaction``."""
        savepoint = await self._connection.begin_nested()
        moved = await self._try_commit(commitments)
        if moved is not None:
            await savepoint.commit()
            return list(moved)
        # Some serial or native id stands in the ledger already: find whose, one by one, and spare the others.
        await savepoint.rollback()
        answers: list[Moved | SerialConflict] = []
        for each in commitments:
            savepoint = await self._connection.begin_nested()
            one = await self._try_commit([each])
            if one is None:
                await savepoint.rollback()
                answers.append(SerialConflict(each.blocks[0].series))
            else:
                await savepoint.commit()
                answers.extend(one)
        return answers

    async def _try_commit(self, commitments: Sequence[Commitment]) -> list[Moved] | None:
        """Commit all that fit their grant; ``None`` when a serial or native id of these stands in the ledger."""
        changed = await self._change(
            (*_GRANT_COLUMNS, ("units", "int")),
            sorted((each.grant.lock_id, each.grant.token, each.grant.registry, _units(each)) for each in commitments),
            f"state = {LockState.ISSUED:d}, issued_units = l.issued_units + l.units, "
            "issuance_count = l.issuance_count + 1, supplement = FALSE",
            f"{_FITS} AND l.units = item.units AND l.state = {LockState.ISSUING:d}",
            EventKind.ISSUANCE_COMMITTED,
        )
        locks = {each.lock_id: each for each in changed}
        done = [each for each in commitments if each.grant.lock_id in locks]
        if done and not await self._write_ledger(done, locks):
            return None
        return await self._answers([each.grant for each in commitments], locks)

    async def _write_ledger(self, done: Sequence[Commitment], locks: Mapping[LockId, Lock]) -> bool:
        """Whether every issuance and block is new."""
        columns = (("registry", "text"), ("native_issuance_id", "text"), ("lock_id", "int"), ("token", "int"),
                   ("reference", "text"), ("units", "int"))  # fmt: skip
        items, values = self.relation(
            columns,
            (
                (each.grant.registry, each.native_issuance_id, each.grant.lock_id, each.grant.token,
                 locks[each.grant.lock_id].reference, _units(each))
                for each in sorted(done, key=lambda one: one.native_issuance_id)
            ),
        )  # fmt: skip
        names = ", ".join(name for name, _ in columns)
        added = await self._run(
            f"INSERT INTO issuance ({names}, commit_us) SELECT {names}, :now FROM {items} WHERE TRUE "
            "ON CONFLICT (registry, native_issuance_id) DO NOTHING RETURNING lock_id",
            now=await self.now_us(),
            **values,
        )
        if len(added) < len(done):
            return False
        blocks = sorted(
            (
                (each.grant.lock_id, each.grant.token, each.grant.registry, block.series,
                 series_key(each.grant.registry, block.series), block.start, block.end)
                for each in done
                for block in each.blocks
            ),
            key=lambda row: (row[4], row[5]),
        )  # fmt: skip
        return await self._add_blocks(blocks) == len(blocks)

    async def announce(self, code: str, endpoint: str, api_version: str) -> None:
        """See ``Transaction``."""
        await self._run(
            "INSERT INTO registry_entry (code, endpoint, api_version, announce_us) "
            f"VALUES (:code, :endpoint, :api_version, {self.now_sql}) ON CONFLICT (code) DO UPDATE SET "
            "endpoint = excluded.endpoint, api_version = excluded.api_version, announce_us = excluded.announce_us",
            code=code,
            endpoint=endpoint,
            api_version=api_version,
        )

    async def registry_entries(self) -> dict[str, RegistryEntry]:
        """See ``Reader``."""
        rows = await self._run(
            f"SELECT code, endpoint, api_version, announce_us, {self.now_sql} - announce_us FROM registry_entry"
        )
        return {row[0]: RegistryEntry(row[0], row[1], row[2], to_instant(row[3]), row[4] / 1_000_000) for row in rows}


def _is_stale(obstacle: Obstacle, now: datetime) -> bool:
    return obstacle.state is LockState.HELD and obstacle.expire_time is not None and obstacle.expire_time <= now


def _ended(moved: Sequence[Moved], state: LockState) -> list[Lock]:
    return [each.lock for each in moved if each.done and each.lock is not None and each.lock.state is state]


def _units(commitment: Commitment) -> int:
    return sum(block.count for block in commitment.blocks)
