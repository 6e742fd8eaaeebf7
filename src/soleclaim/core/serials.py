"""Unit blocks: ranges of native serials with inclusive ends (design section 4, R84)."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_SERIAL: Final = 2**63 - 2


@dataclass(frozen=True, slots=True, order=True)
class UnitBlock:
    """``series`` is the native text that the running number belongs to; ``start``..``end`` inclusive."""

    series: str
    start: int
    end: int

    def __post_init__(self) -> None:
        """Refuse an empty series or a reversed, negative or too large range (``ValueError``)."""
        if not self.series:
            raise ValueError("series is empty; give the native series the serials run in")
        if self.start > self.end:
            raise ValueError("start must not be greater than end; serial ranges are inclusive")
        if self.start < 0 or self.end > MAX_SERIAL:
            raise ValueError(f"serials must lie between 0 and {MAX_SERIAL}")

    @property
    def count(self) -> int:
        """Units in the block."""
        return self.end - self.start + 1


def total(blocks: Iterable[UnitBlock]) -> int:
    """Units in all blocks."""
    return sum([block.end - block.start + 1 for block in blocks])


def first_overlap(blocks: Iterable[UnitBlock]) -> tuple[UnitBlock, UnitBlock] | None:
    """The first two blocks of one series that share a serial, or ``None``."""
    ordered = sorted(blocks)
    for left, right in itertools.pairwise(ordered):
        if left.series == right.series and right.start <= left.end:
            return left, right
    return None
