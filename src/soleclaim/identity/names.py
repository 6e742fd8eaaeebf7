"""Names of plants and projects, taken apart: what tells them from each other, and what does not.

Latin names become words; Chinese names become the pinyin of their characters, since a title in English nearly always
spells the same sounds. Phases, stages, letters and numbers stand apart: names that differ in these only are siblings.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from soleclaim.identity.places import provinces_in
from soleclaim.identity.regions import is_named, regions_in
from soleclaim.identity.script import HAN, simplified, syllables, visible

MAX_NAME_LENGTH: Final = 512
"""Characters of a name that are looked at."""

_WORDS: Final[dict[str, Any]] = tomllib.loads(
    resources.files("soleclaim.identity").joinpath("data/words.toml").read_text(encoding="utf-8")
)
TECHNOLOGY_OF: Final = {word: kind for kind, words in _WORDS["technology"].items() for word in words}
TECHNOLOGY_OF_ZH: Final = {word: kind for kind, words in _WORDS["technology_zh"].items() for word in words}
_GENERIC: Final = frozenset(_WORDS["generic"]["en"])
_FORMS: Final = frozenset(_WORDS["generic"]["form"])
_PLACE_WORDS: Final = frozenset(_WORDS["generic"]["place"])
_STATES: Final = frozenset(_WORDS["generic"]["place_of_india"])
_EXONYMS: Final[dict[str, str]] = _WORDS["exonyms"]
_SIDES: Final = {
    word: (axis, str(side))
    for axis, sides in _WORDS["opposites"].items()
    for side, words in enumerate(sides)
    for word in words
}
_REGISTER_TEXT: Final = re.compile("|".join(_WORDS["register_text"]["patterns"]), re.IGNORECASE)


def _longest_first(words: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True)))


_ZH_TECHNOLOGY: Final = _longest_first(list(TECHNOLOGY_OF_ZH))
_ZH_GENERIC: Final = _longest_first(_WORDS["generic"]["zh"])
_ZH_PLACE: Final = re.compile(
    _longest_first(_WORDS["generic"]["zh_place"]).pattern + "|(?<=[^省市县区镇乡旗盟州]{2})[州县]"
)
"""恩施州 is 恩施 and 大丰县 大丰; 德州, 池州市 and 易县 keep theirs."""

_CAPACITY: Final = re.compile(
    r"(?:(?P<count>\d{1,3})\s*[*×xX]\s*)?(?P<value>\d+(?:[.,]\d+)?)\s*(?P<unit>[kMG]W|千瓦|万千瓦|兆瓦)(?:p|e|el|th)?(?![a-zA-Z])",
    re.IGNORECASE,
)
_UNITS: Final = {"kw": 0.001, "mw": 1.0, "gw": 1000.0, "千瓦": 0.001, "兆瓦": 1.0, "万千瓦": 10.0}

_ORDINALS: Final = {
    word: number
    for number, words in enumerate(
        ("first 1st one i", "second 2nd two ii", "third 3rd three iii", "fourth 4th four iv", "fifth 5th five v",
         "sixth 6th six vi", "seventh 7th seven vii", "eighth 8th eight viii", "ninth 9th nine ix", "tenth 10th ten x"),
        start=1,
    )
    for word in words.split()
}  # fmt: skip
_GLUED_ORDINAL: Final = re.compile(
    r"(first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)(?:level|stage|phase|tier|cascade)"
)
_GLUED_LEVEL: Final = re.compile(r"(?:phase|stage|level|unit|no)(\d{1,2}|i{1,3}|iv|vi{0,3})")
_WORD: Final = re.compile(r"[^\W_]+")
_LETTERS: Final = re.compile(r"\b([a-z])&([a-z])\b")
"""``b&q`` is one word; ``a & b`` are two designators."""
_HOUSE_NUMBER: Final = re.compile(r"\b\d+[a-z]?(?=\s+(?:[a-z]+\s+){1,3}(?:road|lane|street|avenue)\b)")
_WHOLE: Final = re.compile(r"(?:\band|\bwith|\bincluding|&)\s+(?:the\s+)?(?:extension|expansion)\b")
"""A plant with its extension is the plant, not the extension."""
_LATER_WORK: Final = {
    **dict.fromkeys(("extension", "expansion", "additional"), "extension"),
    **dict.fromkeys(("repowering", "repower", "repowered"), "repowering"),
}
_ZH_NUMBERS: Final = {character: number for number, character in enumerate("一二三四五六七八九十", start=1)}
_ZH_DESIGNATOR: Final = re.compile(
    r"第?(?P<number>[一二三四五六七八九十]{1,2}|\d{1,2})(?:期|级|号|#|厂|站)|(?P<latin>PA\d+|[IVX]+|[A-Z]\d?)(?![A-Za-z])"
)


@dataclass(frozen=True, slots=True)
class Name:
    """A name taken apart.

    ``words``: lower-case Latin words, or the pinyin of each character, in order. ``han``: the characters that tell
    something, simplified. ``head``: the word (Chinese: the last two syllables) that names the plant itself.
    ``designators``: phases, stages, letters, numbers and codes. ``compact``: all letters but those of technologies and
    of what only says that a plant stands there, for names that are written together here and apart there. ``named``:
    whether some word is not a district's.
    ``regions``: codes of the counties and prefectures of China that it could speak of (``regions.regions_in``).
    ``sides``: of ``opposites`` in ``data/words.toml``, those that the name has a word of: ``("height", "0")`` is upper.
    """

    words: tuple[str, ...]
    han: str
    head: str
    designators: frozenset[str]
    capacity_mw: float | None
    provinces: frozenset[str]
    technologies: frozenset[str]
    compact: str
    named: bool
    regions: frozenset[str] = frozenset()
    sides: frozenset[tuple[str, str]] = frozenset()


EMPTY: Final = Name((), "", "", frozenset(), None, frozenset(), frozenset(), "", named=False)


@lru_cache(maxsize=8192)
def read_name(text: str) -> Name:
    """Take a name apart; Latin or Chinese by what it holds. Never fails; what holds no letter gives ``EMPTY``."""
    clean = _REGISTER_TEXT.sub(" ", visible(text[:MAX_NAME_LENGTH]))
    capacity, clean = _take_capacity(clean)
    if HAN.search(clean):
        return _read_chinese(simplified(clean), capacity)
    return _read_latin(clean, capacity)


def _take_capacity(text: str) -> tuple[float | None, str]:
    found = _CAPACITY.search(text)
    if found is None:
        return None, text
    value = float(found["value"].replace(",", ".")) * _UNITS[found["unit"].lower()] * int(found["count"] or 1)
    return value, _CAPACITY.sub(" ", text)


def _read_latin(text: str, capacity: float | None) -> Name:
    folded = unicodedata.normalize("NFKD", text).lower()
    folded = "".join(each for each in folded if not unicodedata.combining(each))
    folded = re.sub(r"['’‘`´]", "", folded)
    folded = _LETTERS.sub(r"\1\2", _HOUSE_NUMBER.sub(" ", _WHOLE.sub(" ", folded)))
    provinces = provinces_in(folded)
    tokens = _WORD.findall(folded)
    words: list[str] = []
    designators: set[str] = set()
    technologies: set[str] = set()
    head, named_to = "", 0
    districts: set[str] = set()
    compact = ""
    before = ""
    for word in _split(tokens):
        compact += "" if word in TECHNOLOGY_OF or word in _FORMS else word
        if word in _PLACE_WORDS:
            if word == "county" and words[-1:] == [before]:
                words[-1] = before = _county_name(before)
            districts.add(before)
        before = word
        if word in TECHNOLOGY_OF:
            technologies.add(TECHNOLOGY_OF[word])
            if len(words) > named_to:
                head, named_to = words[-1], len(words)
        elif (designator := _designator(word)) is not None:
            designators.add(designator)
        elif word not in _GENERIC and word not in _PLACE_WORDS and word not in provinces.spellings:
            words.append(_EXONYMS.get(word, word))
    return Name(
        tuple(words), "", head or (words[0] if words else ""), frozenset(designators), capacity,
        provinces.codes, frozenset(technologies), compact, named=bool({*words} - districts - _STATES),
        regions=regions_in(words), sides=_sides_of(tokens) | _letter_of(tokens[-1] if tokens else ""),
    )  # fmt: skip


def _sides_of(words: Iterable[str]) -> frozenset[tuple[str, str]]:
    return frozenset(_SIDES[word] for word in words if word in _SIDES)


def _letter_of(last: str) -> frozenset[tuple[str, str]]:
    """The letter at the end of a name, where "a" is no article; I, V and X are numbers."""
    return frozenset({("letter", last)} if len(last) == 1 and last.isalpha() and last not in _ORDINALS else ())


def are_opposed(one: Name, other: Name) -> bool:
    """Whether each name has a side that the other has not, of one kind: upper and lower, a letter at the end."""
    ours, theirs = one.sides - other.sides, other.sides - one.sides
    return not {kind for kind, _ in ours}.isdisjoint(kind for kind, _ in theirs)


def _county_name(word: str) -> str:
    """``yi`` of "Yi County" as ``yixian``: 易县 is never called 易 alone, and Dafeng County is Dafeng too."""
    return word + "xian" if is_named(word + "xian") and not is_named(word) else word


def _split(tokens: Iterable[str]) -> list[str]:
    found = []
    for word in tokens:
        # Sources glue what their own cleaning took a number or a bracket out of.
        for tail in ("prchina", "china"):
            if word.endswith(tail) and len(word) > len(tail) + 3:
                word = word.removesuffix(tail)  # noqa: PLW2901
        glued = _GLUED_ORDINAL.fullmatch(word) or _GLUED_LEVEL.fullmatch(word)
        found.append(glued.group(1) if glued else word)
    return found


def _designator(word: str) -> str | None:
    if word in _LATER_WORK:
        return _LATER_WORK[word]
    if word in _ORDINALS:
        return str(_ORDINALS[word])
    if word.isdecimal():
        return str(int(word[:9]))
    if len(word) == 1 and word.isascii() and word != "a":
        return word
    if any(each.isdigit() for each in word):
        return word
    return None


def _read_chinese(text: str, capacity: float | None) -> Name:
    provinces = provinces_in(text)
    for spelling in provinces.spellings:
        text = text.replace(spelling, " ", 1)
    regions = regions_in(re.findall(f"{HAN.pattern}+", text))
    technologies = {TECHNOLOGY_OF_ZH[each] for each in _ZH_TECHNOLOGY.findall(text)}
    text = _ZH_TECHNOLOGY.sub("|", text)
    designators: set[str] = set()
    for found in _ZH_DESIGNATOR.finditer(text):
        number = found["number"]
        designators.add(str(_zh_number(number)) if number else (_designator(found["latin"].lower()) or "a"))
    text = _ZH_DESIGNATOR.sub(" ", text)
    before = text.split("|", 1)[0]
    core, head = _han_core(text), _han_core(before)[-2:]
    words = syllables(core)
    return Name(
        words, core, "".join(syllables(head or core[-2:])),
        frozenset(designators), capacity, provinces.codes, frozenset(technologies), "".join(words), named=bool(words),
        regions=regions, sides=_sides_of(core),
    )  # fmt: skip


def _zh_number(text: str) -> int:
    if text.isdigit():
        return int(text)
    if len(text) == 1:
        return _ZH_NUMBERS[text]
    tens, ones = text[0], text[1]
    return 10 + _ZH_NUMBERS[ones] if tens == "十" else _ZH_NUMBERS[tens] * 10


def _han_core(text: str) -> str:
    text = _ZH_GENERIC.sub(" ", text)
    parts = [_without_place_word(part) for part in re.findall(f"{HAN.pattern}+", text)]
    return "".join(parts)


def _without_place_word(part: str) -> str:
    """Take 县, 市, … out where enough is left of the name in front of it: 成县 keeps its 县."""
    return (
        "".join(piece if i == 0 or len(piece) else "" for i, piece in enumerate(_ZH_PLACE.split(part)))
        if len(part) > 2
        else part
    )


@lru_cache(maxsize=65_536)
def skeleton(word: str) -> str:
    """Sounds that transcriptions mix up, made one: zh/z, ch/c, sh/s, ng/n, doubled letters."""
    word = word.replace("zh", "z").replace("ch", "c").replace("sh", "s").replace("ng", "n").replace("yu", "y")
    word = word.replace("ü", "u").replace("v", "u")
    return re.sub(r"(.)\1", r"\1", word)
