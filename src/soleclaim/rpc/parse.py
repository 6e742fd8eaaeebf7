"""Requests to core types, collecting every fault (design section 7).

On the way of batches of 1,000: where nothing is wrong no text is built, field paths included.
"""

import base64
import re
import struct
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.interval_pb2 import Interval

from soleclaim.core.activity_id import ActivityId, ActivityIdError, parse_activity_id
from soleclaim.core.errors import FieldViolation, InvalidRequest
from soleclaim.core.instants import EPOCH
from soleclaim.core.period import EARLIEST, LATEST, MAX_PERIOD, Period

if TYPE_CHECKING:
    # The generic base exists in the stubs only.
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

_E = TypeVar("_E", bound=int)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{8,64}").fullmatch
_REFERENCE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,32}").fullmatch
_ACTIVITIES: Final = "activities/"
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_EARLIEST_S: Final = int(EARLIEST.timestamp())
_LATEST_S: Final = int(LATEST.timestamp())
_MAX_PERIOD_S: Final = int(MAX_PERIOD.total_seconds())
_POSITION_HEADER: Final = ">B8s"
"""Version and query of a token; the numbers of its position follow."""
_TOKEN_VERSION: Final = 1
_MAX_TOKEN_LENGTH: Final = 64


class Faults:
    """Collects the faults of one request. Each method checks one field and gives its value.

    A faulty field's value must not be used: call ``raise_if_any`` before. Views made by ``prefixed`` share the
    collection: ``any`` and ``raise_if_any`` speak of the whole request.
    """

    __slots__ = ("_prefix", "_violations")

    def __init__(self, prefix: str = "", violations: list[FieldViolation] | None = None) -> None:
        """Start a collection; the arguments are for ``prefixed``."""
        self._prefix = prefix
        self._violations: list[FieldViolation] = [] if violations is None else violations

    def prefixed(self, prefix: str) -> "Faults":
        """A view whose fields stand under ``prefix``, for example ``requests[3].``."""
        return Faults(self._prefix + prefix, self._violations)

    def add(self, field: str, description: str) -> None:
        """Note a fault: the field's path and a sentence with the remedy."""
        self._violations.append(FieldViolation(self._prefix + field, description))

    def any(self) -> bool:
        """Whether the request has a fault so far."""
        return bool(self._violations)

    def raise_if_any(self) -> None:
        """Raise ``InvalidRequest`` with all faults, when there are any."""
        if self._violations:
            raise InvalidRequest(self._violations)

    def request_id(self, field: str, text: str) -> str:
        """8 to 64 characters ``[A-Za-z0-9._:-]``."""
        if not _REQUEST_ID(text):
            self.add(field, "must be 8 to 64 characters A-Z a-z 0-9 . _ : -, made by the client")
        return text

    def reference(self, field: str, text: str) -> str:
        """1 to 64 characters ``[A-Za-z0-9._:-]``."""
        if not _REFERENCE(text):
            self.add(field, "must be 1 to 64 characters A-Z a-z 0-9 . _ : -")
        return text

    def code(self, field: str, text: str) -> str:
        """Code of a registry or instrument: 1 to 32 characters ``[A-Za-z0-9_-]``."""
        if not _CODE(text):
            self.add(field, "must be a code of 1 to 32 characters A-Z a-z 0-9 _ -")
        return text

    def text(self, field: str, text: str, *, max_length: int, required: bool = True) -> str:
        """At most ``max_length`` characters, no control or formatting characters, no space at either end."""
        if len(text) > max_length:
            self.add(field, f"has {len(text)} characters; at most {max_length} are allowed")
        elif not text:
            if required:
                self.add(field, f"is empty; give 1 to {max_length} characters")
        elif not text.isprintable() and _REFUSED_CATEGORIES.intersection(map(unicodedata.category, text)):
            self.add(field, "has control or invisible formatting characters; remove them")
        elif text[0].isspace() or text[-1].isspace():
            self.add(field, "begins or ends with white space; remove it")
        return text

    def activity(self, field: str, name: str) -> ActivityId | None:
        """The id in ``activities/{id}``, in its compact form, check digits verified (R95)."""
        if not name.startswith(_ACTIVITIES):
            self.add(field, "must be activities/{activity_id}")
            return None
        text = name[len(_ACTIVITIES) :]
        try:
            activity_id = parse_activity_id(text)
        except ActivityIdError as error:
            self.add(field, str(error))
            return None
        if activity_id != text:
            self.add(field, "must have the id in capitals without spaces or hyphens")
            return None
        return activity_id

    def number(self, field: str, value: int, *, minimum: int, maximum: int) -> int:
        """``minimum`` to ``maximum``, both included."""
        if not minimum <= value <= maximum:
            self.add(field, f"is {value}; must lie between {minimum} and {maximum}")
        return value

    def enum(self, field: str, value: _E, wrapper: "_EnumTypeWrapper[_E]", *, required: bool = True) -> _E:
        """A number the enum has. Zero (unspecified) only when not ``required``."""
        if (value == 0 and required) or value not in wrapper.DESCRIPTOR.values_by_number:
            names = ", ".join(each.name for each in wrapper.DESCRIPTOR.values if each.number != 0)
            self.add(field, f"must be one of {names}")
        return value

    def period(
        self, field: str, message_has_field: bool, interval: Interval, *, required: bool = True
    ) -> Period | None:
        """A half-open period: both ends, whole microseconds, in order, within sane bounds, at most ten years."""
        if not message_has_field:
            if required:
                self.add(field, "is missing; give start_time and end_time as UTC instants")
            return None
        first, last = interval.start_time, interval.end_time
        since, until = first.seconds, last.seconds
        whole = first.nanos == 0 == last.nanos and interval.HasField("start_time") and interval.HasField("end_time")
        if whole and _EARLIEST_S <= since < until <= _LATEST_S and until - since <= _MAX_PERIOD_S:
            # Nearly all periods: right, and in whole seconds.
            return _period_of_seconds(since, until)
        start = self._instant(field, "start_time", interval)
        end = self._instant(field, "end_time", interval)
        if start is None or end is None:
            return None
        if start >= end:
            self.add(field, "start_time must lie before end_time; a period is half-open [start, end)")
            return None
        if end - start > MAX_PERIOD:
            self.add(field, "is longer than ten years; split it")
            return None
        return Period(start, end)

    def _instant(self, field: str, end: Literal["start_time", "end_time"], interval: Interval) -> datetime | None:
        if not interval.HasField(end):
            self.add(f"{field}.{end}", "is missing; a period needs both ends, as UTC instants")
            return None
        return self.instant(f"{field}.{end}", interval.start_time if end == "start_time" else interval.end_time)

    def instant(self, field: str, stamp: Timestamp) -> datetime | None:
        """A UTC instant in whole microseconds, within sane bounds."""
        seconds, nanos = stamp.seconds, stamp.nanos
        if not 0 <= nanos < 1_000_000_000:
            self.add(field, "nanos must lie between 0 and 999,999,999")
        elif not _EARLIEST_S <= seconds <= _LATEST_S or (seconds == _LATEST_S and nanos):
            self.add(field, f"must lie between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}")
        elif nanos % 1000:
            self.add(field, "must be a whole number of microseconds")
        else:
            return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
        return None

    def open_period(
        self, field: str, message_has_field: bool, interval: Interval
    ) -> tuple[datetime, datetime | None] | None:
        """A half-open period of any length, whose end may be left out while none is known."""
        if not message_has_field:
            self.add(field, "is missing; give start_time, and end_time where an end is known, as UTC instants")
            return None
        start = self._instant(field, "start_time", interval)
        end = self._instant(field, "end_time", interval) if interval.HasField("end_time") else None
        if start is None:
            return None
        if end is not None and start >= end:
            self.add(field, "start_time must lie before end_time; a period is half-open [start, end)")
            return None
        return start, end

    def page_token(self, field: str, token: str, query_hash: str) -> int | None:
        """The position in a token of the same query; ``None`` for an empty token, the first page."""
        position = self.page_position(field, token, query_hash, 1)
        return position[0] if position else None

    def page_position(self, field: str, token: str, query_hash: str, numbers: int) -> tuple[int, ...] | None:
        """The same for a position of several numbers."""
        if not token:
            return None
        try:
            data = base64.b64decode(token[:_MAX_TOKEN_LENGTH].encode("ascii"), altchars=b"-_", validate=True)
            version, of_query, *position = struct.unpack(f"{_POSITION_HEADER}{numbers}q", data)
        except (ValueError, struct.error):
            version, of_query, position = 0, b"", []
        if version != _TOKEN_VERSION or min(position) < 0:
            self.add(field, "is no page token; pass the next_page_token of the response before, unchanged")
            return None
        if of_query != _short(query_hash):
            self.add(field, "belongs to another query; keep all other fields the same, or start without a token")
            return None
        return tuple(position)


@lru_cache(maxsize=4096)
def _period_of_seconds(since: int, until: int) -> Period:
    # The items of a batch mostly share a few periods.
    return Period(datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC))


def query_hash(request: Message) -> str:
    """Hash of a list request without ``page_size`` and ``page_token``, for its page tokens."""
    query = type(request)()
    query.CopyFrom(request)
    for field in ("page_size", "page_token"):
        query.ClearField(field)
    return sha256(query.SerializeToString(deterministic=True)).hexdigest()


def encode_page_token(query_hash: str, *position: int) -> str:
    """A token for the page after ``position`` (each number 0 to 2^63 - 1) of one query. Opaque, not secret."""
    data = struct.pack(f"{_POSITION_HEADER}{len(position)}q", _TOKEN_VERSION, _short(query_hash), *position)
    return base64.urlsafe_b64encode(data).decode("ascii")


def _short(query_hash: str) -> bytes:
    return sha256(query_hash.encode()).digest()[:8]


def to_timestamp(instant: datetime) -> Timestamp:
    """An aware instant on the wire."""
    stamp = Timestamp()
    _set(stamp, instant)
    return stamp


def to_interval(period: Period) -> Interval:
    """A period on the wire."""
    interval = Interval()
    _set(interval.start_time, period.start)
    _set(interval.end_time, period.end)
    return interval


def _set(stamp: Timestamp, instant: datetime) -> None:
    # A fraction of the time of Timestamp.FromDatetime, and nothing is copied.
    since = instant - EPOCH
    stamp.seconds = since.days * 86_400 + since.seconds
    if since.microseconds:
        stamp.nanos = since.microseconds * 1000
