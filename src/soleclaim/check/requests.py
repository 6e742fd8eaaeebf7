"""I10: every request has one stored answer, and the answer names what really happened."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from soleclaim.api.lookup.v1 import history_service_pb2 as history_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.check.findings import Findings
from soleclaim.check.source import Snapshot

_MAX_OPEN: Final = 5_000
"""Locks named by answers that are compared in one question."""


def check_lookup_requests(lookup: Snapshot, findings: Findings) -> None:
    """Each (caller, request id) once, with an answer; and every lock an answer names is there and is that lock."""
    _twice(lookup, "request", "lookup store", findings)
    named: list[_Named] = []
    for caller, request_id, method, answer in lookup.rows("SELECT caller, request_id, method, answer FROM request"):
        findings.saw("I10", "requests at the lookup")
        if answer is None:
            findings.violated("ANSWER_MISSING", request=request_id, caller=caller, method=method)
            continue
        try:
            named += [_Named(request_id, caller, method, lock) for lock in _locks_in(method, bytes(answer))]
        except DecodeError:
            findings.violated("ANSWER_MISSING", request=request_id, caller=caller, method=method)
        if len(named) >= _MAX_OPEN:
            _compare(lookup, named, findings)
            named = []
    _compare(lookup, named, findings)


def check_journal_requests(registry: str, journal: Snapshot, findings: Findings) -> None:
    """Each (caller, request id) once; and an answer once given never changed."""
    _twice(journal, "batch", journal.name, findings)
    for (count,) in journal.rows("SELECT COUNT(*) FROM batch"):
        findings.saw("I10", "requests at adapters", count)
    changed = (
        "SELECT h.issuance_id, h.stage, i.stage FROM issuance_history h JOIN issuance i"
        " ON i.issuance_id = h.issuance_id WHERE h.stage IN ('ISSUED', 'REFUSED') AND h.stage <> i.stage"
    )
    for entry, first, stage in journal.rows(changed):
        findings.violated("ANSWER_CHANGED", registry=registry, entry=entry, first=first, stage=stage)


def _twice(store: Snapshot, table: str, name: str, findings: Findings) -> None:
    sql = f"SELECT caller, request_id, COUNT(*) FROM {table} GROUP BY caller, request_id HAVING COUNT(*) > 1"  # noqa: S608
    for caller, request_id, count in store.rows(sql):
        findings.violated("REQUEST_TWICE", request=request_id, caller=caller, count=count, store=name)


class _Named(NamedTuple):
    """A lock as an answer told it."""

    request_id: str
    caller: str
    method: str
    lock: lock_pb.IssuanceLock


_METHODS: Final = frozenset(
    {"AcquireIssuanceLock", "BeginIssuance", "CommitIssuance", "AbortIssuance", "ReleaseIssuanceLock"}
)
"""Methods whose stored answer names locks. Both forms, single and batch, are stored as a batch under this name."""


def _locks_in(method: str, answer: bytes) -> Iterator[lock_pb.IssuanceLock]:
    """The locks that an answer names; none for refusals and for methods that are not about locks."""
    if method == "ImportIssuance":
        told = history_pb.BatchImportIssuancesResponse.FromString(answer)
        names = (result.imported.issuance_lock for result in told.results)
        yield from (lock_pb.IssuanceLock(name=name) for name in names if name)
    if method in _METHODS:
        message = lock_pb.BatchIssuanceLocksResponse.FromString(answer)
        yield from (result.lock for result in message.results if result.HasField("lock"))


def _compare(lookup: Snapshot, named: list[_Named], findings: Findings) -> None:
    """An answer names a lock that exists, of that registry and period, and no token from the future."""
    numbers = {_number(each.lock) for each in named}
    if not numbers:
        return
    listed = ", ".join(map(str, sorted(numbers)))
    sql = (
        "SELECT lock_id, registry, instrument, period_start_us, period_end_us, token FROM issuance_lock"  # noqa: S608
        f" WHERE lock_id IN ({listed})"
    )
    stands = {row[0]: tuple(row[1:]) for row in lookup.rows(sql)}
    for each in named:
        findings.saw("I10", "locks named in answers")
        told = each.lock
        row = stands.get(_number(told))
        if row is None:
            _differs(each, "existence", "missing", "named", findings)
            continue
        registry, instrument, start, end, token = row
        # Batch answers leave out what the request said; what is told must be so.
        compared: list[tuple[str, object, object]] = []
        if told.registry:
            compared += [("registry", registry, told.registry), ("instrument", instrument, told.instrument)]
        if told.HasField("period"):
            compared += [
                ("period start", start, told.period.start_time.ToMicroseconds()),
                ("period end", end, told.period.end_time.ToMicroseconds()),
            ]
        for field, ours, theirs in compared:
            if ours != theirs:
                _differs(each, field, ours, theirs, findings)
        if told.fencing_token > token:
            _differs(each, "token", token, told.fencing_token, findings)


def _differs(named: _Named, field: str, ours: object, theirs: object, findings: Findings) -> None:
    findings.violated(
        "ANSWER_DIFFERS",
        request=named.request_id,
        caller=named.caller,
        method=named.method,
        lock=named.lock.name,
        field=field,
        ours=ours,
        theirs=theirs,
    )


def _number(lock: lock_pb.IssuanceLock) -> int:
    text = lock.name.rpartition("/")[2]
    return int(text) if text.isdigit() else -1
