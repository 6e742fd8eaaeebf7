"""Technologies in whatever words a source uses."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from soleclaim.identity.names import TECHNOLOGY_OF, TECHNOLOGY_OF_ZH

PUMPED: Final = "pumped"
"""A pumped-storage plant: a hydro plant, and lists often call it no more than that."""


@lru_cache(maxsize=1024)
def technology_of(text: str) -> str:
    """One of the kinds of ``data/words.toml``, such as hydro; empty when the text tells none or several."""
    found = {kind for word, kind in TECHNOLOGY_OF_ZH.items() if word in text}
    found |= {TECHNOLOGY_OF[word] for word in re.findall(r"[a-z]+", text.lower()) if word in TECHNOLOGY_OF}
    return the_one(found)


def the_one(kinds: Collection[str]) -> str:
    """The kind that all of these speak of, empty when they speak of none or of several."""
    left = set(kinds)
    if left & {"biomass", "methane"}:
        left.discard("fossil")  # landfill gas, coal mine methane
    if PUMPED in left:
        left.discard("hydro")
    return left.pop() if len(left) == 1 else ""
