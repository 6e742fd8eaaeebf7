"""Finding candidates without comparing all: a record looks up others by keys that it shares with what could be it."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from soleclaim.identity.names import Name, skeleton
from soleclaim.identity.places import Spot
from soleclaim.identity.rarity import weigh
from soleclaim.identity.record import Profile

CELL_DEGREES: Final = 0.25
"""Side of a cell of the map, some 25 km."""
MAX_RUN: Final = 4
MIN_KEY: Final = 4
PREFIX: Final = 5
COMMON_WEIGHT: Final = 4.6
"""Words that stand in more than one name of a hundred find too many: they get no key."""
MAX_HOLDERS: Final = 400
"""A key that more records share than this finds too many; it is passed over."""
MAX_CANDIDATES: Final = 60
"""How many candidates of one record are compared: those that share the most keys."""


def keys_to_file(profile: Profile) -> set[str]:
    """Keys under which a record is filed."""
    return {*_identity_keys(profile), *(_cell(spot, 0, 0) for spot in profile.place.spots)}


def keys_to_look_up(profile: Profile) -> set[str]:
    """Keys under which a record looks for others: as ``keys_to_file``, and the cells around its own."""
    around = (-1, 0, 1)
    cells = {_cell(spot, north, east) for spot in profile.place.spots for north in around for east in around}
    return {*_identity_keys(profile), *cells}


def _identity_keys(profile: Profile) -> Iterator[str]:
    for scheme, value in profile.identifiers:
        yield f"i:{scheme}:{value}"
    for name in profile.names:
        # Also names of short or common words alone find those that are spelled alike.
        for spelled in (name.compact, "".join(name.words)):
            if spelled:
                yield f"c:{skeleton(spelled)}"
        for word in _words(name):
            if len(word) >= MIN_KEY and weigh(word) >= COMMON_WEIGHT:
                sounds = skeleton(word)
                yield f"w:{sounds}"
                if len(sounds) > PREFIX + 1:
                    yield f"p:{sounds[:PREFIX]}"


def _words(name: Name) -> Iterator[str]:
    """Words, and neighbours written together: sources differ in where they put spaces."""
    longest = MAX_RUN if name.han else 2
    for start in range(len(name.words)):
        for end in range(start + 1, min(len(name.words), start + longest) + 1):
            yield "".join(name.words[start:end])


def _cell(spot: Spot, north: int, east: int) -> str:
    return f"g:{math.floor(spot.latitude / CELL_DEGREES) + north}:{math.floor(spot.longitude / CELL_DEGREES) + east}"


H = TypeVar("H")


def best_holders(holders_of: Iterable[Sequence[H]]) -> list[H]:
    """Of the holders of each key looked up, those that share the most keys, rarer ones counting more."""
    score: defaultdict[H, float] = defaultdict(float)
    for holders in holders_of:
        if len(holders) <= MAX_HOLDERS:
            for holder in holders:
                score[holder] += 1.0 / (1 + len(holders)) + 0.1
    return sorted(score, key=score.__getitem__, reverse=True)[:MAX_CANDIDATES]


def key_number(key: str) -> int:
    """63 bits that stand for a key in a store. Two keys of one number cost a comparison more, nothing else."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


class Index:
    """Records by key, in memory."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        self.profiles: list[Profile] = []
        for profile in profiles:
            self.add(profile)

    def add(self, profile: Profile) -> None:
        """File one more; its place is the next number."""
        for key in keys_to_file(profile):
            self._holders[key].append(len(self.profiles))
        self.profiles.append(profile)

    def candidates(self, profile: Profile) -> list[int]:
        """Places of the records that could be the same, at most ``MAX_CANDIDATES``."""
        return best_holders([self._holders.get(key, []) for key in keys_to_look_up(profile)])
