"""The outcome id: readable, one spelling an outcome, to the microsecond (R95)."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from soleclaim.core.activity_id import ActivityId, ActivityKey, make_activity_id
from soleclaim.core.instants import to_instant, to_us
from soleclaim.core.outcome_id import (
    BASE_UNITS,
    OutcomeId,
    OutcomeIdError,
    make_outcome,
    outcome_name,
    outcome_urn,
    parse_outcome,
    parse_outcome_id,
)
from soleclaim.core.period import EARLIEST, LATEST, MAX_PERIOD, Period
from soleclaim.policy.bundle import default_bundle

ID = make_activity_id("CN", ActivityKey(2**59 + 12345))
JANUARY = Period(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
NAME = f"activities/{ID}/outcomes/kWh.20240101T000000Z-20240201T000000Z"


def test_an_outcome_is_named_by_activity_unit_and_period() -> None:
    outcome = OutcomeId(ID, "kWh", JANUARY)
    assert outcome_name(outcome) == NAME
    assert outcome_urn(outcome) == f"urn:soleclaim:outcome:{ID}:kWh.20240101T000000Z-20240201T000000Z"


def test_units_are_those_of_the_policy_bundle() -> None:
    assert {each.base_unit for each in default_bundle().instruments.values()} <= set(BASE_UNITS)


def test_every_period_and_unit_comes_back_to_the_microsecond() -> None:
    numbers = random.Random(7)
    whole = MAX_PERIOD // timedelta(microseconds=1)
    for _ in range(2_000):
        start = to_instant(numbers.randrange(to_us(EARLIEST), to_us(LATEST) - whole))
        end = start + timedelta(microseconds=numbers.choice((1, 999_999, 2_678_400_000_000, numbers.randint(1, whole))))
        outcome = OutcomeId(ID, numbers.choice(BASE_UNITS), Period(start, end))
        assert parse_outcome_id(outcome_name(outcome)) == outcome
        assert parse_outcome_id(outcome_urn(outcome)) == outcome
        text = make_outcome(outcome.base_unit, outcome.period)
        assert make_outcome(*parse_outcome(text)) == text


def test_a_fraction_stands_only_where_there_is_one() -> None:
    period = Period(JANUARY.start + timedelta(microseconds=1), JANUARY.end)
    assert make_outcome("kgce", period) == "kgce.20240101T000000.000001Z-20240201T000000Z"
    assert parse_outcome("kgce.20240101T000000.000001Z-20240201T000000Z") == ("kgce", period)


@pytest.mark.parametrize(
    "text",
    [
        NAME.removeprefix("activities/"),
        NAME.replace(ID, " ".join(ID[i : i + 4] for i in range(0, 16, 4))),
        NAME.replace(ID, ID.lower()),
    ],
)
def test_people_may_write_the_activity_id_as_it_is_printed(text: str) -> None:
    assert parse_outcome_id(text) == OutcomeId(ID, "kWh", JANUARY)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "an outcome id is activities/"),
        (f"activities/{ID}", "an outcome id is activities/"),
        (NAME + "0" * 300, "an outcome id is activities/"),
        (f"{NAME}/more", "an outcome id is activities/"),
        (f"urn:soleclaim:activity:{ID}:kWh.20240101T000000Z-20240201T000000Z", "an outcome id is activities/"),
        (NAME.replace(ID, ID[:-2] + "00"), "check digits do not fit"),
        (NAME.replace(ID, "CN12"), "an activity id has 16 characters"),
        (NAME.replace("kWh", "MWh"), "an outcome is a base unit (kWh, kgCO2e, kgce)"),
        (NAME.replace("kWh", "kwh"), "an outcome is a base unit"),
        (NAME.replace("000000Z", "0000Z"), "an outcome is a base unit"),
        (NAME.replace("20240201", "２０２４0201"), "an outcome is a base unit"),
        (NAME.replace("20240201T000000Z", "20240201T000000.1Z"), "an outcome is a base unit"),
        (NAME + "0" * 100, "an outcome is a base unit"),
        (NAME.replace("20240201T000000Z", "20240201T000000.000000Z"), "is a whole second; leave the decimals out"),
        (NAME.replace("20240201", "20240230"), "20240230T000000Z is no instant"),
        (NAME.replace("20240201T000000", "20240201T000060"), "is no instant"),
        (NAME.replace("20240201", "20240101"), "must start before it ends"),
        (NAME.replace("20240101", "19240101"), "lie between 1990-01-01 and 2200-01-01"),
        (NAME.replace("20240201", "20440201"), "at most ten years long"),
    ],
)
def test_what_is_no_outcome_id_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(OutcomeIdError) as caught:
        parse_outcome_id(text)
    assert told in str(caught.value)


def test_a_unit_that_nothing_is_measured_in_makes_no_id() -> None:
    with pytest.raises(OutcomeIdError, match="base unit must be one of kWh, kgCO2e, kgce"):
        outcome_name(OutcomeId(ActivityId(ID), "MWh", JANUARY))


def test_instants_are_whole_microseconds_since_1970() -> None:
    assert to_us(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert to_us(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000_000
    for us in (0, 1, 1_704_067_200_000_001, to_us(LATEST)):
        assert to_us(to_instant(us)) == us
