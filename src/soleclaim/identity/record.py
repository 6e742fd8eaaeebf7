"""What a list or a registry says of one plant or project, ready to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from soleclaim.identity.names import EMPTY, Name, read_name
from soleclaim.identity.owners import Owner, read_owners
from soleclaim.identity.places import Place, provinces_in, read_place
from soleclaim.identity.strong import Identifier
from soleclaim.identity.technology import technology_of


@dataclass(frozen=True, slots=True)
class Description:
    """One record as its source writes it; every field may be empty. ``capacity_mw`` in megawatts."""

    id: str
    name: str = ""
    name_local: str = ""
    owner: str = ""
    owner_local: str = ""
    technology: str = ""
    capacity_mw: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    commissioning_year: int | None = None
    region: str = ""
    country: str = ""
    identifiers: tuple[Identifier, ...] = ()
    """Strong ones: they name the plant or project."""
    owner_numbers: tuple[str, ...] = ()
    """As ``owners.owner_number`` gives them."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A description taken apart. ``names``: at most two, in the source's words and in the local script."""

    id: str
    names: tuple[Name, ...]
    owners: tuple[Owner, ...]
    technology: str
    capacity_mw: float | None
    place: Place
    commissioning_year: int | None
    provinces: frozenset[str]
    country: str
    identifiers: frozenset[Identifier]
    owner_numbers: frozenset[str]


_COUNTRY_NAMES: Final[Mapping[str, str]] = {
    "china": "CN", "chn": "CN", "中国": "CN", "india": "IN", "ind": "IN", "united kingdom": "GB", "gbr": "GB",
    "uk": "GB", "great britain": "GB",
}  # fmt: skip


def read_profile(described: Description) -> Profile:
    """Take a description apart. Never fails: what cannot be read is unknown."""
    names = tuple(name for text in dict.fromkeys((described.name, described.name_local))
                  if (name := read_name(text)) != EMPTY)  # fmt: skip
    country = _country(described.country)
    technology = technology_of(described.technology)
    if not technology:
        kinds = {kind for name in names for kind in name.technologies}
        technology = kinds.pop() if len(kinds) == 1 else ""
    capacity = described.capacity_mw
    if capacity is None:
        capacity = next((name.capacity_mw for name in names if name.capacity_mw), None)
    provinces = provinces_in(described.region.lower()).codes if country in ("CN", "") else frozenset()
    for name in names:
        provinces |= name.provinces
    return Profile(
        id=described.id,
        names=names,
        owners=tuple(each for text in dict.fromkeys((described.owner, described.owner_local))
                     for each in read_owners(text)),
        technology=technology,
        capacity_mw=capacity if capacity and capacity > 0 else None,
        place=read_place(described.latitude, described.longitude, country),
        commissioning_year=described.commissioning_year,
        provinces=provinces,
        country=country,
        identifiers=frozenset(described.identifiers),
        owner_numbers=frozenset(described.owner_numbers),
    )  # fmt: skip


def _country(text: str) -> str:
    text = text.strip()
    if len(text) == 2 and text.isalpha():
        return text.upper()
    return _COUNTRY_NAMES.get(text.lower(), text.upper())
