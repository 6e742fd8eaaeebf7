"""The ports of the lookup's store. Two implementations, SQLite and PostgreSQL, pass one contract suite.

Contract of all methods, where their own text says nothing else:

- *Durable:* what a ``Transaction`` did is durable when ``LookupStore.once`` returns, and not before; when it
  raises, nothing was done, unless the connection broke at commit: then it is unknown, and ``once`` with the
  same request id tells (it returns the stored answer if it was done).
- *Retry:* ``once`` itself repeats the work, bounded, when the database reports a deadlock or a serialization
  failure. The work must therefore have no effects outside the transaction.
- *Errors:* ``DomainError`` with STORE_BUSY when the database cannot be reached, is locked or too slow;
  REQUEST_ID_REUSED. Anything else is a bug.
- *Concurrent callers* see committed state only. Two conflicting grants never both succeed, whatever the
  processes above do.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from soleclaim.core.activity_id import ActivityId, ActivityKey
from soleclaim.core.period import Period
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    Abortion,
    Activity,
    Claim,
    Commitment,
    CommittedIssuance,
    Decision,
    DecisionTaken,
    Event,
    GrantRef,
    Likeness,
    Lock,
    LockId,
    LockState,
    Obstacle,
    Outcome,
    OutcomeRecord,
    ProjectRegistration,
    RegistryEntry,
    ReviewCase,
    ReviewEvidence,
    ReviewOfProject,
    ReviewState,
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identity of a mutation: who, which id, which method, and the SHA-256 of the payload."""

    caller: str
    request_id: str
    method: str
    payload_hash: bytes


class Moved(NamedTuple):
    """Answer to a state change. ``done``: this call changed it. ``lock``: as it stands now; ``None``: unknown."""

    done: bool
    lock: Lock | None
    as_of: datetime
    """The database's clock."""


@dataclass(frozen=True, slots=True)
class SerialConflict:
    """A commit whose serials or native issuance id stand in the ledger already; the lock stays ISSUING."""

    series: str


class Standing(NamedTuple):
    """How an activity stands to a registry."""

    country: str
    registered: bool
    measured: bool
    """Whether any outcome of it is recorded."""
    review_case: int | None = None
    """An open review case that holds it: nothing new is granted."""
    merged_into: ActivityId | None = None
    """Where it is an alias: the activity that survived."""


class DescribedProject(NamedTuple):
    """A project that was registered with a description, and the activity it stands on now."""

    activity_key: ActivityKey
    registry: str
    description: Description


class Reader(Protocol):
    """Questions. Inside a transaction they see what it did."""

    async def now_us(self) -> int:
        """The database's clock in microseconds since 1970, read once per transaction."""

    async def activities(self, keys: Sequence[ActivityKey]) -> dict[ActivityKey, Activity]:
        """Those that exist."""

    async def activity_of_project(self, registry: str, native_project_id: str) -> ActivityKey | None:
        """The activity of a native project."""

    async def activity_of_identifier(self, identifier: Identifier) -> ActivityKey | None:
        """The activity that holds a strong identifier."""

    async def list_activities(self, *, registry: str | None, after: int, limit: int) -> list[tuple[int, Activity]]:
        """In order of creation, with each one's position to go on after."""

    async def outcomes(
        self, wanted: Sequence[tuple[ActivityKey, Period, str]]
    ) -> dict[tuple[ActivityKey, Period, str], Outcome]:
        """Recorded outcomes of exactly these activities, periods and base units."""

    async def described(self, lookups: Sequence[Collection[str]]) -> list[list[DescribedProject]]:
        """For each set of keys (``identity.blocking``) the described projects that share the most, in order."""

    async def standing(self, registry: str, keys: Sequence[ActivityKey]) -> dict[ActivityKey, Standing]:
        """How each activity that exists stands to ``registry``."""

    async def locks_near(self, spots: Sequence[tuple[ActivityKey, Period]]) -> list[list[Lock]]:
        """Live locks of all registries whose period touches or overlaps each spot, in order of the input."""

    async def outcomes_overlapping(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """Outcomes in the given base unit that share an instant with each spot, in order of the input."""

    async def outcomes_touching(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """Outcomes in the given base unit that end where the spot starts, or start where it ends."""

    async def obstacles(self, claims: Sequence[Claim]) -> list[list[Obstacle]]:
        """What stands in the way of each claim now: ISSUED before ISSUING before HELD. Stale locks do not."""

    async def lock(self, lock_id: LockId) -> Lock | None:
        """One lock."""

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
        """In order of ``lock_id``, greater than ``after``; ``period``: only those that overlap it."""

    async def issuances(self, lock_ids: Sequence[LockId]) -> dict[LockId, list[CommittedIssuance]]:
        """The ledger's issuances under locks, in order of commit."""

    async def review_case(self, case_id: int) -> ReviewCase | None:
        """One case."""

    async def list_review_cases(
        self, *, registry: str | None, state: ReviewState | None, after: int, limit: int
    ) -> list[ReviewCase]:
        """In order of ``case_id``, greater than ``after``."""

    async def review_evidence(self, case_id: int) -> list[ReviewEvidence]:
        """Every registration that came to a case, in order."""

    async def review_decisions(self, case_ids: Sequence[int]) -> dict[int, list[DecisionTaken]]:
        """Decisions on cases, in order."""

    async def survivor_of(self, key: ActivityKey) -> ActivityKey:
        """The activity that an alias answers with; any other key itself."""

    async def live_locks_on(self, keys: Sequence[ActivityKey]) -> list[Lock]:
        """Locks that claim something on these activities, in order."""

    async def clashing(self, keys: Sequence[ActivityKey]) -> tuple[LockId, LockId] | None:
        """Two locks on different ones of these activities that would claim the same outcome if those were one."""

    async def outcomes_of(self, keys: Sequence[ActivityKey]) -> list[Outcome]:
        """Every outcome of these activities, in order of unit and period."""

    async def parents_of(self, key: ActivityKey) -> list[ActivityKey]:
        """What an activity is directly a part of."""

    async def registry_entries(self) -> dict[str, RegistryEntry]:
        """Every registry that ever announced itself, by code."""


class Transaction(Reader, Protocol):
    """One unit of work. All its history entries become visible together."""

    async def identity_of(
        self, projects: Sequence[ProjectRegistration]
    ) -> tuple[
        dict[tuple[str, str], ActivityKey],
        dict[Identifier, ActivityKey],
        dict[ActivityKey, frozenset[Identifier]],
    ]:
        """For ``identity.strong.decide``: registered projects, identifier owners, identifiers per activity."""

    async def add_activities(self, created: Sequence[tuple[ActivityKey, ProjectRegistration]]) -> None:
        """Create activities, each with its first project and identifiers, with history.

        A concurrent creation with a shared identifier makes ``once`` repeat the work.
        """

    async def join_projects(
        self, joined: Sequence[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]]
    ) -> None:
        """Add projects, and the identifiers that are new with them, to activities; history where anything is new."""

    async def reviews_of(self, projects: Sequence[ProjectRegistration]) -> dict[tuple[str, str], ReviewOfProject]:
        """The review cases of these projects, open or decided, by (registry, native project id)."""

    async def open_review(
        self, project: ProjectRegistration, candidates: Sequence[ActivityKey | Likeness], detail: str
    ) -> int:
        """Open a review case, or take new evidence to the one of the same project, opening it again; its number.

        From the commit on nothing new is granted on any candidate until a person decides: also no grant that was
        under way, since this waits for those. Candidates of an open case stay when new evidence names others.
        Evidence that the case knows already changes nothing. ``detail``: what contradicts what; the registry sees
        it, so it tells nothing of other parties.

        Grants are barred first, before anything is held: ``once`` repeats the work with the bar in place.
        """

    async def record_decision(
        self, decision: Decision, activity_key: ActivityKey | None, *, proposed: bool = False
    ) -> None:
        """Keep a decision on an open case, with history. All but ASK and a proposal close it and free its candidates.

        A proposal is confirmed by a decision CONFIRM; any other decision, or new evidence, takes its place.
        """

    async def expire_stale_on(self, keys: Sequence[ActivityKey]) -> None:
        """Expire the HELD locks on these activities that ran out."""

    async def merge(self, merged: ActivityKey, into: ActivityKey, case_id: int) -> None:
        """Move projects, identifiers, outcomes and locks, leave an alias, with history.

        The caller has barred grants, holds both activities, and has seen that nothing of the two contradicts the
        other. Outcomes that both have with one figure become one. Open cases that hold ``merged`` hold ``into``.
        """

    async def add_part(self, child: ActivityKey, parent: ActivityKey, case_id: int) -> None:
        """Note that ``child`` is a part of ``parent``; again changes nothing."""

    async def bar_descriptions(self) -> None:
        """Until this transaction ends, no other registers a described project: two that are alike see each other."""

    async def hold_activities(self, keys: Sequence[ActivityKey]) -> None:
        """Until this transaction ends, others wait that grant by measure on, measure, or identify these activities.

        What is read of them afterwards stays true as far as those change it.
        """

    async def hold_lock(self, lock_id: LockId) -> None:
        """Until this transaction ends, nobody else changes this lock. What is read of it afterwards stays true."""

    async def bar_outcome_changes(self) -> None:
        """Until this transaction ends, no outcome is recorded by another. Shared among grants."""

    async def bar_grants(self) -> None:
        """Until this transaction ends, no other transaction grants. Needed while recording outcomes or reviewing.

        Before anything is held, since grants hold activities.
        """

    async def record_outcomes(self, records: Sequence[OutcomeRecord]) -> None:
        """Insert, or change the quantity of, outcomes, with history for what changed. Each spot at most once."""

    async def grant(self, claims: Sequence[Claim]) -> list[Lock | list[Obstacle]]:
        """Grant each claim or say what stands in the way, in order.

        ``claims`` do not contradict each other. Stale HELD locks in the way are expired in this transaction.
        The database's own exclusion rule decides; tokens are drawn after the segments are won, so they rise
        per activity.
        """

    async def grant_supplement(self, lock_id: LockId, claim: Claim) -> Lock | None:
        """A new grant under an ISSUED lock; ``None`` when it is no longer ISSUED or another grant is open."""

    # A batch of state changes names each lock at most once.

    async def begin(self, grants: Sequence[GrantRef]) -> list[Moved]:
        """HELD (or ISSUED with an open supplement) -> ISSUING where token and registry fit and the grant has
        not expired by the database's clock: one conditional change, in order of the input."""

    async def commit(self, commitments: Sequence[Commitment]) -> list[Moved | SerialConflict]:
        """ISSUING -> ISSUED with ledger rows where token, registry and units fit. A serial that stands in the
        ledger leaves that lock ISSUING (``SerialConflict``) and the other items unharmed."""

    async def abort(self, abortions: Sequence[Abortion]) -> list[Moved]:
        """ISSUING -> ABORTED, or back to ISSUED when earlier issuances stand. Evidence goes into the history."""

    async def release(self, grants: Sequence[GrantRef]) -> list[Moved]:
        """HELD -> RELEASED, or an open supplement back to ISSUED without a grant."""

    async def announce(self, code: str, endpoint: str, api_version: str) -> None:
        """Remember where a registry answers; the last word counts."""


class LookupStore(Protocol):
    """The durable state of the lookup."""

    async def once(self, key: RequestKey, work: Callable[[Transaction], Awaitable[bytes]]) -> bytes:
        """Run ``work`` in one transaction and store its answer under ``key``; a repeat gets the first answer.

        Two repeats that race: one runs, the other waits and gets the same answer. The same id with another
        method or payload raises REQUEST_ID_REUSED. When ``work`` raises, nothing is done nor stored.
        """

    def reading(self) -> AbstractAsyncContextManager[Reader]:
        """A consistent view for questions."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """One unit of work without an idempotency key; commits at the end, rolls back on an exception."""

    async def expire_stale(self, *, limit: int) -> int:
        """Expire at most ``limit`` HELD locks past their time; how many."""

    def events(self, *, after: tuple[int, int], limit: int) -> AsyncIterator[Event]:
        """Committed history after ``(position, entry)``, in order per activity; nothing is ever skipped.

        A row becomes visible with its transaction; positions are given after commit.
        """

    async def close(self) -> None:
        """Release connections."""
