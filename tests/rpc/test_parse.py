from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.interval_pb2 import Interval
from hypothesis import given
from hypothesis import strategies as st

from soleclaim.api.common.v1.types_pb2 import BASE_UNIT_KWH, BASE_UNIT_UNSPECIFIED, BaseUnit
from soleclaim.api.lookup.v1.issuance_lock_service_pb2 import ListIssuanceLocksRequest
from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.errors import InvalidRequest
from soleclaim.core.period import EARLIEST, LATEST, MAX_PERIOD, Period
from soleclaim.rpc.parse import Faults, encode_page_token, query_hash, to_interval, to_timestamp

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)


def told(faults: Faults) -> list[tuple[str, str]]:
    if not faults.any():
        return []
    with pytest.raises(InvalidRequest) as caught:
        faults.raise_if_any()
    return [(each.field, each.description) for each in caught.value.violations]


def test_all_violations_of_a_request_are_told_together_with_their_paths() -> None:
    faults = Faults()
    faults.request_id("request_id", "short")
    item = faults.prefixed("requests[3].")
    item.code("registry", "no spaces")
    item.prefixed("slice.").number("start", -1, minimum=0, maximum=5)
    assert [field for field, _ in told(faults)] == ["request_id", "requests[3].registry", "requests[3].slice.start"]
    assert item.any()


def test_nothing_is_raised_where_nothing_is_wrong() -> None:
    faults = Faults()
    assert faults.request_id("f", "a.b_c:d-1") == "a.b_c:d-1"
    assert faults.reference("f", "R:1") == "R:1"
    assert faults.code("f", "gec") == "gec"
    assert faults.number("f", INT64_MAX, minimum=INT64_MIN, maximum=INT64_MAX) == INT64_MAX
    assert faults.enum("f", BASE_UNIT_KWH, BaseUnit) == BASE_UNIT_KWH
    assert faults.enum("f", BASE_UNIT_UNSPECIFIED, BaseUnit, required=False) == BASE_UNIT_UNSPECIFIED
    assert faults.period("f", True, to_interval(JANUARY)) == JANUARY
    assert faults.page_token("f", "", "hash") is None
    faults.raise_if_any()


@pytest.mark.parametrize("text", ["", "1234567", "a" * 65, "abcdefgh\n", "abcdefg é", "abcdefgh\u202e", "\u0661" * 8])
def test_request_ids_out_of_shape_are_refused(text: str) -> None:
    faults = Faults()
    faults.request_id("request_id", text)
    assert told(faults)


@pytest.mark.parametrize("text", ["", "a" * 33, "gec\n", "g c", "国", "../x", "a.b"])
def test_codes_out_of_shape_are_refused(text: str) -> None:
    faults = Faults()
    faults.code("registry", text)
    assert told(faults)


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "a/b", "a\x00"])
def test_references_out_of_shape_are_refused(text: str) -> None:
    faults = Faults()
    faults.reference("reference", text)
    assert told(faults)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("a" * 11, "11 characters"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\u200bb", "control"),  # zero width space
        ("a\u202eb", "control"),  # right-to-left override
        ("a\u2028b", "control"),  # line separator
        ("\ufeffab", "control"),  # byte order mark
        (" ab", "white space"),
        ("ab\u3000", "white space"),  # ideographic space
    ],
)
def test_texts_that_deceive_or_overflow_are_refused(text: str, word: str) -> None:
    faults = Faults()
    faults.text("name", text, max_length=10)
    assert word in told(faults)[0][1]


@pytest.mark.parametrize("text", ["风电 一期", "Ørsted №1", "a\u3000b", "𠮷野家", "é"])
def test_names_of_any_script_are_taken(text: str) -> None:
    faults = Faults()
    assert faults.text("name", text, max_length=10) == text
    assert faults.text("name", "", max_length=10, required=False) == ""
    assert not faults.any()


def test_activities_need_their_prefix_and_their_check_digits() -> None:
    right = make_activity_id("CN", ActivityKey(12345))
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    faults = Faults()
    assert faults.activity("ok", f"activities/{right}") == right
    for field, name in (
        ("prefix", right),
        ("digits", f"activities/{wrong}"),
        ("letters", f"activities/{right.lower()}"),
        ("spaces", f"activities/{right[:4]} {right[4:]}"),
        ("empty", "activities/"),
        ("long", "activities/" + "A" * 100_000),
        ("none", ""),
    ):
        assert faults.activity(field, name) is None
    assert [field for field, _ in told(faults)] == ["prefix", "digits", "letters", "spaces", "empty", "long", "none"]
    assert all(len(description) < 200 for _, description in told(faults))


@pytest.mark.parametrize("value", [INT64_MIN, -1, 0, 10**15 + 1, INT64_MAX])
def test_numbers_beyond_their_bounds_are_refused(value: int) -> None:
    faults = Faults()
    faults.number("units", value, minimum=1, maximum=10**15)
    assert told(faults) == [("units", f"is {value}; must lie between 1 and 1000000000000000")]


@pytest.mark.parametrize("number", [0, -1, 4, 2**31 - 1])
def test_unspecified_and_unknown_enum_numbers_are_refused(number: int) -> None:
    faults = Faults()
    wire: Any = number
    faults.enum("base_unit", wire, BaseUnit)
    assert told(faults) == [("base_unit", "must be one of BASE_UNIT_KWH, BASE_UNIT_KGCO2E, BASE_UNIT_KGCE")]


def interval(start: tuple[int, int] | None, end: tuple[int, int] | None) -> Interval:
    made = Interval()
    if start is not None:
        made.start_time.CopyFrom(Timestamp(seconds=start[0], nanos=start[1]))
    if end is not None:
        made.end_time.CopyFrom(Timestamp(seconds=end[0], nanos=end[1]))
    return made


A, B = int(JANUARY.start.timestamp()), int(JANUARY.end.timestamp())
LAST, FIRST = int(LATEST.timestamp()), int(EARLIEST.timestamp())


@pytest.mark.parametrize(
    ("start", "end", "fields"),
    [
        (None, None, ["p.start_time", "p.end_time"]),
        ((A, 0), None, ["p.end_time"]),
        (None, (B, 0), ["p.start_time"]),
        ((B, 0), (A, 0), ["p"]),
        ((A, 0), (A, 0), ["p"]),
        ((A, 1000), (A, 1000), ["p"]),
        ((0, 0), (B, 0), ["p.start_time"]),
        ((A, 0), (LAST, 1000), ["p.end_time"]),
        ((A, 0), (253_402_300_799, 999_999_999), ["p.end_time"]),  # year 9999
        ((INT64_MIN, 0), (INT64_MAX, 0), ["p.start_time", "p.end_time"]),
        ((A, -1), (B, 0), ["p.start_time"]),
        ((A, 1_000_000_000), (B, 0), ["p.start_time"]),
        ((A, 1), (B, 999), ["p.start_time", "p.end_time"]),
        ((A, 0), (A + int(MAX_PERIOD.total_seconds()), 1000), ["p"]),
        ((FIRST, 0), (LAST, 0), ["p"]),
    ],
)
def test_what_is_no_period_is_refused(
    start: tuple[int, int] | None, end: tuple[int, int] | None, fields: list[str]
) -> None:
    faults = Faults()
    assert faults.period("p", True, interval(start, end)) is None
    assert [field for field, _ in told(faults)] == fields


def test_a_missing_period_is_a_fault_only_where_one_is_required() -> None:
    faults = Faults()
    assert faults.period("p", False, Interval(), required=False) is None
    assert not faults.any()
    assert faults.period("p", False, Interval()) is None
    assert [field for field, _ in told(faults)] == ["p"]


@pytest.mark.parametrize(
    "period",
    [
        JANUARY,
        Period(EARLIEST, EARLIEST + timedelta(microseconds=1)),
        Period(LATEST - MAX_PERIOD, LATEST),
        Period.of(
            datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=timezone(timedelta(hours=8))), datetime(2026, 4, 1, tzinfo=UTC)
        ),
    ],
)
def test_periods_survive_the_wire_to_the_microsecond(period: Period) -> None:
    faults = Faults()
    assert faults.period("p", True, Interval.FromString(to_interval(period).SerializeToString())) == period
    assert not faults.any()


@pytest.mark.parametrize(
    "instant", [datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_timestamps_equal_those_of_protobuf(instant: datetime) -> None:
    expected = Timestamp()
    expected.FromDatetime(instant)
    assert to_timestamp(instant) == expected


@given(st.binary(max_size=64), st.text(max_size=80), st.integers(INT64_MIN, INT64_MAX))
def test_whatever_the_wire_carries_becomes_a_value_or_a_fault(data: bytes, text: str, number: int) -> None:
    try:
        wire = Interval.FromString(data)
    except DecodeError:
        wire = interval((number, number % 2**31), (number // 2, 0))
    faults = Faults()
    period = faults.period("p", True, wire)
    assert (period is None) == faults.any()
    if period is not None:
        assert to_interval(period) == wire
    for check in (faults.request_id, faults.reference, faults.code):
        check("f", text)
    faults.text("f", text, max_length=40)
    faults.activity("f", f"activities/{text}")
    faults.page_token("f", text, "h")


def test_page_tokens_belong_to_their_query() -> None:
    query = ListIssuanceLocksRequest(registry="gec", page_size=10)
    other = ListIssuanceLocksRequest(registry="ccer")
    for position in (0, 41, INT64_MAX):
        token = encode_page_token(query_hash(query), position)
        query.page_token, query.page_size = token, 20
        faults = Faults()
        assert faults.page_token("page_token", token, query_hash(query)) == position
        assert not faults.any()
        assert faults.page_token("page_token", token, query_hash(other)) is None
        assert "another query" in told(faults)[0][1]


def test_a_position_may_have_several_numbers() -> None:
    faults = Faults()
    token = encode_page_token("h", 1, 0, INT64_MAX)
    assert faults.page_position("page_token", token, "h", 3) == (1, 0, INT64_MAX)
    assert not faults.any()
    for numbers in (1, 2, 4):
        assert faults.page_position("page_token", token, "h", numbers) is None
    assert [text for _, text in told(faults)] == [
        "is no page token; pass the next_page_token of the response before, unchanged"
    ] * 3


@pytest.mark.parametrize(
    "token", ["x", "%%%%", "é", "A" * 24, "A" * 1_000_000, encode_page_token("h", 1) + "AAAA", "AQ=="]
)
def test_what_is_no_page_token_is_refused_with_the_remedy(token: str) -> None:
    faults = Faults()
    assert faults.page_token("page_token", token, "h") is None
    assert "next_page_token" in told(faults)[0][1]
