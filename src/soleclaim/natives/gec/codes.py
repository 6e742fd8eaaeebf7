"""Certificate codes of the green certificate system, which power exchanges speak of too."""

import re
from typing import Final

from soleclaim.core.serials import UnitBlock
from soleclaim.natives.answers import Unclear
from soleclaim.natives.transport import Fields

ACTIVITY_TYPES: Final = {
    "风电": "wind",
    "光伏": "solar",
    "水电": "hydro",
    "生物质": "biomass",
    "地热": "geothermal",
    "海洋能": "ocean",
}
"""By energy type, in the system's own words."""

FILING_CODE: Final = "[0-9A-Z]{17}"
"""The filing code of a project, its one id for life."""

_CODE: Final = re.compile(
    f"(?P<filing>{FILING_CODE})(?P<month>[0-9]{{6}})(?P<sequence>[0-9]{{7}})(?P<classes>[0-9A-Z]{{2}})"
)


def certificate_block(block: Fields, *, filing_code: str, month: str | None = None) -> UnitBlock:
    """A range of certificate codes as a series, which is the code without its sequence, and numbers.

    ``month``: the one (``YYYY-MM``) that they must be of; any one where it is left out.
    """
    first, last = _CODE.fullmatch(block.text("startCode")), _CODE.fullmatch(block.text("endCode"))
    if first is None or last is None:
        raise Unclear(f"{block.text('startCode'):.80} to {block.text('endCode'):.80} are no certificate codes")
    named = {(code["filing"], code["month"], code["classes"]) for code in (first, last)}
    if named != {(filing_code, month.replace("-", "") if month else first["month"], first["classes"])}:
        about = f"{filing_code} in {month}" if month else filing_code
        raise Unclear(f"codes {first[0]} to {last[0]} are not of {about}, or of two series")
    series = f"{first['filing']}{first['month']}-{first['classes']}"
    if int(first["sequence"]) > int(last["sequence"]):
        raise Unclear(f"codes {first[0]} to {last[0]} run backwards")
    found = UnitBlock(series, int(first["sequence"]), int(last["sequence"]))
    if found.count != block.count("count"):
        raise Unclear(f"{first[0]} to {last[0]} are {found.count} certificates, not {block.count('count')}")
    return found
