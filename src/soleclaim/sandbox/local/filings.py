"""What the desk of a local credit registry takes into its book, in whatever form the registry is spoken to."""

import re
from typing import Annotated, Final, Literal

from soleclaim.sandbox.fields import MEGAWATTS, PROJECT_CODE, BadRequest, Refused, Row, day, optional_text, text
from soleclaim.sandbox.ledger import NewResult
from soleclaim.sandbox.registries import RegistryRow, Series, pattern

_TONNES: Final = r"[0-9]{1,9}(\.[0-9]{1,3})?"


class LocalRow(RegistryRow):
    """See ``registries.toml``."""

    division: str
    filing_pattern: Annotated[str, pattern("division")]
    series: Series
    form: Literal["json", "workbook"]


def days_of(row: Row) -> tuple[str, str]:
    """Both inclusive."""
    first, last = day(row, "from"), day(row, "to")
    if last < first:
        raise BadRequest("to must not lie before from; both days are inclusive")
    return first, last


def filing_of(row: Row, registry: LocalRow) -> dict[str, object]:
    """A project that is filed; ``registry``: whose pattern and area it must fit."""
    number = text(row, "filingNo", registry.filing_pattern)
    division = text(row, "divisionCode", "[0-9]{6}")
    found = re.fullmatch(registry.filing_pattern, number)
    if found is None or found["division"] != division:
        raise BadRequest(f"filing number {number} is not of division {division}")
    if not division.startswith(registry.division):
        raise Refused("OUTSIDE_AREA", f"{division} is not of this authority, whose codes begin {registry.division}")
    return {
        "filingNo": number,
        "divisionCode": division,
        "projectName": text(row, "projectName"),
        "applicant": text(row, "applicant"),
        "category": text(row, "category"),
        "province": text(row, "province"),
        "capacityMw": optional_text(row, "capacityMw", MEGAWATTS),
        "projectCode": optional_text(row, "projectCode", PROJECT_CODE),
    }


def reduction_of(row: Row) -> NewResult:
    """A verified reduction; whole tonnes of it may be issued."""
    tonnes = text(row, "verifiedTonnes", _TONNES)
    return NewResult(text(row, "filingNo"), *days_of(row), int(tonnes.partition(".")[0]), {"verifiedTonnes": tonnes})
