import base64
import string
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from soleclaim.core.errors import REASONS, DomainError, FieldViolation, InvalidRequest, Reason, ReasonRow
from soleclaim.rpc.limits import MAX_STATUS_BYTES
from soleclaim.rpc.status import from_status, to_status


def variables_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def error_of(reason: Reason, filling: str = "x") -> DomainError:
    if reason is Reason.INVALID_REQUEST:
        return InvalidRequest([FieldViolation("period.start_time", filling), FieldViolation("units", filling)])
    row = REASONS[reason]
    names = set().union(*map(variables_of, (row.message_en, row.message_zh, row.remedy_en, row.remedy_zh)))
    variables: dict[str, Any] = {name: f"{filling}-{name}" for name in names}
    return DomainError(reason, **variables)


def test_every_reason_has_a_row_with_a_grpc_status() -> None:
    assert set(REASONS) == set(Reason)
    assert {row.status for row in REASONS.values()} <= {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("row", REASONS.values(), ids=[reason.value for reason in REASONS])
def test_english_and_chinese_tell_the_same_variables(row: ReasonRow) -> None:
    assert variables_of(row.message_en) == variables_of(row.message_zh)
    assert variables_of(row.remedy_en) == variables_of(row.remedy_zh)
    assert row.message_en != row.message_zh
    assert row.remedy_en
    assert row.remedy_zh


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_survives_the_wire(reason: Reason) -> None:
    error = error_of(reason, "值")
    told = from_status(status_pb2.Status.FromString(to_status(error).SerializeToString()))
    assert told.reason is reason
    assert told.code == REASONS[reason].status
    assert told.variables == error.variables
    assert (told.message_en, told.message_zh) == (error.message_en, error.message_zh)
    assert (told.retry_after is not None) == REASONS[reason].retryable
    if isinstance(error, InvalidRequest):
        assert told.violations == error.violations


def test_the_time_to_wait_is_told() -> None:
    error = DomainError(Reason.STORE_BUSY, retry_after=timedelta(milliseconds=1500))
    assert from_status(to_status(error)).retry_after == timedelta(milliseconds=1500)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("filling", ["x" * 100_000, "风" * 100_000, "𠮷" * 3000])
def test_trailers_stay_small_whatever_the_variables(reason: Reason, filling: str) -> None:
    status = to_status(error_of(reason, filling))
    assert status.ByteSize() <= MAX_STATUS_BYTES
    # What the trailers take on the wire: the status in base64, the message percent-encoded, the rest.
    assert len(base64.b64encode(status.SerializeToString())) + len(quote(status.message)) + 300 < 8192
    assert from_status(status).reason is reason


def test_violations_left_out_are_counted() -> None:
    violations = [
        FieldViolation(f"requests[{index}].period.start_time", "must be a whole number of microseconds since the epoch")
        for index in range(5000)
    ]
    status = to_status(InvalidRequest(violations))
    assert status.ByteSize() <= MAX_STATUS_BYTES
    told = from_status(status)
    *shown, last = told.violations
    assert told.variables["count"] == "5000"
    assert len(shown) >= 15
    assert last.description.startswith(f"{5000 - len(shown)} more")


def test_answers_of_strangers_are_read_as_far_as_they_go() -> None:
    status = status_pb2.Status(code=7, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INVALID_REQUEST", domain="else.where"))
    status.details.add(type_url="type.googleapis.com/unknown.Type", value=b"\xff")
    told = from_status(status)
    assert (told.reason, told.code, told.message_en, told.message_zh) == (None, "PERMISSION_DENIED", "no", "no")
    newer = status_pb2.Status(code=999)
    newer.details.add().Pack(error_details_pb2.ErrorInfo(reason="OF_A_LATER_RELEASE", domain="soleclaim"))
    assert (from_status(newer).reason, from_status(newer).code) == (None, "UNKNOWN")
