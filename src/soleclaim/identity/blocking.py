"""Finding candidates without comparing all: a record looks up others by keys that it shares with what could be it."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from soleclaim.identity.names import Name, skeleton
from soleclaim.identity.places import Spot
from soleclaim.identity.rarity import weigh
from soleclaim.identity.record import Profile

CELL_DEGREES: Final = 0.25
"""Side of a cell of the map, some 25 km."""
SIZE_STEP: Final = math.log(1.25)
"""Sizes of one step, and of the steps beside it, are filed so that they find each other."""
MAX_RUN: Final = 4
MIN_KEY: Final = 4
PREFIX: Final = 5
COMMON_WEIGHT: Final = 4.6
"""Words that stand in more than one name of a hundred find too many: they get no key."""
MAX_HOLDERS: Final = 400
"""A key that more records share than this finds too many; narrower ones are looked up in its stead."""
MAX_CANDIDATES: Final = 60
"""How many candidates of one record are compared: those that share the most keys, and all that share as much."""
_UNKNOWN: Final = "-"
FILING: Final = 2
"""Number of the rules that give a record its keys, which a store keeps beside them: raise it with every change of these
rules, of taking names apart or of their data, and ``soleclaim migrate`` files what is stored again."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A key to look up. ``narrower``: by size and by place, keys of what shares this one and that too.

    ``tells``: whether what is the same is sure to share it, so that none of its holders may be passed over in silence.
    """

    key: str
    narrower: tuple[frozenset[str], ...] = ()
    tells: bool = False


def keys_to_file(profile: Profile) -> set[str]:
    """Keys under which a record is filed."""
    sizes, cells = [_size(profile.capacity_mw, 0)], [_cell(spot, 0, 0) for spot in profile.place.spots]
    names = {_joined(name) for name in profile.names}
    return {
        *_identity_keys(profile),
        *cells,
        *_within(names, sizes),
        *_within(names, cells or [_UNKNOWN]),
        *_within(cells, sizes),
    }


def keys_to_look_up(profile: Profile) -> list[Sought]:
    """Keys under which a record looks for others: as ``keys_to_file``, and the cells and sizes around its own."""
    around = (-1, 0, 1)
    cells = {_cell(spot, north, east) for spot in profile.place.spots for north in around for east in around}
    sizes = {_size(profile.capacity_mw, step) for step in around if profile.capacity_mw} | {_UNKNOWN}
    names = {_joined(name) for name in profile.names}
    by_size = [sizes] if profile.capacity_mw else []
    by_place = [cells | {_UNKNOWN}] if cells else []
    return [
        *(Sought(key) for key in sorted({*_identity_keys(profile)} - names)),
        *(
            Sought(name, tuple(_within([name], each) for each in by_size + by_place), tells=True)
            for name in sorted(names)
        ),
        *(Sought(cell, tuple(_within([cell], each) for each in by_size), tells=not names) for cell in sorted(cells)),
    ]


def _within(keys: Iterable[str], parts: Iterable[str]) -> frozenset[str]:
    parts = tuple(parts)
    return frozenset(f"{key}/{part}" for key in keys for part in parts)


def _identity_keys(profile: Profile) -> Iterator[str]:
    for scheme, value in profile.identifiers:
        yield f"i:{scheme}:{value}"
    for name in profile.names:
        # Also names of short or common words alone find those that are spelled alike.
        if name.compact:
            yield f"c:{skeleton(name.compact)}"
        yield _joined(name)
        for word in _words(name):
            if len(word) >= MIN_KEY and weigh(word) >= COMMON_WEIGHT:
                sounds = skeleton(word)
                yield f"w:{sounds}"
                if len(sounds) > PREFIX + 1:
                    yield f"p:{sounds[:PREFIX]}"


def _joined(name: Name) -> str:
    """The whole name but what tells its parts and kind; of a name that has nothing else, all of it."""
    return f"c:{skeleton(''.join(name.words) or name.compact)}"


def _words(name: Name) -> Iterator[str]:
    """Words, and neighbours written together: sources differ in where they put spaces."""
    longest = MAX_RUN if name.han else 2
    for start in range(len(name.words)):
        for end in range(start + 1, min(len(name.words), start + longest) + 1):
            yield "".join(name.words[start:end])


def _cell(spot: Spot, north: int, east: int) -> str:
    return f"g:{math.floor(spot.latitude / CELL_DEGREES) + north}:{math.floor(spot.longitude / CELL_DEGREES) + east}"


def _size(capacity_mw: float | None, step: int) -> str:
    return str(math.floor(math.log(capacity_mw) / SIZE_STEP) + step) if capacity_mw else _UNKNOWN


@dataclass(frozen=True, slots=True)
class Plan:
    """Which keys are read. ``sampled``: those of which too many remain, however narrowed: a few are read."""

    read: tuple[str, ...]
    sampled: tuple[str, ...]


def plan(sought: Iterable[Sought], crowded: Container[str]) -> Plan:
    """What to read where more than ``MAX_HOLDERS`` share each of the ``crowded`` keys."""
    read: list[str] = []
    sampled: list[str] = []
    for each in sought:
        if each.key not in crowded:
            read.append(each.key)
            continue
        read += [key for way in each.narrower for key in sorted(way) if key not in crowded]
        # One way is enough: what is the same has the same size, or one that is not known; and so with places.
        if each.tells and not any(all(key not in crowded for key in way) for way in each.narrower):
            sampled.append(each.key)
    return Plan(tuple(read), tuple(sampled))


H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Found(Generic[H]):
    """Candidates of a record, the best first. ``too_many``: others are as alike as these and were not compared."""

    holders: list[H]
    too_many: bool = False


def best_holders(holders_of: Iterable[Sequence[H]], sampled: Iterable[Sequence[H]] = ()) -> Found[H]:
    """Of the holders of each key read, those that share the most keys, rarer ones counting more."""
    score: defaultdict[H, float] = defaultdict(float)
    for holders in holders_of:
        for holder in holders:
            score[holder] += 1.0 / (1 + len(holders)) + 0.1
    samples = list(sampled)
    order = sorted(score, key=score.__getitem__, reverse=True)
    tied = sum(math.isclose(score[each], score[order[0]]) for each in order)
    best = [*order[: max(MAX_CANDIDATES, min(tied, MAX_HOLDERS))], *(each for one in samples for each in one)]
    return Found(list(dict.fromkeys(best)), too_many=tied > MAX_HOLDERS or bool(samples))


def key_number(key: str) -> int:
    """63 bits that stand for a key in a store. Two keys of one number cost a comparison more, nothing else."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


class Index:
    """Records by key, in memory."""

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        self._crowded: set[str] = set()
        self.profiles: list[Profile] = []
        for profile in profiles:
            self.add(profile)

    def add(self, profile: Profile) -> None:
        """File one more; its place is the next number."""
        for key in keys_to_file(profile):
            self._holders[key].append(len(self.profiles))
            if len(self._holders[key]) > MAX_HOLDERS:
                self._crowded.add(key)
        self.profiles.append(profile)

    def candidates(self, profile: Profile) -> Found[int]:
        """Places of the records that could be the same."""
        sought = keys_to_look_up(profile)
        chosen = plan(sought, self._crowded)
        return best_holders(
            [self._holders.get(key, []) for key in chosen.read],
            [self._holders[key][:MAX_CANDIDATES] for key in chosen.sampled],
        )
