"""Any registry's history as a CSV file in soleclaim's own columns.

A row without ``native_issuance_id`` is a project without issuance. Instants are ISO 8601; a day alone is its midnight
in UTC, and ``period_end`` is exclusive.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.history.rows import Issued, Line, Project, Read, name_of, optional_number, read_each, stream_csv
from soleclaim.identity.schemes import fault_of
from soleclaim.identity.strong import Identifier
from soleclaim.natives.cells import CellFault, Cells, TableFault, optional_day, optional_text, text, whole

REQUIRED: Final = ("native_project_id", "country", "activity_type", "display_name", "time_zone")
OPTIONAL: Final = (
    "identifiers", "name_local", "owner", "capacity_mw", "latitude", "longitude", "commissioning_year", "region",
    "instrument", "period_start", "period_end", "units", "native_issuance_id", "blocks", "issue_day",
)  # fmt: skip
_RANGE: Final = re.compile(r"(?P<series>.+):(?P<start>[0-9]{1,18})-(?P<end>[0-9]{1,18})")
_OF_AN_ISSUANCE: Final = ("period_start", "period_end", "units", "blocks", "issue_day")
_SHORTENED: Final = re.compile(r"\d(\.\d+)?E\+\d+", re.ASCII)
"""How a spreadsheet writes a long row of digits: many of them become one."""
_DESCRIPTIVE: Final = ("name_local", "owner", "capacity_mw", "latitude", "longitude", "commissioning_year", "region")


def read(path: Path, registry: str) -> Iterator[Read]:  # noqa: ARG001  a row says nothing of whose it is
    """See ``rows.Reader``."""
    return read_each(_with_all(stream_csv(path, columns=REQUIRED), path), _line)


def _with_all(table: Iterator[Cells], path: Path) -> Iterator[Cells]:
    empty = dict.fromkeys(OPTIONAL, "")
    for cells in table:
        if unknown := sorted(filter(None, cells.values.keys() - {*REQUIRED, *OPTIONAL})):
            # A heading with a slip of the pen would be a column that is not there, and what stands in it lost.
            known = ", ".join((*REQUIRED, *OPTIONAL))
            raise TableFault(f"{path}: column {', '.join(unknown)} is none of {known}; rename it or take it out")
        yield replace(cells, values={**empty, **cells.values})


def _line(cells: Cells) -> Line:
    def told(column: str) -> str:
        return cells.read(column, optional_text) or ""

    year = told("commissioning_year")
    project = Project(
        native_project_id=cells.read("native_project_id", _id),
        country=cells.read("country", text),
        activity_type=cells.read("activity_type", text),
        display_name=cells.read("display_name", name_of),
        time_zone=cells.read("time_zone", text),
        identifiers=cells.read("identifiers", _identifiers),
        name_local=told("name_local"),
        owner=told("owner"),
        capacity_mw=cells.read("capacity_mw", optional_number),
        latitude=cells.read("latitude", optional_number),
        longitude=cells.read("longitude", optional_number),
        commissioning_year=cells.read("commissioning_year", whole) if year else None,
        region=told("region"),
        described=any(told(column) for column in _DESCRIPTIVE),
    )
    if not told("native_issuance_id"):
        if stated := [column for column in _OF_AN_ISSUANCE if told(column)]:
            raise CellFault(f"is empty, and {', '.join(stated)} tell of an issuance", "native_issuance_id")
        return Line(cells.line, project, None)
    start, end = cells.read("period_start", _instant), cells.read("period_end", _instant)
    if start >= end:
        raise CellFault("must lie after period_start; a period is half-open [start, end)", "period_end")
    issued = Issued(
        instrument=cells.read("instrument", text),
        period=Period(start, end),
        units=cells.read("units", whole),
        native_issuance_id=cells.read("native_issuance_id", _id),
        blocks=cells.read("blocks", _blocks),
        issue_day=cells.read("issue_day", optional_day),
    )
    return Line(cells.line, project, issued)


def _id(value: object) -> str:
    written = text(value)
    if _SHORTENED.fullmatch(written):
        raise CellFault(f"{written!r:.40} became a number and lost digits; format the column as text and save it again")
    return written


def _identifiers(value: object) -> tuple[Identifier, ...]:
    """``scheme:value;scheme:value``."""
    found: list[Identifier] = []
    for each in filter(None, (part.strip() for part in (optional_text(value) or "").split(";"))):
        scheme, _, number = each.partition(":")
        fault = fault_of(scheme, number)
        if fault:
            raise CellFault(f"{each!r:.60}: {fault}")
        found.append((scheme, number))
    return tuple(found)


def _blocks(value: object) -> tuple[UnitBlock, ...]:
    """``series:start-end;series:start-end``, both ends inclusive."""
    found = []
    for each in filter(None, (part.strip() for part in (optional_text(value) or "").split(";"))):
        written = _RANGE.fullmatch(each)
        if written is None:
            raise CellFault(f"{each!r:.60} is no range such as SERIES:1-100")
        try:
            found.append(UnitBlock(written["series"], int(written["start"]), int(written["end"])))
        except ValueError as error:
            raise CellFault(f"{each!r:.60} is no range such as SERIES:1-100: {error}") from None
    return tuple(found)


def _instant(value: object) -> datetime:
    written = text(value)
    try:
        instant = datetime.fromisoformat(written)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CellFault(f"{written!r:.40} is no instant; write it as 2024-03-01T00:00:00Z") from None
