"""Instants as whole microseconds since 1970 in UTC: how every store keeps them and the wire counts them."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Microseconds since 1970 of an aware instant."""
    return (instant - EPOCH) // _MICROSECOND


def to_instant(us: int) -> datetime:
    """The aware UTC instant."""
    return EPOCH + timedelta(microseconds=us)
