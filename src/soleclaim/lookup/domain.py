"""What the lookup speaks of: activities, outcomes, issuance locks, history (design sections 1 to 4).

Instants are aware UTC datetimes with whole microseconds. Quantities are whole base units or native units.
What a batch makes by the thousand is a named tuple: as immutable as a frozen dataclass, made in a third of the time.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, unique
from typing import NamedTuple, NewType

from soleclaim.core.activity_id import ActivityId, ActivityKey
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Identifier
from soleclaim.policy.bundle import Declaration

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


@unique
class EvidenceKind(IntEnum):
    """What proves that nothing was issued natively (design section 3)."""

    NATIVE_REFUSED = 1
    REFERENCE_VOIDED = 2
    NOT_FOUND_TWICE = 3
    NEVER_SENT = 4


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
    settled: frozenset[Identifier]
    """Identifiers that were before the person who decided: they contradict nothing any more."""


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

    @property
    def quantity(self) -> int:
        """Base units asked for."""
        return self.request.units * self.base_units_per_unit

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
