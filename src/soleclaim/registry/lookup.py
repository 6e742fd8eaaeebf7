"""The port to the lookup: what the workflow needs of it, in domain types."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from soleclaim.core.activity_id import ActivityId
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.registry.domain import Declaration, Evidence, Refusal
from soleclaim.registry.native import NativeCoverage, NativeProject, NativeSettlement


class LookupUnavailable(Exception):
    """No answer, or one that does not tell: whether a mutation took effect is *unknown*.

    The way on is the very same call again: same request id, same content.
    """


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """A measured outcome to record; ``quantity`` in whole base units of the instrument."""

    activity: ActivityId
    period: Period
    quantity: int


@dataclass(frozen=True, slots=True)
class LockWish:
    """An issuance lock to acquire."""

    activity: ActivityId
    period: Period
    units: int
    carried_in: int
    reference: str
    declaration: Declaration


@dataclass(frozen=True, slots=True)
class Grant:
    """A lock in hand: its name and the token every later call must show."""

    lock: str
    fencing_token: int
    supplement: bool = False


class LockState(Enum):
    """The state of a lock at the lookup."""

    HELD = "HELD"
    ISSUING = "ISSUING"
    ISSUED = "ISSUED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    ABORTED = "ABORTED"


@dataclass(frozen=True, slots=True)
class LockNow:
    """A lock as it stands at present; ``fencing_token`` is that of its last grant."""

    state: LockState
    fencing_token: int
    committed_tokens: frozenset[int] = frozenset()

    def is_issuing(self, token: int) -> bool:
        """Whether this very grant is begun and not ended: the one state in which a native call is allowed."""
        return self.state is LockState.ISSUING and self.fencing_token == token

    def is_over_without_issuance(self, token: int) -> bool:
        """Whether this grant was ended with nothing committed under it."""
        open_still = self.fencing_token == token and self.state in (LockState.HELD, LockState.ISSUING)
        return not open_still and token not in self.committed_tokens


@dataclass(frozen=True, slots=True)
class Made:
    """A native issuance to commit under a grant."""

    grant: Grant
    native_issuance_id: str
    blocks: tuple[UnitBlock, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """A grant to end because nothing was issued natively, with the proof."""

    grant: Grant
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Names:
    """Under what this registry's issuances of one activity may stand in its journal, after merges and splits."""

    activities: frozenset[ActivityId]
    """The id asked about, the activity that it is now, and the aliases of that."""
    native_project_ids: frozenset[str]
    """This registry's projects of it."""


class Lookup(Protocol):
    """The lookup as one registry sees it. Safe for concurrent use within one event loop.

    Mutations take 1 to 1,000 items and answer each in order: done, or the refusal, after which nothing was changed
    for that item. They are idempotent by ``request_id``, which must come with the very same items again, and a
    refusal is repeated too: whoever tries again after one takes a new id. All methods raise ``LookupUnavailable``.

    A refusal of the whole call is given for every item while nothing can have been issued yet (``register``,
    ``record_outcomes``, ``acquire``). From ``begin`` on it says nothing about any item (a wrong certificate today
    does not undo what took effect yesterday), and is ``LookupUnavailable``.
    """

    async def resolve(self, native_project_id: str) -> ActivityId | None:
        """The activity of one of this registry's projects; ``None`` when the lookup does not know it."""

    async def names_of(self, activity: ActivityId) -> Names:
        """See ``Names``; of an activity that the lookup does not know, its id alone."""

    async def register(self, request_id: str, projects: Sequence[NativeProject]) -> list[ActivityId | Refusal]:
        """Register projects. A shared strong identifier joins, and so does a likeness that leaves no doubt; a
        contradiction or a likeness that leaves one is refused with ``IDENTITY_UNDER_REVIEW``.
        """

    async def record_outcomes(self, request_id: str, outcomes: Sequence[RecordedOutcome]) -> list[Refusal | None]:
        """Record what was measured. The same figure again changes nothing."""

    async def acquire(self, request_id: str, wishes: Sequence[LockWish]) -> list[Grant | Refusal]:
        """Acquire a lock for each."""

    async def begin(self, request_id: str, grants: Sequence[Grant]) -> list[Refusal | None]:
        """HELD to ISSUING, before the lock expires."""

    async def commit(self, request_id: str, made: Sequence[Made]) -> list[Refusal | None]:
        """ISSUING to ISSUED."""

    async def abort(self, request_id: str, absent: Sequence[Absent]) -> list[Refusal | None]:
        """ISSUING to ABORTED, with evidence."""

    async def locks(self, names: Sequence[str]) -> list[LockNow]:
        """How these locks of this registry stand at present, in order: never a stored answer."""

    async def check(self, wish: LockWish) -> list[Refusal]:
        """Every reason for which this wish would be refused now, in no order to rely on; changes nothing."""

    async def announce(self, endpoint: str) -> None:
        """Tell the directory where this adapter answers."""


class CoverageLookup(Protocol):
    """The lookup as a registry that runs a cap or market sees it. Contract: ``Lookup``."""

    async def record_coverage(self, request_id: str, statements: Sequence[NativeCoverage]) -> list[Refusal | None]:
        """Record statements of coverage. The same statement again changes nothing."""


class Settled(Enum):
    """How a settlement line stands at the lookup."""

    YES = "yes"
    """It counts, or another line has taken its place."""
    NOT_YET = "not yet"
    """It contradicts another line, or its certificates are not known; asked again it may count."""


class SettlementLookup(Protocol):
    """The lookup as a power exchange sees it. Contract: ``Lookup``."""

    async def register(self, request_id: str, projects: Sequence[NativeProject]) -> list[ActivityId | Refusal]:
        """See ``Lookup``."""

    async def record_settlements(self, request_id: str, lines: Sequence[NativeSettlement]) -> list[Settled | Refusal]:
        """Record settlement lines. The same line again changes nothing but is looked at anew."""
