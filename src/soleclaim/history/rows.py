"""Rows of a registry's history as every reader gives them, and the reading of tables row by row.

A reader gives, for each row of its file in order, a ``Line``, a ``Skipped`` with the reason, or a ``RowFault`` with the
line, the column and the remedy; one bad row stops no other. A file that cannot be read at all is a ``TableFault``.
"""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.identity.strong import Identifier
from soleclaim.natives import civil
from soleclaim.natives.cells import MAX_CELL, CellFault, Cells, RowFault, TableFault, exact, misfit_of

MAX_NAME: Final = 256
"""Characters of a project's name in the API."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its registry tells it; what is unknown is empty. ``capacity_mw`` in megawatts."""

    native_project_id: str
    country: str
    activity_type: str
    display_name: str
    time_zone: str
    identifiers: tuple[Identifier, ...] = ()
    name_local: str = ""
    owner: str = ""
    capacity_mw: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    commissioning_year: int | None = None
    region: str = ""
    described: bool = False
    """Whether more is known of it than its identifiers, so that likeness may find it."""


@dataclass(frozen=True, slots=True)
class Issued:
    """One issuance. ``blocks`` are empty where the file has no serials."""

    instrument: str
    period: Period
    units: int
    native_issuance_id: str
    blocks: tuple[UnitBlock, ...] = ()
    issue_day: date | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row that was read. ``number``: as a person counts lines in the file."""

    number: int
    project: Project
    issued: Issued | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that tells of no issuance of this registry."""

    number: int
    reason: str


Read = Line | Skipped | RowFault


class Reader(Protocol):
    """Reads one kind of file."""

    def __call__(self, path: Path, registry: str) -> Iterator[Read]:
        """Every row in order. Raises ``TableFault``."""


class NotAnIssuance(Exception):
    """Raised by the rule of a row to skip it; the message is the reason."""


def read_each(table: Iterable[Cells], rule: Callable[[Cells], Line]) -> Iterator[Read]:
    """``rule`` for each row."""
    for cells in table:
        try:
            yield rule(cells)
        except NotAnIssuance as reason:
            yield Skipped(cells.line, str(reason))
        except CellFault as fault:
            yield cells.unread(fault)


def stream_csv(
    path: Path, *, columns: Sequence[str] = (), headings: Sequence[str] | None = None, encoding: str = "utf-8-sig"
) -> Iterator[Cells]:
    """Rows of a CSV file, one in memory at a time.

    ``headings``: of a file that has none in its first line. ``columns``: must be there.
    """
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, strict=True)
            names = list(headings) if headings is not None else [cell.strip() for cell in next(reader, [])]
            missing = [each for each in columns if each not in names]
            if missing:
                told = f"it has {', '.join(names) or 'none'}; is it a file of this format?"
                raise TableFault(f"{path}: no column {', '.join(missing)}; {told}")
            if twice := sorted({each for each in names if each and names.count(each) > 1}):
                raise TableFault(f"{path}: column {', '.join(twice)} is there twice; leave one")
            for line in reader:
                if any(line):
                    padded = [*line, *[""] * (len(names) - len(line))]
                    misfit = misfit_of(line, names) or _swallowing(line)
                    yield Cells(reader.line_num, dict(zip(names, padded, strict=False)), misfit)
    except UnicodeDecodeError:
        told = f"not a CSV file in {encoding.removesuffix('-sig').upper()}; in a spreadsheet program, save it as that"
        raise TableFault(f"{path}: after line {reader.line_num}: {told}") from None
    except csv.Error as error:
        told = f"after line {reader.line_num}: not a CSV file: {error}"
        raise TableFault(f"{path}: {told}") from None


def _swallowing(line: Sequence[str]) -> str:
    """Why a line is no row: a cell with a line break and as many commas behind it as to be rows of its own."""
    return (
        "a cell holds line breaks and commas: a quote was opened in one row and closed in another; put it right"
        if any("\n" in cell and cell.count(",") >= len(line) - 1 for cell in line)
        else ""
    )


def period_of_days(first: date, last: date, zone: ZoneInfo, *, column: str) -> Period:
    """From the midnight of the first day to the midnight after the last, in the registry's civil time.

    ``column``: is named where the last comes before the first.
    """
    if last < first:
        raise CellFault(f"it ends on {last}, before it starts on {first}; correct it at its source", column)
    return civil.period_of_days(first, last, zone)


def optional_number(value: object) -> float | None:
    """A number; an empty cell is ``None``."""
    if value in (None, ""):
        return None
    number = float(exact(value))
    if not math.isfinite(number):
        raise CellFault("is too large a number; correct it")
    return number


def name_of(value: object) -> str:
    """A name of at most 256 characters: white space is made plain, and what no name has falls away."""
    found = " ".join("".join(each if each.isprintable() else " " for each in str(value or "")[:MAX_CELL]).split())
    if not found:
        raise CellFault("is empty")
    return found[:MAX_NAME].strip()
