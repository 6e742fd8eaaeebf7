"""Civil days and months of a registry's zone, and half-open periods in UTC."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from soleclaim.core.period import Period

CHINA: Final = ZoneInfo("Asia/Shanghai")


def instant_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Its first instant, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def period_of_days(first: date, last: date, zone: ZoneInfo) -> Period:
    """Both days inclusive; ``ValueError`` or ``OverflowError`` for days that make no period."""
    return Period(instant_of_day(first, zone), instant_of_day(last + timedelta(days=1), zone))


def open_period_of_days(first: date, last: date | None, zone: ZoneInfo) -> tuple[datetime, datetime | None]:
    """Like ``period_of_days``, without an end where no last day is known."""
    if last is None:
        return instant_of_day(first, zone), None
    if last < first:
        raise ValueError(f"it ends on {last}, before it begins")
    period = period_of_days(first, last, zone)
    return period.start, period.end


def days_of_period(period: Period, zone: ZoneInfo) -> tuple[date, date] | None:
    """First and last day, inclusive; ``None`` when the period does not run from midnight to midnight."""
    start, end = period.start.astimezone(zone), period.end.astimezone(zone)
    if start.time() != time() or end.time() != time():
        return None
    return start.date(), end.date() - timedelta(days=1)


def period_of_month(month: str, zone: ZoneInfo) -> Period:
    """The month ``YYYY-MM``; ``ValueError`` for a text that is none."""
    first = date.fromisoformat(f"{month}-01")
    return period_of_days(first, _next_month(first) - timedelta(days=1), zone)


def month_of_period(period: Period, zone: ZoneInfo) -> str | None:
    """``YYYY-MM``; ``None`` when the period is not exactly one month."""
    days = days_of_period(period, zone)
    if days is None or days[0].day != 1 or days[1] + timedelta(days=1) != _next_month(days[0]):
        return None
    return f"{days[0]:%Y-%m}"


def period_of_year(year: int, zone: ZoneInfo) -> Period:
    """The civil year; ``ValueError`` or ``OverflowError`` for a number that is none."""
    return period_of_days(date(year, 1, 1), date(year, 12, 31), zone)


def year_of_period(period: Period, zone: ZoneInfo) -> int | None:
    """The year; ``None`` when the period is not exactly one civil year."""
    days = days_of_period(period, zone)
    if days is None or days != (date(days[0].year, 1, 1), date(days[0].year, 12, 31)):
        return None
    return days[0].year


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
