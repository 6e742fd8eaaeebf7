"""China's prefectures and counties (GB/T 2260): of which of them a plant's name speaks.

The codes and names, former ones too, are read at run time from the data of python-stdnum. The region in a unified
social credit code is where the *owner* is registered: nothing here reads it, for it is not where the plant stands.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from stdnum import numdb

from soleclaim.identity.places import PROVINCES
from soleclaim.identity.script import HAN, syllables

NAMED_SINCE: Final = 2000
"""Names given up before this year are in few lists of plants, and their codes lead to prefectures of that time."""
MAX_LENGTH: Final = 6
"""Characters of the longest name that is sought; longer ones are found without 自治县, 自治州, …"""

_PERIOD: Final = re.compile(r"(?:\[\d*-(?P<until>\d*)\])?(?P<name>[^,\[\]]+)")
"""One of the names that a code had, with the last year of it: ``[1996-2015]大丰市``."""
_NO_PLACE: Final = frozenset({
    "市辖区", "县", "郊区", "城区", "矿区", "省直辖县级行政区划", "自治区直辖县级行政区划", "省直辖县级行政单位",
})  # fmt: skip
_NO_STEM: Final = frozenset({"资源"})
"""Counties whose names are common words without their 县."""
_WATERS: Final = ("江", "河", "湖", "溪")
_MUNICIPALITIES: Final = frozenset({"11", "12", "31", "50"})
"""Their counties and districts stand under no prefecture, and get new codes when one becomes the other."""
_PEOPLES: Final = (
    "阿昌|白|保安|布朗|布依|朝鲜|达斡尔|傣|德昂|东乡|侗|独龙|俄罗斯|鄂伦春|鄂温克|仡佬|哈尼|哈萨克|赫哲|回|基诺|京|景颇|柯尔克孜|拉祜|"
    "黎|傈僳|珞巴|满|毛南|门巴|蒙古|苗|仫佬|纳西|怒|普米|羌|撒拉|畲|水|塔吉克|土家|土|佤|维吾尔|锡伯|瑶|彝|裕固|藏|壮|各"
)
_KIND: Final = re.compile(rf"(?:(?:{_PEOPLES})族|蒙古|哈萨克|柯尔克孜)*自治[县州旗]$|(?:地区|林区|特区|[县市旗盟])$")
"""What follows a place's own name: 延边朝鲜族自治州."""


@lru_cache(maxsize=1)
def _names() -> Mapping[str, tuple[str, ...]]:
    """Names by code, the latest last."""
    found: dict[str, tuple[str, ...]] = {}
    for _, province, _, _, children in numdb.get("cn/loc").prefixes:
        for _, rest, _, properties, _ in children:
            names = [
                each["name"]
                for each in _PERIOD.finditer(properties.get("county", ""))
                if int(each["until"] or NAMED_SINCE) >= NAMED_SINCE and each["name"] not in _NO_PLACE
            ]
            if names and province in PROVINCES and rest != "0000":
                found[province + rest] = tuple(names)
    return found


@lru_cache(maxsize=1)
def _codes() -> Mapping[str, frozenset[str]]:
    """Codes by name: Chinese with and without 县, 市, …, and the pinyin of either, written together."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for code, names in _names().items():
        for name in names:
            for spelled in _spellings(name):
                codes[spelled].add(code)
    return {spelled: frozenset(found) for spelled, found in codes.items()}


def _spellings(name: str) -> Iterator[str]:
    yield name
    stem = _KIND.sub("", name)
    # A single character is no name without its 县; nor is a district without its 区: 城东, 长安, 和平 are everywhere.
    if len(stem) < 2:
        yield "".join(syllables(name))
    elif stem != name and stem not in _NO_STEM:
        yield stem
        yield "".join(syllables(stem))


def regions_in(words: Iterable[str]) -> frozenset[str]:
    """Codes of what the words could name, the narrowest; Latin words in lower case, or runs of Chinese characters."""
    codes = _codes()
    found: set[str] = set()
    for word in words:
        found |= _in_han(word, codes) if HAN.match(word) else codes.get(word, frozenset())
    return narrowest(found)


def _in_han(text: str, codes: Mapping[str, frozenset[str]]) -> set[str]:
    """From the left, the longest name first."""
    found: set[str] = set()
    start = 0
    while start < len(text):
        ends = range(min(len(text), start + MAX_LENGTH), start + 1, -1)
        end = next((end for end in ends if text[start:end] in codes), None)
        # 金沙江 is the river, not 金沙县.
        if end and not text.startswith(_WATERS, end):
            found |= codes[text[start:end]]
        start = end or start + 1
    return found


def is_named(word: str) -> bool:
    """Whether some county or prefecture is written so, in Chinese or in pinyin written together."""
    return word in _codes()


def narrowest(codes: Collection[str]) -> frozenset[str]:
    """Without the prefectures of counties that stand there too."""
    above = {code[:4] + "00" for code in codes if not is_prefecture(code)}
    return frozenset(codes) - above


def is_prefecture(code: str) -> bool:
    """Whether the code names a prefecture, and no county of it."""
    return code.endswith("00")


def prefecture_of(code: str) -> str:
    """The digits that tell the prefecture of a code; in a municipality, those that tell the municipality."""
    return code[:2] if code[:2] in _MUNICIPALITIES else code[:4]
