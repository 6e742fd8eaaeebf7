"""The workflow and its recovery, against a lookup and a native registry in memory that a test can bend at any point.

What matters is asked of the fakes, not of the code under test: how often the native registry issued, and whether a
lock stood in ISSUING or ISSUED whenever it did.
"""

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

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
from soleclaim.registry.lookup import Absent, Grant, LockWish, LookupUnavailable, Made, RecordedOutcome
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
)
from soleclaim.registry.recovery import Recovery, RecoveryTimes
from soleclaim.registry.sql_journal import SqlJournal, migrate
from soleclaim.registry.workflow import Limits, Tools

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


class FakeLookup:
    """One lock per activity. Idempotent by request id; the same id with other content fails the test."""

    def __init__(self) -> None:
        self.known: dict[str, ActivityId] = {}
        self.outcomes: dict[ActivityId, int] = {}
        self.locks: dict[str, tuple[LockWish, str]] = {}
        self.evidence: list[Absent] = []
        self.committed: list[Made] = []
        self.calls: list[str] = []
        self.lose: set[str] = set()
        """Calls that take effect, and whose answer is lost, once."""
        self.down: set[str] = set()
        """Calls that do not arrive."""
        self._answers: dict[str, tuple[list[Any], list[Any]]] = {}
        self._numbers = itertools.count(1)

    async def resolve(self, native_project_id: str) -> ActivityId | None:
        self._arrive("resolve")
        return self.known.get(native_project_id)

    async def register(self, request_id: str, projects: Sequence[NativeProject]) -> list[ActivityId | Refusal]:
        def one(project: NativeProject) -> ActivityId | Refusal:
            native_project_id = project.native_project_id
            if project.name == "look-alike":
                return Refusal.of(Reason.IDENTITY_UNDER_REVIEW, native_project_id=native_project_id, case="7")
            key = ActivityKey(1000 + len(self.known))
            return self.known.setdefault(native_project_id, make_activity_id("CN", key))

        return self._once("register", request_id, projects, one)

    async def record_outcomes(self, request_id: str, outcomes: Sequence[RecordedOutcome]) -> list[Refusal | None]:
        def one(outcome: RecordedOutcome) -> None:
            self.outcomes[outcome.activity] = outcome.quantity

        return self._once("record_outcomes", request_id, outcomes, one)

    async def acquire(self, request_id: str, wishes: Sequence[LockWish]) -> list[Grant | Refusal]:
        def one(wish: LockWish) -> Grant | Refusal:
            for held, state in self.locks.values():
                if held.activity == wish.activity and state != "ABORTED":
                    return Refusal.of(
                        Reason.ISSUANCE_LOCK_HELD, registry="ccer", instrument="CCER", period=held.period, state=state
                    )
            number = next(self._numbers)
            self.locks[f"issuanceLocks/{number}"] = (wish, "HELD")
            return Grant(f"issuanceLocks/{number}", 100 + number)

        return self._once("acquire", request_id, wishes, one)

    async def begin(self, request_id: str, grants: Sequence[Grant]) -> list[Refusal | None]:
        return self._once("begin", request_id, grants, lambda grant: self._turn(grant, "HELD", "ISSUING"))

    async def commit(self, request_id: str, made: Sequence[Made]) -> list[Refusal | None]:
        def one(each: Made) -> Refusal | None:
            if each in self.committed:
                return None
            self.committed.append(each)
            return self._turn(each.grant, "ISSUING", "ISSUED")

        return self._once("commit", request_id, made, one)

    async def abort(self, request_id: str, absent: Sequence[Absent]) -> list[Refusal | None]:
        def one(each: Absent) -> Refusal | None:
            self.evidence.append(each)
            return self._turn(each.grant, "ISSUING", "ABORTED")

        return self._once("abort", request_id, absent, one)

    async def check(self, wish: LockWish) -> list[Refusal]:
        raise NotImplementedError

    async def announce(self, endpoint: str) -> None:
        raise NotImplementedError

    def states(self) -> list[str]:
        return [state for _, state in self.locks.values()]

    def is_issuing(self, reference: str) -> bool:
        return any(wish.reference == reference and state == "ISSUING" for wish, state in self.locks.values())

    def _turn(self, grant: Grant, needed: str, state: str) -> Refusal | None:
        wish, now = self.locks[grant.lock]
        if now != needed:
            return Refusal.of(Reason.LOCK_STATE_WRONG, lock=grant.lock, state=now, action=state, needed=needed)
        self.locks[grant.lock] = (wish, state)
        return None

    def _arrive(self, name: str) -> None:
        self.calls.append(name)
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
        self.issued: dict[str, NativeIssuance] = {}
        self.voided: set[str] = set()
        self.calls: list[list[str]] = []
        self.unlocked: list[str] = []
        """References issued without a lock in ISSUING: the one thing that must never happen."""
        self.behave: Callable[[NativeOrder], NativeResult | None] | None = None
        """Instead of issuing; ``None``: issue after all."""
        self.before: Callable[[], Any] | None = None
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
        return [self._one(order) for order in orders]

    def _one(self, order: NativeOrder) -> NativeResult:
        answer = self.behave(order) if self.behave else None
        return answer or self.make(order)

    def make(self, order: NativeOrder) -> NativeResult:
        reference = order.external_reference
        if reference in self.voided:
            return NativeRefusal("VOIDED", "reference was voided", lasting=True)
        if reference not in self.issued:
            if not self._lookup.is_issuing(reference):
                self.unlocked.append(reference)
            start = 1 + sum(each.units for each in self.issued.values())
            blocks = (UnitBlock("S", start, start + order.units - 1),)
            self.issued[reference] = NativeIssuance(
                f"N{len(self.issued)}", reference, order.fencing_token, order.native_project_id, order.period,
                order.units, blocks,
            )  # fmt: skip
        return self.issued[reference]

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
        return self.issued.get(external_reference)

    async def void(self, external_reference: str) -> NativeIssuance | None:
        self._speak()
        if external_reference not in self.issued:
            self.voided.add(external_reference)
        return self.issued.get(external_reference)

    async def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        for issuance in self.issued.values():
            yield issuance

    async def close(self) -> None:
        """Nothing is open."""

    def _speak(self) -> None:
        if self.silent:
            raise NativeUnavailable("no answer")


@dataclass
class Side:
    """A registry side; ``restarted`` gives the next process on the same journal."""

    url: str
    lookup: FakeLookup
    native: FakeNative
    limits: Limits = field(default_factory=Limits)
    journal: SqlJournal = field(init=False)
    keeper: LeaseKeeper = field(init=False)
    tools: Tools = field(init=False)
    desk: IssuanceDesk = field(init=False)
    recovery: Recovery = field(init=False)

    def __post_init__(self) -> None:
        self.journal = SqlJournal(self.url, "gec")
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

    async def restarted(self) -> "Side":
        await self.close()
        return await replace(self).opened()

    async def entries(self, batch: int = 1) -> list[Entry]:
        return await self.journal.read_batch(BatchId(batch))

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
    assert side.lookup.locks == {}


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
    assert side.native.issued == {}
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
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=timedelta(milliseconds=300))
    side.native.behave = side.native.lose_on_the_way
    await in_doubt(side)
    await side.settle(until=lambda entries: entries[0].attempts > 2)
    assert side.lookup.states() == ["ISSUING"]
    side.native.arrive_late()
    (entry,) = await side.settle()
    assert entry.state is IssuanceState.ISSUED


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
        return replace(side.native.issued[order.external_reference], units=1)

    side.native.behave = lie
    await in_doubt(side)
    assert [entry.state for entry in await side.settle()] == [IssuanceState.ISSUED]


async def test_a_native_call_that_hangs_is_given_up_as_unknown(new_side: NewSide) -> None:
    side = await new_side(limits=Limits(native_call=timedelta(milliseconds=30)))
    side.native.before = lambda: asyncio.sleep(10)
    (entry,) = await side.desk.issue(a_request())
    assert entry.stage is Stage.UNKNOWN


# -- Interrupted -----------------------------------------------------------------------------------------------------


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
    limits = Limits(send_within=timedelta(milliseconds=200), native_call=timedelta(milliseconds=100))
    side = await new_side(proof, limits=limits)

    def end(point: str) -> None:
        if point == f"registry.{step.name}.{moment}":
            raise RuntimeError("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "reach", end)
        with pytest.raises(RuntimeError):
            await side.desk.issue(a_request())
    side = await side.restarted()
    try:
        if (step, moment) == (Step.JOURNAL, "before"):
            assert await side.entries() == []
            return
        (entry,) = await side.settle()
        # Every lock ended, and the native registry has exactly what the lookup knows.
        assert side.lookup.states() == ["ISSUED" if side.native.issued else "ABORTED"]
        assert entry.state is (IssuanceState.ISSUED if side.native.issued else IssuanceState.REFUSED)
        assert [made.native_issuance_id for made in side.lookup.committed] == [
            each.native_issuance_id for each in side.native.issued.values()
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
    limits = Limits(send_within=timedelta(milliseconds=400), native_call=timedelta(milliseconds=200))
    side = await new_side(AbsenceProof.SEARCH_TWICE, longest_under_way=timedelta(milliseconds=100), limits=limits)

    def end(point: str) -> None:
        if point == "registry.NATIVE.before":
            raise RuntimeError("the process ended")

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "reach", end)
        with pytest.raises(RuntimeError):
            await side.desk.issue(a_request())
    (entry,) = await side.entries()
    assert entry.begin_time is not None
    assert entry.absent_after == entry.begin_time + timedelta(milliseconds=700)
    (entry,) = await side.settle()
    assert entry.state is IssuanceState.REFUSED
    assert entry.absent_after is not None
    assert entry.update_time > entry.absent_after


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
