"""Half-open periods and inclusive serial ranges."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from soleclaim.core.period import EARLIEST, LATEST, MAX_PERIOD, Period
from soleclaim.core.serials import MAX_SERIAL, UnitBlock, first_overlap, total

START = datetime(2025, 3, 1, tzinfo=UTC)


def period(start: int, end: int) -> Period:
    return Period(START + timedelta(hours=start), START + timedelta(hours=end))


def test_periods_overlap_exactly_when_they_share_an_hour() -> None:
    spans = [(start, end) for start in range(6) for end in range(start + 1, 7)]
    for one, two in itertools.product(spans, repeat=2):
        shared = set(range(*one)) & set(range(*two))
        assert period(*one).overlaps(period(*two)) is bool(shared)


def test_march_in_utc_and_march_in_china_are_different_periods() -> None:
    """Design section 4: the adapter converts, not the lookup."""
    china = timezone(timedelta(hours=8))
    utc = Period.of(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC))
    local = Period.of(datetime(2025, 3, 1, tzinfo=china), datetime(2025, 4, 1, tzinfo=china))
    assert utc != local
    assert utc.start - local.start == timedelta(hours=8)
    assert local.start.tzinfo is UTC


@pytest.mark.parametrize("end", [START, START - timedelta(microseconds=1)])
def test_a_period_starts_before_it_ends(end: datetime) -> None:
    with pytest.raises(ValueError, match="start must lie before end"):
        Period(START, end)


@pytest.mark.parametrize("name", ["start", "end"])
def test_an_instant_without_time_zone_is_refused_by_name(name: str) -> None:
    instants = {"start": START, "end": START + timedelta(days=1)}
    instants[name] = instants[name].replace(tzinfo=None)
    with pytest.raises(ValueError, match=f"{name} has no time zone"):
        Period(**instants)


def test_a_period_prints_as_an_iso_interval() -> None:
    assert str(period(0, 1)) == "2025-03-01T00:00:00Z/2025-03-01T01:00:00Z"


def test_periods_sort_by_start_then_end() -> None:
    assert sorted([period(1, 2), period(0, 2), period(0, 1)]) == [period(0, 1), period(0, 2), period(1, 2)]


def test_the_longest_period_fits_between_the_bounds() -> None:
    assert EARLIEST + MAX_PERIOD < LATEST
    assert datetime(2034, 1, 1, tzinfo=UTC) - datetime(2024, 1, 1, tzinfo=UTC) <= MAX_PERIOD, "ten years, leap days too"


def test_a_block_counts_both_ends() -> None:
    assert UnitBlock("S", 5, 5).count == 1
    assert UnitBlock("GS1-1-KE-GS7495-16-2025-30645", 608, 30350).count == 29743, "a real serial (rules.md B)"
    assert total([UnitBlock("S", 1, 10), UnitBlock("T", 1, 10)]) == 20
    assert total([]) == 0


@pytest.mark.parametrize(
    ("series", "start", "end", "fault"),
    [("", 1, 2, "series is empty"), ("S", 2, 1, "start must not be greater"), ("S", -1, 1, "must lie between"),
     ("S", 1, MAX_SERIAL + 1, "must lie between")],
)  # fmt: skip
def test_what_is_no_range_is_refused(series: str, start: int, end: int, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        UnitBlock(series, start, end)


def test_the_widest_block_is_allowed() -> None:
    assert UnitBlock("S", 0, MAX_SERIAL).count == MAX_SERIAL + 1


def test_blocks_overlap_exactly_when_they_share_a_serial() -> None:
    spans = [(start, end) for start in range(5) for end in range(start, 5)]
    for one, two in itertools.product(spans, repeat=2):
        blocks = [UnitBlock("S", *one), UnitBlock("S", *two)]
        shared = set(range(one[0], one[1] + 1)) & set(range(two[0], two[1] + 1))
        assert (first_overlap(blocks) is not None) is bool(shared)
        assert first_overlap([UnitBlock("S", *one), UnitBlock("T", *two)]) is None


def test_an_overlap_is_found_among_many_and_behind_a_long_block() -> None:
    apart = [UnitBlock("S", 10 * i, 10 * i + 9) for i in range(100)]
    assert first_overlap(reversed(apart)) is None
    assert first_overlap([*apart, UnitBlock("T", 0, 5000), UnitBlock("S", 555, 555)]) is not None
    long, short, far = UnitBlock("S", 0, 100), UnitBlock("S", 5, 6), UnitBlock("S", 50, 60)
    assert first_overlap([far, short, long]) == (long, short)
