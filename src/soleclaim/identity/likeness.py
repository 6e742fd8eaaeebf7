"""How alike two profiles are, feature by feature."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rapidfuzz.distance import LCSseq, Levenshtein

from soleclaim.identity.names import Name, are_opposed, skeleton
from soleclaim.identity.owners import Owner
from soleclaim.identity.places import PROVINCES, distance_km
from soleclaim.identity.record import Profile
from soleclaim.identity.regions import is_prefecture, prefecture_of
from soleclaim.identity.technology import PUMPED

Weigh = Callable[[str], float]
"""How much a word tells, in nats: minus the logarithm of how often it stands in names."""


@dataclass(frozen=True, slots=True)
class NameLikeness:
    """``left``, ``right``: which part of each name's weight the other covers, 0 to 1; ``shared``: weight in common.

    ``heads``: how many of the two heads stand in the other name, 0 to 2. ``apart``: each name has a telling word of its
    own, which the other has not; told of names in one script only, since transcriptions lose words.
    """

    left: float
    right: float
    shared: float
    heads: int
    apart: bool = False


NO_NAME = NameLikeness(0.0, 0.0, 0.0, 0)
UNIQUE_KINDS = frozenset({"hydro", "pumped", "biomass", "methane", "fossil", "nuclear", "geothermal"})
"""Plants that are named after the one river, mine or county they stand in."""
TELLING = 6.5
"""Weight from which a word that is missing tells, in nats."""
SAME_WORD = 0.8
"""Likeness from which two words count as spellings of one."""
MAX_RUN = 6
ROUNDED_RATIO = 0.95
"""What capacities that are the same but for rounding to whole megawatts count as, at least."""
WEIGHT_OF_LETTERS = 2.0
"""What names in common tell that are the same letter by letter but hold none but common words, in nats."""


@lru_cache(maxsize=262_144)
def word_likeness(one: str, other: str) -> float:
    """0 to 1; spellings that transcriptions mix up cost little."""
    if one == other:
        return 1.0
    plain = Levenshtein.normalized_similarity(one, other, score_cutoff=0.6)
    sounds = Levenshtein.normalized_similarity(skeleton(one), skeleton(other), score_cutoff=0.6) - 0.03
    best = max(plain, sounds)
    # A letter is much of a short word: bai and hai are two.
    return best if min(len(one), len(other)) >= 4 or best > 0.95 else 0.0


def _best_run(word: str, parts: Sequence[str]) -> tuple[float, range]:
    """The run of parts, written together, that is most like the word."""
    best, where = 0.0, range(0)
    for start in range(len(parts)):
        text = ""
        for end in range(start, min(len(parts), start + MAX_RUN)):
            text += parts[end]
            if len(text) > len(word) + 3:
                break
            if len(text) + 3 < len(word):
                continue
            likeness = word_likeness(word, text)
            if likeness > best:
                best, where = likeness, range(start, end + 1)
    return (best, where) if best >= SAME_WORD else (0.0, range(0))


def _covered(words: Sequence[str], parts: Sequence[str], weigh: Weigh) -> tuple[float, float, set[int]]:
    """(weight of the words found among the parts, weight of all words, parts that were found)."""
    found, whole = 0.0, 0.0
    used: set[int] = set()
    for word in words:
        weight = weigh(word)
        whole += weight
        likeness, where = _best_run(word, parts)
        found += weight * likeness
        used.update(where)
    return found, whole, used


def compare_names(one: Name, other: Name, weigh: Weigh) -> NameLikeness:
    """Compare two names in whatever script each is."""
    if one.compact and one.compact == other.compact:
        whole = max(WEIGHT_OF_LETTERS, sum(map(weigh, one.words)))
        return NameLikeness(1.0, 1.0, whole, 2)
    if not one.words or not other.words:
        return NO_NAME
    if one.han and other.han:
        return _compare_chinese(one, other)
    if one.han:
        turned = compare_names(other, one, weigh)
        return NameLikeness(turned.right, turned.left, turned.shared, turned.heads)
    found, whole, used = _covered(one.words, other.words, weigh)
    apart = False
    if other.han:
        right = len(used) / len(other.words)
    else:
        back, back_whole, back_used = _covered(other.words, one.words, weigh)
        # Written apart here and together there: the parts of one long word are found from the other side only.
        found = max(found, sum(weigh(one.words[i]) for i in back_used))
        back = max(back, sum(weigh(other.words[i]) for i in used))
        right = back / back_whole if back_whole else 0.0
        apart = whole - found >= TELLING and back_whole - back >= TELLING
    heads = (_best_run(one.head, other.words)[0] > 0) + _head_is_in(other.head, one.words)
    return NameLikeness(found / whole if whole else 0.0, right, found, heads, apart)


def _head_is_in(head: str, words: Sequence[str]) -> bool:
    if not head:
        return False
    return any(word_likeness(head, word) >= SAME_WORD or (len(head) > 4 and head in word) for word in words) or (
        _best_run(head, words)[0] > 0
    )


def _compare_chinese(one: Name, other: Name) -> NameLikeness:
    common = LCSseq.similarity(one.han, other.han)
    # A character tells about as much as half a word.
    return NameLikeness(common / len(one.han), common / len(other.han), 3.0 * common, (one.head == other.head) * 2)


def compare_owners(left: Sequence[Owner], right: Sequence[Owner], weigh: Weigh) -> float | None:
    """The best likeness of one owner on each side, 0 to 1; ``None`` when one side names none."""
    if not left or not right:
        return None
    best = 0.0
    for one in left:
        for other in right:
            if one.han and other.han:
                common = LCSseq.similarity(one.han, other.han)
                best = max(best, common / max(len(one.han), len(other.han)))
                continue
            words, parts = (other.words, one.words) if one.han else (one.words, other.words)
            found, whole, _ = _covered(words, parts, weigh)
            best = max(best, found / whole if whole else 0.0)
    return best


@dataclass(frozen=True, slots=True)
class Likeness:
    """The features of a pair; ``None`` is not known."""

    name: NameLikeness
    same_words: bool
    named: bool
    """Whether both names hold more than a district."""
    designators: str
    """How phases, stages and numbers compare: see ``_designators``."""
    has_part: bool
    """Whether one side names some of the phases or numbers that the other names: I, and I and II."""
    opposed: bool
    """Whether names on both sides contradict each other: upper and lower, north and south (``names.are_opposed``)."""
    capacity_ratio: float | None
    distance_km: float | None
    repaired: bool
    placed: int
    """On how many sides a place is known."""
    province: bool | None
    region: str
    """Whether the names speak of one county of China, one prefecture, others, or it is unknown."""
    technology: bool | None
    one_pumped: bool
    """Whether one is a pumped-storage plant and the other said to be a hydro plant, which may be the same."""
    owner: float | None
    years_apart: int | None
    twins: bool
    """Whether such plants have twins: wind and solar farms in China of one name and one size, 49.5 MW above all."""

    two_kinds: bool
    """Whether the capacities may be of two kinds: a solar farm's is stated as of its modules (DC) or inverters (AC)."""


def compare(left: Profile, right: Profile, weigh: Weigh) -> Likeness:
    """All features of a pair of profiles."""
    name, pair = NO_NAME, None
    for one in left.names:
        for other in right.names:
            likeness = compare_names(one, other, weigh)
            if pair is None or _rank(likeness) > _rank(name):
                name, pair = likeness, (one, other)
    kinds = {left.technology, right.technology}
    one_pumped = kinds == {"hydro", PUMPED}
    twins = left.country == right.country == "CN" and not kinds <= UNIQUE_KINDS
    return Likeness(
        name=name,
        same_words=pair is not None and name.left >= 0.999 and name.right >= 0.999,
        named=pair is not None and pair[0].named and pair[1].named,
        designators=_designators(*(pair or (None, None))),
        has_part=pair is not None and _has_part(*pair),
        opposed=any(are_opposed(one, other) for one in left.names for other in right.names),
        capacity_ratio=_ratio(left.capacity_mw, right.capacity_mw),
        distance_km=distance_km(left.place, right.place),
        repaired=left.place.repaired or right.place.repaired,
        placed=bool(left.place.spots) + bool(right.place.spots),
        twins=twins,
        two_kinds=kinds == {"solar"} and not twins,
        province=_same_province(left, right),
        region=_region(left, right),
        technology=None if not left.technology or not right.technology else one_pumped or len(kinds) == 1,
        one_pumped=one_pumped,
        owner=1.0 if left.owner_numbers & right.owner_numbers else compare_owners(left.owners, right.owners, weigh),
        years_apart=None
        if left.commissioning_year is None or right.commissioning_year is None
        else abs(left.commissioning_year - right.commissioning_year),
    )


def _rank(likeness: NameLikeness) -> float:
    return math.sqrt(likeness.left * likeness.right) + 0.2 * likeness.heads + likeness.shared / 1000


_LATER: Final = frozenset({"extension", "repowering"})
"""What one source calls a phase by its number, another calls by one of these."""


def _phases_of(one: Name, other: Name) -> tuple[frozenset[str], frozenset[str]]:
    """The designators of both. Where one speaks of an extension and the other of a second phase, they mean that."""
    return _as_told(one.designators, other.designators), _as_told(other.designators, one.designators)


def _as_told(ours: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    is_second = "extension" in ours - theirs and "2" in theirs - ours
    return ours - {"extension"} | {"2"} if is_second else ours


def _designators(one: Name | None, other: Name | None) -> str:
    """same, none, first (only one side names any, and it is 1), one (only one side names any), part, other."""
    if one is None or other is None:
        return "none"
    left, right = _phases_of(one, other)
    if left == right:
        return "same" if left else "none"
    if left - _LATER and right - _LATER and not (left < right or right < left):
        return "other"
    if left and right:
        return "part"
    return "first" if left | right == {"1"} else "one"


def _has_part(one: Name, other: Name) -> bool:
    low, high = sorted(_phases_of(one, other), key=len)
    return bool(low) and low < high


def _ratio(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    ratio = min(one, other) / max(one, other)
    # Some lists cut or round to whole megawatts: 1 of 1.5.
    is_cut = (one % 1 == 0) != (other % 1 == 0) and abs(one - other) < 1
    return max(ratio, ROUNDED_RATIO) if is_cut else ratio


def _same_province(left: Profile, right: Profile) -> bool | None:
    if left.provinces and right.provinces:
        return bool(left.provinces & right.provinces)
    for named, placed in ((left, right), (right, left)):
        if named.provinces and placed.place.spots and not placed.place.repaired:
            return any(
                PROVINCES[code].box.holds(spot, margin=0.3) for code in named.provinces for spot in placed.place.spots
            )
    return None


def _region(left: Profile, right: Profile) -> str:
    """county, prefecture, other, or unknown."""
    if not left.regions or not right.regions:
        return "unknown"
    if any(not is_prefecture(code) for code in left.regions & right.regions):
        return "county"
    one, other = ({prefecture_of(code) for code in each.regions} for each in (left, right))
    return "prefecture" if one & other else "other"
