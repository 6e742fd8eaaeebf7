"""Anyone's lists of plants as CSV files: reading them, and writing decisions.

What cannot be read as a number or a place is unknown and is told, with its row; it never becomes a zero.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from soleclaim.identity.matching import Decision
from soleclaim.identity.owners import OWNER_SCHEMES, owner_number
from soleclaim.identity.places import LEAST_GLUED
from soleclaim.identity.record import Description
from soleclaim.identity.schemes import fault_of
from soleclaim.identity.strong import Identifier

COLUMNS: Final = (
    "id", "name", "name_local", "owner", "owner_local", "technology", "capacity_mw", "latitude", "longitude",
    "commissioning_year", "region", "country", "identifiers",
)  # fmt: skip
DECISION_COLUMNS: Final = ("left_id", "right_id", "probability", "decision", "reasons")
LABEL_COLUMNS: Final = ("left_id", "right_id", "label")
MAX_ROWS: Final = 5_000_000
MAX_CELL: Final = 1_000_000
"""Characters of a cell."""
MAX_CAPACITY_MW: Final = 100_000.0

_CAPACITY: Final = re.compile(r"(?P<number>\d[\d.,\s]*)\s*(?:(?P<unit>[kmg]?w)(?:\s?(?:p|ac|dc|el?))?)?", re.IGNORECASE)
"""Also ``MWp``, ``kW AC``, ``MWe``; any other unit is no capacity."""
_UNITS: Final = {"w": 0.000_001, "kw": 0.001, "mw": 1.0, "gw": 1000.0}
_REMEDIES: Final = {
    "capacity_mw": "write megawatts, or a number with W, kW, MW or GW",
    "latitude": "write degrees from -90 to 90",
    "longitude": "write degrees from -180 to 180",
    "commissioning_year": "write a year such as 2015",
}
_DEGREES: Final = re.compile(
    r"(?P<before>[NSEW])?\s*(?P<degrees>[+-]?\d+(?:\.\d+)?)\s*[°d:]?\s*"
    r"(?:(?P<minutes>\d+(?:\.\d+)?)\s*['′m:]\s*)?(?:(?P<seconds>\d+(?:\.\d+)?)\s*(?:\"|″|''|s)?\s*)?(?P<after>[NSEW])?",
    re.IGNORECASE,
)
_YEAR: Final = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")


class ListFault(Exception):
    """The file is no list; the message says what to mend."""


@dataclass(slots=True)
class PlantList:
    """A list as read. ``remarks``: what could not be read, with its row."""

    rows: list[Description]
    remarks: list[str] = field(default_factory=list)


def read_list(path: Path, mapping: Mapping[str, str] | None = None) -> PlantList:
    """Read a CSV file (UTF-8 or UTF-16, comma). Raises ``ListFault``.

    ``mapping``: our column -> the file's; empty: the column is left out, as if all its cells were empty.
    """
    given = mapping or {}
    used = {column: name for column in COLUMNS if (name := given.get(column, column))}
    found = PlantList([])
    seen: set[str] = set()
    for number, row in _read_rows(path, [used[each] for each in ("id", *given) if each in used], used.values()):
        cells = dict.fromkeys(COLUMNS, "") | {column: row.get(name, "").strip() for column, name in used.items()}
        if not cells["id"]:
            raise ListFault(f"{path}: row {number} has no id; every row needs one of its own")
        if cells["id"] in seen:
            raise ListFault(f"{path}: row {number}: id {cells['id'][:64]} stands twice; every row needs one of its own")
        seen.add(cells["id"])
        found.rows.append(_describe(cells, number, found.remarks))
    return found


def _read_rows(path: Path, needed: Sequence[str], used: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by heading, with their numbers; ``ListFault`` names the file and the line of what is no CSV."""
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    csv.field_size_limit(MAX_CELL)
    line = 1
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, strict=True)
            headings = next(reader, [])
            _check_headings(path, headings, needed, used)
            line, number = reader.line_num + 1, 1
            for cells in reader:
                if cells:
                    number += 1
                    if number > MAX_ROWS:
                        raise ListFault(f"{path}: more than {MAX_ROWS:,} rows; split the file")
                    if any(cells[len(headings) :]):
                        told = f"{len(cells)} cells under {len(headings)} headings; put cells with commas in quotes"
                        raise ListFault(f"{path}: line {line} has {told}")
                    yield number, dict(zip(headings, cells, strict=False))
                line = reader.line_num + 1
    except UnicodeError as error:
        told = "in a spreadsheet program, save it as CSV UTF-8"
        raise ListFault(f"{path}: not a CSV file in UTF-8 or UTF-16; {told}") from error
    except csv.Error as error:
        raise ListFault(f"{path}: the row that starts in line {line} is not CSV: {error}; mend its quotes") from error


def _check_headings(path: Path, headings: Sequence[str], needed: Sequence[str], used: Iterable[str]) -> None:
    absent = dict.fromkeys(each for each in needed if each not in headings)
    if absent:
        parted = len(headings) == 1 and re.search(r"[;\t|]", headings[0])
        remedy = "; its cells must be parted by commas" if parted else ""
        if not parted and absent.keys() & set(COLUMNS):
            remedy = "; tell which is meant, for example --map id=THEIRS"
        raise ListFault(f"{path}: no column {', '.join(absent)}; the file has {', '.join(headings) or 'none'}{remedy}")
    twice = [each for each in used if headings.count(each) > 1]
    if twice:
        raise ListFault(f"{path}: line 1 has the heading {', '.join(twice)} twice; which one is meant cannot be told")


def _describe(cells: Mapping[str, str], number: int, remarks: list[str]) -> Description:
    def known(column: str, value: float | None) -> float | None:
        if value is None and cells[column]:
            remarks.append(
                f"row {number}: {column} {cells[column][:40]!r} cannot be read; taken as unknown: {_REMEDIES[column]}"
            )
        return value

    def position(column: str, bound: float) -> float | None:
        value = known(column, read_degrees(cells[column]))
        if value is not None and abs(value) > bound:
            remarks.append(
                f"row {number}: {column} {cells[column][:40]!r} lies outside the globe; what was meant is guessed:"
                f" {_REMEDIES[column]}"
            )
        return value

    written = _YEAR.search(cells["commissioning_year"])
    year = int(written[0]) if written else None
    known("commissioning_year", year)
    identifiers, owner_numbers = _identifiers(cells["identifiers"], number, remarks)
    return Description(
        id=cells["id"],
        name=cells["name"],
        name_local=cells["name_local"],
        owner=cells["owner"],
        owner_local=cells["owner_local"],
        technology=cells["technology"],
        capacity_mw=known("capacity_mw", read_capacity(cells["capacity_mw"])),
        latitude=position("latitude", 90.0),
        longitude=position("longitude", 180.0),
        commissioning_year=year,
        region=cells["region"],
        country=cells["country"],
        identifiers=identifiers,
        owner_numbers=owner_numbers,
    )


def _identifiers(text: str, number: int, remarks: list[str]) -> tuple[tuple[Identifier, ...], tuple[str, ...]]:
    """Strong identifiers, and numbers of owners."""
    strong: list[Identifier] = []
    owners: list[str] = []
    for each in filter(None, (part.strip() for part in text.split(";"))):
        scheme, value = (part.strip() for part in each.partition(":")[::2])
        fault = None
        if scheme in OWNER_SCHEMES:
            owner = owner_number(scheme, value)
            if owner is None:
                fault = f"its check characters do not fit scheme {scheme}"
            else:
                owners.append(owner)
        else:
            fault = fault_of(scheme, value)
            if fault is None:
                strong.append((scheme, value))
        if fault:
            remarks.append(f"row {number}: identifier {each[:40]!r} is left out: {fault}")
    return tuple(strong), tuple(owners)


def read_capacity(text: str) -> float | None:
    """Megawatts from ``49.5``, ``49,5``, ``49,500 kW`` or ``1 200 MW``; ``None`` for anything else, zero included.

    A number alone is megawatts; one with a unit that is not known is not read.
    """
    found = _CAPACITY.fullmatch(text.strip())
    if found is None:
        return None
    digits = re.sub(r"\s", "", found["number"]).rstrip(".,")
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif digits.count(",") == 1 and "." not in digits:
        digits = digits.replace(",", ".")
    try:
        value = float(digits) * _UNITS[(found["unit"] or "mw").lower()]
    except ValueError:
        return None
    return value if 0 < value <= MAX_CAPACITY_MW else None


def read_degrees(text: str) -> float | None:
    """Degrees from ``42.82``, ``42.82 N``, ``E124.08`` or ``42°49'12"N``; ``None`` for anything else.

    Also degrees, minutes and seconds in one number, as ``330428.15``: what that was meant to be ``places`` tells.
    """
    found = _DEGREES.fullmatch(text.strip())
    if found is None:
        return None
    minutes, seconds = float(found["minutes"] or 0), float(found["seconds"] or 0)
    size = abs(float(found["degrees"])) + minutes / 60 + seconds / 3600
    if minutes >= 60 or seconds >= 60 or 180 < size < LEAST_GLUED:
        return None
    side = (found["before"] or found["after"] or "").upper()
    return -size if found["degrees"].startswith("-") or side in ("S", "W") else size


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """``left_id, right_id, probability, decision, reasons``; what is not listed is different."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(DECISION_COLUMNS)
        for each in decisions:
            writer.writerow(
                (each.left_id, each.right_id, f"{each.probability:.4f}", each.decision, "; ".join(each.reasons))
            )


def read_labels(path: Path) -> dict[tuple[str, str], str]:
    """``left_id, right_id, label``: same, different or unclear. ``ListFault`` names the first fault."""
    labels: dict[tuple[str, str], str] = {}
    rows: dict[tuple[str, str], int] = {}
    for number, row in _read_rows(path, LABEL_COLUMNS, LABEL_COLUMNS):
        left, right, label = (row.get(column, "").strip() for column in LABEL_COLUMNS)
        if label not in ("same", "different", "unclear"):
            raise ListFault(f"{path}: row {number}: label must be same, different or unclear")
        pair = left, right
        if labels.setdefault(pair, label) != label:
            told = f"{left[:64]} and {right[:64]} are {labels[pair]} in one and {label} in the other; keep one"
            raise ListFault(f"{path}: rows {rows[pair]} and {number}: {told}")
        rows.setdefault(pair, number)
    return labels
