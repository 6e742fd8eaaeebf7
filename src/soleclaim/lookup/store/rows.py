"""Between rows and domain objects: instants as microseconds, locks, claims as columns."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.period import Period
from soleclaim.lookup.domain import Claim, Lock, LockId, LockState, Obstacle, Slice, Token

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

LOCK_COLUMNS: Final = (
    "l.lock_id, l.activity_key, l.country, l.registry, l.instrument, l.period_start_us, l.period_end_us, "
    "l.slice_start, l.slice_end, l.state, l.token, l.expire_us, l.units, l.carried_in, l.reference, "
    "l.issued_units, l.issuance_count, l.supplement, l.create_us, l.update_us, l.bundle_id"
)


def to_us(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def to_instant(us: int) -> datetime:
    """The aware UTC instant."""
    return _EPOCH + timedelta(microseconds=us)


def to_lock(row: Sequence[Any], bundles: Mapping[int, str]) -> Lock:
    """A row of ``LOCK_COLUMNS``; ``bundles``: hash per bundle id."""
    return Lock(
        lock_id=LockId(row[0]),
        activity_key=ActivityKey(row[1]),
        country=row[2],
        registry=row[3],
        instrument=row[4],
        period=Period(to_instant(row[5]), to_instant(row[6])),
        slice=Slice(row[7], row[8]),
        state=LockState(row[9]),
        token=Token(row[10]),
        expire_time=None if row[11] is None else to_instant(row[11]),
        units=row[12],
        carried_in=row[13],
        reference=row[14],
        issued_units=row[15],
        issuance_count=row[16],
        supplement=bool(row[17]),
        policy_hash=bundles.get(row[20], ""),
        create_time=to_instant(row[18]),
        update_time=to_instant(row[19]),
    )


def to_obstacle(row: Sequence[Any]) -> Obstacle:
    """(lock_id, registry, instrument, period_start_us, period_end_us, slice_start, slice_end, state, expire_us)."""
    return Obstacle(
        lock_id=LockId(row[0]),
        registry=row[1],
        instrument=row[2],
        period=Period(to_instant(row[3]), to_instant(row[4])),
        slice=Slice(row[5], row[6]),
        state=LockState(row[7]),
        expire_time=None if row[8] is None else to_instant(row[8]),
    )


def granted_lock(claim: Claim, lock_id: int, token: int, now_us: int, policy_hash: str) -> Lock:
    """The lock that a grant just made."""
    request = claim.request
    now = to_instant(now_us)
    return Lock(
        lock_id=LockId(lock_id),
        activity_key=request.activity_key,
        country=request.activity_id[:2],
        registry=request.registry,
        instrument=request.instrument,
        period=request.period,
        slice=request.slice,
        state=LockState.HELD,
        token=Token(token),
        expire_time=to_instant(now_us + request.ttl_us),
        units=request.units,
        carried_in=request.carried_in,
        reference=request.reference,
        issued_units=0,
        issuance_count=0,
        supplement=False,
        policy_hash=policy_hash,
        create_time=now,
        update_time=now,
    )


def series_key(registry: str, series: str) -> int:
    """63 bits that stand for a series in the exclusion index."""
    digest = hashlib.sha256(f"{registry}\0{series}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def attribute_mask(attributes: Sequence[int]) -> int:
    """Attribute numbers as a bit mask."""
    mask = 0
    for number in attributes:
        mask |= 1 << number
    return mask
