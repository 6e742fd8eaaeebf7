"""Owners: company names without their legal form, lists of shareholders with their shares, companies' own numbers.

An owner has many plants: nothing here joins two records by itself.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from stdnum import lei
from stdnum.cn import uscc

from soleclaim.identity.script import HAN, simplified, syllables, visible

MAX_OWNER_LENGTH: Final = 1024
_ORG_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)


def _is_org_code(value: str) -> bool:
    """GB 11714: eight characters and a check character, MOD 11."""
    body, _, check = value.upper().partition("-")
    if not re.fullmatch(r"[0-9A-Z]{8}", body) or not re.fullmatch(r"[0-9X]", check):
        return False
    total = 11 - sum(weight * int(each, 36) for weight, each in zip(_ORG_WEIGHTS, body, strict=True)) % 11
    return check == {10: "X", 11: "0"}.get(total, str(total))


OWNER_SCHEMES: Final[Mapping[str, Callable[[str], bool]]] = {
    "uscc": uscc.is_valid,
    "lei": lei.is_valid,
    "cn_org_code": _is_org_code,
}
"""Numbers of companies (GB 32100, ISO 17442, GB 11714) and the proof of their check characters."""


def owner_number(scheme: str, value: str) -> str | None:
    """The number in one spelling; an organisation code as the part of the credit code that it became.

    ``None`` when its check characters do not fit.
    """
    if not OWNER_SCHEMES[scheme](value):
        return None
    compact = re.sub(r"[\s-]", "", value).upper()
    return (
        f"org:{compact[8:17]}"
        if scheme == "uscc"
        else f"org:{compact}"
        if scheme == "cn_org_code"
        else f"lei:{compact}"
    )


_LEGAL: Final = frozenset({
    "co", "ltd", "limited", "corp", "corporation", "company", "companies", "inc", "llc", "plc", "group", "holding",
    "holdings", "shareholding", "sa", "ag", "gmbh", "spa", "pvt", "private", "public", "joint", "stock", "the", "and",
    "of", "other", "others", "formerly", "previously", "developments", "development",
})  # fmt: skip
_LEGAL_ZH: Final = re.compile("有限责任公司|股份有限公司|有限公司|集团|股份|公司|分公司|有限合伙|控股")
_SHARE: Final = re.compile(r"\[\s*(\d{1,3}(?:\.\d+)?)\s*%\s*\]|\(\s*(\d{1,3}(?:\.\d+)?)\s*%\s*\)")


@dataclass(frozen=True, slots=True)
class Owner:
    """Words (Latin, or pinyin syllables) of one owner, and its share in percent where stated."""

    words: tuple[str, ...]
    han: str
    share: float | None


@lru_cache(maxsize=4096)
def read_owners(text: str) -> tuple[Owner, ...]:
    """The owners in a text such as ``A Co Ltd [56%]; B plc``; those without a name of their own are left out."""
    found = []
    for part in re.split(r"[;；/]", visible(text[:MAX_OWNER_LENGTH])):
        share = _SHARE.search(part)
        owner = _read(_SHARE.sub(" ", part), float(share[1] or share[2]) if share else None)
        if owner.words:
            found.append(owner)
    return tuple(found)


def _read(text: str, share: float | None) -> Owner:
    if HAN.search(text):
        han = "".join(HAN.findall(_LEGAL_ZH.sub("", simplified(text))))
        return Owner(syllables(han), han, share)
    words = (each for each in re.findall(r"[^\W_]+", text.lower()) if each not in _LEGAL)
    return Owner(tuple(words), "", share)
