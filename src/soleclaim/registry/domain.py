"""What the registry side speaks of: orders, journal entries and the steps of one issuance."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final, NewType, Self

from soleclaim.core.activity_id import ActivityId
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.instants import to_us
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock

BatchId = NewType("BatchId", int)
IssuanceId = NewType("IssuanceId", int)
"""``batch id * MAX_BATCH + position``; so issuances are in order of their acceptance."""

MAX_BATCH: Final = 1000
"""Most orders in one request."""
MAX_UNITS: Final = 10**15
"""Most units in one order."""


class IssuanceState(Enum):
    """Where an issuance stands, as others may know it."""

    PENDING = "PENDING"
    UNDER_REVIEW = "UNDER_REVIEW"
    IN_DOUBT = "IN_DOUBT"
    ISSUED = "ISSUED"
    REFUSED = "REFUSED"


class Step(Enum):
    """The steps of one issuance, in order (design section 3; the value is the number there).

    The journal comes before the identity: registering a project already leaves the process.
    """

    REQUEST = "1"
    JOURNAL = "3"
    IDENTITY = "2"
    OUTCOME = "2b"
    ACQUIRE = "4"
    BEGIN = "5"
    # 6. Obligations (freezing another registry's units) are not built yet; their place is between BEGIN and SEND.
    SEND = "7a"
    NATIVE = "7b"
    COMMIT = "8"


class WaitingStep(Enum):
    """The step that only an issuance under review takes; between ``IDENTITY`` and ``OUTCOME``, to which it leads."""

    REVIEW = "2r"


class RecoveryStep(Enum):
    """The steps that only an issuance in doubt takes; between ``NATIVE`` and ``COMMIT``."""

    SETTLE = "9"


class Stage(Enum):
    """How far a journal entry has come; every stage is durable before the step that follows it."""

    ACCEPTED = "ACCEPTED"
    """Request and intent are journalled; nothing has left the process."""
    UNDER_REVIEW = "UNDER_REVIEW"
    """Waits until a person has decided which activity it is: nothing was sent natively, no lock is held or begun."""
    IDENTIFIED = "IDENTIFIED"
    """The activity is known."""
    MEASURED = "MEASURED"
    """Units are settled, the outcome is recorded at the lookup. An acquire may be under way."""
    HELD = "HELD"
    """The lookup granted the lock. A begin may be under way."""
    ISSUING = "ISSUING"
    """Begun. No native call has been made: SENDING is durable before any."""
    SENDING = "SENDING"
    """A native call may be under way, or have been."""
    UNKNOWN = "UNKNOWN"
    """A native call was made and its result is not known."""
    MADE = "MADE"
    """Issued natively; the commit at the lookup is due."""
    ABSENT = "ABSENT"
    """Proven that nothing was issued natively; the abort at the lookup is due."""
    ISSUED = "ISSUED"
    """Final: issued and committed."""
    REFUSED = "REFUSED"
    """Final: nothing was issued, and no lock of this entry is left ISSUING."""


FINAL: Final = frozenset({Stage.ISSUED, Stage.REFUSED})
IN_DOUBT: Final = frozenset({Stage.SENDING, Stage.UNKNOWN, Stage.MADE})

_STATES: Final = {
    Stage.ISSUED: IssuanceState.ISSUED,
    Stage.REFUSED: IssuanceState.REFUSED,
    Stage.UNDER_REVIEW: IssuanceState.UNDER_REVIEW,
    **dict.fromkeys(IN_DOUBT, IssuanceState.IN_DOUBT),
}


def stages_of(state: IssuanceState) -> frozenset[Stage]:
    """The stages that are told as ``state``."""
    return frozenset(stage for stage in Stage if _STATES.get(stage, IssuanceState.PENDING) is state)


class EvidenceKind(Enum):
    """What proves that nothing was issued natively."""

    NATIVE_REFUSED = "NATIVE_REFUSED"
    REFERENCE_VOIDED = "REFERENCE_VOIDED"
    NOT_FOUND_TWICE = "NOT_FOUND_TWICE"
    NEVER_SENT = "NEVER_SENT"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A proof of absence, as the lookup keeps it. ``detail``: what was asked and answered, 1 to 1,024 characters."""

    kind: EvidenceKind
    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an item was refused: a reason of the one table with the variables of its message."""

    reason: Reason
    variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, reason: Reason, **variables: object) -> Self:
        """Build from named variables."""
        return cls(reason, tuple((name, str(value)) for name, value in variables.items()))

    @classmethod
    def from_error(cls, error: DomainError) -> Self:
        """The same refusal as a value."""
        return cls(error.reason, tuple(error.variables.items()))

    def error(self) -> DomainError:
        """The same refusal as an exception, with its texts."""
        variables: dict[str, Any] = dict(self.variables)
        return DomainError(self.reason, **variables)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the applicant declared (R98)."""

    no_other_application: bool = False
    no_claim_after_transfer: bool = False
    document_uri: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One issuance that a client asks for. ``units`` 0: everything measured, in whole units."""

    native_project_id: str
    period: Period
    units: int
    declaration: Declaration = field(default_factory=Declaration)


@dataclass(frozen=True, slots=True)
class Request:
    """A batch of 1 to ``MAX_BATCH`` orders. ``caller`` scopes ``request_id``: callers cannot disturb each other."""

    caller: str
    request_id: str
    orders: tuple[Order, ...]

    @property
    def payload_hash(self) -> str:
        """SHA-256 of what was asked for, in a form that does not depend on the wire's encoding."""
        canonical = [
            asdict(order) | {"period": str((to_us(order.period.start), to_us(order.period.end)))}
            for order in self.orders
        ]
        return hashlib.sha256(json.dumps(canonical, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One issuance in the journal. Times are aware UTC by the journal database's clock."""

    issuance_id: IssuanceId
    batch_id: BatchId
    batch_key: str
    """Random and unique for ever: request ids at the lookup and native references are made from it."""
    native_project_id: str
    period: Period
    declaration: Declaration
    reference: str
    """External reference in the native record: unique per issuance, and an entry takes at most one grant."""
    create_time: datetime
    update_time: datetime
    version: int = 1
    """Rises with every recorded change."""
    stage: Stage = Stage.ACCEPTED
    ordered_units: int = 0
    """As asked for; 0: everything measured, in whole units."""
    units: int = 0
    """To issue: as asked for, or, once that is measured, what everything comes to."""
    activity: ActivityId | None = None
    carried_in: int = 0
    """Base units carried in from the period before, as the native registry states."""
    lock: str = ""
    """``issuanceLocks/{number}``; empty until granted."""
    fencing_token: int = 0
    supplement: bool = False
    native_issuance_id: str = ""
    blocks: tuple[UnitBlock, ...] = ()
    refusal: Refusal | None = None
    """Why it is refused, or what it waits for."""
    waits: int = 0
    """How often it was told to wait for a review, or that its activity was merged away: what it asks the lookup
    afterwards is another request."""
    evidence: Evidence | None = None
    begin_time: datetime | None = None
    """Just before Begin was called."""
    absent_after: datetime | None = None
    """From then on no call of ours can still take effect natively, by what the native registry declares."""
    not_found_time: datetime | None = None
    """When a search first found nothing."""
    attempts: int = 0
    """How often recovery has tried in vain; sets the back-off."""
    next_try_time: datetime | None = None

    @property
    def state(self) -> IssuanceState:
        """What others may know of the stage."""
        return _STATES.get(self.stage, IssuanceState.PENDING)

    def unsettled(self, stage: Stage) -> Self:
        """Back at a stage before the measuring: told to wait, and nothing measured before the wait counts after it."""
        return replace(self, stage=stage, units=self.ordered_units, carried_in=0, waits=self.waits + 1)

    def is_due(self, now: datetime) -> bool:
        """Whether its time to be tried has come."""
        return self.next_try_time is None or self.next_try_time <= now


def refuse_reused_request_id(request: Request, stored_hash: str) -> None:
    """Same id, other payload: ``REQUEST_ID_REUSED``."""
    if stored_hash != request.payload_hash:
        raise DomainError(Reason.REQUEST_ID_REUSED, request_id=request.request_id)


def lookup_request_id(step: str, entries: Sequence[Entry], content: object = None) -> str:
    """The request id of one call to the lookup: the same for the same step, entries and content, for ever.

    So a call whose answer was lost is repeated as the very same call and gets the first answer. ``content`` is for
    what does not follow from the journal alone.
    """
    told = json.dumps([[entry.issuance_id for entry in entries], repr(content)])
    return f"{entries[0].batch_key}:{step.lower()}:{hashlib.sha256(told.encode()).hexdigest()[:16]}"
