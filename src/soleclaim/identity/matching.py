"""Which records of two lists are one plant: candidates, likeness, probability, decision.

``match`` decides for two lists, ``rank`` for one record against all that is known (``soleclaim.lookup.service``); both
judge a pair by one rule, ``_judge``.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from soleclaim.identity.blocking import Index
from soleclaim.identity.likeness import Likeness, compare
from soleclaim.identity.rarity import weigh
from soleclaim.identity.record import Description, Profile, read_profile
from soleclaim.identity.schemes import SCHEMES
from soleclaim.identity.scoring import (
    REVIEW_FROM,
    SAME_FROM,
    evidence,
    lead,
    needs_person,
    probability,
    reasons,
    tell,
)

K = TypeVar("K")

MAX_REASONS: Final = 5
MAX_REVIEWS: Final = 3
"""How many candidates of one record a person is shown."""
SHARED_IDENTIFIER: Final = 12.0
"""Evidence of a strong identifier on both sides, in nats."""
CONTRADICTED: Final = 3.0
"""Evidence against, in nats, of two values where a scheme gives one: one in twenty is a slip, not another plant."""
TOO_MANY: Final = "too many alike to compare"
"""Reason of a doubt: a candidate that was not compared may be more alike than those that were."""
UNDECIDED: Final = 0.5
"""Probability where nothing is known."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``same``: one plant; ``review``: a person decides. Pairs that are different are not listed.

    ``right_id`` is empty where too many are alike to be compared and none of those that were looks like it.
    """

    left_id: str
    right_id: str
    probability: float
    decision: Literal["same", "review"]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two profiles compared. ``left``, ``right``: places in their lists; ``own``: evidence in nats."""

    left: int
    right: int
    likeness: Likeness
    own: float
    obstacle: str | None
    """Why a person has to decide, however alike the two are."""
    is_identified: bool = False
    """Whether a strong identifier stands on both sides: then it does not matter who else is alike."""


def match(left: Sequence[Description], right: Sequence[Description]) -> list[Decision]:
    """Decide for two lists in each of which a plant stands at most once. In order of the left list, likeliest first."""
    index = Index(read_profile(each) for each in right)
    pairs: list[Pair] = []
    crowded: set[int] = set()
    for place, described in enumerate(left):
        profile = read_profile(described)
        found = index.candidates(profile)
        pairs += (compare_profiles(place, profile, each, index.profiles[each]) for each in found.holders)
        if found.too_many:
            crowded.add(place)
    return decide(pairs, [each.id for each in left], [each.id for each in right], crowded)


def compare_profiles(place: int, profile: Profile, other_place: int, other: Profile) -> Pair:
    """Compare two profiles; shared strong identifiers count most, contradicting ones need a person."""
    likeness = compare(profile, other, weigh)
    own, obstacle = evidence(likeness), needs_person(likeness)
    contradiction = _contradiction(profile, other)
    is_identified = bool(profile.identifiers & other.identifiers)
    if is_identified:
        own, obstacle = (
            own + SHARED_IDENTIFIER,
            None if own > -SHARED_IDENTIFIER / 2 else "identifiers agree, all else not",
        )
    if contradiction:
        own, obstacle = own - CONTRADICTED, contradiction
    return Pair(place, other_place, likeness, own, obstacle, is_identified)


def _contradiction(one: Profile, other: Profile) -> str | None:
    # A country that is written out is known by few of its names: only codes contradict each other.
    if len(one.country) == len(other.country) == 2 and one.country != other.country:
        return "countries differ"
    values = dict(one.identifiers)
    for scheme, value in other.identifiers:
        if SCHEMES[scheme].single and values.get(scheme, value) != value:
            return f"identifiers of scheme {scheme} differ"
    return None


def decide(
    pairs: Sequence[Pair], left_ids: Sequence[str], right_ids: Sequence[str], crowded: Collection[int] = ()
) -> list[Decision]:
    """Probability of each pair among its rivals on both sides, and the decision.

    ``crowded``: records of the left list like which there are too many to compare all: a person decides.
    """
    best_left, best_right = _two_best(pairs, by_left=True), _two_best(pairs, by_left=False)
    found: dict[int, list[Decision]] = {}
    for pair in pairs:
        leads = (
            lead(pair.own, _rival(best_left[pair.left], pair)),
            lead(pair.own, _rival(best_right[pair.right], pair)),
        )
        likely, obstacle, is_clear = _judge(pair, leads, too_many=pair.left in crowded)
        if likely < REVIEW_FROM:
            continue
        decision: Literal["same", "review"] = "same" if is_clear else "review"
        found.setdefault(pair.left, []).append(
            Decision(left_ids[pair.left], right_ids[pair.right], round(likely, 4), decision, _told(obstacle, pair))
        )
    for place in set(crowded) - set(found):
        found[place] = [Decision(left_ids[place], "", UNDECIDED, "review", (TOO_MANY,))]
    decisions = []
    for place in sorted(found):
        ranked = sorted(found[place], key=lambda each: (each.decision != "same", -each.probability))
        decisions += ranked[:1] if ranked[0].decision == "same" else ranked[:MAX_REVIEWS]
    return decisions


@dataclass(frozen=True, slots=True)
class Ranked(Generic[K]):
    """What a record could be. ``same``: beyond doubt; else a person has to tell."""

    key: K
    probability: float
    same: bool
    reasons: tuple[str, ...]


def rank(
    profile: Profile, others: Iterable[tuple[K, Profile]], taken: Container[K] = (), *, too_many: bool = False
) -> list[Ranked[K]]:
    """Decide for one record against things that are known under one or more profiles each; the likeliest first.

    ``taken``: those that hold another record of the same list already. A list seldom holds one plant twice, and often
    its siblings: such a candidate is told only where it would be the same beyond doubt, and then a person has to tell.
    What is not in the answer is another thing.
    ``too_many``: others are as alike and were not compared. Then none is the same beyond doubt, unless an identifier
    tells it, and the likeliest is told in any case, so that a person has something to look at.
    """
    best: dict[K, Pair] = {}
    for key, other in others:
        pair = compare_profiles(0, profile, 0, other)
        if key not in best or pair.own > best[key].own:
            best[key] = pair
    order = sorted(best, key=lambda key: -best[key].own)
    found: list[Ranked[K]] = []
    for key in order:
        pair = best[key]
        rival = next((best[each].own for each in order if each != key), None)
        leads = (lead(pair.own, rival), lead(pair.own, None))
        likely, obstacle, is_clear = _judge(pair, leads, too_many=too_many)
        is_shown = too_many and not found
        if (likely < REVIEW_FROM or (key in taken and not is_clear)) and not is_shown:
            continue
        obstacle = "the list holds it under another id" if key in taken and not too_many else obstacle
        found.append(Ranked(key, round(likely, 4), is_clear and key not in taken, _told(obstacle, pair)))
    return sorted(found, key=lambda each: -each.probability)


class _Judged(NamedTuple):
    probability: float
    obstacle: str | None
    """Why a person has to tell, however likely."""
    is_clear: bool
    """Whether the two are one beyond doubt."""


def _judge(pair: Pair, leads: tuple[float, float], *, too_many: bool) -> _Judged:
    """``leads``: over the rivals on both sides. ``too_many``: others are as alike and were not compared."""
    likely = probability(pair.own, *leads)
    obstacle = TOO_MANY if too_many and not pair.is_identified else pair.obstacle
    return _Judged(likely, obstacle, likely >= SAME_FROM and obstacle is None and min(leads) > 0)


def _told(obstacle: str | None, pair: Pair) -> tuple[str, ...]:
    return (*((obstacle,) if obstacle else ()), *explain(pair))


def explain(pair: Pair) -> tuple[str, ...]:
    """The features that weigh most, in words, each with its weight in nats."""
    return tuple(f"{tell(each)} ({each.weight:+.1f})" for each in reasons(pair.likeness)[:MAX_REASONS] if each.weight)


def _two_best(pairs: Iterable[Pair], *, by_left: bool) -> dict[int, list[Pair]]:
    best: dict[int, list[Pair]] = {}
    for pair in pairs:
        ranked = best.setdefault(pair.left if by_left else pair.right, [])
        ranked.append(pair)
        ranked.sort(key=lambda each: -each.own)
        del ranked[2:]
    return best


def _rival(two: Sequence[Pair], pair: Pair) -> float | None:
    return next((each.own for each in two if each is not pair), None)
