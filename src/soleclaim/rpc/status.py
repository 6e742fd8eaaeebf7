"""Refusals on the wire: ``DomainError`` to ``google.rpc.Status`` and back, by the one table (design section 7)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from soleclaim.core.errors import REASONS, DomainError, FieldViolation, InvalidRequest, Reason
from soleclaim.rpc.limits import MAX_STATUS_BYTES

DOMAIN: Final = "soleclaim"
STATUS_KEY: Final = "grpc-status-details-bin"
"""Trailer that carries the status, as gRPC libraries agree."""

_DEFAULT_RETRY: Final = timedelta(seconds=1)
_CODES: Final = {code.name: code for code in grpc.StatusCode}
_NUMBERS: Final = {code.value[0]: code.name for code in grpc.StatusCode}
# Limits tried in turn for one text, in characters; the last always fits.
_TEXT_LIMITS: Final = (1024, 512, 256, 128, 48)
_VIOLATION_LIMIT: Final = 256
# Kept for the violation that counts those left out, and for packing.
_REST_BYTES: Final = 160


def code_of(error: DomainError) -> grpc.StatusCode:
    """The gRPC status code of a refusal."""
    return _CODES[REASONS[error.reason].status]


def to_status(error: DomainError) -> status_pb2.Status:
    """The refusal as a status of at most ``MAX_STATUS_BYTES``; texts are cut, and it says so, until it fits."""
    for limit in _TEXT_LIMITS:
        status = _build(error, limit)
        if status.ByteSize() <= MAX_STATUS_BYTES:
            break
    return status


def _build(error: DomainError, limit: int) -> status_pb2.Status:
    if isinstance(error, InvalidRequest):
        return _build_invalid(error, limit)
    return _assemble(error, error, limit)


def _build_invalid(error: InvalidRequest, limit: int) -> status_pb2.Status:
    """All violations that fit, and a last one that counts those left out. The message names the first few only."""
    told = "; ".join(f"{each.field}: {each.description}" for each in error.violations[:3])
    if len(error.violations) > 3:
        told += "; …"
    limit = min(limit, _VIOLATION_LIMIT)
    summary = DomainError(Reason.INVALID_REQUEST, count=len(error.violations), faults=_cut(told, limit))
    status = _assemble(error, summary, limit=_TEXT_LIMITS[0])
    bad = error_details_pb2.BadRequest()
    room = MAX_STATUS_BYTES - status.ByteSize() - _REST_BYTES
    for index, each in enumerate(error.violations):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(each.field, limit), description=_cut(each.description, limit)
        )
        room -= violation.ByteSize() + 4  # four bytes of framing at most
        if room < 0:
            left_out = len(error.violations) - index
            bad.field_violations.add(description=f"{left_out} more fault(s) are left out here; mend these first")
            break
        bad.field_violations.append(violation)
    _pack(status, bad)
    return status


def _assemble(error: DomainError, told: DomainError, limit: int) -> status_pb2.Status:
    row = REASONS[error.reason]
    status = status_pb2.Status(code=_CODES[row.status].value[0], message=_cut(told.message_en, limit))
    variables = {name: _cut(value, limit) for name, value in told.variables.items()}
    _pack(status, error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=variables))
    for locale, message in (("en-US", told.message_en), ("zh-CN", told.message_zh)):
        _pack(status, error_details_pb2.LocalizedMessage(locale=locale, message=_cut(message, limit)))
    if row.retryable or error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(_DEFAULT_RETRY if error.retry_after is None else error.retry_after)
        _pack(status, retry)
    return status


def _pack(status: status_pb2.Status, detail: Message) -> None:
    # Half the time of Any.Pack, which matters where a batch of 1,000 is refused.
    status.details.add(
        type_url=f"type.googleapis.com/{detail.DESCRIPTOR.full_name}",
        value=detail.SerializeToString(deterministic=True),
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class RemoteRefusal(Exception):
    """A refusal that another server answered: the far side of ``DomainError``. Nothing was changed there."""

    def __init__(
        self,
        code: str,
        *,
        message: str = "",
        reason: Reason | None = None,
        variables: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        message_en: str = "",
        message_zh: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        self.code = code
        """Name of the gRPC status code."""
        self.reason = reason
        """``None`` when the answer names no reason this release knows."""
        self.variables = dict(variables or {})
        self.violations = tuple(violations)
        self.message_en = message_en or message
        self.message_zh = message_zh or self.message_en
        self.retry_after = retry_after
        super().__init__(f"{reason.value if reason else code}: {self.message_en}")


def from_status(status: status_pb2.Status) -> RemoteRefusal:
    """Read a status. Details of unknown types, domains or reasons are passed over."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry, text = error_details_pb2.RetryInfo(), error_details_pb2.LocalizedMessage()
    messages: dict[str, str] = {}
    retry_after: timedelta | None = None
    for detail in status.details:
        if detail.Unpack(text):
            messages[text.locale] = text.message
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
        else:
            detail.Unpack(info) or detail.Unpack(bad)
    known = info.domain == DOMAIN and info.reason in Reason.__members__
    return RemoteRefusal(
        _NUMBERS.get(status.code, "UNKNOWN"),
        message=status.message,
        reason=Reason[info.reason] if known else None,
        variables=info.metadata,
        violations=[FieldViolation(each.field, each.description) for each in bad.field_violations],
        message_en=messages.get("en-US", ""),
        message_zh=messages.get("zh-CN", ""),
        retry_after=retry_after,
    )


def from_call(error: grpc.aio.AioRpcError) -> RemoteRefusal:
    """Read the refusal out of a failed call. ``reason`` is ``None`` when it is none of ours."""
    raw = (error.trailing_metadata() or grpc.aio.Metadata()).get(STATUS_KEY)
    if isinstance(raw, bytes):
        try:
            return from_status(status_pb2.Status.FromString(raw))
        except DecodeError:
            pass  # Some other party's trailer under the same name; what follows still tells code and text.
    return RemoteRefusal(error.code().name, message=error.details() or "")
