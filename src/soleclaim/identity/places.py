"""Places: China's provinces (GB/T 2260), coordinates and the faults real records have in them."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

EARTH_RADIUS_KM: Final = 6371.0
LEAST_GLUED: Final = 10_000
"""Degrees, minutes and seconds in one number are no less."""


class Box(NamedTuple):
    """Bounds in degrees."""

    south: float
    north: float
    west: float
    east: float

    def holds(self, spot: "Spot", margin: float = 0.0) -> bool:
        """Whether a spot lies inside, with a margin in degrees."""
        return (
            self.south - margin <= spot.latitude <= self.north + margin
            and self.west - margin <= spot.longitude <= self.east + margin
        )


class Spot(NamedTuple):
    """Degrees north and east."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Province:
    """One row of GB/T 2260 at province level. ``box``: roughly, for telling wrong coordinates."""

    code: str
    zh: str
    en: str
    spellings: tuple[str, ...]
    box: Box


def _read() -> Iterator[Province]:
    text = resources.files("soleclaim.identity").joinpath("data/provinces.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        spellings = [row["en"], *filter(None, row["other"].split(";"))]
        box = Box(*(float(row[side]) for side in ("south", "north", "west", "east")))
        yield Province(row["code"], row["zh"], row["en"], tuple(each.lower() for each in spellings), box)


PROVINCES: Final = {each.code: each for each in _read()}
_OF_SPELLING: Final = {spelling: each.code for each in PROVINCES.values() for spelling in (each.zh, *each.spellings)}
_ANY: Final = re.compile(
    "|".join(
        rf"\b{re.escape(spelling)}\b" if spelling.isascii() else re.escape(spelling)
        for spelling in sorted(_OF_SPELLING, key=len, reverse=True)
    )
)

CHINA: Final = Box(17.0, 54.0, 73.0, 136.0)
_COUNTRIES: Final = {"CN": CHINA, "IN": Box(6.0, 36.0, 68.0, 98.0), "GB": Box(49.0, 61.5, -9.0, 2.5)}
"""Bounds of countries whose records are checked for wrong coordinates."""


class Provinces(NamedTuple):
    """Codes, and as which text they stood there."""

    codes: frozenset[str]
    spellings: frozenset[str]


@lru_cache(maxsize=8192)
def provinces_in(text: str) -> Provinces:
    """Provinces named in a text: Chinese, or English in lower case."""
    found = _ANY.findall(text)
    words = {word for each in found for word in each.split()}
    return Provinces(frozenset(_OF_SPELLING[each] for each in found), frozenset(found) | words)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record says it is. ``spots``: the position, or hypotheses of what a wrong one was meant to be."""

    spots: tuple[Spot, ...]
    repaired: bool
    """Whether the position as written cannot be right, so that ``spots`` are guesses."""


NOWHERE: Final = Place((), repaired=False)


def read_place(latitude: float | None, longitude: float | None, country: str) -> Place:
    """The position of a record; one outside its country is taken as a writing fault, and guessed at (never silently).

    Faults seen in real records: swapped, degrees-minutes-seconds glued together, the sign lost, a digit lost.
    """
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return NOWHERE
    bounds = _COUNTRIES.get(country, Box(-90.0, 90.0, -180.0, 180.0))
    written = Spot(latitude, longitude)
    if bounds.holds(written):
        return Place((written,), repaired=False)
    guesses = [
        Spot(longitude, latitude),
        Spot(_from_glued(latitude), _from_glued(longitude)),
        Spot(abs(latitude), abs(longitude)),
        Spot(-latitude, longitude),
        Spot(latitude, -longitude),
    ]
    fitting = tuple(dict.fromkeys(each for each in guesses if country in _COUNTRIES and bounds.holds(each)))
    return Place(fitting, repaired=True)


def _from_glued(value: float) -> float:
    """``330428.15`` as 33 degrees 4 minutes 28.15 seconds."""
    whole = abs(value)
    degrees, minutes, seconds = whole // 10_000, whole % 10_000 // 100, whole % 100
    if whole < LEAST_GLUED or minutes >= 60 or seconds >= 60:
        return math.inf
    return math.copysign(degrees + minutes / 60 + seconds / 3600, value)


def distance_km(one: Place, other: Place) -> float | None:
    """The shortest distance between the spots of two places; ``None`` when one has none."""
    distances = [_great_circle_km(left, right) for left in one.spots for right in other.spots]
    return min(distances, default=None)


def _great_circle_km(one: Spot, other: Spot) -> float:
    lat_one, lat_other = math.radians(one.latitude), math.radians(other.latitude)
    d_lat, d_lon = lat_other - lat_one, math.radians(other.longitude - one.longitude)
    chord = math.sin(d_lat / 2) ** 2 + math.cos(lat_one) * math.cos(lat_other) * math.sin(d_lon / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))
