"""The cells of the matrices: generated from the workflow and from the protos, so that no new step is forgotten."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from soleclaim.registry.domain import RecoveryStep, Step, WaitingStep
from soleclaim.rpc.access import API_FILES
from tests.robustness.world import REGISTRIES, Kind, Registry

KINDS: Final[tuple[Kind, ...]] = ("sqlite", "postgres")
AROUND: Final = ("after", "before")

_PLAIN: Final = list(Step)
_WAIT_COMES_AFTER: Final = _PLAIN.index(Step.IDENTITY) + 1
_DOUBT_COMES_AFTER: Final = _PLAIN.index(Step.NATIVE) + 1
STEPS: Final[list[Step | WaitingStep | RecoveryStep]] = [
    *_PLAIN[:_WAIT_COMES_AFTER],
    *WaitingStep,
    *_PLAIN[_WAIT_COMES_AFTER:_DOUBT_COMES_AFTER],
    *RecoveryStep,
    *_PLAIN[_DOUBT_COMES_AFTER:],
]
"""All steps in the order in which an issuance that waits for a review, and comes into doubt, takes them."""

ACROSS: Final = ("committed", "written", "claimed")
"""Around each write of the lookup: claimed (nothing written), written (not committed), committed (not answered)."""


NOT_KILLED: Final = frozenset(
    {"ConfirmReviewDecision", "ConfirmActivitySplit", "ImportIssuance", "SettleDispute", "ReopenDispute"}
)
"""Need two persons and issued units: repeats are tried over the wire, the writes are those of a decision or split.

What is imported stands in no native registry here, which the judge rightly tells: see ``tests/wire/test_history``.
"""


def mutations() -> list[str]:
    """The lookup's mutation methods: those with a ``request_id``. Batch forms share the single form's fail-points."""
    return [
        method.name
        for file in API_FILES
        if file.package.startswith("soleclaim.api.lookup.")
        for service in file.services_by_name.values()
        for method in service.methods
        if "request_id" in method.input_type.fields_by_name
        and not method.name.startswith("Batch")
        and method.name not in NOT_KILLED
    ]


@dataclass(frozen=True)
class Cell:
    """One interruption: where, of what, and whether the native call is done late."""

    kind: Kind
    registry: Registry
    late: bool
    place: str
    """A step's or a mutation's name."""
    moment: str
    variant: str = ""

    def __str__(self) -> str:
        parts = (self.kind, self.registry, self.variant, "late" if self.late else "", f"{self.place}.{self.moment}")
        return "-".join(filter(None, parts))

    @property
    def waits(self) -> bool:
        """Whether only an issuance that waits for a review comes here."""
        return self.place in WaitingStep.__members__

    @property
    def is_begun(self) -> bool:
        """Whether the step may find a native call under way: what comes before cannot tell a late one from another."""
        return [step.name for step in STEPS].index(self.place) >= STEPS.index(Step.BEGIN)

    @property
    def fault(self) -> str | None:
        """What the native registry does while an adapter is interrupted here, so that the point is reached."""
        if self.late:
            return "late_work"
        return "timeout_after_work" if self.place in RecoveryStep.__members__ else None

    @property
    def request_id(self) -> str:
        """What the client calls its request."""
        return f"cell:{self}"


def parameters(cells: Iterable[Cell]) -> list[object]:
    """As pytest's parameters, those on PostgreSQL marked."""
    return [
        pytest.param(cell, id=str(cell), marks=[pytest.mark.postgres] if cell.kind == "postgres" else [])
        for cell in cells
    ]


def around_steps(variants: Sequence[tuple[bool, str]]) -> list[Cell]:
    """A cell before and after each step. ``variants``: (late, variant)."""
    return [
        Cell(kind, registry, late, step.name, moment, variant)
        for kind in KINDS
        for registry in REGISTRIES
        for late, variant in variants
        for moment in AROUND
        for step in reversed(STEPS)
    ]
