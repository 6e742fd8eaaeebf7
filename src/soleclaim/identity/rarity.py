"""How much a word of a name tells, from how often it stands in names of real plants."""

import csv
import math
from functools import lru_cache
from importlib import resources
from typing import Final

COUNT_OF_RARE: Final = 1.5
"""What a word counts as that is not in the table: it holds words of three names and more."""


@lru_cache(maxsize=1)
def _table() -> tuple[int, dict[str, int]]:
    text = resources.files("soleclaim.identity").joinpath("data/frequencies.csv").read_text(encoding="utf-8")
    counts = {row["word"]: int(row["names"]) for row in csv.DictReader(text.splitlines())}
    return counts.pop(""), counts


@lru_cache(maxsize=65_536)
def weigh(word: str) -> float:
    """Minus the logarithm of the share of names that hold the word, in nats: 3 for the commonest, 9 for a rare one."""
    total, counts = _table()
    return math.log(total / counts.get(word, COUNT_OF_RARE))
