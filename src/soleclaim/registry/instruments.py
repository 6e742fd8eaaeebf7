"""What the registries we have clients for issue. A registry that is not here states it in its configuration."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument. ``base_unit``: ``kWh``, ``kgCO2e`` or ``kgce``, in whole numbers."""

    code: str
    base_unit: str
    base_units_per_unit: int


INSTRUMENTS: Final = {
    "ccer": Instrument("CCER", "kgCO2e", 1000),
    "gec": Instrument("GEC", "kWh", 1000),
}
"""By the code of the registry that issues it."""
