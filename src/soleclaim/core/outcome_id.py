"""The outcome id: an activity id and a period, one identifier per mitigation result (R95, design section 5).

Its name is ``activities/{activity_id}/outcomes/{outcome}``. ``{outcome}`` is the base unit and the half-open UTC
period, ``kWh.20240101T000000Z-20240201T000000Z``, to be read by people and programs alike. An instant that is no whole
second has six decimals, ``20240101T000000.000001Z``; one that is has none, so that an outcome has one name.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from soleclaim.core.activity_id import ActivityId, ActivityIdError, parse_activity_id
from soleclaim.core.period import EARLIEST, LATEST, MAX_PERIOD, Period

BASE_UNITS: Final = ("kWh", "kgCO2e", "kgce")
"""What outcomes are measured in."""

_MAX_LENGTH: Final = 128
_INSTANT: Final = r"(\d{8}T\d{6})(?:\.(\d{6}))?Z"
_SHAPE: Final = re.compile(rf"({'|'.join(BASE_UNITS)})\.{_INSTANT}-{_INSTANT}", re.ASCII)
_NAME: Final = re.compile(r"(?:activities/)?(?P<activity>[^/:]+)/outcomes/(?P<outcome>[^/:]+)")
_URN: Final = re.compile(r"urn:soleclaim:outcome:(?P<activity>[^/:]+):(?P<outcome>[^/:]+)")


class OutcomeIdError(ValueError):
    """The text is not an outcome id; the message says why."""


@dataclass(frozen=True, slots=True)
class OutcomeId:
    """What an outcome id names."""

    activity_id: ActivityId
    base_unit: str
    period: Period


def make_outcome(base_unit: str, period: Period) -> str:
    """``kWh.20240101T000000Z-20240201T000000Z``. ``base_unit`` is one of ``BASE_UNITS`` (``OutcomeIdError``)."""
    if base_unit not in BASE_UNITS:
        raise OutcomeIdError(f"base unit must be one of {', '.join(BASE_UNITS)}")
    return f"{base_unit}.{_told(period.start)}-{_told(period.end)}"


def outcome_name(outcome_id: OutcomeId) -> str:
    """``activities/{activity_id}/outcomes/{outcome}``."""
    return f"activities/{outcome_id.activity_id}/outcomes/{make_outcome(outcome_id.base_unit, outcome_id.period)}"


def outcome_urn(outcome_id: OutcomeId) -> str:
    """``urn:soleclaim:outcome:{activity_id}:{outcome}``, for machines and codes that are scanned."""
    return f"urn:soleclaim:outcome:{outcome_id.activity_id}:{make_outcome(outcome_id.base_unit, outcome_id.period)}"


def parse_outcome(text: str) -> tuple[str, Period]:
    """Base unit and period of ``kWh.20240101T000000Z-20240201T000000Z``; spelled as ``make_outcome`` does."""
    shape = _SHAPE.fullmatch(text[:_MAX_LENGTH])
    if shape is None or len(text) > _MAX_LENGTH:
        raise OutcomeIdError(
            f"an outcome is a base unit ({', '.join(BASE_UNITS)}) and a half-open UTC period, for example "
            "kWh.20240101T000000Z-20240201T000000Z"
        )
    start, end = _read(shape[2], shape[3]), _read(shape[4], shape[5])
    if not EARLIEST <= start < end <= LATEST or end - start > MAX_PERIOD:
        raise OutcomeIdError(
            f"the period must start before it ends, lie between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d} and be at "
            "most ten years long"
        )
    return shape[1], Period(start, end)


def parse_outcome_id(text: str) -> OutcomeId:
    """Check an outcome's name or URN: shape, the activity id's check digits, the period.

    Of the activity id the printed form in fours and lower case are fine, as in ``parse_activity_id``.
    """
    name = _NAME.fullmatch(text) or _URN.fullmatch(text)
    if name is None or len(text) > 2 * _MAX_LENGTH:
        raise OutcomeIdError("an outcome id is activities/{activity_id}/outcomes/{outcome}")
    try:
        activity_id = parse_activity_id(name["activity"])
    except ActivityIdError as error:
        raise OutcomeIdError(str(error)) from error
    return OutcomeId(activity_id, *parse_outcome(name["outcome"]))


def _told(instant: datetime) -> str:
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{instant:%Y%m%dT%H%M%S}{fraction}Z"


def _read(whole: str, fraction: str | None) -> datetime:
    try:
        instant = datetime.strptime(whole, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise OutcomeIdError(f"{whole}Z is no instant; write YYYYMMDDTHHMMSSZ, with six decimals if needed") from error
    if fraction == "000000":
        raise OutcomeIdError(f"{whole}.{fraction}Z is a whole second; leave the decimals out")
    return instant.replace(microsecond=int(fraction or 0))
