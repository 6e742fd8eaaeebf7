"""What a list or a registry says of one plant or project, ready to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from soleclaim.identity.names import EMPTY, Name, read_name
from soleclaim.identity.owners import Owner, read_owners
from soleclaim.identity.places import Place, provinces_in, read_place
from soleclaim.identity.regions import narrowest
from soleclaim.identity.strong import Identifier
from soleclaim.identity.technology import PUMPED, technology_of, the_one


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
    """A description taken apart. ``names``: at most two, in the source's words and in the local script.

    ``provinces``, ``regions``: codes of GB/T 2260 at province level, and below.
    """

    id: str
    names: tuple[Name, ...]
    owners: tuple[Owner, ...]
    technology: str
    capacity_mw: float | None
    place: Place
    commissioning_year: int | None
    provinces: frozenset[str]
    regions: frozenset[str]
    country: str
    identifiers: frozenset[Identifier]
    owner_numbers: frozenset[str]


_COUNTRY_NAMES: Final[Mapping[str, str]] = {
    "china": "CN", "chn": "CN", "中国": "CN", "india": "IN", "ind": "IN", "united kingdom": "GB", "gbr": "GB",
    "uk": "GB", "great britain": "GB",
}  # fmt: skip
_CHINESE: Final = ("CN", "")
"""Countries whose records are searched for Chinese regions: also those that name none."""


def read_profile(described: Description) -> Profile:
    """Take a description apart. Never fails: what cannot be read is unknown."""
    names = tuple(name for text in dict.fromkeys((described.name, described.name_local))
                  if (name := read_name(text)) != EMPTY)  # fmt: skip
    country = _country(described.country)
    spoken_of = {kind for name in names for kind in name.technologies}
    technology = technology_of(described.technology) or the_one(spoken_of)
    if technology == "hydro" and PUMPED in spoken_of:
        technology = PUMPED
    capacity = described.capacity_mw
    if capacity is None:
        capacity = next((name.capacity_mw for name in names if name.capacity_mw), None)
    provinces = provinces_in(described.region.lower()).codes if country in _CHINESE else frozenset()
    for name in names:
        provinces |= name.provinces
    regions = {code for name in names if country in _CHINESE for code in name.regions}
    # Chinese characters name one place, as a rule; the sounds of a transcription fit several.
    spoken = frozenset(code[:2] for name in names if name.han for code in name.regions if code in regions)
    if not provinces and len(spoken) == 1:
        provinces = spoken
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
        regions=narrowest({code for code in regions if not provinces or code[:2] in provinces}),
        country=country,
        identifiers=frozenset(described.identifiers),
        owner_numbers=frozenset(described.owner_numbers),
    )  # fmt: skip


def _country(text: str) -> str:
    text = text.strip()
    if len(text) == 2 and text.isalpha():
        return text.upper()
    return _COUNTRY_NAMES.get(text.lower(), text.upper())
