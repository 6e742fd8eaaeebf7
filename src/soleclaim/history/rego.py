"""Certificates of renewable generation (REGO) as Ofgem's public report gives them: CSV without headings, or XML.

One row is a range of certificates of one station and output period, in whose hands it is now; holders are not read.
Serials begin at zero. The period is that of the certificate number itself; ``Output Period`` must agree with it. Days
are read in British time.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

from soleclaim.core.serials import UnitBlock
from soleclaim.history.rows import (
    Issued,
    Line,
    NotAnIssuance,
    Project,
    Read,
    name_of,
    optional_number,
    period_of_days,
    read_each,
    stream_csv,
)
from soleclaim.natives.cells import CellFault, Cells, TableFault, exact, identifier, text, whole

ZONE: Final = ZoneInfo("Europe/London")
INSTRUMENT: Final = "REGO"
HEADINGS: Final = (
    "Accreditation No.", "Generating Station / Agent Group", "Station TIC", "Scheme", "Country", "Technology Group",
    "Generation Type", "Output Period", "No. Of Certificates", "Start Certificate No.", "End Certificate No.",
    "MWh Per Certificate", "Issue Date", "Certificate Status", "Status Date", "Current Holder Organisation Name",
    "Company Registration Number",
)  # fmt: skip
_XML_NAMES: Final[Mapping[str, str]] = {
    "textbox4": "Accreditation No.", "textbox13": "Generating Station / Agent Group", "textbox19": "Station TIC",
    "textbox5": "Scheme", "textbox12": "Country", "textbox15": "Technology Group", "textbox18": "Output Period",
    "textbox21": "No. Of Certificates", "textbox24": "Start Certificate No.", "textbox27": "End Certificate No.",
    "textbox37": "MWh Per Certificate", "textbox30": "Issue Date", "textbox33": "Certificate Status",
}  # fmt: skip
_TYPES: Final = {"wind": "wind", "hydro": "hydro", "photovoltaic": "solar", "solar": "solar", "bio": "biomass"}
_CERTIFICATE: Final = re.compile(
    r"(?P<station>G\d{5}[A-Z]{4})(?P<serial>\d{10})(?P<start>\d{6})(?P<end>\d{6})(?P<kind>[A-Z]{3})"
)
_MONTH: Final = re.compile(r"[A-Z][a-z]{2}-\d{4}")
_DAYS: Final = re.compile(r"(\d{2}/\d{2}/\d{4}) - (\d{2}/\d{2}/\d{4})")
_YEARS: Final = re.compile(r"(\d{4}) - (\d{4})")
_FILLER: Final = "SKIPPED_ROW"
"""Stands in place of a station's name in rows that repeat another."""


def read(path: Path, registry: str) -> Iterator[Read]:
    """See ``rows.Reader``."""
    if registry != "rego":
        raise TableFault(f"format rego tells of registry rego, not of {registry}")
    table = _stream_xml(path) if path.suffix.lower() == ".xml" else stream_csv(path, headings=HEADINGS)
    return read_each(table, _line)


def _stream_xml(path: Path) -> Iterator[Cells]:
    try:
        for number, (_, element) in enumerate(ET.iterparse(path), start=1):  # noqa: S314  as above
            if element.tag.endswith("}Detail") or element.tag == "Detail":
                yield Cells(number, {name: element.get(theirs, "") for theirs, name in _XML_NAMES.items()})
                element.clear()
    except ET.ParseError as error:
        raise TableFault(f"{path}: not a whole XML file: {error}") from None


def _line(cells: Cells) -> Line:
    scheme = cells.read("Scheme", text)
    if scheme != "REGO":
        raise NotAnIssuance(f"scheme {scheme}, not REGO")
    if cells.values["Generating Station / Agent Group"] == _FILLER:
        raise NotAnIssuance("a filler row that repeats another")
    station = cells.read("Accreditation No.", identifier(r"G\d{5}[A-Z]{4}"))
    first, last = _certificate(cells, "Start Certificate No."), _certificate(cells, "End Certificate No.")
    if first[0] != last[0] or not first[0].startswith(station):
        raise CellFault(f"the range runs from {first[0]} to {last[0]} of station {station}", "End Certificate No.")
    if cells.read("MWh Per Certificate", exact) != 1:
        raise CellFault("is not 1; a REGO is one megawatt-hour", "MWh Per Certificate")
    start, end = _days(cells, first[2])
    capacity_kw = cells.read("Station TIC", optional_number)
    technology = cells.read("Technology Group", text).lower()
    project = Project(
        native_project_id=station,
        country="GB",
        activity_type=next((kind for word, kind in _TYPES.items() if word in technology), "other"),
        display_name=cells.read("Generating Station / Agent Group", name_of),
        time_zone=str(ZONE),
        capacity_mw=None if capacity_kw is None else capacity_kw / 1000,
        region=cells.read("Country", name_of),
        described=True,
    )
    issued = Issued(
        instrument=INSTRUMENT,
        period=period_of_days(start, end, ZONE, column="Start Certificate No."),
        units=cells.read("No. Of Certificates", whole),
        native_issuance_id=cells.read("Start Certificate No.", text),
        blocks=(UnitBlock(first[0], first[1], last[1]),) if first[1] <= last[1] else (),
        issue_day=cells.read("Issue Date", _issue_day),
    )
    if not issued.blocks or issued.blocks[0].count != issued.units:
        raise CellFault(
            f"{issued.units} certificates, but serials {first[1]} to {last[1]}; correct the row", "No. Of Certificates"
        )
    return Line(cells.line, project, issued)


def _certificate(cells: Cells, column: str) -> tuple[str, int, "re.Match[str]"]:
    """Series (the number without its running part), running part, and the whole as matched."""
    written = cells.read(column, text)
    match = _CERTIFICATE.fullmatch(written)
    if match is None:
        raise CellFault(f"{written!r:.60} is no certificate number such as G01821BWEN0000000000010323310323GEN", column)
    series = f"{match['station']}-{match['start']}{match['end']}{match['kind']}"
    return series, int(match["serial"]), match


def _days(cells: Cells, number: "re.Match[str]") -> tuple[date, date]:
    """First and last day by the certificate number; ``Output Period`` in any of its three forms must agree."""
    start, end = (_day(number[each], "%d%m%y", "Start Certificate No.") for each in ("start", "end"))
    written = cells.read("Output Period", text)
    if _MONTH.fullmatch(written):
        month = _day(f"1-{written}", "%d-%b-%Y", "Output Period")
        agrees = (start.year, start.month) == (end.year, end.month) == (month.year, month.month)
    elif days := _DAYS.fullmatch(written):
        agrees = (start, end) == tuple(_day(each, "%d/%m/%Y", "Output Period") for each in days.groups())
    elif years := _YEARS.fullmatch(written):
        # The year of an obligation, from April to March.
        agrees = date(int(years[1]), 4, 1) <= start <= end <= date(int(years[2]), 3, 31)
    else:
        raise CellFault(f"{written!r:.40} is none of Apr-2022, 01/03/2023 - 31/03/2023, 2011 - 2012", "Output Period")
    if not agrees:
        raise CellFault(f"{written} does not agree with the certificate number: {start} to {end}", "Output Period")
    return start, end


def _issue_day(value: object) -> date:
    written = text(value)
    return _day(written[:10], "%Y-%m-%d" if "T" in written else "%d/%m/%Y", "")


def _day(written: str, form: str, column: str) -> date:
    try:
        return datetime.strptime(written, form).date()  # noqa: DTZ007  a civil day has no zone
    except ValueError:
        raise CellFault(f"{written!r:.40} is no day", column) from None
