"""What a registry issues: by the policy bundle that ships, else as its configuration states."""

from dataclasses import dataclass
from typing import Final

from soleclaim.policy.bundle import default_bundle


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument. ``base_unit``: ``kWh``, ``kgCO2e`` or ``kgce``, in whole numbers."""

    code: str
    base_unit: str
    base_units_per_unit: int
    measured: bool = True
    """Whether what it is issued on is a measured outcome, to be recorded at the lookup; an allocation is none."""


INSTRUMENTS: Final = {
    row.registry: Instrument(code, row.base_unit, row.base_units_per_unit, row.measured)
    for code, row in default_bundle().instruments.items()
}
"""By the code of the registry that issues it; an adapter issues one."""
