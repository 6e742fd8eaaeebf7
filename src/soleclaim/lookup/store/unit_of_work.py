"""One transaction on the lookup's store: statements, numbers, history, and the request it answers.

Batches are one statement each, over a relation of rows; nothing in these modules makes a round trip per item.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.ports import RequestKey
from soleclaim.lookup.store.relation import Relation


class RepeatableError(Exception):
    """The unit of work met another one and may simply be repeated."""


class BarFirstError(RepeatableError):
    """The unit of work opens a review case or a dispute: it is repeated with grants barred before it holds anything.

    Grants hold activities while they bar the opening of these; the other way round both would wait for each other.
    ``descriptions``: these are barred again as well, before.
    """

    def __init__(self, *, descriptions: bool) -> None:
        super().__init__()
        self.descriptions = descriptions


class UnitOfWork(ABC):
    """A transaction: statements, numbers, history, the request it answers."""

    relation: ClassVar[Relation]

    def __init__(self, connection: AsyncConnection, bundles: dict[int, str], bundle_id: int) -> None:
        self._connection = connection
        self._bundles = bundles
        self._bundle_id = bundle_id
        self._tx_id: int | None = None
        self._entries: tuple[int, int] | None = None
        """First and last history entry of this transaction."""
        self._now: int | None = None
        self.repeats = False
        """Whether ``BarFirstError`` leads to another attempt."""
        self.bars_first: BarFirstError | None = None
        """Why this attempt must bar grants before it holds anything, if so."""
        self.grants_barred = False
        """Whether no other transaction grants until this one ends."""
        self.descriptions_barred = False
        self.outcome_changes_barred = False

    now_sql: ClassVar[str]
    """The database's clock in microseconds, read when the statement runs."""

    transaction_id_sql: ClassVar[str] = "NULL"
    """A new number for this transaction, where a statement can draw one by the way."""

    @abstractmethod
    async def draw(self, sequence: str, count: int) -> list[int]:
        """Rising numbers, never given before."""

    @abstractmethod
    async def hold_activities(self, keys: Sequence[ActivityKey]) -> None:
        """See ``Transaction``."""

    @abstractmethod
    async def bar_grants(self) -> None:
        """See ``Transaction``."""

    @abstractmethod
    async def bar_descriptions(self) -> None:
        """See ``Transaction``."""

    async def bar_first(self) -> None:
        """Set the bars that the attempt before was missing."""
        if self.bars_first is not None:
            if self.bars_first.descriptions:
                await self.bar_descriptions()
            await self.bar_grants()

    async def bar_grants_first(self) -> None:
        """See ``Transaction``."""
        if self.grants_barred:
            return
        if not self.repeats:
            raise AssertionError("outside `once`, who may open a case or dispute bars grants before anything is held")
        raise BarFirstError(descriptions=self.descriptions_barred)

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

    async def claim_request(self, key: RequestKey) -> bytes | None:
        """Take the id for this transaction, or give the answer of the one that had it (REQUEST_ID_REUSED)."""
        values = {"caller": key.caller, "request_id": key.request_id}
        claimed = await self._run(
            "INSERT INTO request (caller, request_id, method, payload_hash, create_us) "
            f"VALUES (:caller, :request_id, :method, :payload_hash, {self.now_sql}) "
            f"ON CONFLICT (caller, request_id) DO NOTHING RETURNING create_us, {self.transaction_id_sql}",
            method=key.method,
            payload_hash=key.payload_hash,
            **values,
        )
        if claimed:
            ((self._now, self._tx_id),) = claimed
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
