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

SAME_FROM: Final = 0.75
"""Probability from which a pair is the same without a person."""
REVIEW_FROM: Final = 0.05
"""Probability from which a person looks at a pair."""
RIVAL_CAP: Final = 8.0
"""Lead over the next candidate beyond which more does not count, in nats."""
NEAR_KM: Final = 2.0
SPOT_KM: Final = 0.3
FAR_KM: Final = 100.0
NO_RIVAL: Final = -6.0
"""Evidence of the candidate that is not there."""

_STEPS: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {
    "capacity": ((0.985, "equal"), (0.95, "near"), (0.8, "close"), (0.6, "off")),
    "shared": ((16, "4"), (9.5, "3"), (6.5, "2"), (3, "1")),
    "owner": ((0.7, "like"), (0.3, "some")),
}
_DISTANCES: Final = ((0.3, "0"), (2, "1"), (6, "2"), (15, "3"), (40, "4"), (120, "5"))
"""Levels, and kilometres below which they end."""


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


def lead(own: float, best_rival: float | None) -> float:
    """How far a pair stands above the next, in nats."""
    return min(RIVAL_CAP, own - (NO_RIVAL if best_rival is None else max(best_rival, NO_RIVAL)))


def probability(own: float, lead_left: float, lead_right: float) -> float:
    """That the pair is one plant, from its evidence and its leads on both sides."""
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
    if is_near:
        least_ratio = 0.45 if is_on_the_spot and pair.same_words else 0.6
    else:
        # Two places that are not one leave the size to tell; where a place is not known, it may be the other's.
        least_ratio = 0.85 if pair.placed > 1 else 0.75
    obstacles = {
        "phases, stages or numbers differ": pair.designators == "other",
        "only one names a phase": pair.designators == "one" and not (is_near and (pair.capacity_ratio or 0) > 0.9),
        "technologies differ": pair.technology is False,
        "capacities differ too much": pair.capacity_ratio is not None and pair.capacity_ratio < least_ratio,
        "the places are far apart": FAR_KM < distance < math.inf and not pair.same_words,
        "only one place is known, and the register holds twins": pair.placed == 1 and pair.twins,
        "the names have too little in common": pair.name.shared < (3 if is_near else 6),
        "a name tells no more than the district": not pair.named and not is_on_the_spot,
        "each name has a word of its own": pair.name.apart and not is_on_the_spot,
        "neither name's own word stands in the other": pair.name.heads == 0,
    }
    return next((told for told, stands in obstacles.items() if stands), None)
