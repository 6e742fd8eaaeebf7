"""The port to the journal: what an adapter knows of its issuances, durable before the step that needs it."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from soleclaim.core.activity_id import ActivityId
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.registry.domain import BatchId, Entry, IssuanceId, IssuanceState, Request, Stage

# Counts while the process is stopped, and (where the system has it) while the machine sleeps.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_s() -> float:
    """Seconds on a clock that never jumps and never stands still: for "how long ago" within this process."""
    return time.clock_gettime(_CLOCK)


class LeaseLost(DomainError):
    """Another process has the journal, or may have it. Nothing was written; stop, and call nobody."""

    def __init__(self, registry: str) -> None:
        super().__init__(Reason.ADAPTER_STANDING_BY, registry=registry)


@dataclass(slots=True)
class Lease:
    """The right to write the journal and to issue natively. ``epoch`` rises with every new holder."""

    registry: str
    holder: str
    epoch: int
    valid_until_s: float = field(compare=False)
    """By ``elapsed_s``; reckoned from before the database was asked, so it ends before the database's own end."""

    def check(self) -> None:
        """Raises ``LeaseLost`` when the lease may have ended. Immediate; call it right before what cannot be undone."""
        if elapsed_s() >= self.valid_until_s:
            raise LeaseLost(self.registry)


class Accepted(NamedTuple):
    """The batch that a request became. ``is_new``: by this very call, so nothing was done for it before."""

    batch_id: BatchId
    is_new: bool


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One change of an entry, for ever. A ``version`` that is missing put the entry off, and changed nothing else."""

    version: int
    stage: Stage
    epoch: int
    detail: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class InDoubt:
    """How much is in doubt, and since when the oldest."""

    count: int
    oldest_age: timedelta


class JournalFault(Exception):
    """A bug or a wrong configuration: the journal belongs to another registry, or an entry changed under our feet."""


class Journal(Protocol):
    """A registry's journal. Safe for concurrent use within one event loop, and by several processes.

    Writing methods return when their one transaction is durable. All of them but ``take_lease`` are conditional on
    the lease, checked inside the same transaction: when another process took over, they raise ``LeaseLost`` and
    write nothing. A store that is busy or out of reach is ``DomainError(STORE_BUSY)``: then the write *may* have
    happened; read again before going on. Reads see what is committed, and need no lease.
    """

    async def now(self) -> datetime:
        """The database's clock."""

    async def take_lease(self, holder: str, ttl: timedelta) -> Lease | None:
        """The lease with a new epoch when nobody has it, else ``None``. One of several concurrent callers wins.

        Everything unfinished is due at once for the new holder, however long it had been put off.
        """

    async def renew_lease(self, lease: Lease, ttl: timedelta) -> None:
        """Prolong it, in place; ``LeaseLost`` when it ended or was taken."""

    async def release_lease(self, lease: Lease) -> None:
        """End it now, so that a twin need not wait. Nothing happens when it was lost before."""

    async def accept(self, lease: Lease, request: Request) -> Accepted:
        """Journal a request and its intent, or find the batch it became before.

        Of two concurrent callers with one (caller, request_id) both get the same batch. Same id with another
        payload: ``DomainError(REQUEST_ID_REUSED)``. May be repeated.
        """

    async def record(self, lease: Lease, entries: Sequence[Entry], detail: str) -> list[Entry]:
        """Store changed entries, all or none, each with a line of history; returns them with their new version.

        Each must have been read at its present version (``JournalFault`` otherwise), so of two concurrent
        writers of one entry one fails. ``detail`` says what happened; at most 1,024 characters are kept.
        """

    async def put_off(self, lease: Lease, entries: Sequence[Entry]) -> list[Entry]:
        """As ``record``, for entries of which nothing but ``attempts`` and ``next_try_time`` changed, and without a
        line of history: for what may wait for weeks, where to have asked in vain is nothing that happened to it.
        """

    async def read_batch(self, batch_id: BatchId) -> list[Entry]:
        """All entries of a batch, in the order of the request."""

    async def read(self, issuance_id: IssuanceId) -> Entry | None:
        """One entry."""

    async def list_entries(
        self,
        *,
        after: IssuanceId,
        limit: int,
        activity: ActivityId | None = None,
        period: Period | None = None,
        states: frozenset[IssuanceState] | None = None,
    ) -> list[Entry]:
        """Entries with a greater id than ``after`` that meet all given conditions, in order of their id.

        ``period``: those that overlap it. ``states`` absent: all.
        """

    async def find_entries(
        self,
        *,
        activities: Collection[ActivityId],
        native_project_ids: Collection[str],
        period: Period,
        states: Collection[IssuanceState],
        limit: int,
    ) -> list[Entry]:
        """Entries of any of these activities or of any of these projects, in one of these states, whose period
        overlaps ``period``; in order of their id.
        """

    async def due(self, limit: int) -> list[BatchId]:
        """Batches with an unfinished entry whose time to be tried has come, longest due first.

        Those of which nothing is due but what is under review come last: a crowd that waits holds up nobody.
        """

    async def in_doubt(self) -> InDoubt:
        """Entries whose native call was made or may have been, and that are not committed."""

    async def under_review(self) -> int:
        """How many entries wait for a review."""

    async def history(self, issuance_id: IssuanceId) -> list[HistoryRow]:
        """Every change of an entry but those of ``put_off``, oldest first."""

    async def close(self) -> None:
        """Release connections."""
