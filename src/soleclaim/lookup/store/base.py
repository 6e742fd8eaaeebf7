"""What both stores share: the unit of work with its idempotency, identity, outcomes, reads, the event stream.

The contracts stand in ``lookup.ports``. What differs between the databases is in ``sqlite`` and ``postgres``:
the clock, drawing numbers, the barriers, and the exclusion rule.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Self, TypeVar

from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.failpoint import reach
from soleclaim.db.engine import busy_is_refused, reading, sqlstate, writing
from soleclaim.lookup.domain import Event, EventKind, LockId, Token
from soleclaim.lookup.ports import RequestKey
from soleclaim.lookup.store.rows import to_instant
from soleclaim.lookup.store.schema import policy_bundle
from soleclaim.lookup.store.transaction import SqlTransaction
from soleclaim.lookup.store.unit_of_work import BarFirstError, RepeatableError
from soleclaim.policy.bundle import Bundle

T = TypeVar("T")

ATTEMPTS: Final = 5
"""How often a unit of work is tried when the database reports a deadlock or a race between two registrations."""
_DEADLOCK_OR_SERIALIZATION: Final = frozenset({"40P01", "40001"})
_IDENTITY_TABLES: Final = ("activity", "strong_identifier", "native_project", "review", "outcome")
EXPIRE_WINDOW: Final = 5_000
"""How many locks one sweep looks at: a few milliseconds, so that calls do not wait for it."""


class SqlLookupStore(ABC):
    """``LookupStore`` over SQLAlchemy Core."""

    transaction_type: type[SqlTransaction]

    def __init__(self, engine: AsyncEngine, bundles: dict[int, str], bundle_id: int) -> None:
        self._engine = engine
        self._bundles = bundles
        self._bundle_id = bundle_id
        self._ended_to = 0
        self._sweep_from: int | None = None

    @classmethod
    async def open(cls, engine: AsyncEngine, bundle: Bundle) -> Self:
        """Make the bundle known in the store, so that locks can name it."""
        with busy_is_refused():
            async with writing(engine) as connection:
                await cls._bar_other_openers(connection)
                rows = await connection.execute(select(policy_bundle.c.bundle_id, policy_bundle.c.hash))
                bundles: dict[int, str] = {row.bundle_id: row.hash for row in rows}
                if bundle.hash not in bundles.values():
                    bundles[len(bundles) + 1] = bundle.hash
                    values = {"bundle_id": len(bundles), "hash": bundle.hash, "version": bundle.version}
                    await connection.execute(policy_bundle.insert().values(**values))
        bundle_id = next(number for number, known in bundles.items() if known == bundle.hash)
        return cls(engine, bundles, bundle_id)

    @staticmethod
    @abstractmethod
    async def _bar_other_openers(connection: AsyncConnection) -> None:
        """Until the end of this transaction no other process opens the store."""

    async def once(self, key: RequestKey, work: Callable[[SqlTransaction], Awaitable[bytes]]) -> bytes:
        """See ``LookupStore.once``."""

        async def claim_and_work(transaction: SqlTransaction) -> bytes:
            stored = await transaction.claim_request(key)
            if stored is not None:
                return stored
            await transaction.bar_first()
            reach(f"lookup.{key.method}.claimed")
            answer = await work(transaction)
            await transaction.store_answer(key, answer)
            reach(f"lookup.{key.method}.written")
            return answer

        answer = await self._in_transaction(claim_and_work)
        reach(f"lookup.{key.method}.committed")
        return answer

    async def _in_transaction(self, work: Callable[[SqlTransaction], Awaitable[T]]) -> T:
        bar_first: BarFirstError | None = None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._attempt() as transaction:
                    transaction.repeats = True
                    transaction.bars_first = bar_first
                    return await work(transaction)
            except RepeatableError as error:
                if attempt == ATTEMPTS:
                    raise DomainError(Reason.STORE_BUSY) from error
                if isinstance(error, BarFirstError):
                    bar_first = error
                    continue
                # Random, so that two that met once do not meet again.
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlTransaction]:
        """See ``LookupStore.transaction``."""
        try:
            async with self._attempt() as transaction:
                yield transaction
        except RepeatableError as error:
            raise DomainError(Reason.STORE_BUSY) from error

    @asynccontextmanager
    async def _attempt(self) -> AsyncIterator[SqlTransaction]:
        with busy_is_refused():
            try:
                async with writing(self._engine) as connection:
                    transaction = self.transaction_type(connection, self._bundles, self._bundle_id)
                    yield transaction
                    await transaction.finish()
            except DBAPIError as error:
                if sqlstate(error) in _DEADLOCK_OR_SERIALIZATION or _is_identity_race(error):
                    raise RepeatableError from error
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlTransaction]:
        """See ``LookupStore.reading``."""
        with busy_is_refused():
            async with reading(self._engine) as connection:
                await self._hold_view(connection)
                yield self.transaction_type(connection, self._bundles, self._bundle_id)

    @staticmethod
    @abstractmethod
    async def _hold_view(connection: AsyncConnection) -> None:
        """All questions of the transaction about to start see the same state."""

    async def expire_stale(self, *, limit: int) -> int:
        """See ``LookupStore.expire_stale``. One window a call, round and round above what ended long ago."""

        async def sweep(transaction: SqlTransaction) -> int:
            start = self._ended_to if self._sweep_from is None else self._sweep_from
            swept = await transaction.expire_above(start, window=EXPIRE_WINDOW, limit=limit)
            if start == self._ended_to:
                self._ended_to = swept.ended_to
            self._sweep_from = swept.go_on_from
            return swept.expired

        return await self._in_transaction(sweep)

    async def events(self, *, after: tuple[int, int], limit: int) -> AsyncIterator[Event]:
        """See ``LookupStore.events``."""
        with busy_is_refused():
            async with writing(self._engine) as connection:
                await self._give_positions(connection)
            async with reading(self._engine) as connection:
                rows = await connection.execute(
                    text(
                        # The bounds: neither database then goes through entries that no position of the page has.
                        "WITH page AS (SELECT position, tx_id, first_entry, last_entry FROM outbox "
                        "WHERE position >= :position ORDER BY position LIMIT :limit + 1) "
                        "SELECT o.position, h.entry_id, h.kind, h.activity_key, h.country, h.registry, h.lock_id, "
                        "h.token, h.create_us FROM page o JOIN history_entry h ON h.tx_id = o.tx_id "
                        "AND h.entry_id BETWEEN o.first_entry AND o.last_entry "
                        "WHERE h.entry_id BETWEEN (SELECT min(first_entry) FROM page) "
                        "AND (SELECT max(last_entry) FROM page) AND (o.position > :position OR h.entry_id > :entry) "
                        "ORDER BY o.position, h.entry_id LIMIT :limit"
                    ),
                    {"position": after[0], "entry": after[1], "limit": limit},
                )
                found = rows.all()
        for row in found:
            yield Event(
                position=row[0],
                entry=row[1],
                kind=EventKind(row[2]),
                activity_key=None if row[3] is None else ActivityKey(row[3]),
                country=row[4],
                registry=row[5],
                lock_id=None if row[6] is None else LockId(row[6]),
                token=Token(row[7]),
                create_time=to_instant(row[8]),
            )

    async def _give_positions(self, connection: AsyncConnection) -> None:
        """Number the transactions committed since, so that a reader never passes one that commits late.

        Two transactions that touch the same lock draw their entry numbers after they have it, and the second has it
        only after the first committed: its last entry is later than any of the first's. (Its first need not be: it
        may have written of other activities before.) So this order keeps the order per activity.
        """
        await self._bar_other_positioners(connection)
        last = (await connection.execute(text("SELECT coalesce(max(position), 0) FROM outbox"))).scalar_one()
        await connection.execute(
            text(
                "WITH numbered AS (SELECT tx_id, row_number() OVER (ORDER BY last_entry) AS place "
                "FROM outbox WHERE position IS NULL) "
                "UPDATE outbox SET position = :last + numbered.place FROM numbered "
                "WHERE outbox.tx_id = numbered.tx_id"
            ),
            {"last": last},
        )

    @staticmethod
    @abstractmethod
    async def _bar_other_positioners(connection: AsyncConnection) -> None:
        """Until the end of this transaction no other gives positions."""

    async def close(self) -> None:
        """See ``LookupStore.close``."""
        await self._engine.dispose()


def _is_identity_race(error: DBAPIError) -> bool:
    """Two transactions created the same activity, identifier, project, case or outcome at once."""
    if not isinstance(error, IntegrityError):
        return False
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return constraint is not None and constraint.startswith(_IDENTITY_TABLES)
