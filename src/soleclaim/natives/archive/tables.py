"""What the tables of an archive look like, as ``registries.toml`` says, and reading them: each row by rule, or not."""

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field

from soleclaim.core.serials import UnitBlock
from soleclaim.natives.cells import (
    CellFault,
    Cells,
    TableFault,
    day,
    exact,
    identifier,
    optional_day,
    optional_text,
    read_csv,
    read_rows,
    read_workbook,
    text,
    whole,
)
from soleclaim.natives.civil import instant_of_day, period_of_days
from soleclaim.natives.registries import Pattern, RegistryRow, pattern
from soleclaim.registry.native import NativeHistory, NativeProject, PlantDescription, UnreadRow

_TABLES: Final = frozenset({".csv", ".tsv", ".xls", ".xlsx", ".xlsm", ".ods"})
"""Endings of files that hold tables: one that is not read may hold what is asked for."""


class IdentifierForm(RegistryRow):
    """See ``cells.identifier``."""

    pattern: Pattern
    width: int = 0

    def rule(self) -> Callable[[object], str]:
        """Reads a cell."""
        return identifier(self.pattern, width=self.width)


class IdentifierColumn(IdentifierForm):
    """An identifier scheme's column; a cell of it may be empty."""

    column: str


class TableForm(RegistryRow):
    """Which files, and how they are written."""

    files: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    form: Literal["csv", "xlsx"]
    encoding: str = "utf-8"
    sheet: str | None = None

    def cells(self, path: Path, columns: list[str]) -> list[Cells]:
        """The rows of one file; ``TableFault`` when it cannot be read as a whole."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise TableFault(f"cannot be read: {error.strerror}") from error
        if self.form == "csv":
            return read_csv(content, encoding=self.encoding, columns=columns)
        return read_workbook(content, columns=columns, sheet=self.sheet)


class ProjectColumns(RegistryRow):
    """Headings; a column that is left out is in none of the files."""

    project: str
    name: str
    type: str
    owner: str | None = None
    region: str | None = None


class ProjectTable(TableForm):
    """``identifiers``: by scheme, see ``identity.schemes``."""

    columns: ProjectColumns
    identifiers: dict[str, IdentifierColumn] = Field(default={})


class IssuanceColumns(RegistryRow):
    """Headings; a column that is left out is in none of the files."""

    issuance: str
    project: str
    first_day: str
    last_day: str
    amount: str
    first_serial: str | None = None
    last_serial: str | None = None
    issue_day: str | None = None


class IssuanceTable(TableForm):
    """``units_per_amount``: units in one of what the table counts by."""

    columns: IssuanceColumns
    units_per_amount: Annotated[Decimal, Field(gt=0)]


class ArchiveRow(RegistryRow):
    """One registry. See ``registries.toml``."""

    name: str
    country: str
    time_zone: str
    project: IdentifierForm
    issuance: IdentifierForm
    serial_pattern: Annotated[str, pattern("series", "number")]
    activity_types: dict[str, str]
    projects: list[ProjectTable]
    issuances: list[IssuanceTable]


class Archive(NamedTuple):
    """What is in a folder, and what of it could not be read: of projects, and of issuances."""

    projects: dict[str, NativeProject]
    history: dict[str, NativeHistory]
    unread_projects: list[UnreadRow]
    unread_history: list[UnreadRow]


def read_archive(folder: Path, row: ArchiveRow) -> Archive:
    """All tables of the folder; a file or a row that cannot be read stops no other."""
    archive = Archive({}, {}, [], [])
    forms = [each.files for each in (*row.projects, *row.issuances)]
    archive.unread_projects.extend(
        UnreadRow(path.name, "", f"is named like none of {', '.join(forms)}; rename it, or take it away")
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _TABLES and not path.name.startswith((".", "~$"))
        if not any(path.match(form) for form in forms)
    )
    for projects in row.projects:
        headings = [*_headings(projects.columns), *(each.column for each in projects.identifiers.values())]
        _read(folder, projects, headings, partial(_project, archive, row, projects), archive.unread_projects)
    for issuances in row.issuances:
        headings = _headings(issuances.columns)
        _read(folder, issuances, headings, partial(_issuance, archive, row, issuances), archive.unread_history)
    return archive


def _headings(columns: RegistryRow) -> list[str]:
    return [heading for heading in columns.model_dump().values() if heading is not None]


def _read(
    folder: Path,
    table: TableForm,
    headings: list[str],
    take: Callable[[str, Cells], None],
    unread: list[UnreadRow],
) -> None:
    """Every row of every file of a table, in the order of names; ``take`` gets the file's name and the row."""
    for path in sorted(folder.glob(table.files)):
        try:
            reading = read_rows(table.cells(path, headings), partial(take, path.name))
        except TableFault as fault:
            unread.append(UnreadRow(path.name, "", str(fault)))
        else:
            unread += [UnreadRow(f"{path.name}, line {each.line}", each.column, each.why) for each in reading.faults]


def _project(archive: Archive, row: ArchiveRow, table: ProjectTable, file: str, cells: Cells) -> None:
    columns = table.columns
    code = cells.read(columns.project, row.project.rule())
    found = NativeProject(
        native_project_id=code,
        name=cells.read(columns.name, text),
        country=row.country,
        activity_type=row.activity_types.get(cells.read(columns.type, text), "other"),
        time_zone=row.time_zone,
        identifiers=tuple(
            (scheme, cells.read(each.column, each.rule()))
            for scheme, each in sorted(table.identifiers.items())
            if cells.values[each.column] not in (None, "")
        ),
        description=PlantDescription(
            owner=(cells.read(columns.owner, optional_text) if columns.owner else None) or "",
            capacity_kw=0,
            region=(cells.read(columns.region, optional_text) if columns.region else None) or "",
        ),
    )
    if archive.projects.setdefault(code, found) != found:
        raise CellFault(f"{code} stands in {file} in another version than before; leave one", columns.project)


def _issuance(archive: Archive, row: ArchiveRow, table: IssuanceTable, file: str, cells: Cells) -> None:
    columns = table.columns
    code = cells.read(columns.issuance, row.issuance.rule())
    project = archive.projects.get(cells.read(columns.project, row.project.rule()))
    if project is None:
        raise CellFault("stands in no table of projects that could be read; add it there", columns.project)
    units = cells.read(columns.amount, lambda value: whole(f"{exact(value) * table.units_per_amount:f}"))
    if not units:
        raise CellFault("is 0; leave the row out", columns.amount)
    zone = ZoneInfo(row.time_zone)
    first, last = (cells.read(column, day) for column in (columns.first_day, columns.last_day))
    if last < first:
        raise CellFault(f"{last} lies before {first}; put them right", columns.last_day)
    issue_day = cells.read(columns.issue_day, optional_day) if columns.issue_day else None
    found = NativeHistory(
        project=project,
        native_issuance_id=code,
        period=period_of_days(first, last, zone),
        units=units,
        blocks=_blocks(row, columns, units, cells),
        issued_on=None if issue_day is None else instant_of_day(issue_day, zone),
        source=f"{file}, line {cells.line}",
    )
    known = archive.history.setdefault(code, found)
    if replace(known, source=found.source) != found:
        raise CellFault(f"{code} says something else than in {known.source}; leave one of them", columns.issuance)


def _blocks(row: ArchiveRow, columns: IssuanceColumns, units: int, cells: Cells) -> tuple[UnitBlock, ...]:
    """The serial range, whose count must be the units; none where both cells are empty or there are no columns."""
    if columns.first_serial is None or columns.last_serial is None:
        return ()
    headings = (columns.first_serial, columns.last_serial)
    if all(cells.values[heading] in (None, "") for heading in headings):
        return ()
    rule = identifier(row.serial_pattern)
    ends = [re.fullmatch(row.serial_pattern, cells.read(heading, rule)) for heading in headings]
    (series, start), (other, end) = ((found["series"], int(found["number"])) for found in ends if found is not None)
    if series != other:
        raise CellFault(f"is of series {other}, the first serial of {series}; split the row", headings[1])
    if end - start + 1 != units:
        raise CellFault(f"the serials are {end - start + 1}, the units {units}; put right what is wrong", headings[1])
    return (UnitBlock(series, start, end),)
