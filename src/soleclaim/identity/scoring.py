"""From likeness to probability: a sum of weights, one per feature, so that every decision can be explained.

Two steps. ``evidence`` adds up what a pair's own features say, in nats. ``probability`` then weighs how far the pair
stands above its rivals: a record is one plant, so of two candidates that are equally like it, each is half as likely.
The weights come from real labelled pairs (README of this package); they stand in ``data/weights.json``.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

from soleclaim.identity.likeness import Likeness

SAME_FROM: Final = 0.78
"""Probability from which a pair is the same without a person."""
REVIEW_FROM: Final = 0.05
"""Probability from which a person looks at a pair."""
RIVAL_CAP: Final = 8.0
"""Lead over the next candidate beyond which more does not count, in nats."""
NEAR_KM: Final = 2.0
SPOT_KM: Final = 0.3
APART_KM: Final = 15.0
FAR_KM: Final = 100.0
EQUAL: Final = 0.985
"""Ratio of capacities from which they are equal but for rounding."""
LIKE_SIZE: Final = 0.85
LEAST_FIRST: Final = 0.6
"""A first phase that is less than this of the other may be a half of the whole."""
DC_TO_AC: Final = 0.65
"""A solar farm's inverters over its modules: built with up to half as many modules again."""
NO_RIVAL: Final = -6.0
"""Evidence of the candidate that is not there."""
HOPELESS: Final = -5.0
"""Evidence below which a pair is different, whoever its rivals are: in a small register the best of all is far from
good. Rivals are learnt from pairs above it alone."""

_STEPS: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {
    "capacity": ((EQUAL, "equal"), (0.95, "near"), (0.8, "close"), (0.6, "off")),
    "shared": ((16, "4"), (9.5, "3"), (6.5, "2"), (3, "1")),
    "owner": ((0.7, "like"), (0.3, "some")),
}
_DISTANCES: Final = ((0.3, "0"), (2, "1"), (6, "2"), (15, "3"), (40, "4"), (120, "5"))
"""Levels, and kilometres below which they end."""


_NAMES: Final[Mapping[str, str]] = {
    "same": "names of the same words",
    "like": "names mostly alike",
    "other": "names not alike",
    "none": "names without a word in common",
}
_PHASES: Final[Mapping[str, str]] = {
    "none": "no phase or number named",
    "same": "phases and numbers the same",
    "part": "phases or numbers the same in part",
    "first": "only one names a phase, the first",
    "one": "only one names a phase or number",
    "other": "phases or numbers differ",
}
_PLACES: Final[Mapping[str, str]] = {
    "near": "near each other",
    "region": "in one region",
    "far": "far apart",
    "unknown": "distance not known",
}
_TOGETHER: Final = {"name designators": _PHASES, "name where": _PLACES, "capacity where": _PLACES}
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "designators": _PHASES,
    "heads": {
        "0": "neither name's main word stands in the other", "1": "one name's main word stands in the other",
        "2": "each name's main word stands in the other",
    },
    "shared": {
        "0": "hardly a telling word shared", "1": "few telling words shared", "2": "some telling words shared",
        "3": "many telling words shared", "4": "very many telling words shared",
    },
    "capacity": {
        "equal": "capacities equal", "near": "capacities within 5 %", "close": "capacities within 20 %",
        "off": "capacities within 40 %", "far": "capacities very different",
    },
    "province": {"same": "same province", "other": "other province"},
    "region": {"other": "other region"},
    "technology": {"same": "same technology", "other": "other technology"},
    "owner": {"like": "owners alike", "some": "owners alike in part", "unlike": "owners not alike"},
    "years": {"0": "begun within a year", "1": "begun within three years", "2": "begun years apart"},
}  # fmt: skip
"""What ``levels`` gives, for people."""


class Reason(NamedTuple):
    """One feature's part in the evidence: what was seen, and its weight in nats (positive: speaks for the same)."""

    feature: str
    seen: str
    weight: float


def levels(pair: Likeness) -> dict[str, str]:
    """Each feature as one of a few levels, and four pairs of features that mean more together."""
    name = pair.name
    low, high = sorted((name.left, name.right))
    found = {
        "name": "none" if high == 0 else "same" if pair.same_words else f"{_quarter(low)}{_quarter(high)}",
        "heads": str(name.heads),
        "shared": _step("shared", name.shared, "0"),
        "designators": pair.designators,
        "capacity": _step("capacity", pair.capacity_ratio, "far"),
        "distance": _distance(pair),
        "province": _truth(pair.province),
        # One county in both says no more than its words have said already.
        "region": "other" if pair.region == "other" else "unknown",
        "technology": _truth(pair.technology),
        "owner": _step("owner", pair.owner, "unlike"),
        "years": "unknown" if pair.years_apart is None else "0" if pair.years_apart <= 1 else
                 "1" if pair.years_apart <= 3 else "2",
    }  # fmt: skip
    where = _where(pair)
    spelled = "same" if pair.same_words else "like" if low > 0.7 else "other"
    found["name where"] = f"{found['name']} {where}"
    found["capacity where"] = f"{found['capacity']} {where}"
    found["name designators"] = f"{spelled} {pair.designators}"
    return found


def _quarter(share: float) -> int:
    return min(int(share * 4), 3)


def _step(feature: str, value: float | None, lowest: str) -> str:
    if value is None:
        return "unknown"
    return next((level for bound, level in _STEPS[feature] if value >= bound), lowest)


def _distance(pair: Likeness) -> str:
    if pair.distance_km is None:
        return "unknown"
    level = next((level for bound, level in _DISTANCES if pair.distance_km < bound), "6")
    return f"repaired {level}" if pair.repaired else level


def _where(pair: Likeness) -> str:
    distance = pair.distance_km
    if distance is None or pair.repaired:
        return "unknown"
    return "near" if distance < NEAR_KM else "region" if distance < 30 else "far"


def _truth(value: bool | None) -> str:
    return "unknown" if value is None else "same" if value else "other"


@lru_cache(maxsize=1)
def _weights() -> dict[str, Any]:
    text = resources.files("soleclaim.identity").joinpath("data/weights.json").read_text(encoding="utf-8")
    weights: dict[str, Any] = json.loads(text)
    return weights


def evidence(pair: Likeness) -> float:
    """What the pair's own features say, in nats."""
    weights = _weights()
    table = weights["levels"]
    return float(weights["base"] + sum(table[feature].get(level, 0.0) for feature, level in levels(pair).items()))


def reasons(pair: Likeness) -> list[Reason]:
    """The parts of ``evidence`` of which something is known, the weightiest first."""
    table = _weights()["levels"]
    parts = [
        Reason(feature, level, table[feature].get(level, 0.0))
        for feature, level in levels(pair).items()
        if level != "unknown"
    ]
    return sorted(parts, key=lambda part: -abs(part.weight))


def tell(reason: Reason) -> str:
    """What was seen of a feature, in words: for a person who decides."""
    feature, seen = reason.feature, reason.seen
    if feature in _TOGETHER:
        first, _, second = seen.partition(" ")
        spoken = _WORDS["capacity"][first] if feature == "capacity where" else _tell_name(first)
        return f"{spoken}, {_TOGETHER[feature][second]}"
    if feature == "distance":
        level = seen.removeprefix("repaired ")
        bound = next((f"under {km:g} km" for km, end in _DISTANCES if end == level), f"{_DISTANCES[-1][0]} km or more")
        return f"distance {bound}" + (", one position guessed" if level != seen else "")
    return _tell_name(seen) if feature == "name" else _WORDS[feature][seen]


def _tell_name(seen: str) -> str:
    if not seen.isdigit():
        return _NAMES[seen]
    low, high = (f"{25 * int(each)} to {25 * int(each) + 25} %" for each in seen)
    return f"the names share {low} and {high} of what they tell"


def lead(own: float, best_rival: float | None) -> float:
    """How far a pair stands above the next, in nats."""
    return min(RIVAL_CAP, own - (NO_RIVAL if best_rival is None else max(best_rival, NO_RIVAL)))


def probability(own: float, lead_left: float, lead_right: float) -> float:
    """That the pair is one plant, from its evidence and its leads on both sides."""
    if own < HOPELESS:
        return 0.0
    weights = _weights()["rivals"]
    least = min(lead_left, lead_right)
    total = (
        weights["base"] + weights["own"] * own + weights["left"] * lead_left + weights["right"] * lead_right
        + weights["least"] * least + weights["ahead"] * max(least, 0.0) + weights["behind"] * min(least, 0.0)
    )  # fmt: skip
    return 1 / (1 + math.exp(-max(-40.0, min(40.0, total))))


def needs_person(pair: Likeness) -> str | None:
    """Why the pair may not be joined without a person, however alike; ``None`` when it may."""
    distance = math.inf if pair.distance_km is None or pair.repaired else pair.distance_km
    is_near, is_on_the_spot = distance < NEAR_KM, distance < SPOT_KM
    has_sizes, ratio = pair.capacity_ratio is not None, pair.capacity_ratio or 0.0
    least_shared = 2 if is_on_the_spot and pair.same_words else 3 if is_near else 6
    # A county has one landfill or one biomass plant of a size, as a rule, and many wind farms.
    is_one_of_a_county = pair.region == "county" and not pair.twins and pair.technology is True and ratio >= EQUAL
    obstacles = {
        "phases, stages or numbers differ": pair.designators == "other",
        "the names say opposites, such as upper and lower": pair.opposed,
        "only one names a phase": pair.designators == "one" and not (is_near and ratio > 0.9),
        "one names more phases or numbers, and no sizes can be compared": not has_sizes
        and pair.designators in ("first", "part"),
        "one names more phases or numbers, and the sizes differ": has_sizes
        and ratio < (LIKE_SIZE if pair.has_part else LEAST_FIRST if pair.designators == "first" else 0.0),
        "technologies differ": pair.technology is False,
        "only one is said to be a pumped-storage plant": pair.one_pumped and not ratio > 0.9,
        "capacities differ too much": has_sizes and ratio < _least_ratio(pair, distance),
        "neither the kind of plant nor its size can be compared": not has_sizes and pair.technology is None,
        "the places are apart, and no sizes can be compared": not has_sizes
        and (APART_KM if pair.same_words else NEAR_KM) < distance < math.inf,
        "the places are far apart": FAR_KM < distance < math.inf and not pair.same_words,
        "only one place is known, and the register holds twins": pair.placed == 1 and pair.twins,
        "the names have too little in common": pair.name.shared < least_shared,
        "a name tells no more than the district": not (pair.named or is_on_the_spot or is_one_of_a_county),
        "each name has a word of its own": pair.name.apart and not is_on_the_spot,
        "neither name's own word stands in the other": pair.name.heads == 0
        and not (is_on_the_spot and ratio >= LIKE_SIZE),
    }
    return next((told for told, stands in obstacles.items() if stands), None)


def _least_ratio(pair: Likeness, distance: float) -> float:
    """The ratio of capacities below which a person has to tell."""
    if distance < NEAR_KM:
        least = 0.45 if distance < SPOT_KM and pair.same_words else 0.6
    else:
        # Two places that are not one leave the size to tell; where a place is not known, it may be the other's.
        least = LIKE_SIZE if pair.placed > 1 else 0.75
    # A solar farm elsewhere and of another name may be another farm, of another size.
    is_another = not pair.same_words and NEAR_KM <= distance < math.inf
    return min(least, DC_TO_AC) if pair.two_kinds and not is_another else least
