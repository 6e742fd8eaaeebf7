"""Whose credits these are, and which projects may have them: the same in whatever form a registry is spoken to."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from soleclaim.natives.registries import RegistryRow, pattern
from soleclaim.registry.native import NativeOrder, NativeRefusal

ACTIVITY_TYPES: Final = {
    "林业碳汇": "afforestation",
    "节能改造": "energy_efficiency",
    "分布式光伏": "solar",
    "绿色出行": "transport",
    "沼气利用": "methane",
}
"""By category, in words that the registries share."""


class LocalRow(RegistryRow):
    """See ``registries.toml``."""

    name: str
    authority: str
    area: str
    division: str
    filing_pattern: Annotated[str, pattern("division")]
    form: Literal["json", "workbook"]
    activity_types: dict[str, str] = Field(default_factory=dict)

    def activity_type(self, category: str) -> str:
        """What a category of its projects means here."""
        return (ACTIVITY_TYPES | self.activity_types).get(category, "other")

    def refusal_of(self, order: NativeOrder) -> NativeRefusal | None:
        """Why the order cannot be for a project of this area, told by its filing number alone.

        By nothing else, so that the answer is the same for ever: what is refused here was never sent either.
        """
        found = re.fullmatch(self.filing_pattern, order.native_project_id)
        if found is None:
            return NativeRefusal(
                "FILING_NUMBER_UNFIT",
                f"{order.native_project_id} is no filing number of {self.name}, which are like"
                f" {self.filing_pattern}; not sent",
                lasting=True,
            )
        if not self.is_inside(found["division"]):
            return NativeRefusal(
                "PROJECT_OUTSIDE_AREA",
                f"{order.native_project_id} lies in {found['division']}, and {self.authority} issues for projects in"
                f" {self.area} only, whose codes begin with {self.division}; not sent",
                lasting=True,
            )
        return None

    def is_inside(self, division: str) -> bool:
        """Whether a county's code of GB/T 2260 lies in the area."""
        return division.startswith(self.division)
