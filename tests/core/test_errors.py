"""The one table of refusals (design section 7): every reason is told in both languages with its remedy."""

import string
from datetime import timedelta
from typing import Any

import grpc
import pytest

from soleclaim.core.errors import REASONS, DomainError, FieldViolation, InvalidRequest, Reason

TEXTS = ("message_en", "message_zh", "remedy_en", "remedy_zh")


def variables(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_table_has_a_row_for_every_reason_and_no_other() -> None:
    assert set(REASONS) == set(Reason)
    assert all(reason.name == reason.value for reason in Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_row_is_complete(reason: Reason) -> None:
    row = REASONS[reason]
    assert row.status in grpc.StatusCode.__members__
    assert all(getattr(row, text).strip() for text in TEXTS)
    assert variables(row.message_en) == variables(row.message_zh), "both languages tell the same"
    assert any("一" <= character <= "鿿" for character in row.message_zh + row.remedy_zh)
    assert variables(row.remedy_en) == variables(row.remedy_zh)
    assert len(reason.value) <= 63, "the limit of ErrorInfo.reason"
    assert all(len(name) <= 64 for text in TEXTS for name in variables(getattr(row, text)))


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_tells_every_variable(reason: Reason) -> None:
    row = REASONS[reason]
    names = variables(row.message_en) | variables(row.remedy_en)
    values: dict[str, Any] = {name: f"<{name}>" for name in names}
    error = DomainError(reason, **values)
    assert error.variables == {name: f"<{name}>" for name in names}
    for name in names:
        assert f"<{name}>" in error.message_en
        assert f"<{name}>" in error.message_zh
    assert str(error) == f"{reason.value}: {error.message_en}"


def test_what_may_be_sent_again_has_a_status_that_says_so() -> None:
    """And what may not be has none that a client would repeat by itself."""
    repeatable = {"UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    for reason, row in REASONS.items():
        assert row.retryable is (row.status in repeatable), reason


def test_a_missing_variable_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        DomainError(Reason.LOCK_UNKNOWN)


def test_text_of_a_caller_cannot_reach_into_the_format() -> None:
    error = DomainError(Reason.LOCK_UNKNOWN, lock="{0.__class__} {lock}")
    assert "{0.__class__} {lock}" in error.message_en


def test_a_refusal_carries_when_to_try_again() -> None:
    assert DomainError(Reason.STORE_BUSY, retry_after=timedelta(seconds=3)).retry_after == timedelta(seconds=3)
    assert DomainError(Reason.STORE_BUSY).retry_after is None


def test_all_faults_of_a_request_are_told_at_once() -> None:
    violations = [FieldViolation(f"field_{i}", f"fault {i}") for i in range(3)]
    error = InvalidRequest(violations)
    assert error.violations == tuple(violations)
    assert error.variables["count"] == "3"
    for each in violations:
        assert f"{each.field}: {each.description}" in error.message_en


def test_a_flood_of_faults_is_counted_and_cut() -> None:
    error = InvalidRequest([FieldViolation(f"field_{i}", "x" * 50) for i in range(1000)])
    assert error.variables["count"] == "1000"
    assert len(error.message_en) < 4096, "errors travel in trailers of 8 KiB"
