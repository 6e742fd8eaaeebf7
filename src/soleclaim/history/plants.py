"""Lists of projects and plants without issuances, as the Global Power Plant Database has them (CC BY 4.0).

``cdm``: the CDM's projects (``database_CDMDB.csv``), each with its CDM number. ``gppd``: plants of one country by the
World Resources Institute's own research (``China.csv``), without any identifier that another list knows. Owners are not
read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from soleclaim.history.rows import Line, Project, Read, name_of, optional_number, read_each, stream_csv
from soleclaim.natives.cells import CellFault, Cells, TableFault, identifier, optional_text, text

_COUNTRIES: Final = {
    "ALB": "AL", "AGO": "AO", "ARG": "AR", "ARM": "AM", "AZE": "AZ", "BHS": "BS", "BGD": "BD", "BTN": "BT",
    "BOL": "BO", "BIH": "BA", "BRA": "BR", "BFA": "BF", "KHM": "KH", "CPV": "CV", "CHL": "CL", "CHN": "CN",
    "COL": "CO", "CRI": "CR", "CIV": "CI", "CUB": "CU", "CYP": "CY", "DOM": "DO", "ECU": "EC", "EGY": "EG",
    "SLV": "SV", "FJI": "FJ", "GEO": "GE", "GTM": "GT", "GUY": "GY", "HND": "HN", "IND": "IN", "IDN": "ID",
    "IRN": "IR", "ISR": "IL", "JAM": "JM", "JOR": "JO", "KEN": "KE", "LAO": "LA", "LBR": "LR", "LBY": "LY",
    "MKD": "MK", "MDG": "MG", "MYS": "MY", "MLI": "ML", "MUS": "MU", "MEX": "MX", "MNG": "MN", "MNE": "ME",
    "MAR": "MA", "MMR": "MM", "NAM": "NA", "NPL": "NP", "NIC": "NI", "NGA": "NG", "PRK": "KP", "PAK": "PK",
    "PAN": "PA", "PNG": "PG", "PER": "PE", "PHL": "PH", "RWA": "RW", "SAU": "SA", "SEN": "SN", "SRB": "RS",
    "SLE": "SL", "SGP": "SG", "ZAF": "ZA", "KOR": "KR", "LKA": "LK", "SDN": "SD", "TZA": "TZ", "THA": "TH",
    "TUN": "TN", "UGA": "UG", "ARE": "AE", "URY": "UY", "VNM": "VN", "ZMB": "ZM",
}  # fmt: skip
"""ISO 3166-1 alpha-3 to alpha-2 of the countries that host CDM projects."""

_LISTED: Final = {"China": "CN", "Hong Kong, China": "HK"}


def read_cdm(path: Path, registry: str) -> Iterator[Read]:
    """See ``rows.Reader``."""
    if registry != "cdm":
        raise TableFault(f"format cdm tells of registry cdm, not of {registry}")
    columns = ("country", "name", "gppd_idnr", "capacity_mw", "latitude", "longitude", "fuel1")
    return read_each(stream_csv(path, columns=columns), _cdm_line)


def _cdm_line(cells: Cells) -> Line:
    number = cells.read("gppd_idnr", identifier(r"CDMDB0*[1-9]\d{0,5}")).removeprefix("CDMDB").lstrip("0")
    country = cells.read("country", text)
    if country not in _COUNTRIES:
        raise CellFault(f"{country} is no country that hosts CDM projects", "country")
    project = Project(
        native_project_id=number,
        country=_COUNTRIES[country],
        activity_type=_kind(cells, "fuel1"),
        display_name=cells.read("name", name_of),
        time_zone="UTC",
        identifiers=(("cdm", number),),
        capacity_mw=cells.read("capacity_mw", optional_number),
        latitude=cells.read("latitude", optional_number),
        longitude=cells.read("longitude", optional_number),
        described=True,
    )
    return Line(cells.line, project, None)


def read_gppd(path: Path, registry: str) -> Iterator[Read]:
    """See ``rows.Reader``."""
    if registry != "gppd":
        raise TableFault(f"format gppd tells of registry gppd, not of {registry}")
    columns = ("Power Plant ID", "Name", "Fuel", "Capacity (MW)", "Latitude", "Longitude", "Country")
    return read_each(stream_csv(path, columns=columns), _gppd_line)


def _gppd_line(cells: Cells) -> Line:
    country = cells.read("Country", text)
    if country not in _LISTED:
        raise CellFault(f"{country} is none of {', '.join(_LISTED)}, which this list is of", "Country")
    project = Project(
        native_project_id=cells.read("Power Plant ID", identifier(r"\d{1,12}")),
        country=_LISTED[country],
        activity_type=_kind(cells, "Fuel"),
        display_name=cells.read("Name", name_of),
        time_zone="Asia/Shanghai",
        capacity_mw=cells.read("Capacity (MW)", optional_number),
        latitude=cells.read("Latitude", optional_number),
        longitude=cells.read("Longitude", optional_number),
        described=True,
    )
    return Line(cells.line, project, None)


def _kind(cells: Cells, column: str) -> str:
    told = (cells.read(column, optional_text) or "other").lower()
    return "-".join("".join(each if each.isalnum() else " " for each in told).split())[:32]
