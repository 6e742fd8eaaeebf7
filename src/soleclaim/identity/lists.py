"""Anyone's lists of plants as CSV files: reading them, and writing decisions.

What cannot be read as a number or a place is unknown and is told, with its row; it never becomes a zero.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from soleclaim.identity.matching import Decision
from soleclaim.identity.owners import OWNER_SCHEMES, owner_number
from soleclaim.identity.record import Description
from soleclaim.identity.schemes import fault_of
from soleclaim.identity.strong import Identifier

COLUMNS: Final = (
    "id", "name", "name_local", "owner", "owner_local", "technology", "capacity_mw", "latitude", "longitude",
    "commissioning_year", "region", "country", "identifiers",
)  # fmt: skip
DECISION_COLUMNS: Final = ("left_id", "right_id", "probability", "decision", "reasons")
MAX_ROWS: Final = 5_000_000
MAX_CELL: Final = 1_000_000
"""Characters of a cell."""
MAX_CAPACITY_MW: Final = 100_000.0

_CAPACITY: Final = re.compile(r"(?P<number>\d[\d.,\s]*)\s*(?P<unit>[kKmMgG][wW])?[a-zA-Z]{0,2}")
_UNITS: Final = {"kw": 0.001, "mw": 1.0, "gw": 1000.0}
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
    """Read a CSV file (UTF-8 or UTF-16, comma). ``mapping``: our column -> the file's. Raises ``ListFault``."""
    names = {column: (mapping or {}).get(column, column) for column in COLUMNS}
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    csv.field_size_limit(MAX_CELL)
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.DictReader(file)
            known = reader.fieldnames or []
            missing = [names["id"], *(mapping or {}).values()]
            absent = [each for each in missing if each not in known]
            if absent:
                raise ListFault(f"{path}: no column {', '.join(absent)}; the file has {', '.join(known) or 'none'}")
            return _read_rows(path, reader, names)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ListFault(f"{path}: not a CSV file in UTF-8 or UTF-16: {error}") from error


def _read_rows(path: Path, reader: Iterable[Mapping[str, str | None]], names: Mapping[str, str]) -> PlantList:
    found = PlantList([])
    seen: set[str] = set()
    for number, row in enumerate(reader, start=2):
        if number > MAX_ROWS:
            raise ListFault(f"{path}: more than {MAX_ROWS:,} rows; split the file")
        cells = {column: (row.get(name) or "").strip() for column, name in names.items()}
        if not cells["id"]:
            raise ListFault(f"{path}: row {number} has no id; every row needs one of its own")
        if cells["id"] in seen:
            raise ListFault(f"{path}: row {number}: id {cells['id'][:64]} stands twice; every row needs one of its own")
        seen.add(cells["id"])
        found.rows.append(_describe(cells, number, found.remarks))
    return found


def _describe(cells: Mapping[str, str], number: int, remarks: list[str]) -> Description:
    def known(column: str, value: float | None) -> float | None:
        if value is None and cells[column]:
            remarks.append(f"row {number}: {column} {cells[column][:40]!r} cannot be read; taken as unknown")
        return value

    year = _YEAR.search(cells["commissioning_year"])
    identifiers, owner_numbers = _identifiers(cells["identifiers"], number, remarks)
    return Description(
        id=cells["id"],
        name=cells["name"],
        name_local=cells["name_local"],
        owner=cells["owner"],
        owner_local=cells["owner_local"],
        technology=cells["technology"],
        capacity_mw=known("capacity_mw", read_capacity(cells["capacity_mw"])),
        latitude=known("latitude", read_degrees(cells["latitude"])),
        longitude=known("longitude", read_degrees(cells["longitude"])),
        commissioning_year=int(year[0]) if year else None,
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
    """Megawatts from ``49.5``, ``49,5``, ``49,500 kW`` or ``1 200 MW``; ``None`` for anything else, zero included."""
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
    """Degrees from ``42.82``, ``42.82 N``, ``E124.08`` or ``42°49'12"N``; ``None`` for anything else."""
    found = _DEGREES.fullmatch(text.strip())
    if found is None:
        return None
    value = float(found["degrees"])
    size = abs(value) + float(found["minutes"] or 0) / 60 + float(found["seconds"] or 0) / 3600
    side = (found["before"] or found["after"] or "").upper()
    return -size if value < 0 or side in ("S", "W") else size


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
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        absent = {"left_id", "right_id", "label"} - set(reader.fieldnames or ())
        if absent:
            raise ListFault(f"{path}: no column {', '.join(sorted(absent))}")
        for number, row in enumerate(reader, start=2):
            if row["label"] not in ("same", "different", "unclear"):
                raise ListFault(f"{path}: row {number}: label must be same, different or unclear")
            labels[row["left_id"], row["right_id"]] = row["label"]
    return labels
