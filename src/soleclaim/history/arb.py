"""California's table of offset credits issued: as the agency's workbook, or as a CSV extract of it.

It tells two registries' sides of one project: the agency's (``arb``), and that of the offset project registry which
listed it (``acr``, ``car``, by its own project id). For ``arb`` a row is an issuance of ARBOC; for ``acr`` and ``car``
the same row tells what that registry verified and issued before. Days are read in California's time.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from soleclaim.history.rows import Issued, Line, NotAnIssuance, Project, Read, period_of_days, read_each, stream_csv
from soleclaim.identity.strong import Identifier
from soleclaim.natives.cells import CellFault, Cells, TableFault, day, identifier, read_workbook, whole

ZONE: Final = ZoneInfo("America/Los_Angeles")
SHEET: Final = "ARB Offset Credit Issuance"
INSTRUMENTS: Final = {"arb": "ARBOC", "acr": "ERT", "car": "CRT"}
ACTIVITY_TYPES: Final = {"FR": "forest", "LS": "livestock", "MM": "mine-methane", "OD": "ozone-depleting", "RC": "rice"}
"""By the third and fourth letter of the project id."""

_EXTRACT: Final = {
    "issuance": "carb_issuance_id",
    "listed": "opr_project_id",
    "start": "period_start",
    "end": "period_end",
    "credits": "credits",
    "issued": "issuance_date",
}
_WORKBOOK: Final = {
    "issuance": "CARB Issuance ID",
    "listed": "OPR Project ID",
    "start": "Reporting Period Start Date",
    "end": "Reporting Period End Date",
    "credits": "ARB Offset Credits Issued",
    "issued": "Issuance Date",
}
_ISSUANCE: Final = re.compile(r"(?P<project>[A-Z]{4}\d{4}[A-Z0-9]{0,4})-(?P<suffix>\([a-z ]+\)|[A-Z0-9]+)")
_ID: Final = identifier(r".{1,64}")
_LISTED: Final = re.compile(r"(?P<registry>ACR|CAR)(?P<number>[1-9]\d{0,6})")
_WITHOUT_CREDITS: Final = {"(zero)": "reporting period without credits", "(reversal)": "reversal"}


def read(path: Path, registry: str) -> Iterator[Read]:
    """See ``rows.Reader``."""
    if registry not in INSTRUMENTS:
        raise TableFault(f"format arb tells of registries {', '.join(INSTRUMENTS)}, not of {registry}")
    if path.suffix.lower() == ".xlsx":
        table = iter(read_workbook(path.read_bytes(), columns=list(_WORKBOOK.values()), sheet=SHEET))
        columns: Mapping[str, str] = _WORKBOOK
    else:
        needed = [each for name, each in _EXTRACT.items() if name != "listed"]
        table, columns = stream_csv(path, columns=needed), _EXTRACT
    return read_each(table, _rule(columns, registry))


def _rule(columns: Mapping[str, str], registry: str) -> Callable[[Cells], Line]:
    def rule(cells: Cells) -> Line:
        issuance = cells.read(columns["issuance"], _ID)
        match = _ISSUANCE.fullmatch(issuance)
        if match is None:
            raise CellFault(f"{issuance!r} is no issuance id; it looks like CALS5041-A", columns["issuance"])
        if match["suffix"].startswith("("):
            raise NotAnIssuance(_WITHOUT_CREDITS.get(match["suffix"], match["suffix"].strip("()")))
        if not str(cells.values[columns["credits"]] or "").strip():
            raise NotAnIssuance("no credits: reforestation deferral")
        return _line(cells, columns, registry, match)

    return rule


def _line(cells: Cells, columns: Mapping[str, str], registry: str, match: "re.Match[str]") -> Line:
    # Early numbers are of no registry that is known here, and stand in number cells.
    listed = "" if cells.values.get(columns["listed"]) in (None, "") else cells.read(columns["listed"], _ID)
    told = _LISTED.fullmatch(listed)
    of_registry: Identifier | None = (told["registry"].lower(), told["number"]) if told else None
    own: Identifier = ("arb_project", match["project"])
    if registry != "arb" and (of_registry is None or of_registry[0] != registry):
        raise NotAnIssuance(f"listed by another registry than {registry}")
    name = match["project"] if registry == "arb" else listed
    project = Project(
        native_project_id=name,
        country="US",
        activity_type=ACTIVITY_TYPES.get(match["project"][2:4], "other"),
        display_name=name,
        time_zone=str(ZONE),
        identifiers=(own,) if of_registry is None else (own, of_registry),
    )
    first, last = cells.read(columns["start"], day), cells.read(columns["end"], day)
    issued = Issued(
        instrument=INSTRUMENTS[registry],
        period=period_of_days(first, last, ZONE, column=columns["end"]),
        units=cells.read(columns["credits"], whole),
        native_issuance_id=match[0],
        issue_day=cells.read(columns["issued"], day),
    )
    return Line(cells.line, project, issued)
