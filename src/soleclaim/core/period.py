"""Half-open periods of time: ``[start, end)`` as aware UTC instants (design section 4)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

MAX_PERIOD: Final = timedelta(days=366 * 10 + 3)
"""The longest period of one request: ten years, a common crediting period."""

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Bounds of sane instants; what lies outside is a mistake in the caller's data."""


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Half-open ``[start, end)``. Both ends aware and in UTC; ``start < end`` always."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse what is not a period: ``ValueError`` with a sentence for people."""
        if self.start.tzinfo is None or self.end.tzinfo is None:
            name = "start" if self.start.tzinfo is None else "end"
            raise ValueError(f"{name} has no time zone; give an instant in UTC")
        if self.start >= self.end:
            raise ValueError("start must lie before end; a period is half-open [start, end)")

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Self:
        """Build from aware instants of any zone, converted to UTC."""
        return cls(start.astimezone(UTC), end.astimezone(UTC))

    def overlaps(self, other: Self) -> bool:
        """Whether both share an instant; periods that only touch do not."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ}/{self.end:%Y-%m-%dT%H:%M:%SZ}"
