"""The workflow and its recovery, against a lookup and a native registry in memory that a test can bend at any point.

What matters is asked of the fakes, not of the code under test: how often the native registry issued, and whether a
lock stood in ISSUING or ISSUED whenever it did.
"""

import asyncio
import contextlib
import itertools
import logging
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from soleclaim.core.activity_id import ActivityId, ActivityKey, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.registry import workflow
from soleclaim.registry.desk import IssuanceDesk
from soleclaim.registry.domain import (
    FINAL,
    BatchId,
    Declaration,
    Entry,
    EvidenceKind,
    IssuanceState,
    Order,
    Refusal,
    Request,
    Stage,
    Step,
)
from soleclaim.registry.instruments import INSTRUMENTS
from soleclaim.registry.journal import LeaseLost
from soleclaim.registry.lease import LeaseKeeper, LeaseTimes
from soleclaim.registry.lookup import (
    Absent,
    Grant,
    LockNow,
    LockState,
    LockWish,
    LookupUnavailable,
    Made,
    Names,
    RecordedOutcome,
)
from soleclaim.registry.native import (
    AbsenceProof,
    MeasuredOutcome,
    NativeCapabilities,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    NativeResult,
    NativeUnavailable,
    NativeUnknown,
    beyond_limits,
)
from soleclaim.registry.recovery import Recovery, RecoveryTimes
from soleclaim.registry.sql_journal import SqlJournal, migrate
from soleclaim.registry.workflow import Limits, Tools, evidence_of
from soleclaim.rpc.parse import Faults

T = TypeVar("T")
R = TypeVar("R")

MARCH: Final = Period(datetime(2025, 2, 28, 16, tzinfo=UTC), datetime(2025, 3, 31, 16, tzinfo=UTC))
DECLARED: Final = Declaration(no_other_application=True, no_claim_after_transfer=True)
QUICK: Final = RecoveryTimes(
    poll=timedelta(milliseconds=5), first_pause=timedelta(milliseconds=5), longest_pause=timedelta(milliseconds=40)
)


def an_order(project: str = "P1", units: int = 0) -> Order:
    return Order(project, MARCH, units, DECLARED)


def a_request(*orders: Order, request_id: str = "request-1") -> Request:
    return Request("registry/gec", request_id, orders or (an_order(),))


@dataclass
class Clock:
    """The journal's clock, driven by the test: it stands still unless somebody takes time."""

    time: datetime

    async def now(self) -> datetime:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class FakeLookup:
    """One lock per activity. Idempotent by request id; the same id with other content fails the test."""

    def __init__(self) -> None:
        self.known: dict[str, ActivityId] = {}
        self.outcomes: dict[ActivityId, int] = {}
        self.held: dict[str, tuple[LockWish, str]] = {}
        self.evidence: list[Absent] = []
        self.committed: list[Made] = []
        self.calls: list[str] = []
        self.lose: set[str] = set()
        """Calls that take effect, and whose answer is lost, once."""
        self.down: set[str] = set()
        """Calls that do not arrive."""
        self.during: Callable[[str], None] | None = None
        """Told the name of each call while it is under way."""
        self.case = ""
        """The review case that holds every activity, if any."""
        self.merged: dict[ActivityId, ActivityId] = {}
        """Aliases, and what each was merged into."""
        self._answers: dict[str, tuple[list[Any], list[Any]]] = {}
        self._numbers = itertools.count(1)

    async def resolve(self, native_project_id: str) -> ActivityId | None:
        self._arrive("resolve")
        return self.known.get(native_project_id)

    async def names_of(self, activity: ActivityId) -> Names:
        raise NotImplementedError

    async def register(self, request_id: str, projects: Sequence[NativeProject]) -> list[ActivityId | Refusal]:
        def one(project: NativeProject) -> ActivityId | Refusal:
            native_project_id = project.native_project_id
            if project.name == "look-alike":
                return Refusal.of(Reason.IDENTITY_UNDER_REVIEW, native_project_id=native_project_id, case="7")
            key = ActivityKey(1000 + len(self.known))
            return self.known.setdefault(native_project_id, make_activity_id("CN", key))

        return self._once("register", request_id, projects, one)

    async def record_outcomes(self, request_id: str, outcomes: Sequence[RecordedOutcome]) -> list[Refusal | None]:
        def one(outcome: RecordedOutcome) -> Refusal | None:
            if outcome.activity in self.merged:
                return self._merged_away(outcome.activity)
            self.outcomes[outcome.activity] = outcome.quantity
            return None

        return self._once("record_outcomes", request_id, outcomes, one)

    async def acquire(self, request_id: str, wishes: Sequence[LockWish]) -> list[Grant | Refusal]:
        def one(wish: LockWish) -> Grant | Refusal:
            if wish.activity in self.merged:
                return self._merged_away(wish.activity)
            if self.case:
                return self._reviewed(wish)
            for held, state in self.held.values():
                if held.activity == wish.activity and state != "ABORTED":
                    return Refusal.of(
                        Reason.ISSUANCE_LOCK_HELD, registry="ccer", instrument="CCER", period=held.period, state=state
                    )
            name = f"issuanceLocks/{next(self._numbers)}"
            self.held[name] = (wish, "HELD")
            return Grant(name, self.token_of(name))

        return self._once("acquire", request_id, wishes, one)

    async def begin(self, request_id: str, grants: Sequence[Grant]) -> list[Refusal | None]:
        return self._once("begin", request_id, grants, lambda grant: self._turn(grant, "HELD", "ISSUING"))

    async def commit(self, request_id: str, made: Sequence[Made]) -> list[Refusal | None]:
        def one(each: Made) -> Refusal | None:
            if each in self.committed:
                return None
            refusal = self._turn(each.grant, "ISSUING", "ISSUED")
            if refusal is None:
                self.committed.append(each)
            return refusal

        return self._once("commit", request_id, made, one)

    async def abort(self, request_id: str, absent: Sequence[Absent]) -> list[Refusal | None]:
        def one(each: Absent) -> Refusal | None:
            self.evidence.append(each)
            return self._turn(each.grant, "ISSUING", "ABORTED")

        return self._once("abort", request_id, absent, one)

    async def locks(self, names: Sequence[str]) -> list[LockNow]:
        self._arrive("locks")
        return [self._lock_now(name) for name in names]

    def _lock_now(self, name: str) -> LockNow:
        _, state = self.held[name]
        tokens = frozenset(made.grant.fencing_token for made in self.committed if made.grant.lock == name)
        return LockNow(LockState(state), self.token_of(name), tokens)

    @staticmethod
    def token_of(name: str) -> int:
        return 100 + int(name.removeprefix("issuanceLocks/"))

    async def check(self, wish: LockWish) -> list[Refusal]:
        self._arrive("check")
        if wish.activity in self.merged:
            return [self._merged_away(wish.activity)]
        # In no order that anybody promised.
        return [Refusal.of(Reason.POLICY_REFUSED, rules="R98", bundle="1"), self._reviewed(wish)] if self.case else []

    def merge_all(self) -> None:
        """Every activity becomes an alias of a new one."""
        for native_project_id, alias in self.known.items():
            self.merged[alias] = make_activity_id("CN", ActivityKey(5000 + len(self.merged)))
            self.known[native_project_id] = self.merged[alias]

    def _merged_away(self, activity: ActivityId) -> Refusal:
        survivor = f"activities/{self.merged[activity]}"
        return Refusal.of(Reason.ACTIVITY_MERGED, activity=f"activities/{activity}", survivor=survivor)

    def _reviewed(self, wish: LockWish) -> Refusal:
        activity = f"activities/{wish.activity}"
        return Refusal.of(Reason.IDENTITY_UNDER_REVIEW, activity=activity, case=self.case)

    async def announce(self, endpoint: str) -> None:
        raise NotImplementedError

    def states(self) -> list[str]:
        return [state for _, state in self.held.values()]

    def spoil(self, state: str) -> None:
        """Set every lock's state, as no call could."""
        self.held = {name: (wish, state) for name, (wish, _) in self.held.items()}

    def is_issuing(self, reference: str) -> bool:
        return any(wish.reference == reference and state == "ISSUING" for wish, state in self.held.values())

    def _turn(self, grant: Grant, needed: str, state: str) -> Refusal | None:
        wish, now = self.held[grant.lock]
        if now != needed:
            return Refusal.of(Reason.LOCK_STATE_WRONG, lock=grant.lock, state=now, action=state, needed=needed)
        self.held[grant.lock] = (wish, state)
        return None

    def _arrive(self, name: str) -> None:
        self.calls.append(name)
        if self.during is not None:
            self.during(name)
        if name in self.down:
            raise LookupUnavailable(name)

    def _once(self, name: str, request_id: str, items: Sequence[T], one: Callable[[T], R]) -> list[R]:
        self._arrive(name)
        content = list(items)
        if request_id not in self._answers:
            self._answers[request_id] = (content, [one(item) for item in items])
        first, answers = self._answers[request_id]
        assert first == content, f"{name} came again under one request id with other content"
        if name in self.lose:
            self.lose.discard(name)
            raise LookupUnavailable(name)
        return list(answers)


class FakeNative:
    """Issues what it is told, and notes whether the lock was ISSUING when it did."""

    def __init__(self, lookup: FakeLookup, proof: AbsenceProof, longest_under_way: timedelta) -> None:
        self._lookup = lookup
        self.capabilities = NativeCapabilities(proof, longest_under_way, max_batch=2)
        self.projects: dict[str, str] = {}
        self.quantity = 5_400
        self.carried_in = 700
        self.issued: list[NativeIssuance] = []
        self.voided: set[str] = set()
        self.calls: list[list[str]] = []
        self.unlocked: list[str] = []
        """References issued without a lock in ISSUING: the one thing that must never happen."""
        self.behave: Callable[[NativeOrder], NativeResult | None] | None = None
        """Instead of issuing; ``None``: issue after all."""
        self.before: Callable[[], Any] | None = None
        self.during: Callable[[str], None] | None = None
        """Told the name of each call to issue or find while it is under way."""
        self.late: list[NativeOrder] = []
        """Orders still under way although the caller gave up."""
        self.silent = False

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        self._speak()
        if native_project_id == "NONE":
            return None
        name = self.projects.get(native_project_id, "a wind farm")
        codes = (("gec_filing_code", native_project_id),)
        return NativeProject(native_project_id, name, "CN", "wind", "Asia/Shanghai", codes)

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        self._speak()
        if native_project_id == "UNMEASURED":
            return None
        return MeasuredOutcome(native_project_id, period, "kWh", self.quantity, self.carried_in)

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        self.calls.append([order.external_reference for order in orders])
        if self.before is not None:
            await self.before()
        if self.during is not None:
            self.during("issue")
        return [self._one(order) for order in orders]

    def _one(self, order: NativeOrder) -> NativeResult:
        answer = self.behave(order) if self.behave else None
        return answer or self.make(order)

    def make(self, order: NativeOrder) -> NativeResult:
        reference = order.external_reference
        if reference in self.voided:
            return NativeRefusal("VOIDED", "reference was voided", lasting=True)
        # Only these two kinds know references as unique: the others issue as often as they are told to.
        unique = self.capabilities.absence_proof in (AbsenceProof.VOID, AbsenceProof.RESEND)
        if unique and (found := self.found(reference)) is not None:
            return found
        if not self._lookup.is_issuing(reference):
            self.unlocked.append(reference)
        start = 1 + sum(each.units for each in self.issued)
        blocks = (UnitBlock("S", start, start + order.units - 1),)
        issuance = NativeIssuance(
            f"N{len(self.issued)}", reference, order.fencing_token, order.native_project_id, order.period,
            order.units, blocks,
        )  # fmt: skip
        self.issued.append(issuance)
        return issuance

    def found(self, reference: str) -> NativeIssuance | None:
        return next((each for each in self.issued if each.external_reference == reference), None)

    def lose_on_the_way(self, order: NativeOrder) -> NativeResult:
        """The call is still under way when the caller gives up."""
        self.late.append(order)
        return NativeUnknown("timed out")

    def lose_the_answer(self, order: NativeOrder) -> NativeResult:
        self.make(order)
        return NativeUnknown("timed out")

    def arrive_late(self) -> None:
        for order in self.late:
            self.make(order)
        self.late.clear()

    async def find(self, external_reference: str) -> NativeIssuance | None:
        self._speak()
        if self.during is not None:
            self.during("find")
        return self.found(external_reference)

    async def void(self, external_reference: str) -> NativeIssuance | None:
        self._speak()
        if self.found(external_reference) is None:
            self.voided.add(external_reference)
        return self.found(external_reference)

    async def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        for issuance in self.issued:
            yield issuance

    async def close(self) -> None:
        """Nothing is open."""

    def _speak(self) -> None:
        if self.silent:
            raise NativeUnavailable("no answer")


class JournalAhead(SqlJournal):
    """A journal whose database's clock is ``ahead``: time passes and nobody has to wait, or to be quick."""

    ahead = timedelta()

    async def _now(self, connection: AsyncConnection) -> int:
        return await super()._now(connection) + self.ahead // timedelta(microseconds=1)


@dataclass
class Side:
    """A registry side; ``restarted`` gives the next process on the same journal, ``ahead`` of the one before."""

    url: str
    lookup: FakeLookup
    native: FakeNative
    limits: Limits = field(default_factory=Limits)
    ahead: timedelta = timedelta()
    journal: SqlJournal = field(init=False)
    keeper: LeaseKeeper = field(init=False)
    tools: Tools = field(init=False)
    desk: IssuanceDesk = field(init=False)
    recovery: Recovery = field(init=False)

    def __post_init__(self) -> None:
        self.journal = JournalAhead(self.url, "gec")
        self.journal.ahead = self.ahead
        self.keeper = LeaseKeeper(self.journal, "gec", LeaseTimes())
        self.tools = Tools("gec", INSTRUMENTS["gec"], self.journal, self.lookup, self.native, self.limits)
        self.desk = IssuanceDesk(self.tools, self.keeper)
        self.recovery = Recovery(self.tools, self.keeper, self.desk, QUICK)

    async def opened(self) -> "Side":
        await self.keeper.step()
        return self

    async def close(self) -> None:
        await self.desk.drain(5)
        await self.keeper.release()
        await self.journal.close()

    async def restarted(self, ahead: timedelta = timedelta()) -> "Side":
        await self.close()
        return await replace(self, ahead=ahead).opened()

    async def entries(self, batch: int = 1) -> list[Entry]:
        return await self.journal.read_batch(BatchId(batch))

    async def recover(self, batch: int = 1) -> None:
        """One try of recovery at a batch, due or not; of what waits for a review, only what is due."""
        await self.recovery.recover(BatchId(batch), self.keeper.current())

    async def settle(self, *, until: Callable[[list[Entry]], bool] | None = None) -> list[Entry]:
        """Let recovery work until all entries of batch 1 are final, or ``until`` holds."""
        done = until or (lambda entries: all(entry.stage in FINAL for entry in entries))
        for _ in range(400):
            await self.recovery.step()
            await asyncio.sleep(0.01)
            if done(entries := await self.entries()):
                return entries
        raise AssertionError(f"not settled: {[entry.stage for entry in entries]}")


NewSide = Callable[..., Awaitable[Side]]


@pytest.fixture(scope="module")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "journal.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
async def new_side(empty_journal: Path, tmp_path: Path) -> AsyncIterator[NewSide]:
    opened: list[Side] = []

    async def new(
        proof: AbsenceProof = AbsenceProof.VOID,
        *,
        longest_under_way: timedelta = timedelta(milliseconds=50),
        limits: Limits | None = None,
    ) -> Side:
        url = f"sqlite+aiosqlite:///{shutil.copy(empty_journal, tmp_path)}"
        lookup = FakeLookup()
        native = FakeNative(lookup, proof, longest_under_way)
        opened.append(await Side(url, lookup, native, limits or Limits()).opened())
        return opened[-1]

    yield new
    for side in opened:
        assert side.native.unlocked == [], "issued natively without a lock in ISSUING"
        references = [each.external_reference for each in side.native.issued]
        assert len(references) == len(set(references)), "issued twice under one reference"
        await side.close()


# -- The way through -------------------------------------------------------------------------------------------------


async def test_everything_measured_is_issued_and_committed(new_side: NewSide) -> None:
    side = await new_side()
    (entry,) = await side.desk.issue(a_request())
    assert entry.state is IssuanceState.ISSUED
    # 5,400 kWh measured and 700 carried in make 6 whole units.
    assert (entry.units, entry.carried_in, entry.blocks) == (6, 700, (UnitBlock("S", 1, 6),))
    assert side.lookup.states() == ["ISSUED"]
    assert side.lookup.outcomes == {entry.activity: 5_400}
    assert [made.native_issuance_id for made in side.lookup.committed] == [entry.native_issuance_id]


async def test_a_full_run_passes_every_step_in_order(new_side: NewSide, monkeypatch: pytest.MonkeyPatch) -> None:
    side = await new_side()
    points: list[str] = []
    monkeypatch.setattr(workflow, "reach", points.append)
    await side.desk.issue(a_request())
    assert points == [f"registry.{step.name}.{moment}" for step in Step for moment in ("before", "after")]


async def test_every_change_stands_in_the_history(new_side: NewSide) -> None:
    side = await new_side()
    (entry,) = await side.desk.issue(a_request())
    rows = await side.journal.history(entry.issuance_id)
    way = ["ACCEPTED", "IDENTIFIED", "MEASURED", "HELD", "ISSUING", "SENDING", "MADE", "ISSUED"]
    assert [row.stage.value for row in rows] == way
    assert [row.version for row in rows] == list(range(1, 9))


async def test_each_item_of_a_batch_gets_its_own_answer(new_side: NewSide) -> None:
    side = await new_side()
    side.native.projects = {"TWIN": "look-alike"}
    side.native.behave = lambda order: (
        NativeRefusal("NO", "not this one", lasting=True) if order.native_project_id == "P2" else None
    )
    projects = ("P1", "TWIN", "NONE", "UNMEASURED", "P1", "P2", "P3")
    entries = await side.desk.issue(a_request(*map(an_order, projects)))
    told = [entry.refusal.reason.name if entry.refusal else entry.state.name for entry in entries]
    assert told == [
        "ISSUED",
        "IDENTITY_UNDER_REVIEW",
        "NATIVE_PROJECT_UNKNOWN",
        "OUTCOME_NOT_MEASURED",
        "ISSUANCE_LOCK_HELD",
        "NATIVE_REGISTRY_REFUSED",
        "ISSUED",
    ]
    assert sorted(side.lookup.states()) == ["ABORTED", "ISSUED", "ISSUED"]
    assert [each.evidence.kind for each in side.lookup.evidence] == [EvidenceKind.NATIVE_REFUSED]
    assert [len(call) for call in side.native.calls] == [2, 1], "chunks of what the native registry takes at once"


async def test_a_silent_native_registry_refuses_before_any_lock(new_side: NewSide) -> None:
    side = await new_side()
    side.native.silent = True
    (entry,) = await side.desk.issue(a_request())
    assert entry.refusal is not None
    assert entry.refusal.reason is Reason.NATIVE_REGISTRY_UNAVAILABLE
    assert side.lookup.held == {}


# -- Idempotency -----------------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_answer_and_other_content_is_refused(new_side: NewSide) -> None:
    side = await new_side()
    first = await side.desk.issue(a_request())
    assert await side.desk.issue(a_request()) == first
    side = await side.restarted()
    try:
        assert await side.desk.issue(a_request()) == first
        with pytest.raises(DomainError) as refused:
            await side.desk.issue(a_request(an_order(units=1)))
        assert refused.value.reason is Reason.REQUEST_ID_REUSED
        assert len(side.native.calls) == 1
    finally:
        await side.close()


async def test_racing_repeats_are_one_issuance(new_side: NewSide) -> None:
    side = await new_side()
    side.native.before = lambda: asyncio.sleep(0.05)
    answers = await asyncio.gather(*(side.desk.issue(a_request()) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert len(side.native.calls) == 1


async def test_a_caller_that_goes_away_stops_nothing(new_side: NewSide) -> None:
    side = await new_side()
    called = asyncio.Event()

    async def slow() -> None:
        called.set()
        await asyncio.sleep(0.05)

    side.native.before = slow
    caller = asyncio.create_task(side.desk.issue(a_request()))
    await called.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await side.desk.drain(5)
    assert [entry.state for entry in await side.entries()] == [IssuanceState.ISSUED]


@pytest.mark.parametrize("name", ["register", "record_outcomes", "acquire", "begin", "commit"])
async def test_a_lost_answer_of_the_lookup_is_fetched_by_the_same_call(new_side: NewSide, name: str) -> None:
    side = await new_side()
    side.lookup.lose = {name}
    if name == "commit":
        (entry,) = await side.desk.issue(a_request())
        assert entry.state is IssuanceState.IN_DOUBT
    else:
        with pytest.raises(DomainError) as refused:
            await side.desk.issue(a_request())
        assert refused.value.reason is Reason.LOOKUP_UNAVAILABLE
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]
    assert (len(side.native.calls), side.lookup.states()) == (1, ["ISSUED"])


async def test_a_lookup_that_is_down_leaves_the_request_pending_until_it_is_back(new_side: NewSide) -> None:
    side = await new_side()
    side.lookup.down = {"acquire"}
    with pytest.raises(DomainError):
        await side.desk.issue(a_request())
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    assert [entry.state for entry in await side.entries()] == [IssuanceState.PENDING]
    side.lookup.down = set()
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]


async def driven(side: Side) -> Clock:
    """From now on the test drives the journal's clock, as far as workflow and recovery read it."""
    clock = Clock(await side.journal.now())
    side.journal.now = clock.now  # type: ignore[method-assign]
    return clock


# -- Waiting for a review --------------------------------------------------------------------------------------------

WAITERS: Final = ("HELD", "TWIN")
"""Projects that wait: for its activity, which a case holds, or for its own registration, which opened one."""


async def waiting(side: Side, project: str, *, others: Sequence[str] = ()) -> Entry:
    """Ask for a project whose identity is under review."""
    side.native.projects = {"TWIN": "look-alike", "TWIN2": "look-alike"}
    side.lookup.case = "7" if project == "HELD" else ""
    entry, *_ = await side.desk.issue(a_request(an_order(project), *map(an_order, others)))
    assert entry.stage is Stage.UNDER_REVIEW
    return entry


def decide(side: Side) -> None:
    """The person says: different."""
    side.lookup.case = ""
    side.lookup.known["TWIN"] = make_activity_id("CN", ActivityKey(77))


@pytest.mark.parametrize("project", WAITERS)
async def test_what_is_under_review_waits_and_goes_on_when_the_case_is_decided(new_side: NewSide, project: str) -> None:
    side = await new_side()
    entry = await waiting(side, project)
    assert entry.state is IssuanceState.UNDER_REVIEW
    assert entry.refusal is not None
    assert entry.refusal.reason is Reason.IDENTITY_UNDER_REVIEW
    assert dict(entry.refusal.variables)["case"] == "7"
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    (again,) = await side.entries()
    assert (again.stage, again.refusal) == (entry.stage, entry.refusal)
    assert (side.lookup.held, side.native.calls) == ({}, [])
    assert await side.journal.under_review() == 1
    decide(side)
    (entry,) = await side.settle()
    assert (entry.state, entry.refusal) == (IssuanceState.ISSUED, None)
    assert (len(side.native.issued), side.lookup.states()) == (1, ["ISSUED"])
    assert await side.journal.under_review() == 0


@pytest.mark.parametrize("project", WAITERS)
async def test_a_repeat_of_a_waiting_request_is_told_that_it_waits_and_asks_nobody(
    new_side: NewSide, project: str
) -> None:
    side = await new_side()
    entry = await waiting(side, project)
    calls = len(side.lookup.calls)
    assert await side.desk.issue(a_request(an_order(project))) == [entry]
    assert len(side.lookup.calls) == calls


async def test_to_ask_again_is_to_read_until_the_native_record_changes(new_side: NewSide) -> None:
    """A registration with other content is evidence for the person; the same one again is the same request."""
    side = await new_side()
    await waiting(side, "TWIN")
    await side.settle(until=lambda entries: entries[0].attempts > 3)
    stored = len(side.lookup._answers)
    await side.settle(until=lambda entries: entries[0].attempts > 5)
    assert len(side.lookup._answers) == stored
    side.native.projects = {"TWIN": "a name of its own"}
    (entry,) = await side.settle()
    assert entry.state is IssuanceState.ISSUED


async def test_a_case_that_opens_again_is_waited_for_again(new_side: NewSide) -> None:
    side = await new_side()
    await waiting(side, "HELD")

    def reopen(name: str) -> None:
        # Decided when it was asked about, open again when the lock was asked for.
        side.lookup.case = {"check": "", "acquire": "8"}.get(name, side.lookup.case)

    side.lookup.during = reopen
    await side.settle(until=lambda entries: entries[0].waits > 1)
    side.lookup.during, side.lookup.case = None, "8"
    (entry,) = await side.entries()
    assert entry.stage is Stage.UNDER_REVIEW
    assert entry.refusal is not None
    assert dict(entry.refusal.variables)["case"] == "8"
    decide(side)
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]


async def test_what_waited_is_refused_with_what_the_joined_activity_means(new_side: NewSide) -> None:
    side = await new_side()
    await side.desk.issue(a_request(an_order("OTHER"), request_id="request-0"))
    side.native.projects = {"TWIN": "look-alike"}
    await side.desk.issue(a_request(an_order("TWIN")))
    side.lookup.known["TWIN"] = side.lookup.known["OTHER"]
    for _ in range(3):
        await side.recovery.recover(BatchId(2), side.keeper.current())
    (entry,) = await side.entries(2)
    assert entry.state is IssuanceState.REFUSED
    assert entry.refusal is not None
    assert entry.refusal.reason is Reason.ISSUANCE_LOCK_HELD
    assert len(side.native.issued) == 1


@pytest.mark.parametrize("project", WAITERS)
async def test_after_the_longest_wait_it_is_refused_with_the_case(new_side: NewSide, project: str) -> None:
    side = await new_side(limits=Limits(review_wait=timedelta(hours=1)))
    clock = await driven(side)
    await waiting(side, project)
    clock.pass_by(3_500)
    await side.recover()
    assert [entry.stage for entry in await side.entries()] == [Stage.UNDER_REVIEW]
    clock.pass_by(200)
    await side.recover()
    (entry,) = await side.entries()
    assert entry.stage is Stage.REFUSED
    assert entry.refusal is not None
    assert entry.refusal.reason is Reason.IDENTITY_UNDER_REVIEW
    decide(side)
    await side.recover()
    assert await side.entries() == [entry]


@pytest.mark.parametrize("project", WAITERS)
async def test_a_silent_native_registry_costs_nobody_the_place_it_waited_for(new_side: NewSide, project: str) -> None:
    side = await new_side()
    await waiting(side, project)
    side.native.silent = True
    decide(side)
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    assert not [entry for entry in await side.entries() if entry.stage in FINAL]
    side.native.silent = False
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]


async def test_pauses_grow_to_a_limit_of_their_own_and_are_no_alarm(
    new_side: NewSide, caplog: pytest.LogCaptureFixture
) -> None:
    side = await new_side()
    times = RecoveryTimes(first_pause=timedelta(seconds=1), longest_review_pause=timedelta(seconds=60))
    side.recovery = Recovery(side.tools, side.keeper, side.desk, times)
    clock = await driven(side)
    await waiting(side, "HELD")
    clock.pass_by(60)
    pauses = []
    for _ in range(9):
        await side.recover()
        (entry,) = await side.entries()
        assert entry.next_try_time is not None
        pauses.append((entry.next_try_time - clock.time).total_seconds())
        clock.time = entry.next_try_time
    assert all(0.7 * 2**number < pause <= 2**number for number, pause in enumerate(pauses[:6]))
    assert all(40 < pause <= 60 for pause in pauses[6:])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_waits_is_asked_about_when_it_is_due(new_side: NewSide) -> None:
    side = await new_side()
    clock = await driven(side)
    await waiting(side, "TWIN", others=["P1"])
    clock.pass_by(60)
    await side.recover()
    (entry, _) = await side.entries()
    asked = side.lookup.calls.count("resolve")
    await side.recover()
    assert (side.lookup.calls.count("resolve"), (await side.entries())[0]) == (asked, entry)
    clock.pass_by(60)
    await side.recover()
    assert side.lookup.calls.count("resolve") == asked + 1


@pytest.mark.parametrize(("ordered", "issued"), [(0, 8), (2, 2)], ids=["everything measured", "so many"])
async def test_what_is_measured_after_a_wait_counts_and_what_was_ordered_stands(
    new_side: NewSide, ordered: int, issued: int
) -> None:
    """The reading is corrected while the request waits."""
    side = await new_side()
    side.lookup.case = "7"
    (entry,) = await side.desk.issue(a_request(an_order(units=ordered)))
    assert (entry.stage, entry.ordered_units, entry.units) == (Stage.UNDER_REVIEW, ordered, ordered)
    side.native.quantity, side.native.carried_in = 8_100, 0
    decide(side)
    (entry,) = await side.settle()
    assert (entry.state, entry.units, entry.ordered_units) == (IssuanceState.ISSUED, issued, ordered)
    assert entry.carried_in == 0


@pytest.mark.parametrize("project", WAITERS)
async def test_to_wait_writes_no_history(new_side: NewSide, project: str) -> None:
    side = await new_side()
    entry = await waiting(side, project)
    before = await side.journal.history(entry.issuance_id)
    (again,) = await side.settle(until=lambda entries: entries[0].attempts > 5)
    assert await side.journal.history(entry.issuance_id) == before
    assert again.version > entry.version + 5
    decide(side)
    await side.settle()
    assert len(await side.journal.history(entry.issuance_id)) > len(before)


@pytest.mark.parametrize("bug", [False, True], ids=["time-out", "bug"])
async def test_what_is_made_does_not_wait_for_what_waits(new_side: NewSide, *, bug: bool) -> None:
    """One entry of the batch cannot be asked about, at every try; the others are committed, or go on, all the same."""
    side = await new_side()
    side.lookup.lose = {"commit"}
    await waiting(side, "TWIN", others=["P1", "TWIN2"])
    resolve = side.lookup.resolve

    async def fail(native_project_id: str) -> ActivityId | None:
        if native_project_id == "TWIN":
            raise RuntimeError("a bug") if bug else LookupUnavailable("too late")
        return await resolve(native_project_id)

    side.lookup.resolve = fail  # type: ignore[method-assign]  # of this object alone
    side.lookup.known["TWIN2"] = make_activity_id("CN", ActivityKey(78))
    await side.settle(until=lambda entries: [entry.stage for entry in entries[1:]] == [Stage.ISSUED] * 2)
    assert (await side.entries())[0].stage is Stage.UNDER_REVIEW


REVIEWED: Final = [
    (point, moment, project)
    for point in ("IDENTITY", "OUTCOME", "ACQUIRE", "REVIEW")
    for moment in ("before", "after")
    for project in WAITERS
]


@pytest.mark.parametrize(("point", "moment", "project"), REVIEWED)
@pytest.mark.parametrize("decided", [False, True], ids=["undecided", "decided"])
async def test_a_process_that_ends_around_a_wait_loses_and_doubles_nothing(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch, point: str, moment: str, project: str, *, decided: bool
) -> None:
    """It ends on the way into the wait, or on the way out."""
    side = await new_side()

    def end(reached: str) -> None:
        if reached == f"registry.{point}.{moment}":
            raise RuntimeError("the process ended")

    if decided:
        await waiting(side, project)
        decide(side)
    with monkeypatch.context() as patched, contextlib.suppress(RuntimeError, AssertionError):
        patched.setattr(workflow, "reach", end)
        if not decided:
            await waiting(side, project)
        await side.recover()
    side = await side.restarted()
    try:
        if not decided:
            await side.settle(until=lambda entries: entries[0].attempts > 1)
            assert [entry.stage for entry in await side.entries()] == [Stage.UNDER_REVIEW]
            decide(side)
        assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]
        assert (len(side.native.calls), side.lookup.states()) == (1, ["ISSUED"])
    finally:
        await side.close()


@pytest.mark.parametrize("project", WAITERS)
@pytest.mark.parametrize("name", ["resolve", "register", "check", "record_outcomes", "acquire", "begin", "commit"])
async def test_a_lost_answer_on_the_way_out_of_a_wait_is_fetched_by_the_same_call(
    new_side: NewSide, name: str, project: str
) -> None:
    side = await new_side()
    await waiting(side, project)
    side.lookup.lose = {name}
    decide(side)
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]
    assert (len(side.native.calls), side.lookup.states()) == (1, ["ISSUED"])


@pytest.mark.parametrize("name", ["acquire", "begin", "commit"])
async def test_what_goes_on_beside_others_of_its_batch_changes_none_of_their_calls(
    new_side: NewSide, name: str
) -> None:
    """The others' answer is lost, and meanwhile the one that waited has come to the same step."""
    side = await new_side()
    side.native.projects = {"TWIN": "look-alike"}
    side.lookup.lose = {name}
    with contextlib.suppress(DomainError):
        await side.desk.issue(a_request(*map(an_order, ("TWIN", "P1", "P2"))))
    decide(side)
    entries = await side.settle()
    assert [entry.state for entry in entries] == [IssuanceState.ISSUED] * 3
    assert side.lookup.states() == ["ISSUED"] * 3


# -- A merge on the way to the lock ----------------------------------------------------------------------------------


def merging(side: Side, name: str, *, times: int = 1) -> None:
    """From now on the activities are merged away while that call is under way, ``times`` times."""
    left = [None] * times

    def merge(called: str) -> None:
        if called == name and left:
            left.pop()
            side.lookup.merge_all()

    side.lookup.during = merge


@pytest.mark.parametrize("name", ["record_outcomes", "acquire"])
async def test_what_is_merged_away_on_the_way_to_the_lock_is_issued_for_the_survivor(
    new_side: NewSide, name: str
) -> None:
    side = await new_side()
    merging(side, name)
    entries = await side.desk.issue(a_request(an_order("P1"), an_order("P2")))
    assert [entry.state for entry in entries] == [IssuanceState.ISSUED] * 2
    assert [entry.activity for entry in entries] == [side.lookup.known["P1"], side.lookup.known["P2"]]
    assert side.lookup.states() == ["ISSUED"] * 2


@pytest.mark.parametrize("name", ["check", "record_outcomes", "acquire"])
async def test_a_merge_in_the_moment_of_decision_refuses_nothing_that_waited(new_side: NewSide, name: str) -> None:
    side = await new_side()
    await waiting(side, "HELD")
    decide(side)
    merging(side, name)
    (entry,) = await side.settle()
    assert (entry.state, entry.activity) == (IssuanceState.ISSUED, side.lookup.known["HELD"])
    assert (len(side.native.calls), side.lookup.states()) == (1, ["ISSUED"])


async def test_a_case_on_the_survivor_is_waited_for(new_side: NewSide) -> None:
    side = await new_side()
    await waiting(side, "HELD")
    merging(side, "check")
    await side.settle(until=lambda entries: entries[0].waits > 2)
    (entry,) = await side.entries()
    assert (entry.stage, entry.activity) == (Stage.UNDER_REVIEW, side.lookup.known["HELD"])
    decide(side)
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]


async def test_merges_without_end_are_asked_about_later_and_at_last_refused(new_side: NewSide) -> None:
    side = await new_side(limits=Limits(review_wait=timedelta(hours=1)))
    clock = await driven(side)
    merging(side, "acquire", times=1_000)
    (entry,) = await side.desk.issue(a_request())
    assert (entry.state, side.lookup.calls.count("acquire")) == (IssuanceState.PENDING, 3)
    await side.recover()
    assert (await side.entries())[0].state is IssuanceState.PENDING
    clock.pass_by(3_700)
    await side.recover()
    (entry,) = await side.entries()
    assert entry.refusal is not None
    assert entry.refusal.reason is Reason.ACTIVITY_MERGED


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("point", ["IDENTITY", "OUTCOME", "ACQUIRE"])
@pytest.mark.parametrize("merged_during", ["record_outcomes", "acquire"])
async def test_a_process_that_ends_around_a_merge_loses_and_doubles_nothing(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch, merged_during: str, point: str, moment: str
) -> None:
    """It ends at the step that is taken again."""
    side = await new_side()
    merging(side, merged_during)

    def end(reached: str) -> None:
        if reached == f"registry.{point}.{moment}" and side.lookup.merged:
            raise RuntimeError("the process ended")

    with monkeypatch.context() as patched, contextlib.suppress(RuntimeError):
        patched.setattr(workflow, "reach", end)
        await side.desk.issue(a_request())
    side = await side.restarted()
    try:
        assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]
        assert (len(side.native.calls), side.lookup.states()) == (1, ["ISSUED"])
    finally:
        await side.close()


# -- Doubt -----------------------------------------------------------------------------------------------------------


async def in_doubt(side: Side) -> None:
    (entry,) = await side.desk.issue(a_request())
    assert entry.state is IssuanceState.IN_DOUBT
    assert side.lookup.states() == ["ISSUING"]
    side.native.behave = None


@pytest.mark.parametrize("proof", AbsenceProof)
async def test_what_was_issued_although_the_answer_was_lost_is_committed(
    new_side: NewSide, proof: AbsenceProof
) -> None:
    side = await new_side(proof)
    side.native.behave = side.native.lose_the_answer
    await in_doubt(side)
    (entry,) = await side.settle()
    assert entry.state is IssuanceState.ISSUED
    assert (len(side.native.issued), side.lookup.states()) == (1, ["ISSUED"])


async def test_void_ends_the_doubt_and_a_late_call_finds_the_tombstone(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.VOID)
    side.native.behave = side.native.lose_on_the_way
    await in_doubt(side)
    (entry,) = await side.settle()
    side.native.arrive_late()
    assert side.native.issued == []
    assert entry.refusal is not None
    assert entry.refusal.reason is Reason.ISSUANCE_PROVEN_ABSENT
    assert [each.evidence.kind for each in side.lookup.evidence] == [EvidenceKind.REFERENCE_VOIDED]


async def test_resend_becomes_the_first_and_a_late_call_changes_nothing(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.RESEND)
    side.native.behave = side.native.lose_on_the_way
    await in_doubt(side)
    (entry,) = await side.settle()
    side.native.arrive_late()
    assert entry.state is IssuanceState.ISSUED
    assert len(side.native.issued) == 1


async def test_resend_ends_only_by_a_lasting_refusal(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.RESEND)
    side.native.behave = side.native.lose_on_the_way
    await in_doubt(side)
    side.native.behave = lambda _: NativeRefusal("BUSY", "not now", lasting=False)
    await side.settle(until=lambda entries: entries[0].attempts > 1)
    assert side.lookup.states() == ["ISSUING"]
    side.native.behave = lambda _: NativeRefusal("CLOSED", "the year is closed", lasting=True)
    (entry,) = await side.settle()
    assert entry.state is IssuanceState.REFUSED
    assert side.lookup.states() == ["ABORTED"]


async def test_a_search_proves_nothing_while_the_call_may_be_under_way(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=timedelta(seconds=300))
    clock = await driven(side)
    side.native.behave = side.native.lose_on_the_way
    await in_doubt(side)
    for _ in range(3):
        clock.pass_by(99)
        await side.recover()
    assert side.lookup.states() == ["ISSUING"]
    side.native.arrive_late()
    await side.recover()
    assert [entry.state for entry in await side.entries()] == [IssuanceState.ISSUED]


async def test_not_found_twice_is_proof_after_the_longest_way(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=timedelta(milliseconds=100))
    side.native.behave = lambda _: NativeUnknown("timed out")
    await in_doubt(side)
    (entry,) = await side.settle()
    assert entry.state is IssuanceState.REFUSED
    assert entry.not_found_time is not None
    assert entry.absent_after is not None
    assert entry.update_time > entry.absent_after
    assert [each.evidence.kind for each in side.lookup.evidence] == [EvidenceKind.NOT_FOUND_TWICE]


async def test_without_any_proof_the_doubt_stays_and_is_counted(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.OPERATOR)
    side.native.behave = lambda _: NativeUnknown("timed out")
    await in_doubt(side)
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    assert (await side.journal.in_doubt()).count == 1
    assert side.lookup.states() == ["ISSUING"]


@pytest.mark.parametrize("proof", [AbsenceProof.VOID, AbsenceProof.SEARCH_TWICE])
async def test_no_answer_from_the_native_registry_settles_nothing(new_side: NewSide, proof: AbsenceProof) -> None:
    side = await new_side(proof)
    side.native.behave = side.native.lose_on_the_way
    await in_doubt(side)
    side.native.silent = True
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    assert side.lookup.states() == ["ISSUING"]
    side.native.silent = False
    assert [entry.stage in FINAL for entry in await side.settle()] == [True]


async def test_an_answer_that_does_not_fit_the_order_is_unknown(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.SEARCH_TWICE)

    def lie(order: NativeOrder) -> NativeResult:
        side.native.make(order)
        return replace(side.native.issued[0], units=1)

    side.native.behave = lie
    await in_doubt(side)
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]


async def test_a_native_call_that_hangs_is_given_up_as_unknown(new_side: NewSide) -> None:
    side = await new_side(limits=Limits(native_call=timedelta(milliseconds=30)))
    side.native.before = lambda: asyncio.sleep(10)
    (entry,) = await side.desk.issue(a_request())
    assert entry.stage is Stage.UNKNOWN


# -- Interrupted -----------------------------------------------------------------------------------------------------


LONG_PAST: Final = timedelta(minutes=10)
"""After this time nothing that was sent is under way."""
PROVING: Final = (AbsenceProof.VOID, AbsenceProof.RESEND, AbsenceProof.SEARCH_TWICE)
ENDS: Final = [
    (step, moment, proof)
    for step in Step
    for moment in ("before", "after")
    # How absence is proven matters only once a call may have been made.
    for proof in (PROVING if step in (Step.SEND, Step.NATIVE, Step.COMMIT) else PROVING[:1])
    if step is not Step.REQUEST
]


@pytest.mark.parametrize(("step", "moment", "proof"), ENDS)
async def test_a_process_that_ends_at_any_step_is_recovered(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch, step: Step, moment: str, proof: AbsenceProof
) -> None:
    side = await new_side(proof)

    def end(point: str) -> None:
        if point == f"registry.{step.name}.{moment}":
            raise RuntimeError("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "reach", end)
        with pytest.raises(RuntimeError):
            await side.desk.issue(a_request())
    # Where searching is the proof, recovery has to wait until nothing can be under way any more.
    side = await side.restarted(ahead=LONG_PAST)
    try:
        if (step, moment) == (Step.JOURNAL, "before"):
            assert await side.entries() == []
            return
        (entry,) = await side.settle()
        # Every lock ended, and the native registry has exactly what the lookup knows.
        assert side.lookup.states() == ["ISSUED" if side.native.issued else "ABORTED"]
        assert entry.state is (IssuanceState.ISSUED if side.native.issued else IssuanceState.REFUSED)
        assert [made.native_issuance_id for made in side.lookup.committed] == [
            each.native_issuance_id for each in side.native.issued
        ]
        assert await side.desk.issue(a_request()) == [entry]
    finally:
        await side.close()


async def test_too_long_after_begin_nothing_is_sent(new_side: NewSide, monkeypatch: pytest.MonkeyPatch) -> None:
    side = await new_side(limits=Limits(send_within=timedelta(milliseconds=50)))

    def pause(point: str) -> None:
        if point == "registry.NATIVE.before":
            time.sleep(0.1)

    monkeypatch.setattr(workflow, "reach", pause)
    (entry,) = await side.desk.issue(a_request())
    assert entry.state is IssuanceState.REFUSED
    assert side.native.calls == []
    assert [each.evidence.kind for each in side.lookup.evidence] == [EvidenceKind.NEVER_SENT]


async def test_a_paused_process_that_lost_its_lease_neither_sends_nor_writes(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = await new_side()

    def pause(point: str) -> None:
        if point == "registry.NATIVE.before":
            side.keeper.current().valid_until_s = 0.0

    monkeypatch.setattr(workflow, "reach", pause)
    with pytest.raises(LeaseLost):
        await side.desk.issue(a_request())
    assert side.native.calls == []
    assert [entry.stage for entry in await side.entries()] == [Stage.SENDING]
    with pytest.raises(LeaseLost):
        await side.desk.issue(a_request(request_id="request-2"))


async def test_a_twin_stands_by_and_takes_over(new_side: NewSide) -> None:
    side = await new_side()
    twin = await replace(side).opened()
    try:
        with pytest.raises(DomainError) as refused:
            await twin.desk.issue(a_request())
        assert refused.value.reason is Reason.ADAPTER_STANDING_BY
        first = await side.desk.issue(a_request())
        assert await twin.entries() == first
        await side.keeper.release()
        await twin.keeper.step()
        assert await twin.desk.issue(a_request()) == first
    finally:
        await twin.close()


async def test_a_process_that_ended_while_sending_may_have_sent_until_the_last_moment(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(send_within=timedelta(seconds=40), native_call=timedelta(seconds=20))
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=timedelta(seconds=10), limits=limits)

    def end(point: str) -> None:
        if point == "registry.NATIVE.before":
            raise RuntimeError("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "reach", end)
        with pytest.raises(RuntimeError):
            await side.desk.issue(a_request())
    (entry,) = await side.entries()
    assert entry.begin_time is not None
    assert entry.absent_after == entry.begin_time + timedelta(seconds=70)
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    assert side.lookup.states() == ["ISSUING"]
    side = await side.restarted(ahead=timedelta(seconds=80))
    try:
        (entry,) = await side.settle()
        assert entry.state is IssuanceState.REFUSED
        assert entry.absent_after is not None
        assert entry.update_time > entry.absent_after
    finally:
        await side.close()


async def test_an_abort_whose_answer_was_lost_is_repeated_beside_later_ones(new_side: NewSide) -> None:
    side = await new_side()
    side.lookup.lose = {"abort"}
    side.native.behave = lambda order: (
        NativeRefusal("NO", "never", lasting=True) if order.native_project_id == "P1" else NativeUnknown("timed out")
    )
    with pytest.raises(DomainError):
        await side.desk.issue(a_request(an_order("P1"), an_order("P2")))
    entries = await side.settle()
    assert [entry.state for entry in entries] == [IssuanceState.REFUSED] * 2
    assert side.lookup.states() == ["ABORTED"] * 2


# -- A journal that was restored -------------------------------------------------------------------------------------


async def with_copy(side: Side, monkeypatch: pytest.MonkeyPatch, point: str, *, end: str = "") -> str:
    """Issue, and copy the journal at ``point``; the process ends at ``end``. The URL of the copy."""
    path = side.url.partition("///")[2]
    copy = f"{path}.restored"

    def reach(reached: str) -> None:
        if reached == f"registry.{point}":
            with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
                source.backup(target)
                target.execute("UPDATE lease SET expire_time = 0")
        if reached == f"registry.{end}":
            raise RuntimeError("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "reach", reach)
        try:
            await side.desk.issue(a_request())
        except RuntimeError:
            assert end
    return f"sqlite+aiosqlite:///{copy}"


@pytest.mark.parametrize("proof", AbsenceProof)
@pytest.mark.parametrize("point", ["ACQUIRE.before", "BEGIN.before", "SEND.before", "NATIVE.before"])
@pytest.mark.parametrize("end", ["", "NATIVE.after"])
async def test_a_restored_journal_sends_nothing_again(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch, proof: AbsenceProof, point: str, end: str
) -> None:
    side = await new_side(proof)
    copy = await with_copy(side, monkeypatch, point, end=end)
    assert side.lookup.states() == ["ISSUING" if end else "ISSUED"]
    restored = await replace(side, url=copy).opened()
    try:
        (entry,) = await restored.settle()
        assert entry.state is IssuanceState.ISSUED
        assert (len(side.native.issued), side.lookup.states()) == (1, ["ISSUED"])
        # A doubt under a lock in ISSUING: the very same order again is what RESEND is about.
        assert len(side.native.calls) == (2 if proof is AbsenceProof.RESEND and end else 1)
    finally:
        await restored.close()


@pytest.mark.parametrize("proof", PROVING)
@pytest.mark.parametrize("point", ["BEGIN.before", "NATIVE.before"])
async def test_a_restored_journal_does_not_issue_what_was_aborted(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch, proof: AbsenceProof, point: str
) -> None:
    side = await new_side(proof)
    side.native.behave = lambda _: NativeRefusal("FULL", "not today", lasting=True)
    copy = await with_copy(side, monkeypatch, point)
    assert side.lookup.states() == ["ABORTED"]
    side.native.behave = None
    # What the copy does not show may have been sent until now: from here on short times, for it waits for them.
    brief = Limits(send_within=timedelta(milliseconds=200), native_call=timedelta(milliseconds=100))
    restored = await replace(side, url=copy, limits=brief, ahead=LONG_PAST).opened()
    try:
        (entry,) = await restored.settle()
        assert entry.state is IssuanceState.REFUSED
        assert (side.native.issued, len(side.native.calls)) == ([], 1)
    finally:
        await restored.close()


async def test_a_repeat_by_the_client_does_not_send_again_either(
    new_side: NewSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = await new_side(AbsenceProof.SEARCH_TWICE)
    copy = await with_copy(side, monkeypatch, "BEGIN.before")
    restored = await replace(side, url=copy).opened()
    try:
        (entry,) = await restored.desk.issue(a_request())
        assert entry.stage is Stage.SENDING
        assert len(side.native.calls) == 1
    finally:
        await restored.close()


async def test_the_plain_way_asks_for_no_lock_again(new_side: NewSide) -> None:
    side = await new_side()
    await side.desk.issue(a_request())
    assert side.lookup.calls == ["resolve", "register", "record_outcomes", "acquire", "begin", "commit"]


# -- Refusals by the lookup ------------------------------------------------------------------------------------------


async def test_a_refused_commit_succeeds_once_its_cause_is_mended(new_side: NewSide) -> None:
    side = await new_side()
    side.lookup.during = lambda name: side.lookup.spoil("HELD") if name == "commit" else None
    (entry,) = await side.desk.issue(a_request())
    assert entry.stage is Stage.MADE
    assert "commit refused: LOCK_STATE_WRONG" in [row.detail for row in await side.journal.history(entry.issuance_id)]
    side.lookup.during = None
    side.lookup.spoil("ISSUING")
    await side.recover()
    assert [each.state for each in await side.entries()] == [IssuanceState.ISSUED]


async def test_a_refused_abort_succeeds_once_its_cause_is_mended(new_side: NewSide) -> None:
    side = await new_side()
    side.native.behave = lambda _: NativeRefusal("NO", "never", lasting=True)
    side.lookup.during = lambda name: side.lookup.spoil("HELD") if name == "abort" else None
    (entry,) = await side.desk.issue(a_request())
    assert entry.stage is Stage.ABSENT
    side.lookup.during = None
    side.lookup.spoil("ISSUING")
    await side.recover()
    assert [each.state for each in await side.entries()] == [IssuanceState.REFUSED]
    assert side.lookup.states() == ["ABORTED"]


async def test_an_abort_that_is_told_as_done_or_committed_is_looked_into(new_side: NewSide) -> None:
    side = await new_side()
    side.native.behave = lambda _: NativeRefusal("NO", "never", lasting=True)
    side.lookup.during = lambda name: side.lookup.spoil("ISSUED") if name == "abort" else None
    (entry,) = await side.desk.issue(a_request())
    # As after an abort of a supplement: the lock is ISSUED, and nothing stands there under this token.
    assert entry.stage is Stage.REFUSED
    grant = Grant(entry.lock, entry.fencing_token)
    token = entry.fencing_token
    assert not LockNow(LockState.ISSUED, token, frozenset({token})).is_over_without_issuance(token)
    assert not LockNow(LockState.ISSUED, token + 1, frozenset({token})).is_over_without_issuance(token)
    assert not LockNow(LockState.ISSUING, token).is_over_without_issuance(token)
    assert LockNow(LockState.ISSUING, token + 1).is_over_without_issuance(grant.fencing_token)
    assert LockNow(LockState.ABORTED, token).is_over_without_issuance(token)


# -- One batch that cannot be worked on ------------------------------------------------------------------------------


async def test_batches_that_fail_do_not_hold_up_the_others(new_side: NewSide) -> None:
    side = await new_side()
    side.native.behave = lambda _: NativeUnknown("timed out")
    for number in range(5):
        await side.desk.issue(a_request(an_order(f"P{number}"), request_id=f"request-{number}"))
    (good,) = await side.entries(5)
    void = side.native.void

    async def fail_for_four(reference: str) -> NativeIssuance | None:
        if reference != good.reference:
            raise RuntimeError("a bug")
        return await void(reference)

    side.native.void = fail_for_four  # type: ignore[method-assign,assignment]
    for _ in range(200):
        await side.recovery.step()
        await asyncio.sleep(0.01)
        (bad,) = await side.entries(1)
        # Put off by a task of its own, which may be the last of the four to be done.
        if (await side.entries(5))[0].stage in FINAL and bad.attempts:
            break
    assert (await side.entries(5))[0].stage is Stage.REFUSED
    assert bad.attempts > 0
    assert "put off: failed: RuntimeError" in [row.detail for row in await side.journal.history(bad.issuance_id)]


# -- What the lookup would not take ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["x" * 1023 + " y", " x\n\x00y\u200bz ", "序列号" * 400, "a\u2028b" + " " * 2000], ids=range(4)
)
def test_evidence_is_fit_for_the_lookup(text: str) -> None:
    faults = Faults()
    faults.text("evidence.detail", evidence_of(EvidenceKind.NATIVE_REFUSED, text).detail, max_length=1024)
    faults.raise_if_any()


UNFIT: Final = ("x" * 129, " x", "x ", "x\ty", "x\u200by", "x\u2028y")


@pytest.mark.parametrize("text", [*UNFIT, "x" * 128, "x y", "绿证 1", "x\u00a0y"])
def test_texts_of_a_native_issuance_are_judged_as_the_lookup_does(text: str) -> None:
    faults = Faults()
    faults.text("series", text, max_length=128)
    issuance = NativeIssuance(text, "r", 1, "P1", MARCH, 1, (UnitBlock(text, 1, 1),))
    assert bool(beyond_limits(issuance)) is faults.any() is (text in UNFIT)


@pytest.mark.parametrize(
    ("name", "value"),
    [("native_issuance_id", ""), ("native_issuance_id", "N" * 129), ("native_issuance_id", "N1\n"),
     ("blocks", tuple(UnitBlock("S", 2 * n, 2 * n) for n in range(65))), ("blocks", (UnitBlock(" S", 1, 65),))],
)  # fmt: skip
async def test_an_issuance_that_cannot_be_committed_is_a_doubt_and_an_error(
    new_side: NewSide, caplog: pytest.LogCaptureFixture, name: str, value: Any
) -> None:
    side = await new_side()

    def oversized(order: NativeOrder) -> NativeResult:
        side.native.make(order)
        side.native.issued = [replace(each, **{name: value}) for each in side.native.issued]
        return side.native.issued[0]

    side.native.quantity, side.native.carried_in = 65_000, 0
    side.native.behave = oversized
    await in_doubt(side)
    await side.recover()
    assert [entry.stage for entry in await side.entries()] == [Stage.UNKNOWN]
    assert side.lookup.states() == ["ISSUING"]
    assert "commit" not in side.lookup.calls
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2, "told when it was issued, and when recovery found it"


# -- Clocks around the irrevocable call ------------------------------------------------------------------------------


async def test_a_call_may_take_effect_so_long_after_its_end(new_side: NewSide) -> None:
    longest = timedelta(seconds=60)
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=longest)
    clock = await driven(side)
    side.native.behave = lambda _: NativeUnknown("timed out")
    side.native.during = lambda _: clock.pass_by(40)
    (entry,) = await side.desk.issue(a_request())
    assert entry.stage is Stage.UNKNOWN
    assert entry.absent_after is not None
    assert entry.absent_after >= clock.time + longest


async def test_the_time_of_begin_is_never_later_than_begin(new_side: NewSide) -> None:
    side = await new_side()
    clock = await driven(side)
    begun: list[datetime] = []

    def take_time(name: str) -> None:
        if name == "begin":
            begun.append(clock.time)
            clock.pass_by(20)

    side.lookup.during = take_time
    (entry,) = await side.desk.issue(a_request())
    assert entry.begin_time is not None
    assert entry.begin_time <= begun[0]


async def test_a_search_counts_from_its_start(new_side: NewSide) -> None:
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=timedelta(seconds=60))
    clock = await driven(side)
    side.native.behave = lambda _: NativeUnknown("timed out")
    await in_doubt(side)
    started: list[datetime] = []

    def take_time(name: str) -> None:
        if name == "find":
            started.append(clock.time)
            clock.pass_by(40)

    side.native.during = take_time
    await side.recover()
    (entry,) = await side.entries()
    assert entry.not_found_time is not None
    assert entry.not_found_time <= started[0]
    # The second search ends after the longest way, but began before its end: no proof.
    await side.recover()
    (entry,) = await side.entries()
    assert entry.absent_after is not None
    assert started[1] < entry.absent_after < clock.time
    assert entry.stage is Stage.UNKNOWN
    await side.recover()
    assert [each.stage for each in await side.entries()] == [Stage.REFUSED]


async def test_a_renewal_that_failed_is_tried_again_early(new_side: NewSide, monkeypatch: pytest.MonkeyPatch) -> None:
    side = await new_side()
    outcomes = iter([False, False, True])
    pauses: list[float] = []
    monkeypatch.setattr(side.journal, "renew_lease", lambda *_: renew())

    async def renew() -> None:
        if not next(outcomes):
            raise DomainError(Reason.STORE_BUSY)

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr("soleclaim.registry.lease.asyncio.sleep", note)
        with pytest.raises(asyncio.CancelledError):
            await side.keeper.run()
    assert pauses == [0.75, 0.75, 3.0]
