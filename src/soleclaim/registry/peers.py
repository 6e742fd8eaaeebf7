"""The port to the other registries: what they say of an activity, for the dry run."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from soleclaim.core.activity_id import ActivityId
from soleclaim.core.period import Period
from soleclaim.registry.domain import IssuanceState


class Verdict(Enum):
    """What another registry says of an activity and period."""

    ISSUED = "ISSUED"
    CLEAR = "CLEAR"
    UNKNOWN = "UNKNOWN"
    """It did not answer; never to be read as clear (R83)."""


@dataclass(frozen=True, slots=True)
class FoundIssuance:
    """What another registry may know of an issuance."""

    registry: str
    instrument: str
    period: Period
    state: IssuanceState


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """One other registry's answer."""

    registry: str
    verdict: Verdict
    issuances: tuple[FoundIssuance, ...] = ()


class Peers(Protocol):
    """The other registries of the directory."""

    async def ask(self, activity: ActivityId, period: Period) -> list[PeerAnswer]:
        """Ask every one, within a time limit. ``LookupUnavailable`` when the directory does not answer."""
