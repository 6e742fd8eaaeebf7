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

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from soleclaim.core.activity_id import ActivityId, ActivityKey
from soleclaim.core.period import Period
from soleclaim.identity.blocking import Found, Sought
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    Abortion,
    Activity,
    ActivitySplit,
    Belongings,
    Claim,
    Commitment,
    CommittedIssuance,
    Coverage,
    CoverageStatement,
    Covering,
    Decision,
    DecisionTaken,
    Dispute,
    DisputeDecision,
    DisputeDecisionTaken,
    DisputeState,
    Event,
    GrantRef,
    HistoryRow,
    KnownIssuance,
    Likeness,
    Lock,
    LockId,
    LockState,
    Merge,
    NewDispute,
    Obstacle,
    Outcome,
    OutcomeRecord,
    Part,
    Placed,
    ProjectRegistration,
    RegistryEntry,
    ReviewCase,
    ReviewEvidence,
    ReviewOfProject,
    ReviewState,
    SerialOverlap,
    Settlement,
    SettlementLine,
    SettlementState,
    SplitWish,
    Summary,
    ToldApart,
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
    may_be_covered: bool = False
    """Whether a registry that covers knows it, or it may be part of another: else nothing can cover it."""
    disputed: bool = False
    """Whether an open dispute bars grants somewhere on it. Not told where the registry has no project on it."""


Identity = tuple[
    dict[tuple[str, str], ActivityKey], dict[Identifier, ActivityKey], dict[ActivityKey, frozenset[Identifier]]
]
"""Activities of native projects, by (registry, id); owners of identifiers; all identifiers of these activities."""


class DescribedProject(NamedTuple):
    """A project that was registered with a description, and the activity it stands on now."""

    activity_key: ActivityKey
    registry: str
    native_project_id: str
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

    async def owners_of(self, identifiers: Collection[Identifier]) -> dict[Identifier, ActivityKey]:
        """The activities that hold strong identifiers. None of them is an alias: identifiers move in a merge."""

    async def identifiers_of(self, keys: Collection[ActivityKey]) -> dict[ActivityKey, frozenset[Identifier]]:
        """The strong identifiers of activities that hold any."""

    async def summary(self, key: ActivityKey) -> Summary:
        """What is related to an activity, and the totals of what was measured and issued."""

    async def list_activities(self, *, registry: str | None, after: int, limit: int) -> list[tuple[int, Activity]]:
        """In order of creation, with each one's position to go on after."""

    async def outcomes(
        self, wanted: Sequence[tuple[ActivityKey, Period, str]]
    ) -> dict[tuple[ActivityKey, Period, str], Outcome]:
        """Recorded outcomes of exactly these activities, periods and base units."""

    async def list_outcomes(
        self, key: ActivityKey, *, period: Period | None, after: tuple[str, Period] | None, limit: int
    ) -> list[Outcome]:
        """In order of base unit, start and end; ``period``: only those that overlap it."""

    async def described(self, lookups: Sequence[Sequence[Sought]]) -> list[Found[DescribedProject]]:
        """For each set of keys (``identity.blocking``) the described projects that share the most, in order.

        Where more share them than can be compared, the answer says so.
        """

    async def descriptions_of(self, keys: Collection[ActivityKey]) -> dict[ActivityKey, list[DescribedProject]]:
        """The described projects of activities, in order of registry and project id."""

    async def standing(
        self, registry: str, keys: Sequence[ActivityKey], *, covering: Collection[str] = ()
    ) -> dict[ActivityKey, Standing]:
        """How each activity that exists stands to ``registry``. ``covering``: the registries that cover.

        Whoever acts on it has barred outcome changes, or grants, before: else a case may open, or an activity merge,
        in between.
        """

    async def locks_near(self, spots: Sequence[tuple[ActivityKey, Period]]) -> list[list[Lock]]:
        """Live locks of all registries whose period touches or overlaps each spot, in order of the input."""

    async def outcomes_overlapping(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """Outcomes in the given base unit that share an instant with each spot, in order of the input."""

    async def outcomes_touching(self, spots: Sequence[tuple[ActivityKey, Period, str]]) -> list[list[Outcome]]:
        """Outcomes in the given base unit that end where the spot starts, or start where it ends."""

    async def obstacles(self, claims: Sequence[Claim], *, stale: bool = False) -> list[list[Obstacle]]:
        """What stands in the way of each claim now: ISSUED before ISSUING before HELD.

        Stale locks do not, unless asked for: they stand in the exclusion rule until they are swept.
        """

    async def lock(self, lock_id: LockId) -> Lock | None:
        """One lock."""

    async def locks(self, lock_ids: Iterable[LockId]) -> dict[LockId, Lock]:
        """Those of these locks that exist."""

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

    async def locks_on(self, key: ActivityKey) -> list[Lock]:
        """Every lock of an activity, ended ones too, in order of their number."""

    async def merge_of(self, alias: ActivityKey) -> Merge | None:
        """The merge that made an activity an alias; ``None`` where it is none."""

    async def activity_split(self, split_id: int) -> ActivitySplit | None:
        """One split."""

    async def list_activity_splits(self, *, key: ActivityKey | None, after: int, limit: int) -> list[ActivitySplit]:
        """In order of ``split_id``, greater than ``after``; ``key``: only those that took from it."""

    async def same_stands(self, case_id: int, decided: datetime) -> bool:
        """Whether all that a case's decision of that instant merged is still merged."""

    async def parents_of(self, key: ActivityKey, *, but_of: int = 0) -> list[ActivityKey]:
        """What an activity is directly a part of, but for what the case ``but_of`` says (numbers begin with 1)."""

    async def coverage(self, number: int) -> Coverage | None:
        """One statement."""

    async def coverage_stated(self, registry: str, statement_ids: Collection[str]) -> dict[str, Coverage]:
        """A registry's statements that are known, by its own ids."""

    async def list_coverage(
        self,
        *,
        registry: str | None,
        keys: Collection[ActivityKey] | None,
        at: datetime | None,
        history: bool,
        seen_by: str | None,
        after: int,
        limit: int,
    ) -> list[Coverage]:
        """In order of ``number``, greater than ``after``. ``keys``: only those on these activities. ``at``: only those
        whose period holds it. ``history``: also those that are not in force. ``seen_by``: only those of this registry,
        and on activities that it has registered.
        """

    async def parts_of_wholes(self, keys: Collection[ActivityKey]) -> list[tuple[ActivityKey, ActivityKey]]:
        """(part, whole) for each of these activities and each that it is directly a part of: by a decided review, or
        by a statement in force that names the unit it lies inside.
        """

    async def covering(self, spots: Sequence[tuple[Collection[ActivityKey], Period]]) -> list[list[Covering]]:
        """Per spot, in order: the statements in force on any of its activities that share an instant with its period.

        Asked by a grant, which bars the recording of others: none that was committed before is overlooked.
        """

    async def settlement(self, number: int) -> Settlement | None:
        """One line."""

    async def settlements_stated(self, registry: str, settlement_ids: Collection[str]) -> dict[str, Settlement]:
        """An exchange's lines that are known, by its own ids."""

    async def list_settlements(
        self, *, registries: Collection[str] | None, state: SettlementState | None, after: int, limit: int
    ) -> list[Settlement]:
        """In order of ``number``, greater than ``after``. ``registries``: only lines of these; ``state``: only those
        that stand so now.
        """

    async def registry_entries(self) -> dict[str, RegistryEntry]:
        """Every registry that ever announced itself, by code."""

    async def known_issuances(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownIssuance]:
        """What stands under (registry, native issuance id), issued through the gateway or taken over."""

    async def settled_projects(self, projects: Sequence[ProjectRegistration]) -> dict[int, ActivityKey]:
        """By place: where a project stands that is known just as it is told here, with no open review case of it.

        Nothing is held: it stays so while grants are not barred, since merging bars them.
        """

    async def set_aside_locks(self, claims: Sequence[Claim]) -> dict[int, Lock]:
        """By place of the claim: the registry's lock on exactly its period that is in an open dispute and not all live.

        What comes after a settlement is a new fact, under a lock of its own.
        """

    async def waiting_rows(self, registry: str, native_project_id: str) -> list[HistoryRow]:
        """Rows of history that wait for the review of this project, in the order in which they came."""

    async def disputes_barring(self, claims: Sequence[Claim]) -> dict[int, int]:
        """By place of the claim: the first open dispute that bars it."""

    async def disputes_on(self, keys: Sequence[ActivityKey]) -> list[Dispute]:
        """Disputes over these activities, open and settled, in order of their number."""

    async def differing(self, late: Sequence[NewDispute]) -> dict[int, int]:
        """By place: the dispute that has the same late row of the same lock already."""

    async def dispute(self, dispute_id: int) -> Dispute | None:
        """One dispute."""

    async def list_disputes(
        self,
        *,
        registry: str | None,
        state: DisputeState | None,
        activity_key: ActivityKey | None,
        after: int,
        limit: int,
    ) -> list[Dispute]:
        """In order of ``dispute_id``, greater than ``after``; ``registry``: only those it is a side of."""

    async def dispute_decisions(self, dispute_ids: Sequence[int]) -> dict[int, list[DisputeDecisionTaken]]:
        """Decisions on disputes, in order."""

    async def parts_of(self, key: ActivityKey) -> list[Part]:
        """Every segment on an activity, those of ended locks included."""


class Transaction(Reader, Protocol):
    """One unit of work. All its history entries become visible together."""

    async def identity_of(self, projects: Sequence[ProjectRegistration], *, hold: bool = True) -> Identity:
        """For ``identity.strong.decide``: registered projects, identifier owners, identifiers per activity.

        ``hold``: these activities are held before what is told of them is read.
        """

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

    async def settled(
        self, projects: Sequence[ProjectRegistration]
    ) -> dict[tuple[str, str], frozenset[tuple[Identifier, ActivityKey]]]:
        """What was settled of these projects: identifiers, each with the activity that had it, or its survivor."""

    async def apart_from(self, project: ProjectRegistration, own: ActivityKey | None) -> frozenset[ActivityKey]:
        """Activities that a project, or the activity ``own`` that it stands on, was told apart from by ``LIKENESS``."""

    async def tell_apart(self, apart: Sequence[ToldApart]) -> None:
        """Keep what was settled; again changes nothing."""

    async def open_review(
        self, project: ProjectRegistration, candidates: Sequence[ActivityKey | Likeness], detail: str
    ) -> int:
        """Open a review case, or take new evidence to the one of the same project, opening it again; its number.

        From the commit on nothing new is granted on any candidate until a person decides: also no grant that was
        under way, since this waits for those. Candidates of an open case stay when new evidence names others.
        Evidence that the case knows already changes nothing. ``detail``: what contradicts what; the registry sees
        it, so it tells nothing of other parties.

        Grants are barred first, before anything is held: ``once`` repeats the work with the bar in place. Outside
        ``once`` the caller must have barred them.
        """

    async def record_decision(
        self, decision: Decision, activity_key: ActivityKey | None, *, proposed: bool = False
    ) -> None:
        """Keep a decision, with history. All but ASK, REOPEN and a proposal close its case and free its candidates.

        A proposal is confirmed by a decision CONFIRM; any other decision, or new evidence, takes its place.
        """

    async def hold_again(self, case_id: int, stands_on: ActivityKey | None) -> None:
        """Hold what a decided case held last, and what its project stands on since; REOPEN is to be recorded."""

    async def expire_stale_on(self, keys: Sequence[ActivityKey]) -> None:
        """Expire the HELD locks on these activities that ran out."""

    async def merge(self, merged: ActivityKey, into: ActivityKey, case_id: int) -> None:
        """Move projects, identifiers, outcomes and locks, leave an alias, with history.

        The caller has barred grants, holds both activities, and has seen that nothing of the two contradicts the
        other. Outcomes that both have with one figure become one. Open cases that hold ``merged`` hold ``into``.
        A split proposed for ``merged`` is over.
        """

    async def propose_split(self, wish: SplitWish, moving: Belongings) -> int:
        """Keep a split as proposed, in the place of one that waits for the same activity; its number."""

    async def split(
        self,
        split_id: int,
        into: ActivityKey,
        moving: Belongings,
        returning: Sequence[Outcome],
        *,
        confirm_reason: str = "",
        confirmer: str = "",
    ) -> None:
        """Carry out a proposed split, with history on both sides.

        ``into``: the alias to restore, or a new key. The caller has barred grants, holds both activities, and has seen
        that no lock that moves is under way. A restored alias gets back the figures ``returning``, the part rows that
        the merge moved, and the aliases that led to it.
        """

    async def take_back_parts(self, case_id: int) -> None:
        """Forget what a case said of parts: it is decided otherwise."""

    async def add_part(self, child: ActivityKey, parent: ActivityKey, case_id: int) -> None:
        """Note that ``child`` is a part of ``parent``; again changes nothing."""

    async def bar_descriptions(self) -> None:
        """Until this transaction ends, no other registers a described project: two that are alike see each other.

        Before grants are barred, and before anything is held: whoever has this bar may be comparing for long.
        """

    async def hold_activities(self, keys: Sequence[ActivityKey]) -> None:
        """Until this transaction ends, others wait that grant by measure on, measure, or identify these activities.

        What is read of them afterwards stays true as far as those change it.

        They are taken in order of their keys, whatever the order given. A second call in one transaction may meet
        another that holds them the other way round: then the database ends one, and ``once`` repeats it. In one
        transaction the order is: ``bar_descriptions``, ``bar_grants`` or ``bar_outcome_changes``, activities, locks.
        """

    async def hold_lock(self, lock_id: LockId) -> None:
        """Until this transaction ends, nobody else changes this lock. What is read of it afterwards stays true."""

    async def bar_outcome_changes(self) -> None:
        """Until this transaction ends, no outcome is recorded by another. Shared among grants."""

    async def bar_grants(self) -> None:
        """Until this transaction ends, no other transaction grants. Needed while recording outcomes or coverage, and
        while reviewing.

        Before anything is held, since grants hold activities.
        """

    async def bar_grants_first(self) -> None:
        """As ``bar_grants``, for work that finds out late that it must: ``once`` repeats it with the bar in place."""

    async def record_outcomes(self, records: Sequence[OutcomeRecord]) -> None:
        """Insert, or change the quantity of, outcomes, with history for what changed. Each spot at most once."""

    async def record_coverage(self, statements: Sequence[CoverageStatement]) -> None:
        """Keep new statements of one registry, with history, and settle which of them and their corrections count.

        Each id once: ``coverage_stated`` tells which are known. The caller has barred grants before it asked, so that
        no other records them meanwhile, and registered the units.
        """

    async def bar_settlements(self) -> None:
        """Until this transaction ends, no other records settlements."""

    async def record_settlements(self, lines: Sequence[SettlementLine], issuer: str) -> None:
        """Keep new lines of one exchange, with history. ``issuer``: the registry whose certificates they move.

        Each id once: ``settlements_stated`` tells which are known. The caller has barred other settlements before it
        asked, and lets ``settle`` follow in the same transaction.
        """

    async def settle(self, registry: str, settlement_ids: Collection[str]) -> None:
        """Make those lines count that do: these, what is linked with them by correction, and what did not count.

        A certificate moves by one line: that which was recorded first and is not corrected. What a corrected line
        moved is free at once, and goes to a line that contradicted it. The database's own exclusion rule watches.
        """

    async def grant(self, claims: Sequence[Claim]) -> list[Lock | list[Obstacle]]:
        """Grant each claim or say what stands in the way, in order.

        The caller has barred outcome changes before it looked at ``standing``: the exclusion rule knows of no case.
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

    async def new_lock_ids(self, count: int) -> list[LockId]:
        """Numbers for locks to come, rising."""

    async def end_open_grants(self, lock_ids: Sequence[LockId]) -> None:
        """End grants that wait to begin: HELD -> EXPIRED, an open supplement back to ISSUED. Others stay."""

    async def record_history(
        self, placed: Sequence[Placed], fresh: frozenset[LockId], parts: Sequence[Part]
    ) -> list[SerialOverlap]:
        """Write issuances of the past into the ledger, with history, each with a token of its own.

        ``fresh``: locks that are made here, ISSUED at once, with the segments ``parts``; the others stand, and keep
        an open grant and its token. Serials that stand in the ledger already are kept beside it, and told. What a
        concurrent grant or commit took meanwhile makes ``once`` repeat the work.
        """

    async def keep_waiting(self, rows: Sequence[HistoryRow]) -> None:
        """Keep rows until the review of their project is decided. A row that waits already stays as it is; one that
        stands in the ledger must not be among them.
        """

    async def open_disputes(self, disputes: Sequence[NewDispute]) -> list[int]:
        """Open disputes, with history for each side; their numbers, in order. Again opens them again: ``differing`` and
        ``disputes_on`` tell which stand already. The caller has barred grants where one holds.
        """

    async def record_dispute_decision(self, dispute: Dispute, decision: DisputeDecision) -> None:
        """Keep a decision on a dispute, with history for each side; from the commit on it bars or frees its outcome.

        The caller has barred grants, and seen after that that the dispute is in a state which the decision ends: it is
        not looked at here, and a second call is a second decision.
        """

    async def replace_parts(self, removed: Sequence[Part], added: Sequence[Part]) -> None:
        """Move claims.

        The caller has barred grants, holds the activity, and has read ``removed`` after that; a part that is not there
        is passed over. It has seen that nothing live conflicts with what is added: else it is a bug.
        """

    async def announce(self, code: str, endpoint: str, api_version: str) -> None:
        """Remember where a registry answers; the last word counts."""


class LookupStore(Protocol):
    """The durable state of the lookup."""

    async def once(self, key: RequestKey, work: Callable[[Transaction], Awaitable[bytes]]) -> bytes:
        """Run ``work`` in one transaction and store its answer under ``key``; a repeat gets the first answer.

        Two repeats that race: one runs, the other waits and gets the same answer. The same id with another
        method or payload raises REQUEST_ID_REUSED. When ``work`` raises, nothing is done nor stored. Only that undoes:
        a ``work`` whose answer is a refusal (``DomainError`` as a value) commits what it wrote, and the refusal is what
        a repeat gets.
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
