"""Civil days and months against half-open UTC periods."""

from datetime import UTC, date, datetime, timedelta

import pytest

from soleclaim.core.period import Period
from soleclaim.natives.civil import CHINA, days_of_period, month_of_period, period_of_days, period_of_month


def test_last_day_is_inclusive_and_midnight_is_that_of_china() -> None:
    period = period_of_days(date(2025, 1, 1), date(2025, 12, 31), CHINA)
    assert period == Period(datetime(2024, 12, 31, 16, tzinfo=UTC), datetime(2025, 12, 31, 16, tzinfo=UTC))
    assert days_of_period(period, CHINA) == (date(2025, 1, 1), date(2025, 12, 31))


@pytest.mark.parametrize(("month", "days"), [("2024-02", 29), ("2025-02", 28), ("2025-12", 31), ("2025-04", 30)])
def test_month_there_and_back(month: str, days: int) -> None:
    period = period_of_month(month, CHINA)
    assert period.end - period.start == timedelta(days=days)
    assert month_of_period(period, CHINA) == month


def test_consecutive_months_touch_and_do_not_overlap() -> None:
    march, april = period_of_month("2025-03", CHINA), period_of_month("2025-04", CHINA)
    assert march.end == april.start
    assert not march.overlaps(april)


def test_march_of_another_zone_is_no_month_here() -> None:
    march_in_utc = Period(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC))
    assert days_of_period(march_in_utc, CHINA) is None
    assert month_of_period(march_in_utc, CHINA) is None


def test_two_months_or_a_part_of_one_are_no_month() -> None:
    march, april = period_of_month("2025-03", CHINA), period_of_month("2025-04", CHINA)
    assert month_of_period(Period(march.start, april.end), CHINA) is None
    assert month_of_period(Period(march.start, march.end - timedelta(days=1)), CHINA) is None
    assert month_of_period(Period(march.start + timedelta(days=1), march.end), CHINA) is None


def test_summer_time_of_1991_is_kept() -> None:
    """China had summer time until 1991: midnight is not always 16:00 UTC."""
    period = period_of_days(date(1991, 6, 1), date(1991, 6, 30), CHINA)
    assert period.start == datetime(1991, 5, 31, 15, tzinfo=UTC)
    assert days_of_period(period, CHINA) == (date(1991, 6, 1), date(1991, 6, 30))
