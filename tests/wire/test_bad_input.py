"""Bad input meets the exact reason, field and remedy, on both stores (issue section 6)."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.interval_pb2 import Interval
from sqlalchemy import make_url

from soleclaim.api.common.v1.types_pb2 import Declaration, Identifier, Slice
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb2
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb2
from soleclaim.api.lookup.v1.issuance_lock_service_pb2_grpc import IssuanceLockServiceStub
from soleclaim.client import RemoteRefusal, RemoteUnavailable, TlsFault
from soleclaim.core.activity_id import activity_key, make_activity_id, new_activity_key, parse_activity_id
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.core.serials import MAX_SERIAL
from soleclaim.identity.schemes import SCHEMES
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.limits import MAX_MESSAGE_BYTES
from soleclaim.rpc.status import from_call
from tests.wire.conftest import (
    CCER,
    OPERATOR,
    REGULATOR,
    Party,
    Wire,
    block,
    fresh,
    items_of,
    meter,
    month,
    outcome,
    project,
    reason_of,
    refused,
    span,
    to_abort,
    to_begin,
    to_commit,
    to_release,
    told,
    ttl,
    violations,
    wish,
)

if TYPE_CHECKING:
    from tests.conftest import PostgresServer

MAX_UNITS: Final = 10**15
KNOWN_ID: Final = "activities/CN0000000000" + "0056"  # only its shape counts where it is used
LONG: Final = "x" * 400


def stamp(text: str, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()), nanos=nanos)


def between(start: Timestamp, end: Timestamp) -> Interval:
    return Interval(start_time=start, end_time=end)


JANUARY, FEBRUARY = stamp("2025-01-01"), stamp("2025-02-01")
ORDER = "start_time must lie before end_time; a period is half-open [start, end)"
BOTH_ENDS = "is missing; a period needs both ends, as UTC instants"
PERIODS: Final[dict[str, tuple[Interval | None, list[tuple[str, str]]]]] = {
    "missing": (None, [("period", "is missing; give start_time and end_time as UTC instants")]),
    "naive": (Interval(start_time=JANUARY), [("period.end_time", BOTH_ENDS)]),
    "without ends": (Interval(), [("period.start_time", BOTH_ENDS), ("period.end_time", BOTH_ENDS)]),
    "empty": (between(JANUARY, JANUARY), [("period", ORDER)]),
    "reversed": (between(FEBRUARY, JANUARY), [("period", ORDER)]),
    "too long": (between(JANUARY, stamp("2035-01-20")), [("period", "is longer than ten years; split it")]),
    "too early": (
        between(stamp("1989-12-31"), JANUARY),
        [("period.start_time", "must lie between 1990-01-01 and 2200-01-01")],
    ),
    "too fine": (
        between(stamp("2025-01-01", 1), FEBRUARY),
        [("period.start_time", "must be a whole number of microseconds")],
    ),
    "no instant": (
        between(JANUARY, stamp("2025-02-01", 2_000_000_000)),
        [("period.end_time", "nanos must lie between 0 and 999,999,999")],
    ),
}
NUMBERS: Final = (0, -1, MAX_UNITS + 1, 2**63 - 1, -(2**63))
UNKNOWN_REGISTRY = "is not a registry of policy bundle 2026-11; ListRegistries shows those that are"
NOT_A_CODE = "must be a code of 1 to 32 characters A-Z a-z 0-9 _ -"
ID_SHAPE = "an activity id has 16 characters: country, 12 of Crockford base32 (no I, L, O, U), 2 check digits"
CHECK_DIGITS = "check digits do not fit; compare the id with its source character by character"
REFERENCE = "must be 1 to 64 characters A-Z a-z 0-9 . _ : -"
REQUEST_ID = "must be 8 to 64 characters A-Z a-z 0-9 . _ : -, made by the client"
CONTROL = "has control or invisible formatting characters; remove them"

ACQUIRES: Final[dict[str, tuple[dict[str, Any], list[tuple[str, str]]]]] = {
    **{f"period {name}": ({"period": period}, faults) for name, (period, faults) in PERIODS.items()},
    **{
        f"units {number}": ({"units": number}, [("units", f"is {number}; must lie between 1 and {MAX_UNITS}")])
        for number in NUMBERS
    },
    "carried in negative": ({"carried_in": -1}, [("carried_in", "is -1; must lie between 0 and 999")]),
    "carried in a whole unit": ({"carried_in": 1000}, [("carried_in", "is 1000; must lie between 0 and 999")]),
    "registry unknown": (
        {"registry": "verra"},
        [("registry", UNKNOWN_REGISTRY), ("instrument", "is not issued by registry verra; its instruments: none")],
    ),
    "registry too long": (
        {"registry": "v" * 33},
        [
            ("registry", NOT_A_CODE),
            ("registry", UNKNOWN_REGISTRY),
            ("instrument", f"is not issued by registry {'v' * 32}; its instruments: none"),
        ],
    ),
    "instrument unknown": (
        {"instrument": "VCU"},
        [("instrument", "is not issued by registry ccer; its instruments: CCER")],
    ),
    "instrument of another registry": (
        {"instrument": "GEC"},
        [("instrument", "is not issued by registry ccer; its instruments: CCER")],
    ),
    "activity without collection": (
        {"activity": "CN7K3M9Q2X4T8A52"},
        [("activity", "must be activities/{activity_id}")],
    ),
    "activity with control characters": ({"activity": "activities/CN7K\n3M9Q2X4T8A5"}, [("activity", ID_SHAPE)]),
    "activity too long": ({"activity": f"activities/{LONG}"}, [("activity", ID_SHAPE)]),
    "activity in fours": (
        {"activity": "spaced"},
        [("activity", "must have the id in capitals without spaces or hyphens")],
    ),
    "activity with wrong check digits": ({"activity": "wrong"}, [("activity", CHECK_DIGITS)]),
    "reference empty": ({"reference": ""}, [("reference", REFERENCE)]),
    "reference with control characters": ({"reference": "abc\x00"}, [("reference", REFERENCE)]),
    "reference too long": ({"reference": "x" * 65}, [("reference", REFERENCE)]),
    "slice reversed": (
        {"slice": Slice(start=5, end=5)},
        [("slice", "start must be 0 or more and less than end; a slice is half-open [start, end)")],
    ),
    "slice negative": (
        {"slice": Slice(start=-1, end=5)},
        [("slice", "start must be 0 or more and less than end; a slice is half-open [start, end)")],
    ),
    "ttl too short": ({"ttl": ttl(0.5)}, [("ttl", "must lie between 1 second and 1 hour")]),
    "ttl too long": ({"ttl": ttl(3601)}, [("ttl", "must lie between 1 second and 1 hour")]),
    "request id too short": ({"request_id": "seven77"}, [("request_id", REQUEST_ID)]),
    "request id too long": ({"request_id": "x" * 65}, [("request_id", REQUEST_ID)]),
    "request id of other characters": ({"request_id": "甲乙丙丁戊己庚辛"}, [("request_id", REQUEST_ID)]),
}


def with_wrong_check_digits(name: str) -> str:
    return f"{name[:-2]}{(int(name[-2:]) + 1) % 97:02d}"


def spelled(changes: dict[str, Any], activity: str) -> dict[str, Any]:
    """The table's stand-ins made of a real name."""
    name = changes.get("activity")
    if name == "wrong":
        return {"activity": with_wrong_check_digits(activity)}
    if name == "spaced":
        return {"activity": f"{activity[:15]} {activity[15:]}"}
    return changes


# Nothing is stored for a malformed request: one store is enough for the tables.
on_sqlite = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=False)


async def faults_of(call: Awaitable[Any]) -> list[tuple[str, str]]:
    """What an invalid request is told; nothing when it was taken."""
    try:
        await call
    except RemoteRefusal as refusal:
        return violations(refusal) if refusal.reason is Reason.INVALID_REQUEST else [("", str(refusal))]
    return []


def under(prefix: str, faults: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"{prefix}{field}", text) for field, text in faults]


@on_sqlite
async def test_a_malformed_wish_names_field_and_remedy(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    expected = {case: faults for case, (_, faults) in ACQUIRES.items()}
    wishes = {case: wish("ccer", activity, **spelled(each, activity)) for case, (each, _) in ACQUIRES.items()}
    wishes["period missing"].ClearField("period")
    assert {case: await faults_of(ccer("AcquireIssuanceLock", each)) for case, each in wishes.items()} == expected
    # The same inside a batch and in a dry run; only the place of the field differs.
    del expected["request id too short"], expected["request id too long"], expected["request id of other characters"]
    items = items_of(*(wishes[case] for case in expected))
    batch = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items)
    results = (await ccer("BatchAcquireIssuanceLocks", batch)).results
    assert {case: violations(told(each.error)) for case, each in zip(expected, results, strict=True)} == {
        case: under(f"requests[{i}].", faults) for i, (case, faults) in enumerate(expected.items())
    }
    dry_runs = {
        case: await faults_of(ccer("CheckIssuanceLock", lock_pb2.CheckIssuanceLockRequest(request=each)))
        for case, each in zip(expected, items, strict=True)
    }
    assert dry_runs == {case: under("request.", faults) for case, faults in expected.items()}


@on_sqlite
async def test_the_message_names_the_faults_and_the_remedy_in_two_languages(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    refusal = await refused(ccer.acquire(activity, span(0, 5), units=0, reference=""), Reason.INVALID_REQUEST)
    faults = f"units: is 0; must lie between 1 and {MAX_UNITS}; reference: {REFERENCE}"
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.message_en == f"the request has 2 fault(s): {faults}; mend every field named and send again"
    assert refusal.message_zh == f"请求有 2 处错误：{faults}；请逐项改正所列字段后重发"
    assert refusal.variables == {"count": "2", "faults": faults}


LOCK_NAME = "must be issuanceLocks/{number}, as the lookup gave it"
TOKEN = f"is 0; must lie between 1 and {2**63 - 1}"
RANGE = f"serials must lie between 0 and {MAX_SERIAL}"
COMMITS: Final[dict[str, tuple[dict[str, Any], list[tuple[str, str]]]]] = {
    **{
        f"name {name!r}": ({"name": name}, [("name", LOCK_NAME)])
        for name in (
            "", "issuanceLocks/", "issuanceLocks/0", "issuanceLocks/01", "issuanceLocks/-1", "issuanceLocks/１",
            f"issuanceLocks/{2**63}", "locks/1", "issuanceLocks/1 ",
        )
    },
    "token zero": ({"fencing_token": 0}, [("fencing_token", TOKEN)]),
    "native id empty": ({"native_issuance_id": ""}, [("native_issuance_id", "is empty; give 1 to 128 characters")]),
    "native id with control characters": ({"native_issuance_id": "a\tb"}, [("native_issuance_id", CONTROL)]),
    "native id with a zero byte": ({"native_issuance_id": "a\x00b"}, [("native_issuance_id", CONTROL)]),
    "native id with an invisible character": ({"native_issuance_id": "a\u200bb"}, [("native_issuance_id", CONTROL)]),
    "native id too long": (
        {"native_issuance_id": "x" * 129},
        [("native_issuance_id", "has 129 characters; at most 128 are allowed")],
    ),
    "no blocks": ({"blocks": []}, [("blocks", "must hold 1 to 64 serial ranges")]),
    "too many blocks": (
        {"blocks": [block("s", i, i) for i in range(65)]},
        [("blocks", "must hold 1 to 64 serial ranges")],
    ),
    "start after end": (
        {"blocks": [block("s", 2, 1)]},
        [("blocks[0]", "start must not be greater than end; serial ranges are inclusive")],
    ),
    "serial negative": ({"blocks": [block("s", -1, 1)]}, [("blocks[0]", RANGE)]),
    "serial too large": ({"blocks": [block("s", 1, 2**63 - 1)]}, [("blocks[0]", RANGE)]),
    "series empty": ({"blocks": [block("", 1, 2)]}, [("blocks[0].series", "is empty; give 1 to 128 characters")]),
    "series with control characters": ({"blocks": [block("a\x00b", 1, 2)]}, [("blocks[0].series", CONTROL)]),
    "blocks that overlap": (
        {"blocks": [block("s", 1, 6), block("t", 1, 9), block("s", 5, 10)]},
        [("blocks", "serials 5 to 6 of a series stand in two blocks")],
    ),
    "a block inside another": (
        {"blocks": [block("s", 1, 9), block("s", 4, 5)]},
        [("blocks", "serials 4 to 5 of a series stand in two blocks")],
    ),
    "more units than any grant": (
        {"blocks": [block("s", 0, MAX_SERIAL), block("t", 0, MAX_SERIAL)]},
        [("blocks", f"hold {2 * (MAX_SERIAL + 1)} units; a grant has at most {MAX_UNITS}")],
    ),
}  # fmt: skip


@on_sqlite
async def test_a_malformed_commit_names_field_and_remedy_and_leaves_the_lock_issuing(wire: Wire, ccer: Party) -> None:
    lock = await ccer.issuing(await wire.activity(CCER))
    found = {
        case: await faults_of(ccer("CommitIssuance", to_commit(lock, **changes)))
        for case, (changes, _) in COMMITS.items()
    }
    assert found == {case: faults for case, (_, faults) in COMMITS.items()}
    assert (await ccer.get(lock)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUING


@on_sqlite
async def test_an_abort_without_evidence_is_refused(wire: Wire, ccer: Party) -> None:
    lock = await ccer.issuing(await wire.activity(CCER))
    refusal = await refused(ccer.abort(lock, evidence=None), Reason.INVALID_REQUEST)
    kinds = ", ".join(
        f"ABSENCE_EVIDENCE_KIND_{name}"
        for name in ("NATIVE_REFUSED", "REFERENCE_VOIDED", "NOT_FOUND_TWICE", "NEVER_SENT")
    )
    assert violations(refusal) == [
        ("evidence.kind", f"must be one of {kinds}"),
        ("evidence.detail", "is empty; give 1 to 1024 characters"),
    ]
    unknown = lock_pb2.AbsenceEvidence(detail="x" * 1025)
    unknown.kind = 99  # type: ignore[assignment]  # what a newer client may send
    refusal = await refused(ccer.abort(lock, evidence=unknown), Reason.INVALID_REQUEST)
    assert violations(refusal) == [
        ("evidence.kind", f"must be one of {kinds}"),
        ("evidence.detail", "has 1025 characters; at most 1024 are allowed"),
    ]
    assert (await ccer.get(lock)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUING


SCHEME = f"use one of {', '.join(sorted(SCHEMES))}"
REGISTRATIONS: Final[dict[str, tuple[dict[str, Any], list[tuple[str, str]]]]] = {
    "scheme unknown": (
        {"identifiers": [Identifier(scheme="isin", value="1")]},
        [("identifiers[0]", f"scheme 'isin' is not known; {SCHEME}")],
    ),
    "scheme with control characters": (
        {"identifiers": [Identifier(scheme="cdm\n", value="1")]},
        [("identifiers[0]", f"scheme 'cdm\\n' is not known; {SCHEME}")],
    ),
    **{
        f"identifier {value[:20]!r}": (
            {"identifiers": [Identifier(scheme=scheme, value=value)]},
            [("identifiers[0]", f"not a value of scheme {scheme}; it looks like {SCHEMES[scheme].example}")],
        )
        for scheme, value in (
            ("gec_filing_code", "FDWD240715000012"),
            ("gec_filing_code", "FDWD2407150000123\n"),
            ("metering_point", "31012345\x00"),
            ("metering_point", "3" * 5000),
            ("cn_project_code", "2509-320193-89-01"),
            ("cdm", "07014"),
            ("cdm", "7０１４"),
            ("vcs", "1٣40"),
            ("arb_project", "CALS５041"),
            ("cn_project_code", "２509-320193-89-01-544060"),
        )
    },
    "no identifier": (
        {"identifiers": []},
        [
            (
                "identifiers",
                "must hold 1 to 16 strong identifiers, or description must be given; without either a project cannot "
                "be told from its look-alikes",
            )
        ],
    ),
    "registry unknown": (
        {"native_project": activity_pb2.NativeProjectRef(registry="verra", native_project_id="1")},
        [("native_project.registry", UNKNOWN_REGISTRY)],
    ),
    "project id with control characters": (
        {"native_project": activity_pb2.NativeProjectRef(registry="ccer", native_project_id="a\x1bb")},
        [("native_project.native_project_id", CONTROL)],
    ),
    "project id too long": (
        {"native_project": activity_pb2.NativeProjectRef(registry="ccer", native_project_id="x" * 129)},
        [("native_project.native_project_id", "has 129 characters; at most 128 are allowed")],
    ),
    "country in small letters": (
        {"country": "cn"},
        [("country", "must be two capital letters (ISO 3166-1 alpha-2)")],
    ),
    "activity type in capitals": (
        {"activity_type": "Wind"},
        [("activity_type", "must be lower case, for example wind, solar, hydro")],
    ),
    "name too long": ({"display_name": "风" * 257}, [("display_name", "has 257 characters; at most 256 are allowed")]),
    "name with white space": (
        {"display_name": " x"},
        [("display_name", "begins or ends with white space; remove it")],
    ),
    "time zone missing": ({"time_zone": ""}, [("time_zone", "is empty; give 1 to 64 characters")]),
}


@on_sqlite
async def test_a_malformed_registration_names_field_and_remedy(ccer: Party) -> None:
    found = {
        case: await faults_of(ccer("RegisterActivity", project("ccer", meter(), **changes)))
        for case, (changes, _) in REGISTRATIONS.items()
    }
    assert found == {case: faults for case, (_, faults) in REGISTRATIONS.items()}


@on_sqlite
async def test_a_malformed_outcome_names_field_and_remedy(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    limit = 10**18
    for quantity in (-1, limit + 1):
        refusal = await refused(ccer.record(activity, quantity), Reason.INVALID_REQUEST)
        assert violations(refusal) == [("quantity", f"is {quantity}; must lie between 0 and {limit}")]
    refusal = await refused(ccer.record(activity, 1, base_unit=0), Reason.INVALID_REQUEST)
    units = "BASE_UNIT_KWH, BASE_UNIT_KGCO2E, BASE_UNIT_KGCE"
    assert violations(refusal) == [("base_unit", f"must be one of {units}")]
    for period, faults in PERIODS.values():
        message = outcome("ccer", activity, 1)
        message.ClearField("period")
        if period is not None:
            message.period.CopyFrom(period)
        assert violations(await refused(ccer("RecordOutcome", message), Reason.INVALID_REQUEST)) == faults
    assert (await ccer.record(activity, 0)).quantity == 0


@on_sqlite
async def test_all_violations_of_one_request_come_back_together(ccer: Party) -> None:
    message = lock_pb2.AcquireIssuanceLockRequest(
        request_id="x", registry="nobody", instrument="NONE", activity="nothing", period=Interval(), units=-5,
        carried_in=-1, reference=" ", ttl=ttl(0),
    )  # fmt: skip
    refusal = await refused(ccer("AcquireIssuanceLock", message), Reason.INVALID_REQUEST)
    assert [field for field, _ in violations(refusal)] == [
        "request_id", "registry", "instrument", "activity", "period.start_time", "period.end_time", "units",
        "carried_in", "reference",
    ]  # fmt: skip
    refusal = await refused(ccer("CommitIssuance", lock_pb2.CommitIssuanceRequest()), Reason.INVALID_REQUEST)
    assert [field for field, _ in violations(refusal)] == [
        "request_id", "name", "fencing_token", "native_issuance_id", "blocks",
    ]  # fmt: skip
    refusal = await refused(ccer("RegisterActivity", activity_pb2.RegisterActivityRequest()), Reason.INVALID_REQUEST)
    assert {field for field, _ in violations(refusal)} == {
        "request_id", "native_project.registry", "native_project.native_project_id", "country", "activity_type",
        "identifiers", "display_name", "time_zone",
    }  # fmt: skip


@on_sqlite
async def test_a_number_above_int64_on_the_wire_is_read_as_negative_and_refused(wire: Wire) -> None:
    with pytest.raises(ValueError, match="out of range"):
        wish("ccer", KNOWN_ID, units=2**63)
    message = wish("ccer", await wire.activity(CCER))
    message.ClearField("units")
    varint = b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"  # 2^63
    raw = message.SerializeToString() + b"\x38" + varint
    refusal = await refused_raw(wire, "AcquireIssuanceLock", raw)
    assert refusal.reason is Reason.INVALID_REQUEST
    assert violations(refusal) == [("units", f"is {-(2**63)}; must lie between 1 and {MAX_UNITS}")]


async def refused_raw(wire: Wire, method: str, data: bytes) -> Any:
    """What the lookup answers to these bytes."""
    channel = raw_channel(wire)
    async with channel:
        call: Any = channel.unary_unary(f"/soleclaim.api.lookup.v1.IssuanceLockService/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(data, timeout=10)
    return from_call(caught.value)


def raw_channel(wire: Wire, caller: Caller = CCER, **files: Path) -> grpc.aio.Channel:
    """Without the checks and limits that our own channels have."""
    paths = {"authority": wire.files(caller).authority, "certificate": wire.files(caller).certificate,
             "key": wire.files(caller).key} | files  # fmt: skip
    credentials = grpc.ssl_channel_credentials(
        paths["authority"].read_bytes(), paths["key"].read_bytes(), paths["certificate"].read_bytes()
    )
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return grpc.aio.secure_channel(f"localhost:{wire.port}", credentials, options=options)


@on_sqlite
async def test_bytes_that_are_no_message_are_refused_as_such(wire: Wire) -> None:
    refusal = await refused_raw(wire, "AcquireIssuanceLock", b"\xff\xff\xff")
    assert refusal.reason is Reason.INVALID_REQUEST
    assert violations(refusal) == [("", "the bytes are no message of this method; compare the client's API version")]


@on_sqlite
async def test_a_message_over_the_limit_is_refused_and_changes_nothing(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    message = wish("ccer", activity)
    padding = b"\x8a\x3f" + b"\x80\x80\x80\x02"  # an unknown field 1009 of 4 MiB
    refusal = await refused_raw(wire, "AcquireIssuanceLock", message.SerializeToString() + padding + bytes(4 << 20))
    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in refusal.message_en
    assert str(MAX_MESSAGE_BYTES) in refusal.message_en
    listed = await ccer("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(activity=activity))
    assert not listed.issuance_locks


BATCHES: Final = {
    "BatchAcquireIssuanceLocks": (lock_pb2.BatchAcquireIssuanceLocksRequest, lock_pb2.AcquireIssuanceLockRequest),
    "BatchBeginIssuances": (lock_pb2.BatchBeginIssuancesRequest, lock_pb2.BeginIssuanceRequest),
    "BatchCommitIssuances": (lock_pb2.BatchCommitIssuancesRequest, lock_pb2.CommitIssuanceRequest),
    "BatchAbortIssuances": (lock_pb2.BatchAbortIssuancesRequest, lock_pb2.AbortIssuanceRequest),
    "BatchReleaseIssuanceLocks": (lock_pb2.BatchReleaseIssuanceLocksRequest, lock_pb2.ReleaseIssuanceLockRequest),
    "BatchRegisterActivities": (activity_pb2.BatchRegisterActivitiesRequest, activity_pb2.RegisterActivityRequest),
    "BatchRecordOutcomes": (outcome_pb2.BatchRecordOutcomesRequest, outcome_pb2.RecordOutcomeRequest),
}


def test_every_batch_form_of_the_api_is_tried() -> None:
    files = (lock_pb2.DESCRIPTOR, activity_pb2.DESCRIPTOR, outcome_pb2.DESCRIPTOR, directory_pb2.DESCRIPTOR)
    methods = {each.name for file in files for one in file.services_by_name.values() for each in one.methods}
    assert {name for name in methods if name.startswith("Batch")} == {*BATCHES, "BatchGetIssuanceLocks"}


@on_sqlite
async def test_a_batch_holds_one_to_a_thousand_items(ccer: Party) -> None:
    for method, (batch, item) in BATCHES.items():
        await holds_one_to_a_thousand(ccer, method, batch, item)


@on_sqlite
async def test_one_to_a_thousand_locks_are_read_by_name(ccer: Party) -> None:
    for names, faults in (
        ([], [("names.size", "is 0; must lie between 1 and 1000")]),
        (["issuanceLocks/1"] * 1001, [("names.size", "is 1001; must lie between 1 and 1000")]),
        (["issuanceLocks/1", "1"], [("names[1]", "must be issuanceLocks/{number}, as the lookup gave it")]),
    ):
        request = lock_pb2.BatchGetIssuanceLocksRequest(names=names)
        refusal = await refused(ccer("BatchGetIssuanceLocks", request), Reason.INVALID_REQUEST)
        assert violations(refusal) == faults


async def holds_one_to_a_thousand(ccer: Party, method: str, batch: Any, item: Any) -> None:
    for count in (0, 1001):
        message = batch(request_id="short", requests=[item()] * count)
        refusal = await refused(ccer(method, message), Reason.INVALID_REQUEST)
        assert violations(refusal) == [
            ("request_id", REQUEST_ID),
            ("requests", f"must hold 1 to 1000 items, not {count}; split the batch"),
        ]
    # A thousand are taken, and each of these empty items is told its faults; the answer fits into a message.
    answer = await ccer(method, batch(request_id=fresh(), requests=[item()] * 1000))
    assert [reason_of(each) for each in answer.results] == [Reason.INVALID_REQUEST] * 1000
    assert all(field.startswith("requests[999].") for field, _ in violations(told(answer.results[999].error)))
    inner = batch(request_id=fresh(), requests=[item(request_id=fresh())])
    (result,) = (await ccer(method, inner)).results
    text = "must stay empty inside a batch; the batch's own request_id counts"
    assert violations(told(result.error))[0] == ("requests[0].request_id", text)


# What needs the store


async def test_unknown_activities_are_told_apart_from_those_not_registered(wire: Wire, ccer: Party, gec: Party) -> None:
    nothing = f"activities/{make_activity_id('CN', new_activity_key())}"
    refusal = await refused(ccer.acquire(nothing), Reason.ACTIVITY_UNKNOWN)
    assert refusal.code == "NOT_FOUND"
    assert refusal.message_en == (
        f"no activity is known for {nothing}; register the project first (RegisterActivity), or correct the identifier"
    )
    await refused(ccer.record(nothing, 5), Reason.ACTIVITY_UNKNOWN)
    await refused(ccer("GetActivity", activity_pb2.GetActivityRequest(name=nothing)), Reason.ACTIVITY_UNKNOWN)
    activity = await wire.activity(CCER)
    elsewhere = f"activities/{make_activity_id('DE', number_of(activity))}"
    await refused(ccer.acquire(elsewhere), Reason.ACTIVITY_UNKNOWN)
    await refused(ccer("GetActivity", activity_pb2.GetActivityRequest(name=elsewhere)), Reason.ACTIVITY_UNKNOWN)
    for call in (gec.acquire(activity), gec.record(activity, 5)):
        refusal = await refused(call, Reason.ACTIVITY_NOT_REGISTERED)
        assert refusal.variables == {"registry": "gec", "activity": activity}


def number_of(activity: str) -> Any:
    return activity_key(parse_activity_id(activity.partition("/")[2]))


async def test_policy_names_every_rule_that_is_not_met(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    refusal = await refused(ccer.acquire(activity, declaration=Declaration()), Reason.POLICY_REFUSED)
    assert refusal.variables == {
        "rules": "declaration-no-other-application, declaration-no-claim-after-transfer",
        "bundle": "2026-11",
    }
    half = Declaration(no_other_application=True)
    refusal = await refused(ccer.acquire(activity, declaration=half), Reason.POLICY_REFUSED)
    assert refusal.variables["rules"] == "declaration-no-claim-after-transfer"


async def test_of_two_items_that_contradict_each_other_the_first_wins_and_the_rest_is_unharmed(
    wire: Wire, ccer: Party
) -> None:
    first, other = await wire.activity(CCER), await wire.activity(CCER)
    items = items_of(
        wish("ccer", first, span(0, 30)),
        wish("ccer", other, span(0, 30)),
        wish("ccer", first, span(29, 59)),  # against item 0
        wish("ccer", first, span(0, 30)),  # the very same
        wish("ccer", first, span(30, 60)),  # only touches it: item 2 did not win, so this one may
        wish("ccer", first, span(59, 60)),  # against item 4
        wish("ccer", other, span(30, 60), units=0),
    )
    batch = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items)
    results = (await ccer("BatchAcquireIssuanceLocks", batch)).results
    contradicts = Reason.CONTRADICTS_BATCH_ITEM
    assert [reason_of(each) for each in results] == [
        None, None, contradicts, contradicts, None, contradicts, Reason.INVALID_REQUEST,
    ]  # fmt: skip
    assert [told(results[i].error).variables["item"] for i in (2, 3, 5)] == ["0", "0", "4"]
    assert told(results[2].error).message_en == (
        "contradicts item 0 of the same batch; send only one of the two, or send this one in a batch of its own"
    )
    listed = await ccer("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(activity=first))
    assert [each.name for each in listed.issuance_locks] == [results[0].lock.name, results[4].lock.name]


async def test_a_batch_moves_a_lock_once(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    one, two, three = [await ccer.acquire(activity, month(i)) for i in range(3)]
    contradicts = Reason.CONTRADICTS_BATCH_ITEM

    async def run(method: str, *requests: Any) -> list[Any]:
        batch = BATCHES[method][0](request_id=fresh(), requests=items_of(*requests))
        return list((await ccer(method, batch)).results)

    results = await run("BatchBeginIssuances", to_begin(one), to_begin(two), to_begin(one))
    assert [reason_of(each) for each in results] == [None, None, contradicts]
    assert told(results[2].error).variables == {"item": "0"}
    # The second commit would be right by itself and is refused all the same.
    results = await run("BatchCommitIssuances", to_commit(one), to_commit(one), to_commit(two))
    assert [reason_of(each) for each in results] == [None, contradicts, None]
    assert (await ccer.get(one)).issuances[0].units == 10
    results = await run("BatchReleaseIssuanceLocks", to_release(three), to_release(three))
    assert [reason_of(each) for each in results] == [None, contradicts]
    four = await ccer.issuing(activity, month(4))
    results = await run("BatchAbortIssuances", to_abort(four, fencing_token=4), to_abort(four))
    assert [reason_of(each) for each in results] == [Reason.FENCING_TOKEN_STALE, contradicts]
    assert (await ccer.get(four)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUING


async def test_a_stale_token_moves_nothing(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    old = await ccer.issued(activity)
    new = await ccer.acquire(activity)
    assert new.name == old.name
    assert new.fencing_token > old.fencing_token
    for verb in (ccer.begin, ccer.release, ccer.abort):
        refusal = await refused(verb(old), Reason.FENCING_TOKEN_STALE)
        assert refusal.code == "FAILED_PRECONDITION"
        assert refusal.message_en == (
            f"token {old.fencing_token} of {old.name} is not the token of the grant in force; somebody went on with "
            "this lock; stop, read the lock, and do not issue natively"
        )
    await refused(ccer.begin(new, fencing_token=new.fencing_token + 1), Reason.FENCING_TOKEN_STALE)
    await refused(ccer.commit(new, fencing_token=new.fencing_token + 1), Reason.FENCING_TOKEN_STALE)
    assert (await ccer.begin(new)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUING


async def test_begin_and_commit_after_expiry_are_refused_even_before_the_sweep(wire: Wire, ccer: Party) -> None:
    activity = await wire.activity(CCER)
    lock = await ccer.acquire(activity)
    wire.expire(lock)
    for verb in (ccer.begin, ccer.commit):
        refusal = await refused(verb(lock), Reason.LOCK_EXPIRED)
        assert refusal.message_en == (
            f"{lock.name} expired at 1970-01-01 00:00:00.000001+00:00 before it was begun; "
            "acquire the lock again, with a new request_id"
        )
    # The next grant on the month ends it; the answer stays the same.
    again = await ccer.acquire(activity)
    assert again.name != lock.name
    for verb in (ccer.begin, ccer.commit):
        await refused(verb(lock), Reason.LOCK_EXPIRED)
    assert (await ccer.get(lock)).state == lock_pb2.ISSUANCE_LOCK_STATE_EXPIRED
    # A supplement that ran out.
    await ccer.commit(await ccer.begin(again))
    supplement = await ccer.acquire(activity)
    wire.expire(supplement)
    await refused(ccer.begin(supplement), Reason.LOCK_EXPIRED)


async def test_commit_before_begin_names_the_state(wire: Wire, ccer: Party) -> None:
    lock = await ccer.acquire(await wire.activity(CCER))
    refusal = await refused(ccer.commit(lock), Reason.LOCK_STATE_WRONG)
    assert refusal.variables == {"lock": lock.name, "state": "HELD", "action": "CommitIssuance", "needed": "ISSUING"}
    issuing = await ccer.begin(lock)
    refusal = await refused(ccer.release(issuing), Reason.LOCK_STATE_WRONG)
    assert refusal.variables["state"] == "ISSUING"


async def test_a_commit_with_other_serials_than_a_repeat_is_refused(wire: Wire, ccer: Party) -> None:
    lock = await ccer.issuing(await wire.activity(CCER), units=10)
    series, native = fresh("series"), fresh("native")
    blocks = [block(series, 1, 4), block(series, 11, 16)]
    done = await ccer.commit(lock, *blocks, native_issuance_id=native)
    # Content decides: the order of the blocks says nothing.
    again = await ccer.commit(lock, *reversed(blocks), native_issuance_id=native)
    assert (again.state, again.fencing_token) == (done.state, done.fencing_token)
    other = [block(series, 1, 4), block(series, 12, 17)]
    for changed in (
        to_commit(lock, *other, native_issuance_id=native),
        to_commit(lock, *blocks, native_issuance_id=fresh("native")),
        to_commit(lock, blocks[0], native_issuance_id=native),
    ):
        refusal = await refused(ccer("CommitIssuance", changed), Reason.COMMIT_DIFFERS)
        assert refusal.code == "ALREADY_EXISTS"
        assert refusal.message_en == (
            f"{lock.name} was committed before with another native issuance or other serials; "
            "compare the native registry with the lock; two native issuances may exist"
        )
    assert len((await ccer.get(lock)).issuances) == 1


async def test_a_commit_counts_exactly_the_units_of_the_grant(wire: Wire, ccer: Party) -> None:
    lock = await ccer.issuing(await wire.activity(CCER), units=10)
    for end in (9, 11, 10**15):
        refusal = await refused(ccer.commit(lock, block(fresh("series"), 1, end)), Reason.UNITS_DIFFER)
        assert refusal.variables == {"counted": str(end), "units": "10"}
    assert (await ccer.get(lock)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUING


async def test_serials_overlap_nothing_that_was_issued_before(wire: Wire, ccer: Party, gec: Party) -> None:
    series = fresh("series")
    activity, other = await wire.activity(), await wire.activity()
    await ccer.commit(await ccer.issuing(activity, month(0)), block(series, 1, 10), native_issuance_id=(n := fresh()))
    lock = await ccer.issuing(other, month(0))
    refusal = await refused(ccer.commit(lock, block(series, 10, 19)), Reason.SERIALS_ALREADY_ISSUED)
    assert refusal.code == "ALREADY_EXISTS"
    assert refusal.variables["series"] == series
    await refused(ccer.commit(lock, native_issuance_id=n), Reason.SERIALS_ALREADY_ISSUED)
    assert (await ccer.get(lock)).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUING
    # A series belongs to its registry: the same text elsewhere is another one.
    await gec.commit(await gec.issuing(other, month(1)), block(series, 1, 10), native_issuance_id=n)
    assert (await ccer.commit(lock, block(series, 11, 20))).state == lock_pb2.ISSUANCE_LOCK_STATE_ISSUED


async def test_serials_overlap_nothing_of_the_same_batch(wire: Wire, ccer: Party) -> None:
    series = fresh("series")
    activity = await wire.activity(CCER)
    locks = [await ccer.issuing(activity, month(i)) for i in range(4)]
    native = fresh("native")
    commits = [
        to_commit(locks[0], block(series, 1, 10), native_issuance_id=native),
        to_commit(locks[1], block(series, 5, 14)),
        to_commit(locks[2], block(series, 11, 20)),
        to_commit(locks[3], native_issuance_id=native),
    ]
    batch = lock_pb2.BatchCommitIssuancesRequest(request_id=fresh(), requests=items_of(*commits))
    results = (await ccer("BatchCommitIssuances", batch)).results
    taken = Reason.SERIALS_ALREADY_ISSUED
    assert [reason_of(each) for each in results] == [None, taken, None, taken]
    states = [(await ccer.get(each)).state for each in locks]
    issued, issuing = lock_pb2.ISSUANCE_LOCK_STATE_ISSUED, lock_pb2.ISSUANCE_LOCK_STATE_ISSUING
    assert states == [issued, issuing, issued, issuing]


async def test_a_page_token_belongs_to_its_query(wire: Wire, ccer: Party) -> None:
    activity, other = await wire.activity(CCER), await wire.activity(CCER)
    for i in range(3):
        await ccer.acquire(activity, month(i))
    query = lock_pb2.ListIssuanceLocksRequest(activity=activity, page_size=2)
    page = await ccer("ListIssuanceLocks", query)
    assert len(page.issuance_locks) == 2
    token = page.next_page_token
    another = "belongs to another query; keep all other fields the same, or start without a token"
    garbage = "is no page token; pass the next_page_token of the response before, unchanged"
    for message, text in (
        (lock_pb2.ListIssuanceLocksRequest(activity=other, page_token=token), another),
        (lock_pb2.ListIssuanceLocksRequest(page_token=token), another),
        (lock_pb2.ListIssuanceLocksRequest(activity=activity, page_token="garbage"), garbage),
        (lock_pb2.ListIssuanceLocksRequest(activity=activity, page_token=f"{token}x"), garbage),
        (lock_pb2.ListIssuanceLocksRequest(activity=activity, page_token="页" * 3000), garbage),
        (activity_pb2.ListActivitiesRequest(page_token=token), another),
        (activity_pb2.ListActivitiesRequest(page_token=f"{token}{token}"), garbage),
    ):
        method = "ListIssuanceLocks" if isinstance(message, lock_pb2.ListIssuanceLocksRequest) else "ListActivities"
        assert violations(await refused(ccer(method, message), Reason.INVALID_REQUEST)) == [("page_token", text)]
    query.page_token, query.page_size = token, 5  # another size is the same query
    assert len((await ccer("ListIssuanceLocks", query)).issuance_locks) == 1
    for size in (-1, 1001):
        message = lock_pb2.ListIssuanceLocksRequest(page_size=size)
        refusal = await refused(ccer("ListIssuanceLocks", message), Reason.INVALID_REQUEST)
        assert violations(refusal) == [("page_size", f"is {size}; must lie between 0 and 1000")]


@on_sqlite
async def test_a_garbled_question_names_field_and_remedy(ccer: Party) -> None:
    get = await refused(ccer("GetIssuanceLock", lock_pb2.GetIssuanceLockRequest(name="x")), Reason.INVALID_REQUEST)
    assert violations(get) == [("name", LOCK_NAME)]
    state = lock_pb2.ListIssuanceLocksRequest(activity="x", registry="ü", period=Interval())
    state.state = 77  # type: ignore[assignment]  # what a newer client may send
    listed = await refused(ccer("ListIssuanceLocks", state), Reason.INVALID_REQUEST)
    assert [field for field, _ in violations(listed)] == [
        "activity", "period.start_time", "period.end_time", "state", "registry",
    ]  # fmt: skip
    resolve = await refused(ccer("ResolveActivity", activity_pb2.ResolveActivityRequest()), Reason.INVALID_REQUEST)
    assert violations(resolve) == [("key", "is missing; give native_project or identifier")]
    text = "is no cursor; pass the one of the last response, or none to start from the beginning"
    for cursor in ("1", "1.2.3", "-1.1", "٣.1", "9" * 19 + ".1"):
        watch = await refused(ccer.events(cursor), Reason.INVALID_REQUEST)
        assert violations(watch) == [("cursor", text)]


# Who calls


async def test_the_wrong_role_is_told_which_role_may_call(wire: Wire) -> None:
    activity = await wire.activity(CCER)
    for caller in (REGULATOR, OPERATOR):
        party = await wire.party(caller)
        refusal = await refused(party("AcquireIssuanceLock", wish("ccer", activity)), Reason.ROLE_NOT_ALLOWED)
        assert refusal.code == "PERMISSION_DENIED"
        method = "/soleclaim.api.lookup.v1.IssuanceLockService/AcquireIssuanceLock"
        assert refusal.message_en == (
            f"role {caller.role.value} may not call {method}; call with a certificate of one of these roles: registry"
        )


async def test_a_registry_that_speaks_for_another_is_refused_before_anything_is_looked_up(
    wire: Wire, ccer: Party
) -> None:
    known, unknown = await wire.activity(), f"activities/{make_activity_id('CN', new_activity_key())}"
    for activity in (known, unknown):
        for method, message in (
            ("AcquireIssuanceLock", wish("gec", activity)),
            ("CheckIssuanceLock", lock_pb2.CheckIssuanceLockRequest(request=items_of(wish("gec", activity))[0])),
            ("RecordOutcome", outcome("gec", activity, 5)),
            ("RegisterActivity", project("gec", meter())),
            ("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(registry="gec", activity=activity)),
            (
                "AnnounceRegistry",
                directory_pb2.AnnounceRegistryRequest(registry="gec", endpoint="h:1", api_version="v1"),
            ),
        ):
            refusal = await refused(ccer(method, message), Reason.REGISTRY_NOT_YOURS)
            assert refusal.code == "PERMISSION_DENIED"
            assert refusal.variables == {"caller": "registry/ccer", "registry": "gec"}
            assert refusal.message_en == (
                "the certificate speaks for registry/ccer, not for registry gec; a registry acts only for itself: "
                "send its own code, or use that registry's certificate"
            )
    batch = lock_pb2.BatchAcquireIssuanceLocksRequest(
        request_id=fresh(), requests=items_of(wish("gec", known), wish("ccer", known))
    )
    results = (await ccer("BatchAcquireIssuanceLocks", batch)).results
    assert [reason_of(each) for each in results] == [Reason.REGISTRY_NOT_YOURS, None]


@on_sqlite
async def test_a_certificate_of_another_authority_or_out_of_date_gets_no_connection(wire: Wire, tmp_path: Path) -> None:
    make_authority(tmp_path)
    foreign = issue_certificate(tmp_path, CCER)
    past = datetime.now(UTC) - timedelta(days=3)
    old = issue_certificate(
        wire.certificates, Caller(Role.REGISTRY, "old"), not_before=past, valid_for=timedelta(days=1)
    )
    authority = wire.files(CCER).authority
    for files in (foreign, old):
        async with raw_channel(wire, certificate=files.certificate, key=files.key) as channel:
            stub = IssuanceLockServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListIssuanceLocks(lock_pb2.ListIssuanceLocksRequest(), timeout=3)
        # TLS itself refuses, so no reason of ours can be told: the caller sees a broken connection.
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert from_call(caught.value).reason is None
    # Our own client says it before it dials, with the remedy.
    mixed = type(foreign)(authority, foreign.certificate, foreign.key)
    with pytest.raises(TlsFault) as fault:
        await wire.new_party(CCER, files=mixed)
    assert str(fault.value) == (
        f"{foreign.certificate} is not signed by {authority}; give the authority that issued it"
    )
    with pytest.raises(TlsFault) as fault:
        await wire.new_party(CCER, files=old)
    assert str(fault.value).startswith(f"{old.certificate} is in force from {past:%Y-%m-%dT%H:%MZ} to ")
    assert str(fault.value).endswith(", not now; issue a new one or set the clock right")


# When the store fails

TRACES: Final = (
    "sqlite", "psycopg", "sqlalchemy", "select", "insert", "update", "issuance_lock", "traceback", "postgres",
    "/tmp", ".db", "relation", "soleclaim_test", "terminating",  # noqa: S108
)  # fmt: skip
"""What SQL, paths, drivers and tracebacks would show of themselves, in small letters."""


def assert_fixed_text(refusal: RemoteRefusal, start: str, remedy: str) -> None:
    assert refusal.message_en.startswith(start), refusal.message_en
    assert refusal.message_en.endswith(remedy), refusal.message_en
    whole = f"{refusal} {refusal.message_zh} {refusal.variables} {refusal.violations}".lower()
    assert [each for each in TRACES if each in whole] == []


async def answer_of(call: Any) -> RemoteRefusal | None:
    """The refusal of a call that nobody repeats; ``None`` when it was answered."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_call(error)
    return None


async def test_no_sql_and_no_exception_text_reaches_a_caller(own_wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    party = await own_wire.party(CCER)
    activity = await own_wire.activity(CCER)
    own_wire.sql("ALTER TABLE issuance_lock RENAME TO gone")
    async with raw_channel(own_wire) as channel:
        stub = IssuanceLockServiceStub(channel)
        for call in (
            stub.ListIssuanceLocks(lock_pb2.ListIssuanceLocksRequest()),
            stub.AcquireIssuanceLock(wish("ccer", activity)),
            stub.BatchAcquireIssuanceLocks(
                lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items_of(wish("ccer", activity)))
            ),
        ):
            refusal = await answer_of(call)
            assert refusal is not None
            assert refusal.reason is Reason.INTERNAL
            trace = refusal.variables["trace_id"]
            assert_fixed_text(
                refusal,
                f"an internal error occurred; trace {trace}; ",
                "tell the operator the trace id; repeat with the same request_id",
            )
            # The operator finds all of it in the log.
            assert any(trace in each.getMessage() and each.exc_info for each in caplog.records)
    own_wire.sql("ALTER TABLE gone RENAME TO issuance_lock")
    assert (await party.acquire(activity)).state == lock_pb2.ISSUANCE_LOCK_STATE_HELD


BUSY_START, BUSY_REMEDY = "the store is busy or out of reach; ", "try again with the same request_id"


async def test_a_database_file_out_of_reach_is_told_without_its_path(
    certificates: Path, sqlite_template: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(sqlite_template, home / "lookup.db")
    async with contextlib.AsyncExitStack() as stack:
        wire = Wire("sqlite", f"sqlite+aiosqlite:///{home / 'lookup.db'}", certificates, stack)
        await wire.serve()
        activity = await wire.activity(CCER)
        home.rename(tmp_path / "elsewhere")
        # The connection that is open stays good; every other one has to be opened and cannot.
        stub = IssuanceLockServiceStub(await stack.enter_async_context(raw_channel(wire)))
        calls = [stub.AcquireIssuanceLock(wish("ccer", activity, month(i)), timeout=10) for i in range(12)]
        answers = await asyncio.gather(*map(answer_of, calls))
        refusals = [each for each in answers if each is not None]
        assert refusals
        for each in refusals:
            assert (each.code, each.reason) == ("UNAVAILABLE", Reason.STORE_BUSY)
            assert_fixed_text(each, BUSY_START, BUSY_REMEDY)
        (tmp_path / "elsewhere").rename(home)


@pytest.mark.postgres
async def test_a_cut_connection_is_told_as_unknown_and_the_repeat_goes_through(
    store_url_of: Any, certificates: Path, postgres_server: "PostgresServer"
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        wire = Wire("postgres", store_url_of("postgres", own=True), certificates, stack)
        await wire.serve()
        party = await wire.party(CCER)
        activity = await wire.activity(CCER)
        name = make_url(wire.url).database
        others = f"FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        stub = IssuanceLockServiceStub(await stack.enter_async_context(raw_channel(wire)))
        request = wish("ccer", activity)
        dsn = make_url(wire.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, connect_timeout=5) as blocker:
            blocker.execute("LOCK TABLE issuance_lock IN ACCESS EXCLUSIVE MODE")
            call = asyncio.ensure_future(answer_of(stub.AcquireIssuanceLock(request, timeout=10)))
            while not wire.sql(f"SELECT 1 {others} AND wait_event_type = 'Lock'"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            wire.sql(f"SELECT pg_terminate_backend(pid) {others} AND wait_event_type = 'Lock'")
            refusal = await call
        assert refusal is not None
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", Reason.STORE_BUSY)
        assert_fixed_text(refusal, BUSY_START, BUSY_REMEDY)
        # Nobody gets in any more.
        postgres_server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres_server.run(f"SELECT pg_terminate_backend(pid) {others}")
        refusal = await answer_of(stub.AcquireIssuanceLock(request, timeout=10))
        assert refusal is not None
        assert refusal.reason is Reason.STORE_BUSY
        assert_fixed_text(refusal, BUSY_START, BUSY_REMEDY)
        with pytest.raises(RemoteUnavailable) as unknown:
            await party("AcquireIssuanceLock", request)
        assert unknown.value.refusal is not None
        postgres_server.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert (await party("AcquireIssuanceLock", request)).state == lock_pb2.ISSUANCE_LOCK_STATE_HELD
