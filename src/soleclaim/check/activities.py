"""I1, I6 and I7, activity by activity: in memory is one activity at a time, however many there are."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from soleclaim.check.findings import Findings
from soleclaim.check.source import Row, Snapshot, in_step
from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.rectangle import Rectangle, without
from soleclaim.policy.bundle import Bundle, Instrument

HELD, ISSUING, ISSUED, RELEASED, EXPIRED, ABORTED = 1, 2, 3, 4, 5, 6
STATES: Final = ("", "HELD", "ISSUING", "ISSUED", "RELEASED", "EXPIRED", "ABORTED")
"""Lock states by their number in the store (protos: IssuanceLockState)."""

GRANTED, SUPPLEMENTED, BEGUN, COMMITTED, GIVEN_UP, GIVEN_BACK, RAN_OUT, MOVED, IMPORTED = 5, 6, 7, 8, 9, 10, 11, 15, 20
STEPS: Final = {
    GRANTED: "LOCK_GRANTED",
    SUPPLEMENTED: "SUPPLEMENT_GRANTED",
    BEGUN: "ISSUANCE_BEGUN",
    COMMITTED: "ISSUANCE_COMMITTED",
    GIVEN_UP: "ISSUANCE_ABORTED",
    GIVEN_BACK: "LOCK_RELEASED",
    RAN_OUT: "LOCK_EXPIRED",
    MOVED: "LOCK_MOVED",
    IMPORTED: "ISSUANCE_IMPORTED",
}
"""History entries about a lock by their number in the store (protos: EventKind)."""

_LOCKS: Final = (
    "SELECT l.activity_key, l.lock_id, l.country, l.registry, l.instrument, l.period_start_us, l.period_end_us,"
    " l.slice_start, l.slice_end, l.state, l.token, l.units, l.carried_in, l.issued_units, l.issuance_count, b.hash"
    " FROM issuance_lock l LEFT JOIN policy_bundle b ON b.bundle_id = l.bundle_id ORDER BY l.activity_key, l.lock_id"
)
_SEGMENTS: Final = (
    "SELECT activity_key, lock_id, attributes, period_start_us, period_end_us, slice_start, slice_end, live"
    " FROM segment ORDER BY activity_key, period_start_us"
)
_HISTORY: Final = (
    # With the activity that has the lock now: merges and splits move locks, and what is written of them stays.
    "SELECT coalesce(l.activity_key, h.activity_key) AS standing_key, h.entry_id, h.kind, h.lock_id, h.token, h.detail,"
    " h.activity_key FROM history_entry h LEFT JOIN issuance_lock l ON l.lock_id = h.lock_id"
    # What is told of a dispute to a side moves no lock.
    " WHERE h.lock_id IS NOT NULL AND h.kind NOT IN (21, 22, 23) ORDER BY standing_key, h.entry_id"
)
_OUTCOMES: Final = (
    "SELECT activity_key, base_unit, period_start_us, period_end_us, quantity FROM outcome"
    " ORDER BY activity_key, base_unit, period_start_us"
)
_ISSUANCES: Final = (
    "SELECT l.activity_key, i.lock_id, i.units, i.token FROM issuance i JOIN issuance_lock l ON l.lock_id = i.lock_id"
    " ORDER BY l.activity_key, i.lock_id"
)
_DISPUTES: Final = (
    # On the activity of each side: a split may have parted them.
    "SELECT DISTINCT l.activity_key, d.kind, d.period_start_us, d.period_end_us, d.slice_start, d.slice_end,"
    " d.standing_lock_id, d.late_lock_id, d.dispute_id FROM dispute d"
    " JOIN issuance_lock l ON l.lock_id IN (d.standing_lock_id, d.late_lock_id) ORDER BY l.activity_key, d.dispute_id"
)
CLAIMED_TWICE, ABOVE_MEASURE = 1, 2
"""Kinds of disputes by their number in the store (protos: DisputeKind)."""


class Disputed(NamedTuple):
    """What a person has to settle, or has: there a claim of its sides may be kept without being live."""

    kind: int
    where: Rectangle
    lock_ids: frozenset[int]


class Segment(NamedTuple):
    """What a lock claims. ``attributes`` as a set of numbers or bits, whatever the store writes."""

    lock_id: int
    attributes: frozenset[int]
    where: Rectangle
    live: bool

    def clashes(self, other: "Segment") -> bool:
        """Whether both claim a shared part of the outcome for different locks."""
        return (
            self.lock_id != other.lock_id
            and not self.attributes.isdisjoint(other.attributes)
            and self.where.meets(other.where)
        )


class Lock(NamedTuple):
    """A row of issuance_lock."""

    lock_id: int
    country: str
    registry: str
    instrument: str
    where: Rectangle
    state: int
    token: int
    units: int
    carried_in: int
    issued_units: int
    issuance_count: int
    policy_hash: str | None


@dataclass(slots=True)
class _Told:
    """A lock as its history tells it."""

    state: int
    token: int
    open: bool
    """Whether a grant waits to begin."""
    on: int
    """The activity it stood on then: before a merge two could claim the same, each on its own."""
    committed: int = 0


def check_activities(lookup: Snapshot, bundles: Mapping[str, Bundle], findings: Findings) -> None:
    """Walk every activity that has locks, segments or history of locks."""
    streams = (lookup.rows(sql) for sql in (_LOCKS, _SEGMENTS, _HISTORY, _OUTCOMES, _ISSUANCES, _DISPUTES))
    unknown: set[str] = set()
    for key, (lock_rows, segment_rows, history, outcomes, issuances, dispute_rows) in in_step(*streams):
        locks = {row[1]: Lock._make((*row[1:5], Rectangle(*row[5:9]), *row[9:])) for row in lock_rows}
        segments = [Segment(row[1], _attributes(row[2]), Rectangle(*row[3:7]), bool(row[7])) for row in segment_rows]
        disputes = [Disputed(row[1], Rectangle(*row[2:6]), frozenset(row[6:8]) - {None}) for row in dispute_rows]
        name = _activity_name(key, locks.values())
        findings.saw("I1", "activities")
        findings.saw("I1", "disputes", len(disputes))
        _exclusion(name, locks, segments, disputes, findings)
        _History(name, locks, _claimed(segments, disputes), findings).replay(history, standing_on=key)
        _ledger_sums(name, locks, issuances, findings)
        unknown |= {lock.policy_hash or "none" for lock in locks.values()} - bundles.keys()
        standing = {segment.lock_id for segment in segments if segment.live}
        _measured(name, {i: lock for i, lock in locks.items() if i in standing}, outcomes, disputes, bundles, findings)
    findings.not_looked += [
        f"I6: locks decided by policy bundle {policy_hash}, which is not at hand; give it with --policy"
        for policy_hash in sorted(unknown)
    ]


def _set_aside(lock_id: int, disputes: Iterable[Disputed]) -> list[Rectangle]:
    """Where a lock may have a claim that is not live."""
    return [each.where for each in disputes if lock_id in each.lock_ids and each.kind in (CLAIMED_TWICE, ABOVE_MEASURE)]


def _claimed(segments: Iterable[Segment], disputes: Sequence[Disputed]) -> list[Segment]:
    """What locks claimed while they were alive; without what they never had, or lost, by a dispute."""
    return [
        segment if segment.live else segment._replace(where=where)
        for segment in segments
        for where in (
            [segment.where] if segment.live else without([segment.where], _set_aside(segment.lock_id, disputes))
        )
    ]


def _exclusion(
    name: str,
    locks: Mapping[int, Lock],
    segments: Sequence[Segment],
    disputes: Sequence[Disputed],
    findings: Findings,
) -> None:
    """I1 now: sweep the live rectangles in order of their start; and what each lock claims is really claimed."""
    live = [segment for segment in segments if segment.live]
    findings.saw("I1", "live segments", len(live))
    standing: list[Segment] = []
    for segment in live:
        standing = [other for other in standing if other.where.end > segment.where.start]
        for other in standing:
            if segment.clashes(other):
                findings.violated(
                    "LOCKS_OVERLAP",
                    activity=name,
                    lock=segment.lock_id,
                    other=other.lock_id,
                    period=_period(
                        max(segment.where.start, other.where.start), min(segment.where.end, other.where.end)
                    ),
                )
        standing.append(segment)
    claimed = defaultdict(list)
    for segment in live:
        claimed[segment.lock_id].append(segment)
        lock = locks.get(segment.lock_id)
        if lock is None or lock.state not in (HELD, ISSUING, ISSUED):
            findings.violated(
                "SEGMENT_WITHOUT_LOCK",
                activity=name,
                period=_period(segment.where.start, segment.where.end),
                lock=segment.lock_id,
                state=_state(lock.state) if lock else "missing",
            )
    for lock in locks.values():
        findings.saw("I1", "locks")
        covering = [each.where for each in claimed[lock.lock_id] if each.attributes]
        bare = without([lock.where], [*covering, *_set_aside(lock.lock_id, disputes)])
        if lock.state in (HELD, ISSUING, ISSUED) and bare:
            findings.violated(
                "LOCK_NOT_COVERED",
                activity=name,
                lock=lock.lock_id,
                state=_state(lock.state),
                period=_period(lock.where.start, lock.where.end),
            )


class _History:
    """I7, and I1 over time: what the history says happened must have been possible, and must end in what stands."""

    def __init__(self, name: str, locks: Mapping[int, Lock], segments: Iterable[Segment], findings: Findings) -> None:
        self._name = name
        self._locks = locks
        self._findings = findings
        self._claims: dict[int, list[Segment]] = defaultdict(list)
        for segment in segments:
            self._claims[segment.lock_id].append(segment)
        self._told: dict[int, _Told] = {}
        self._alive: set[int] = set()
        self._highest = 0

    def replay(self, entries: Iterable[Row], *, standing_on: object) -> None:
        """Follow the entries in their order, to the locks as they stand on one activity."""
        for _, entry_id, kind, lock_id, token, detail, key in entries:
            self._findings.saw("I7", "history entries")
            if kind == GRANTED and lock_id not in self._told:
                self._granted(lock_id, token, key)
            elif kind == IMPORTED:
                self._imported(lock_id, token, key)
            elif kind == MOVED and lock_id in self._told:
                self._moved(lock_id, key)
            elif not self._follows(kind, lock_id, token, detail):
                told = self._told.get(lock_id)
                self._findings.violated(
                    "STEP_WITHOUT_GRANT",
                    activity=self._name,
                    lock=lock_id,
                    entry=entry_id,
                    step=STEPS.get(kind, kind),
                    token=token,
                    state=_state(told.state) if told else "nothing",
                    other=told.token if told else "none",
                )
        self._compare(standing_on)

    def _rises(self, lock_id: int, token: int) -> None:
        if token <= self._highest:
            self._findings.violated(
                "TOKEN_NOT_RISING", activity=self._name, lock=lock_id, token=token, other=self._highest
            )
        self._highest = max(self._highest, token)
        self._findings.saw("I7", "grants")

    def _granted(self, lock_id: int, token: int, key: int) -> None:
        self._rises(lock_id, token)
        self._told[lock_id] = _Told(HELD, token, open=True, on=key)
        self._claims_alone(lock_id)
        self._alive.add(lock_id)

    def _imported(self, lock_id: int, token: int, key: int) -> None:
        """An issuance of the past: under a lock of its own, or under one that stands; an open grant there goes on."""
        told = self._told.get(lock_id)
        if told is None:
            self._granted(lock_id, token, key)
            self._told[lock_id].open = False
            told = self._told[lock_id]
            told.state = ISSUED
        else:
            self._rises(lock_id, token)
            told.state = ISSUED if told.state == HELD else told.state
            if told.state == ISSUED and not told.open:
                told.token = token
        told.committed += 1

    def _moved(self, lock_id: int, key: int) -> None:
        """By a merge or a split: whoever is alive there must leave it its claim."""
        self._told[lock_id].on = key
        if lock_id in self._alive:
            self._claims_alone(lock_id)

    def _claims_alone(self, lock_id: int) -> None:
        for other_id in self._alive - {lock_id}:
            if self._told[other_id].on != self._told[lock_id].on:
                continue
            clash = next(
                (mine for mine in self._claims[lock_id] for theirs in self._claims[other_id] if mine.clashes(theirs)),
                None,
            )
            if clash is not None:
                self._findings.violated(
                    "GRANTED_WHILE_CLAIMED",
                    activity=self._name,
                    lock=lock_id,
                    other=other_id,
                    period=_period(clash.where.start, clash.where.end),
                )

    def _follows(self, kind: int, lock_id: int, token: int, detail: str | None) -> bool:
        """Whether the step was possible; makes it."""
        told = self._told.get(lock_id)
        if told is None:
            return False
        if kind == SUPPLEMENTED and told.state == ISSUED:
            self._rises(lock_id, token)
            told.token, told.open = token, True
        elif token != told.token:
            return False
        elif kind == BEGUN and told.open:
            told.state, told.open = ISSUING, False
        elif kind == COMMITTED and told.state == ISSUING:
            told.state = ISSUED
            told.committed += 1
        elif kind == GIVEN_UP and told.state == ISSUING and detail:
            told.state = ISSUED if told.committed else ABORTED
        elif kind in (GIVEN_BACK, RAN_OUT) and told.open:
            ended = RELEASED if kind == GIVEN_BACK else EXPIRED
            told.state, told.open = (ended if told.state == HELD else told.state), False
        else:
            return False
        if told.state in (RELEASED, EXPIRED, ABORTED):
            self._alive.discard(lock_id)
        return True

    def _compare(self, standing_on: object) -> None:
        for lock_id, lock in self._locks.items():
            told = self._told.get(lock_id)
            if told is not None and told.on != standing_on:
                self._findings.violated("LOCK_MOVED_SILENTLY", activity=self._name, lock=lock_id, other=told.on)
            if told is None or (told.state, told.token) != (lock.state, lock.token):
                self._findings.violated(
                    "STATE_NOT_IN_HISTORY",
                    activity=self._name,
                    lock=lock_id,
                    state=_state(lock.state),
                    token=lock.token,
                    told=_state(told.state) if told else "nothing",
                    other=told.token if told else "none",
                )


def _ledger_sums(name: str, locks: Mapping[int, Lock], issuances: Sequence[Row], findings: Findings) -> None:
    """I4: what a lock says of its issuances is what the ledger holds."""
    counted: dict[int, int] = defaultdict(int)
    summed: dict[int, int] = defaultdict(int)
    for _, lock_id, units, _ in issuances:
        counted[lock_id] += 1
        summed[lock_id] += units
    for lock_id, lock in locks.items():
        ledger = (counted[lock_id], summed[lock_id])
        if (lock.issuance_count, lock.issued_units) != ledger or (lock.state == ISSUED) > bool(counted[lock_id]):
            findings.violated(
                "LEDGER_SUM_WRONG",
                activity=name,
                lock=lock_id,
                count=lock.issuance_count,
                units=lock.issued_units,
                counted=ledger[0],
                summed=ledger[1],
            )


class _Use(NamedTuple):
    """A lock's use of a measured outcome, in base units."""

    lock: Lock
    used: int
    unit: Instrument


def _measured(
    name: str,
    locks: Mapping[int, Lock],
    outcomes: Sequence[Row],
    disputes: Sequence[Disputed],
    bundles: Mapping[str, Bundle],
    findings: Findings,
) -> None:
    """I6: per recorded outcome, what is issued or being issued against what was measured and carried in."""
    uses: dict[tuple[str, int, int], list[_Use]] = defaultdict(list)
    for lock in locks.values():
        bundle = bundles.get(lock.policy_hash or "")
        unit = bundle.instruments.get(lock.instrument) if bundle else None
        if unit is not None and unit.measured and lock.state in (ISSUING, ISSUED):
            units = lock.issued_units + (lock.units if lock.state == ISSUING else 0)
            where = (unit.base_unit, lock.where.start, lock.where.end)
            uses[where].append(_Use(lock, units * unit.base_units_per_unit, unit))
    left: dict[tuple[str, int], int] = {}
    for _, base_unit, start, end, quantity in outcomes:
        here = uses.pop((base_unit, start, end), [])
        findings.saw("I6", "outcomes")
        findings.saw("I6", "locks within an outcome", len(here))
        used, carried = sum(use.used for use in here), sum(use.lock.carried_in for use in here)
        told = {lock_id for each in disputes if each.kind == ABOVE_MEASURE for lock_id in each.lock_ids}
        if used > quantity + carried and not told.isdisjoint(use.lock.lock_id for use in here):
            findings.saw("I6", "outcomes in dispute")
        elif used > quantity + carried:
            findings.violated(
                "MORE_THAN_MEASURED",
                activity=name,
                used=used,
                base_unit=base_unit,
                period=_period(start, end),
                quantity=quantity,
                carried=carried,
                lock=", ".join(str(use.lock.lock_id) for use in here),
            )
        for use in here:
            _carried(name, use, left.get((base_unit, start)), findings)
        left[base_unit, end] = quantity + carried - used
    findings.saw("I6", "locks without a recorded outcome", sum(map(len, uses.values())))


def _carried(name: str, use: _Use, left: int | None, findings: Findings) -> None:
    """What was carried in is less than one unit, and remained before: in the period that ends where this starts."""
    lock = use.lock
    if not lock.carried_in:
        return
    findings.saw("I6", "remainders carried in")
    if lock.carried_in >= use.unit.base_units_per_unit or (left is not None and lock.carried_in > left):
        findings.violated(
            "CARRIED_TOO_MUCH",
            activity=name,
            lock=lock.lock_id,
            carried=lock.carried_in,
            base_unit=use.unit.base_unit,
            period=_period(lock.where.start, lock.where.end),
            left="unknown" if left is None else left,
        )


def _attributes(written: object) -> frozenset[int]:
    """PostgreSQL keeps a list of numbers, SQLite a bit mask; only their meeting matters here."""
    if isinstance(written, int):
        return frozenset(bit for bit in range(written.bit_length()) if written >> bit & 1)
    return frozenset(written) if isinstance(written, list) else frozenset()


def _activity_name(key: object, locks: Iterable[Lock]) -> str:
    country = next((lock.country for lock in locks), None)
    if country is None or not isinstance(key, int):
        return f"activity key {key}"
    return f"activities/{make_activity_id(country, ActivityKey(key))}"


def _state(number: int) -> str:
    return STATES[number] if 0 < number < len(STATES) else str(number)


def _period(start_us: int, end_us: int) -> str:
    return f"{instant(start_us)}/{instant(end_us)}"


def instant(microseconds: int) -> str:
    """An instant for people."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds):%Y-%m-%dT%H:%M:%SZ}"
