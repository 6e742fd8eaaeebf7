"""Between rows and domain objects: instants as microseconds, locks, claims as columns."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from soleclaim.core import instants
from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.period import Period
from soleclaim.lookup.domain import WHOLE, Claim, Lock, LockId, LockState, Obstacle, Slice, Token

_STATES: Final = {state.value: state for state in LockState}

LOCK_COLUMNS: Final = (
    "l.lock_id, l.activity_key, l.country, l.registry, l.instrument, l.period_start_us, l.period_end_us, "
    "l.slice_start, l.slice_end, l.state, l.token, l.expire_us, l.units, l.carried_in, l.reference, "
    "l.issued_units, l.issuance_count, l.supplement, l.create_us, l.update_us, l.bundle_id"
)


# The rows of a batch share most of their instants and periods.
to_us = lru_cache(maxsize=4096)(instants.to_us)
to_instant = lru_cache(maxsize=4096)(instants.to_instant)


@lru_cache(maxsize=4096)
def to_period(start_us: int, end_us: int) -> Period:
    """The period between two instants."""
    return Period(to_instant(start_us), to_instant(end_us))


def to_lock(row: Sequence[Any], bundles: Mapping[int, str]) -> Lock:
    """A row of ``LOCK_COLUMNS``; ``bundles``: hash per bundle id."""
    (
        lock_id,
        key,
        country,
        registry,
        instrument,
        start_us,
        end_us,
        slice_start,
        slice_end,
        state,
        token,
        expire_us,
        units,
        carried_in,
        reference,
        issued_units,
        issuance_count,
        supplement,
        create_us,
        update_us,
        bundle_id,
    ) = row[:21]
    return Lock(
        LockId(lock_id),
        ActivityKey(key),
        country,
        registry,
        instrument,
        to_period(start_us, end_us),
        WHOLE if slice_end == WHOLE.end and slice_start == 0 else Slice(slice_start, slice_end),
        _STATES[state],
        Token(token),
        None if expire_us is None else to_instant(expire_us),
        units,
        carried_in,
        reference,
        issued_units,
        issuance_count,
        bool(supplement),
        bundles.get(bundle_id, ""),
        to_instant(create_us),
        to_instant(update_us),
    )


WHOLE_LOCK: Final = (
    "(s.period_start_us = l.period_start_us AND s.period_end_us = l.period_end_us "
    "AND s.slice_start = l.slice_start AND s.slice_end = l.slice_end) AS whole"
)
"""The last column of what ``to_obstacle`` takes, over the segment ``s`` and its lock ``l``."""


def to_obstacle(row: Sequence[Any]) -> Obstacle:
    """(lock_id, registry, instrument, period_start_us, period_end_us, slice_start, slice_end, state, expire_us,
    whole).
    """
    return Obstacle(
        lock_id=LockId(row[0]),
        registry=row[1],
        instrument=row[2],
        period=to_period(row[3], row[4]),
        slice=Slice(row[5], row[6]),
        state=LockState(row[7]),
        expire_time=None if row[8] is None else to_instant(row[8]),
        whole=bool(row[9]),
    )


def granted_lock(claim: Claim, lock_id: int, token: int, now_us: int, policy_hash: str) -> Lock:
    """The lock that a grant just made."""
    request = claim.request
    now = to_instant(now_us)
    return Lock(
        LockId(lock_id),
        request.activity_key,
        request.activity_id[:2],
        request.registry,
        request.instrument,
        request.period,
        request.slice,
        LockState.HELD,
        Token(token),
        to_instant(now_us + request.ttl_us),
        request.units,
        request.carried_in,
        request.reference,
        0,
        0,
        False,
        policy_hash,
        now,
        now,
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
