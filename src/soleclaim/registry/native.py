"""The port to a native registry: what an adapter must know how to ask of the system behind it.

An implementation lives in ``soleclaim.natives.<family>``; it speaks the registry's own protocol and knows
nothing of locks. All periods are UTC instants here: the implementation converts civil dates.

Limits of what an issuance may say, because the ledger takes nothing else: ids and series of 1 to ``MAX_TEXT``
characters, without control or formatting characters and without white space at either end; 1 to ``MAX_BLOCKS`` blocks.
A registry whose records can exceed them needs a client that maps them (a hash of the id, adjoining ranges joined),
always in the same way. An issuance beyond the limits can never be committed: it is treated as unknown and stays in
doubt, with an error in the log, until its client is mended.
"""

import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock

MAX_TEXT: Final = 128
"""Characters of a native id or series."""
MAX_BLOCKS: Final = 64
"""Serial ranges of one issuance."""

_UNFIT_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class AbsenceProof(Enum):
    """What counts as proof that a native issuance does not exist (design section 3, the table)."""

    VOID = "void"
    """Unique external reference that can be voided: void it, then "not found" is final."""
    RESEND = "resend"
    """Unique external reference only: the same request again finds the first or becomes it."""
    SEARCH_TWICE = "search_twice"
    """Can be searched: "not found" twice, the second after the longest time a call can be under way."""
    OPERATOR = "operator"
    """Never by itself: an operator with evidence and a second approver."""


@dataclass(frozen=True, slots=True)
class NativeCapabilities:
    """What the native registry can do; declared by its client, stated in its README."""

    absence_proof: AbsenceProof
    longest_under_way: timedelta
    """The longest time a call sent by us may still take effect after we gave up on it."""
    max_batch: int
    """Orders in one native call; 1 where the registry has no batch call."""
    issues: bool = True
    """Whether it issues at all; where not, every request is refused before anything leaves the adapter."""


@dataclass(frozen=True, slots=True)
class PlantDescription:
    """What else a native record says of a plant, for its likeness to what other registries know (design section 5).

    What is not known stays as it is here. What cannot be read exactly is left out, never guessed; a field beyond the
    limits of ``lookup.v1.PlantDescription`` is left out when it is sent, and makes no project unusable.
    """

    name_local: str = ""
    """In the local script, where ``NativeProject.name`` is not; at most 256 characters."""
    owner: str = ""
    """At most 512 characters."""
    owner_local: str = ""
    """In the local script, where the record has both."""
    capacity_kw: int = 0
    """Whole kilowatts."""
    position: tuple[float, float] | None = None
    """Degrees north and east."""
    commissioning_year: int = 0
    region: str = ""
    """Province or state; at most 128 characters."""


@dataclass(frozen=True, slots=True)
class NativeProject:
    """A project as the native registry knows it. ``identifiers``: (scheme, value), see ``identity.schemes``.

    With neither an identifier nor a description the lookup cannot tell it from its look-alikes, and refuses it.
    """

    native_project_id: str
    name: str
    country: str
    """ISO 3166-1 alpha-2."""
    activity_type: str
    """``wind``, ``solar``, ``hydro`` …"""
    time_zone: str
    """IANA name of the zone in which the registry states civil periods of this project."""
    identifiers: tuple[tuple[str, str], ...]
    description: PlantDescription | None = None


KG_PER_TONNE: Final = 1_000
"""Base units of what is counted in tonnes."""


@dataclass(frozen=True, slots=True)
class MeasuredOutcome:
    """What the native registry recorded as measured or certified for a period, in its base unit."""

    native_project_id: str
    period: Period
    base_unit: str
    """``kWh``, ``kgCO2e`` or ``kgce``."""
    quantity: int
    carried_in: int
    """Base units carried over from the period before (GEC: a remainder under 1,000 kWh); else 0."""


@dataclass(frozen=True, slots=True)
class NativeOrder:
    """One issuance to make natively. ``external_reference`` (at most 64 characters ``[A-Za-z0-9._:-]``)
    and ``fencing_token`` must stand in the native record.
    """

    external_reference: str
    fencing_token: int
    native_project_id: str
    period: Period
    units: int


@dataclass(frozen=True, slots=True)
class NativeIssuance:
    """An issuance as it stands in the native registry."""

    native_issuance_id: str
    external_reference: str
    fencing_token: int
    native_project_id: str
    period: Period
    units: int
    blocks: tuple[UnitBlock, ...]


def beyond_limits(issuance: NativeIssuance) -> list[str]:
    """In what an issuance exceeds the limits above; empty when it fits."""
    texts = {"native id": issuance.native_issuance_id} | {
        f"series of block {number}": block.series for number, block in enumerate(issuance.blocks[:MAX_BLOCKS])
    }
    faults = [f"{name} is {why}" for name, text in texts.items() if (why := _unfit(text))]
    if not 1 <= len(issuance.blocks) <= MAX_BLOCKS:
        faults.append(f"it has {len(issuance.blocks)} serial blocks, not 1 to {MAX_BLOCKS}")
    return faults


def _unfit(text: str) -> str | None:
    if not 1 <= len(text) <= MAX_TEXT:
        return f"{len(text)} characters long, not 1 to {MAX_TEXT}"
    if text != text.strip() or not _UNFIT_CATEGORIES.isdisjoint(map(unicodedata.category, text)):
        return f"unfit for the ledger, it has white space at an end or control characters: {text!r}"
    return None


@dataclass(frozen=True, slots=True)
class NativeRefusal:
    """The registry said no and nothing was done. ``lasting``: the same order will never be accepted."""

    code: str
    message: str
    lasting: bool


@dataclass(frozen=True, slots=True)
class NativeUnknown:
    """The result of the call is not known: time-out, cut, 5xx, a page instead of JSON, half an answer."""

    detail: str


NativeResult = NativeIssuance | NativeRefusal | NativeUnknown


class NativeUnavailable(Exception):
    """A *read* could not be answered. Never says anything about what exists."""


class NativeRegistry(Protocol):
    """Speaks to one native registry. Safe for concurrent use within one event loop.

    A client remembers nothing across a restart: what stands, stands at the registry. Questions may be asked again at
    any time, and no client repeats one itself. A call that is cancelled may still take effect.
    """

    @property
    def capabilities(self) -> NativeCapabilities:
        """Constant for the life of the object."""

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """``None`` when the registry says there is no such project; raises ``NativeUnavailable``."""

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """What is measured for exactly this period; ``None`` when nothing is; raises ``NativeUnavailable``."""

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """Issue each order (at most ``max_batch``): the irrevocable call. One result per order, in order.

        Never raises for the registry's behaviour and never retries: whatever is not a clear answer
        *about that very order* is ``NativeUnknown``. An answer that names another reference, another
        quantity or serials that do not add up is ``NativeUnknown`` too.
        """

    async def find(self, external_reference: str) -> NativeIssuance | None:
        """The issuance with that reference, or ``None`` for a clear "not found"; raises ``NativeUnavailable``."""

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Tombstone a reference so that no late call can use it any more (``AbsenceProof.VOID`` only).

        Returns the issuance when it exists already (nothing is voided then), else ``None``: from now on
        absent for good. May be repeated. Raises ``NativeUnavailable``.
        """

    def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """All issuances, each once, for reconciliation; raises ``NativeUnavailable`` when counts do not agree.

        It may raise after the last of those that could be read: nothing follows from what is missing before the end.
        """

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True)
class NativeCoverage:
    """One statement of a registry: this unit or entity is inside its cap or market from then to then.

    ``statement_id``: the registry's own, for ever. ``corrects``: the statement that this one takes the place of.
    ``project``: the unit as the registry knows it, with what is known of it. ``boundary``: what of it lies inside, in
    the registry's words. ``end`` is ``None`` while no end is known; ``withdrawn`` says that it was never inside.
    ``inside``: native id of the registry's unit inside whose boundary this one lies, where it names one.
    """

    statement_id: str
    corrects: str | None
    project: NativeProject
    boundary: str
    sector: str
    start: datetime
    end: datetime | None
    withdrawn: bool
    inside: str | None = None


@runtime_checkable
class CoverageSource(Protocol):
    """A native registry that knows who is inside its cap or market; an adapter passes it on to the lookup.

    A client is one by having the method; nothing else declares it.
    """

    def list_coverage(self) -> AsyncIterator[NativeCoverage]:
        """All statements, each once, a correction after what it corrects; raises ``NativeUnavailable``.

        May be listed over and over. What came before it raised is a fact all the same, and may be passed on; what is
        missing before the end says nothing.
        """


@dataclass(frozen=True, slots=True)
class NativeSettlement:
    """One line of a month's settlement: these certificates moved with this power (R8).

    ``settlement_id``: the registry's own, for ever. ``corrects``: the line that this one takes the place of.
    ``energy_kwh`` 0: the line that it corrects falls away. ``buyer_code``: USCC of who took the power.
    """

    settlement_id: str
    corrects: str | None
    native_project_id: str
    contract: str
    period: Period
    energy_kwh: int
    buyer_code: str
    blocks: tuple[UnitBlock, ...]


@runtime_checkable
class SettlementSource(Protocol):
    """A power exchange: issues nothing, and tells which certificates moved with which power to whom."""

    def list_settlements(self) -> AsyncIterator[NativeSettlement]:
        """All lines, each once, a correction after what it corrects; raises ``NativeUnavailable``. See
        ``CoverageSource.list_coverage``.
        """


@runtime_checkable
class SettlingRegistry(NativeRegistry, SettlementSource, Protocol):
    """A power exchange as an adapter needs it: its settlement, and its stations."""


@dataclass(frozen=True, slots=True)
class NativeHistory:
    """One issuance of the past, as a registry that no longer runs published it.

    ``blocks``: none where the serials are not known. ``issued_on``: the first instant of the day of issue; ``None``
    where it is not known. ``source``: where it stands, for people: the file and the line in it.
    """

    project: NativeProject
    native_issuance_id: str
    period: Period
    units: int
    blocks: tuple[UnitBlock, ...]
    issued_on: datetime | None
    source: str


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A row, or with no ``column`` perhaps a whole file, that could not be read by rule; ``why`` names the remedy."""

    source: str
    column: str
    why: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.source}, column {self.column}: {self.why}" if self.column else f"{self.source}: {self.why}"


class HistorySource(Protocol):
    """A registry of which only published tables are left: what it issued. May be listed over and over: the lookup knows
    what it took over by the registry's own ids.
    """

    def list_history(self) -> AsyncIterator[NativeHistory | UnreadRow]:
        """All issuances, each once, and then every row that could not be read: it stops no other.

        Raises ``NativeUnavailable`` when the tables cannot be reached at all.
        """
