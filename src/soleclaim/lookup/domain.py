"""What the lookup speaks of: activities, outcomes, issuance locks, history (design sections 1 to 4).

Instants are aware UTC datetimes with whole microseconds. Quantities are whole base units or native units.
What a batch makes by the thousand is a named tuple: as immutable as a frozen dataclass, made in a third of the time.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, unique
from typing import Final, NamedTuple, NewType, Self

from soleclaim.core.activity_id import ActivityId, ActivityKey
from soleclaim.core.instants import to_us
from soleclaim.core.period import Period
from soleclaim.core.rectangle import Rectangle
from soleclaim.core.serials import UnitBlock
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Identifier
from soleclaim.policy.bundle import Bundle, Declaration

LockId = NewType("LockId", int)
Token = NewType("Token", int)


@unique
class LockState(IntEnum):
    """State of an issuance lock; the numbers stand in the stores and in the API."""

    HELD = 1
    ISSUING = 2
    ISSUED = 3
    RELEASED = 4
    EXPIRED = 5
    ABORTED = 6


@unique
class EventKind(IntEnum):
    """What a history entry records; the numbers stand in the stores and in the API."""

    ACTIVITY_REGISTERED = 1
    PROJECT_JOINED = 2
    REVIEW_OPENED = 3
    OUTCOME_RECORDED = 4
    LOCK_GRANTED = 5
    SUPPLEMENT_GRANTED = 6
    ISSUANCE_BEGUN = 7
    ISSUANCE_COMMITTED = 8
    ISSUANCE_ABORTED = 9
    LOCK_RELEASED = 10
    LOCK_EXPIRED = 11
    REVIEW_UPDATED = 12
    REVIEW_DECIDED = 13
    ACTIVITY_MERGED = 14
    LOCK_MOVED = 15
    ACTIVITY_SPLIT = 16
    COVERAGE_RECORDED = 30
    SETTLEMENT_RECORDED = 50
    ISSUANCE_IMPORTED = 20
    DISPUTE_OPENED = 21
    DISPUTE_SETTLED = 22
    DISPUTE_REOPENED = 23


@unique
class ReviewState(IntEnum):
    """State of a review case; the numbers stand in the stores and in the API."""

    OPEN = 1
    DECIDED = 2


@unique
class DecisionKind(IntEnum):
    """What a person decides on a review case; the numbers stand in the stores and in the API."""

    SAME = 1
    DIFFERENT = 2
    PART_OF = 3
    ASK = 4
    CONFIRM = 5
    """A second person confirms a proposal."""
    REOPEN = 6
    """A decided case is open again."""


@unique
class SplitState(IntEnum):
    """State of a split; the numbers stand in the stores and in the API."""

    PROPOSED = 1
    DONE = 2
    REPLACED = 3


@unique
class EvidenceKind(IntEnum):
    """What proves that nothing was issued natively (design section 3)."""

    NATIVE_REFUSED = 1
    REFERENCE_VOIDED = 2
    NOT_FOUND_TWICE = 3
    NEVER_SENT = 4


@unique
class ImportState(IntEnum):
    """What became of a row of history; the numbers stand in the stores and in the API."""

    FITTED = 1
    IN_REVIEW = 2
    DISPUTED = 3
    REPEATED = 4


@unique
class DisputeKind(IntEnum):
    """What a dispute is about; the numbers stand in the stores and in the API."""

    OUTCOME_CLAIMED_TWICE = 1
    MORE_THAN_MEASURED = 2
    SERIALS_TWICE = 3
    CONTENT_DIFFERS = 4


@unique
class DisputeState(IntEnum):
    """State of a dispute; the numbers stand in the stores and in the API."""

    OPEN = 1
    SETTLED = 2


@unique
class DisputeOutcome(IntEnum):
    """How a dispute ends; the numbers stand in the stores and in the API."""

    STANDING = 1
    LATE = 2
    BOTH = 3
    NEITHER = 4


@unique
class DisputeDecisionKind(IntEnum):
    """What a decision does; the numbers stand in the stores and in the API."""

    SETTLED = 1
    REOPENED = 2


class Slice(NamedTuple):
    """Part of one period's outcome, half-open, in base units."""

    start: int
    end: int


WHOLE = Slice(0, 2**63 - 1)
"""The unbounded slice: the whole outcome."""


@dataclass(frozen=True, slots=True)
class ProjectRegistration:
    """A native project as its registry registers it; checked for shape already."""

    registry: str
    native_project_id: str
    country: str
    activity_type: str
    display_name: str
    time_zone: str
    identifiers: tuple[Identifier, ...]
    description: Description | None = None
    """What else is known of the plant, its name and identifiers included."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One physical thing that produces outcomes."""

    key: ActivityKey
    activity_id: ActivityId
    country: str
    activity_type: str
    display_name: str
    time_zone: str
    identifiers: tuple[Identifier, ...]
    native_projects: tuple[tuple[str, str], ...]
    """(registry, native project id), in order."""
    create_time: datetime


class Likeness(NamedTuple):
    """How alike a registration and an activity are."""

    key: ActivityKey
    probability: float | None = None
    """That they are one, 0 to 1; ``None``: nothing was measured."""
    reasons: tuple[str, ...] = ()
    """What speaks for and against it, for the person who decides. No registry sees it."""


@dataclass(frozen=True, slots=True)
class ReviewCase:
    """Records that may be one activity: a registration that waits, and where it may belong."""

    case_id: int
    state: ReviewState
    registration: ProjectRegistration
    """As it was sent last."""
    candidates: tuple[Likeness, ...]
    stands_on: ActivityKey | None
    """The activity of its project, once there is one."""
    detail: str
    question: str
    """Put to the registry and not decided since; empty: none."""
    awaits_confirmation: bool
    """Whether the last decision is a proposal that waits for a second person."""
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class ReviewEvidence:
    """A registration as it came to a case."""

    registration: ProjectRegistration
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides on a case."""

    case_id: int
    kind: DecisionKind
    activity_id: ActivityId | None
    """With SAME and PART_OF."""
    question: str
    """With ASK."""
    reason: str
    decider: str
    """``operator/{code}``."""
    seen: datetime | None = None
    """When the case had changed last, as the person saw it; ``None``: not said."""


@dataclass(frozen=True, slots=True)
class DecisionTaken:
    """A decision as it is kept."""

    kind: DecisionKind
    activity_key: ActivityKey | None
    question: str
    reason: str
    decider: str
    proposed: bool
    create_time: datetime


@dataclass(frozen=True, slots=True)
class ReviewOfProject:
    """What a registration must know of the case of its project."""

    case_id: int
    is_open: bool


LIKENESS: Final[Identifier] = ("", "")
"""In the place of an identifier: what a project looks like."""


@dataclass(frozen=True, slots=True)
class ToldApart:
    """What a person or a split settled: a project is not of an activity, though an identifier of it leads there.

    With ``LIKENESS``: though it looks like it.
    """

    registry: str
    native_project_id: str
    identifier: Identifier
    activity_key: ActivityKey


@dataclass(frozen=True, slots=True)
class OutcomeRecord:
    """What was measured, as a registry records it."""

    registry: str
    activity_id: ActivityId
    activity_key: ActivityKey
    period: Period
    base_unit: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A recorded outcome."""

    record: OutcomeRecord
    update_time: datetime


class MeasuredTotal(NamedTuple):
    """The outcomes of one activity in one base unit, no instant counted twice."""

    base_unit: str
    quantity: int
    span: Period
    counted: int
    overlapping: int
    """Outcomes left out, since another that starts before them shares an instant with them."""


class IssuedTotal(NamedTuple):
    """What one registry issued of one instrument for one activity."""

    registry: str
    instrument: str
    units: int
    span: Period


@dataclass(frozen=True, slots=True)
class Summary:
    """What an activity is related to, what it produced, and what was issued for it. Its parts are not counted in."""

    wholes: tuple[ActivityId, ...]
    parts: tuple[ActivityId, ...]
    aliases: tuple[ActivityId, ...]
    measured: tuple[MeasuredTotal, ...]
    issued: tuple[IssuedTotal, ...]


class Belongings(NamedTuple):
    """What stands on an activity and can move to another."""

    projects: tuple[tuple[str, str], ...]
    """(registry, native project id)."""
    identifiers: tuple[Identifier, ...]
    locks: tuple[LockId, ...]
    outcomes: tuple[tuple[str, Period], ...]
    """Base unit and period of each."""


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge moved off the activity that is an alias since."""

    alias: ActivityKey
    survivor: ActivityKey
    """That the alias answers with now; the other one of the merge may itself have been merged since."""
    moved: Belongings
    outcomes_of_both: tuple[Outcome, ...]
    """The alias's own figures where both had the same."""


@dataclass(frozen=True, slots=True)
class SplitWish:
    """What a person wants taken off an activity."""

    activity_id: ActivityId
    native_projects: tuple[tuple[str, str], ...]
    identifiers: tuple[Identifier, ...]
    locks: tuple[LockId, ...]
    restore: ActivityId | None
    """The alias whose merge is to be undone; ``None``: a new activity."""
    reason: str
    proposer: str
    """``operator/{code}``."""


@dataclass(frozen=True, slots=True)
class ActivitySplit:
    """A split as it is kept."""

    split_id: int
    state: SplitState
    wish: SplitWish
    into: ActivityId | None
    """Once it is done."""
    moved: Belongings
    """What moved, or would have when it was proposed."""
    confirm_reason: str
    confirmer: str
    """Empty: nobody had to, or has yet."""
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class CoverageStatement:
    """One statement of a registry: this unit is inside its cap or market from then to then. A fact, never edited."""

    registry: str
    statement_id: str
    """The registry's own, for ever."""
    corrects: str
    """The registry's statement that this one takes the place of; empty: none."""
    unit: ProjectRegistration
    inside: str
    """Native id of the registry's unit inside whose boundary this one lies; empty: none is named."""
    boundary: str
    """What of the unit lies inside, in the registry's words."""
    sector: str
    start: datetime
    end: datetime | None
    """Exclusive; ``None`` while no end is known."""
    withdrawn: bool
    """It was never inside."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """A statement as it is kept, and how it stands now."""

    number: int
    statement: CoverageStatement
    activity_id: ActivityId | None
    """Of its unit; ``None`` while that is under review."""
    review_case: int | None
    """The open case of its unit."""
    in_force: bool
    """Whether no other statement has taken its place, and it withdraws nothing."""
    corrects_unknown: bool
    """Whether what it corrects is not known (yet)."""
    create_time: datetime


class Covering(NamedTuple):
    """A cap or market over an activity, for the one who is refused because of it."""

    registry: str
    start: datetime
    end: datetime | None
    boundary: str


@unique
class SettlementState(IntEnum):
    """How a settlement line stands; the numbers stand in the stores and in the API."""

    SETTLED = 1
    CONTRADICTS = 2
    UNKNOWN_CERTIFICATES = 3
    CORRECTED = 4


@dataclass(frozen=True, slots=True)
class SettlementLine:
    """One line of a power exchange: these certificates moved with this power (R8). A fact, never edited."""

    registry: str
    settlement_id: str
    """The exchange's own, for ever."""
    corrects: str
    """The exchange's line that this one takes the place of; empty: none."""
    native_project_id: str
    contract: str
    period: Period
    energy_kwh: int
    """0: the line that it corrects falls away."""
    buyer_code: str
    blocks: tuple[UnitBlock, ...]
    """Sorted."""


class SettlementTold(NamedTuple):
    """A line, as far as another is told of it."""

    number: int
    registry: str
    settlement_id: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """A line as it is kept, and how it stands now."""

    number: int
    line: SettlementLine
    state: SettlementState
    contradictions: tuple[SettlementTold, ...]
    """Other lines that move a certificate of it."""
    activity_id: ActivityId | None
    """Of its station; ``None`` while the exchange has not registered it."""
    create_time: datetime


class LockRequest(NamedTuple):
    """What a registry asks a lock for; checked for shape already."""

    registry: str
    instrument: str
    activity_id: ActivityId
    activity_key: ActivityKey
    period: Period
    slice: Slice
    units: int
    carried_in: int
    reference: str
    declaration: Declaration
    ttl_us: int


class Claim(NamedTuple):
    """A request that policy allows, with what the bundle says of its instrument."""

    request: LockRequest
    attributes: tuple[int, ...]
    base_unit: str
    base_units_per_unit: int
    measured: bool = True
    """Whether a measured outcome bounds it."""

    @classmethod
    def of(cls, bundle: Bundle, request: LockRequest) -> Self:
        """The claim that a request makes. Raises ``KeyError`` for an instrument that the bundle does not know."""
        row = bundle.instruments[request.instrument]
        attributes = bundle.attribute_numbers[request.instrument]
        return cls(request, attributes, row.base_unit, row.base_units_per_unit, row.measured)

    @property
    def quantity(self) -> int:
        """Base units asked for."""
        return self.request.units * self.base_units_per_unit

    def is_for(self, lock: "Lock | Obstacle") -> bool:
        """Whether it asks for just what this covers, for the same registry and instrument."""
        one = self.request
        mine = (one.registry, one.instrument, one.period, one.slice)
        return (lock.registry, lock.instrument, lock.period, lock.slice) == mine

    def contradicts(self, other: "Claim") -> bool:
        """Whether both claim a shared part of the same outcome (design section 4)."""
        mine, theirs = self.request, other.request
        return (
            mine.activity_key == theirs.activity_key
            and not set(self.attributes).isdisjoint(other.attributes)
            and mine.period.overlaps(theirs.period)
            and mine.slice.start < theirs.slice.end
            and theirs.slice.start < mine.slice.end
        )


class Lock(NamedTuple):
    """An issuance lock as it stands. ``token``, ``units``, ``reference``: of the last grant."""

    lock_id: LockId
    activity_key: ActivityKey
    country: str
    registry: str
    instrument: str
    period: Period
    slice: Slice
    state: LockState
    token: Token
    expire_time: datetime | None
    """When the open grant ends; ``None`` when no grant waits to begin."""
    units: int
    carried_in: int
    reference: str
    issued_units: int
    issuance_count: int
    supplement: bool
    policy_hash: str
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A live lock in the way of a grant. ``lock_id`` is for the service, never for another registry."""

    lock_id: LockId
    registry: str
    instrument: str
    period: Period
    slice: Slice
    state: LockState
    expire_time: datetime | None
    """When an open grant ends; also set on an ISSUED lock while a supplement waits to begin."""
    whole: bool
    """Whether this is all that the lock covers; ``period`` and ``slice`` are what of it is live here."""


class GrantRef(NamedTuple):
    """A grant that its holder wants to move on. ``registry``: the caller, compared by the store."""

    registry: str
    lock_id: LockId
    token: Token


class Commitment(NamedTuple):
    """The native issuance under a grant."""

    grant: GrantRef
    native_issuance_id: str
    blocks: tuple[UnitBlock, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why it is certain that nothing was issued."""

    kind: EvidenceKind
    detail: str


@dataclass(frozen=True, slots=True)
class Abortion:
    """A grant to abort, with the proof."""

    grant: GrantRef
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class CommittedIssuance:
    """One native issuance in the ledger."""

    native_issuance_id: str
    reference: str
    units: int
    blocks: tuple[UnitBlock, ...]
    token: Token
    commit_time: datetime


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """Where a registry's adapter answers."""

    code: str
    endpoint: str
    api_version: str
    announce_time: datetime
    age_s: float
    """Seconds since, by the database's clock."""


@dataclass(frozen=True, slots=True)
class Event:
    """A history entry with its place in the stream."""

    position: int
    entry: int
    kind: EventKind
    activity_key: ActivityKey | None
    country: str
    registry: str
    lock_id: LockId | None
    token: Token
    create_time: datetime


@dataclass(frozen=True, slots=True)
class HistoricIssuance:
    """One native issuance of the past. ``blocks`` are empty where the serials are not known."""

    instrument: str
    period: Period
    units: int
    native_issuance_id: str
    blocks: tuple[UnitBlock, ...]
    issue_time: datetime | None

    @property
    def content(self) -> str:
        """SHA-256 of what the ledger says of an issuance: two with the same are the same."""
        parts = [self.instrument, str(to_us(self.period.start)), str(to_us(self.period.end)), str(self.units)]
        parts += [f"{each.series}\0{each.start}\0{each.end}" for each in sorted(self.blocks)]
        told = "\0\0".join(parts)
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A row of a registry's history; checked for shape already. Without an issuance: the project alone."""

    project: ProjectRegistration
    issuance: HistoricIssuance | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a row of history, and where it stands."""

    state: ImportState
    activity_id: ActivityId | None = None
    joined: bool = False
    """Whether projects of other registries stand on the same activity."""
    lock_id: LockId | None = None
    review_case: int | None = None
    disputes: tuple[int, ...] = ()


class KnownIssuance(NamedTuple):
    """What the store has under a native issuance id."""

    content: str
    """Of the row that came first."""
    native_project_id: str
    """Empty: it was issued through the gateway, which keeps the activity alone."""
    lock_id: LockId | None
    """``None`` while the row waits for a review."""
    activity_key: ActivityKey | None


class Placed(NamedTuple):
    """An issuance of the past with the lock it goes under."""

    row: HistoryRow
    activity_id: ActivityId
    activity_key: ActivityKey
    lock_id: LockId


class Part(NamedTuple):
    """A part of a lock's claim. ``live``: in the exclusion rule; else it is disputed, or was settled against it."""

    lock_id: LockId
    activity_key: ActivityKey
    attributes: tuple[int, ...]
    where: Rectangle
    live: bool


class NewDispute(NamedTuple):
    """A dispute to open. ``holding``: whether it bars grants on ``where``."""

    kind: DisputeKind
    activity_key: ActivityKey
    country: str
    where: Rectangle
    standing: LockId | None
    late: LockId
    detail: str
    holding: bool
    document: HistoryRow | None = None
    """The late row, where the ledger could not take it."""


class SerialOverlap(NamedTuple):
    """Serials of an issuance that stand in the ledger already."""

    place: int
    """Of the issuance among those that were to be recorded."""
    standing: LockId
    block: UnitBlock


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as it stands."""

    dispute_id: int
    kind: DisputeKind
    state: DisputeState
    activity_key: ActivityKey
    country: str
    where: Rectangle
    standing: LockId | None
    late: LockId
    detail: str
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class DisputeDecision:
    """What a person decides on a dispute. ``outcome`` ``None``: it is opened again."""

    dispute_id: int
    outcome: DisputeOutcome | None
    boundary: int
    """With BOTH: where the late side's slice begins."""
    evidence: str
    evidence_uri: str
    decider: str
    """``operator/{code}``."""


@dataclass(frozen=True, slots=True)
class DisputeDecisionTaken:
    """A decision on a dispute as it is kept."""

    kind: DisputeDecisionKind
    outcome: DisputeOutcome | None
    boundary: int
    evidence: str
    evidence_uri: str
    decider: str
    create_time: datetime
