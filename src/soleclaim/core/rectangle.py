"""Rectangles in time and slice, both half-open: what a segment of a lock covers on its activity (design section 4)."""

from collections.abc import Iterable
from typing import Final, NamedTuple, Self

from soleclaim.core.instants import to_instant, to_us
from soleclaim.core.period import Period

MAX_SLICE: Final = 2**63 - 1
"""End of the unbounded slice."""


class Rectangle(NamedTuple):
    """Microseconds since 1970, and base units."""

    start: int
    end: int
    slice_start: int
    slice_end: int

    @classmethod
    def of(cls, period: Period, slice_start: int = 0, slice_end: int = MAX_SLICE) -> Self:
        """A period's; without a slice the whole outcome."""
        return cls(to_us(period.start), to_us(period.end), slice_start, slice_end)

    @property
    def period(self) -> Period:
        """Its time."""
        return Period(to_instant(self.start), to_instant(self.end))

    def meets(self, other: "Rectangle") -> bool:
        """Whether both share an instant and a base unit."""
        return (
            self.start < other.end
            and other.start < self.end
            and self.slice_start < other.slice_end
            and other.slice_start < self.slice_end
        )

    def covers(self, other: "Rectangle") -> bool:
        """Whether the other lies inside."""
        return (
            self.start <= other.start
            and other.end <= self.end
            and self.slice_start <= other.slice_start
            and other.slice_end <= self.slice_end
        )

    def shared(self, other: "Rectangle") -> "Rectangle | None":
        """What both cover; ``None`` when they do not meet."""
        if not self.meets(other):
            return None
        return Rectangle(
            max(self.start, other.start), min(self.end, other.end),
            max(self.slice_start, other.slice_start), min(self.slice_end, other.slice_end),
        )  # fmt: skip

    def minus(self, other: "Rectangle") -> list["Rectangle"]:
        """What is left without the other: at most four rectangles, which do not meet; time is cut first."""
        common = self.shared(other)
        if common is None:
            return [self]
        parts = (
            self._replace(end=common.start),
            self._replace(start=common.end),
            Rectangle(common.start, common.end, self.slice_start, common.slice_start),
            Rectangle(common.start, common.end, common.slice_end, self.slice_end),
        )
        return [each for each in parts if each.start < each.end and each.slice_start < each.slice_end]


def without(parts: Iterable[Rectangle], taken: Iterable[Rectangle]) -> list[Rectangle]:
    """What is left of ``parts`` where nothing of ``taken`` lies."""
    left = list(parts)
    for each in taken:
        left = [piece for part in left for piece in part.minus(each)]
    return left
