"""History is taken over: never refused, never erased; what conflicts is a dispute until a person settles it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from soleclaim.check.run import Targets, run_check
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    WHOLE,
    Activity,
    Decision,
    DecisionKind,
    Dispute,
    DisputeDecision,
    DisputeKind,
    DisputeOutcome,
    DisputeState,
    EventKind,
    HistoricIssuance,
    HistoryRow,
    Imported,
    ImportState,
    Lock,
    LockRequest,
    LockState,
    ProjectRegistration,
    Slice,
)
from soleclaim.lookup.grpc.disputes import to_dispute
from soleclaim.lookup.service import activities, disputes, history, locks, outcomes, reviews
from soleclaim.lookup.service.disputes import DisputeFile
from soleclaim.policy.bundle import Declaration, default_bundle
from tests.lookup.conftest import DAY_0, Bench, ref
from tests.lookup.test_service_likeness import SHAXI, SHAXI_ZH
from tests.lookup.test_service_reviews import once as work_once

CDM: Identifier = ("cdm", "7014")
BUNDLE = default_bundle()
INSTRUMENTS = {"ccer": "CCER", "gec": "GEC", "arb": "ARBOC", "cea": "CEA"}


def project(registry: str, *identifiers: Identifier, native_id: str = "p-1") -> ProjectRegistration:
    return ProjectRegistration(registry, native_id, "CN", "wind", "风电场", "Asia/Shanghai", identifiers or (CDM,))


def days(start: float, end: float) -> Period:
    return Period(DAY_0 + timedelta(days=start), DAY_0 + timedelta(days=end))


def row(
    native_id: str,
    *,
    registry: str = "arb",
    period: Period | None = None,
    units: int = 10,
    blocks: tuple[UnitBlock, ...] | None = None,
    of: ProjectRegistration | None = None,
) -> HistoryRow:
    return HistoryRow(
        of or project(registry),
        HistoricIssuance(
            INSTRUMENTS[registry],
            period or days(0, 30),
            units,
            native_id,
            (UnitBlock(f"S-{registry}-{native_id}", 1, units),) if blocks is None else blocks,
            None,
        ),
    )


async def take(bench: Bench, *rows: HistoryRow) -> list[Imported]:
    answers = await work_once(bench, lambda to: history.take_over(to, BUNDLE, rows))
    assert all(isinstance(each, Imported) for each in answers), answers
    return [each for each in answers if isinstance(each, Imported)]


async def registered(bench: Bench, *projects: ProjectRegistration) -> Activity:
    answers = await work_once(bench, lambda to: activities.register(to, projects))
    assert isinstance(answers[0], Activity)
    return answers[0]


def request(activity: Activity, registry: str, period: Period, *, units: int = 5) -> LockRequest:
    return LockRequest(
        registry, INSTRUMENTS[registry], activity.activity_id, activity.key, period, WHOLE, units, 0,
        f"{registry}-{period.start:%j}-{units}", Declaration(no_other_application=True, no_claim_after_transfer=True),
        600_000_000,
    )  # fmt: skip


async def acquire(bench: Bench, wanted: LockRequest) -> Lock | DomainError:
    async with bench.store.transaction() as transaction:
        [answer] = await locks.acquire(transaction, BUNDLE, [wanted])
    return answer


async def issued(bench: Bench, wanted: LockRequest) -> Lock:
    lock = await acquire(bench, wanted)
    assert isinstance(lock, Lock), lock
    await bench.begin(ref(lock))
    return bench.done(await bench.commit(bench.commitment(lock)))


async def decide(
    bench: Bench, number: int, outcome: DisputeOutcome | None, boundary: int = 0
) -> DisputeFile | DomainError:
    async with bench.store.transaction() as transaction:
        return await disputes.decide(
            transaction, BUNDLE, DisputeDecision(number, outcome, boundary, "read the files", "", "operator/me")
        )


async def settled(bench: Bench, number: int, outcome: DisputeOutcome | None, boundary: int = 0) -> DisputeFile:
    file = await decide(bench, number, outcome, boundary)
    assert isinstance(file, DisputeFile), file
    return file


async def dispute(bench: Bench, number: int) -> Dispute:
    async with bench.store.reading() as reader:
        found = await reader.dispute(number)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
async def checked(bench: Bench) -> AsyncIterator[None]:
    """After each test the invariants hold, by the checker's own reading."""
    yield
    findings = await run_check(Targets(bench.url))
    assert findings.violations == []
    assert findings.not_looked == []


async def claims(bench: Bench, lock_id: Any) -> tuple[list[Period], list[Period]]:
    """Live periods of a lock, and those that are not."""
    lock = await bench.lock_of(lock_id)
    async with bench.store.reading() as reader:
        parts = [each for each in await reader.parts_of(lock.activity_key) if each.lock_id == lock_id]
    return [each.where.period for each in parts if each.live], [each.where.period for each in parts if not each.live]


async def test_what_fits_becomes_an_issued_lock_with_its_issuances(bench: Bench) -> None:
    first, second, third = await take(bench, row("A"), row("A2", units=3), row("B", period=days(30, 60)))
    assert [each.state for each in (first, second, third)] == [ImportState.FITTED] * 3
    assert first.lock_id == second.lock_id != third.lock_id
    assert first.lock_id is not None
    lock = await bench.lock_of(first.lock_id)
    assert (lock.state, lock.issued_units, lock.issuance_count) == (LockState.ISSUED, 13, 2)
    async with bench.store.reading() as reader:
        ledger = (await reader.issuances([lock.lock_id]))[lock.lock_id]
    assert [(each.native_issuance_id, each.units) for each in ledger] == [("A", 10), ("A2", 3)]
    assert [each.kind for each in await bench.events()].count(EventKind.ISSUANCE_IMPORTED) == 3


async def test_a_repeat_changes_nothing_and_other_content_is_kept_in_a_dispute(bench: Bench) -> None:
    [first] = await take(bench, row("A"))
    before = await bench.lock_of(first.lock_id)
    [again, differs, differs_again] = await take(bench, row("A"), row("A", units=11), row("A", units=11))
    assert (again.state, again.lock_id, again.disputes) == (ImportState.REPEATED, first.lock_id, ())
    assert (differs.state, len(differs.disputes)) == (ImportState.DISPUTED, 1)
    assert differs_again.disputes != ()
    [once_more] = await take(bench, row("A", units=11))
    assert (once_more.state, once_more.disputes) == (ImportState.REPEATED, differs.disputes)
    assert await bench.lock_of(first.lock_id) == before
    assert (await dispute(bench, differs.disputes[0])).kind is DisputeKind.CONTENT_DIFFERS


async def test_another_registrys_issuance_makes_a_dispute_and_the_free_part_is_live(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    standing = await issued(bench, request(activity, "ccer", days(20, 40)))
    [late] = await take(bench, row("A"))
    assert late.state is ImportState.DISPUTED
    assert late.joined
    assert await claims(bench, late.lock_id) == ([days(0, 20)], [days(20, 30)])
    found = await dispute(bench, late.disputes[0])
    assert (found.standing, found.late, found.where.period) == (standing.lock_id, late.lock_id, days(20, 30))
    opened = [each for each in await bench.events() if each.kind is EventKind.DISPUTE_OPENED]
    assert sorted(each.registry for each in opened) == ["arb", "ccer"]


async def test_an_open_dispute_bars_new_issuance_and_supplements_on_the_overlap_alone(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    await issued(bench, request(activity, "ccer", days(20, 40)))
    await take(bench, row("A"))
    for registry, period in (("ccer", days(20, 40)), ("arb", days(0, 30)), ("arb", days(25, 26))):
        answer = await acquire(bench, request(activity, registry, period))
        assert isinstance(answer, DomainError)
        assert answer.reason is Reason.OUTCOME_DISPUTED
    assert isinstance(await acquire(bench, request(activity, "ccer", days(50, 60))), Lock)


@pytest.mark.parametrize(
    ("outcome", "boundary", "standing_live", "late_live"),
    [
        (DisputeOutcome.STANDING, 0, [days(20, 40)], [days(0, 20)]),
        (DisputeOutcome.LATE, 0, [days(30, 40)], [days(0, 20), days(20, 30)]),
        (DisputeOutcome.BOTH, 7_000, [days(20, 30), days(30, 40)], [days(0, 20), days(20, 30)]),
        (DisputeOutcome.NEITHER, 0, [days(30, 40)], [days(0, 20)]),
    ],
)
async def test_a_settlement_moves_the_claims_and_frees_the_period(
    bench: Bench, outcome: DisputeOutcome, boundary: int, standing_live: list[Period], late_live: list[Period]
) -> None:
    activity = await registered(bench, project("ccer"))
    standing = await issued(bench, request(activity, "ccer", days(20, 40)))
    [late] = await take(bench, row("A"))
    before = [(each.lock_id, each.token, each.issued_units) for each in await bench.locks()]
    file = await settled(bench, late.disputes[0], outcome, boundary)
    assert file.dispute.state is DisputeState.SETTLED
    assert file.decisions[-1].outcome is outcome
    live = sorted((await claims(bench, standing.lock_id))[0])
    joined = [days(20, 40)] if live == [days(20, 30), days(30, 40)] and outcome is DisputeOutcome.STANDING else live
    assert joined == standing_live
    assert sorted((await claims(bench, late.lock_id))[0]) == late_live
    assert [(each.lock_id, each.token, each.issued_units) for each in await bench.locks()] == before
    answer = await acquire(bench, request(activity, "arb", days(22, 28)))
    assert isinstance(answer, Lock) == (outcome is DisputeOutcome.NEITHER)


async def test_a_settled_dispute_opens_again_and_is_settled_anew(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    standing = await issued(bench, request(activity, "ccer", days(0, 30)))
    [late] = await take(bench, row("A"))
    number = late.disputes[0]
    await settled(bench, number, DisputeOutcome.NEITHER)
    file = await settled(bench, number, None)
    assert file.dispute.state is DisputeState.OPEN
    answer = await acquire(bench, request(activity, "ccer", days(0, 30)))
    assert isinstance(answer, DomainError)
    assert answer.reason is Reason.OUTCOME_DISPUTED
    file = await settled(bench, number, DisputeOutcome.STANDING)
    assert [each.outcome for each in file.decisions] == [DisputeOutcome.NEITHER, None, DisputeOutcome.STANDING]
    assert (await claims(bench, standing.lock_id))[0] == [days(0, 30)]
    again = await decide(bench, number, DisputeOutcome.LATE)
    assert isinstance(again, DomainError)
    assert again.reason is Reason.DISPUTE_STATE_WRONG


async def test_what_comes_after_a_settlement_is_a_new_fact(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    await issued(bench, request(activity, "ccer", days(0, 30)))
    [late] = await take(bench, row("A"))
    await settled(bench, late.disputes[0], DisputeOutcome.STANDING)
    [more] = await take(bench, row("B"))
    assert more.state is ImportState.DISPUTED
    assert set(more.disputes).isdisjoint(late.disputes)
    for number in more.disputes:
        await settled(bench, number, DisputeOutcome.NEITHER)
    [free] = await take(bench, row("C"))
    assert free.state is ImportState.FITTED
    answer = await acquire(bench, request(activity, "ccer", days(0, 30)))
    assert isinstance(answer, DomainError), "its outcome is claimed"


async def test_what_is_left_of_a_lock_is_no_lock_that_a_supplement_goes_under(bench: Bench) -> None:
    """Its units are for all of its period: under a measure of the rest they would not be counted again."""
    activity = await registered(bench, project("ccer"))
    await issued(bench, request(activity, "ccer", days(20, 40)))
    await take(bench, row("A"))
    answer = await acquire(bench, request(activity, "arb", days(0, 20)))
    assert isinstance(answer, DomainError)
    assert answer.reason is Reason.PERIOD_OVERLAPS_OWN_LOCK


async def test_a_supplement_in_ones_slice_after_both_is_refused(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    await issued(bench, request(activity, "ccer", days(0, 30)))
    [late] = await take(bench, row("A"))
    await settled(bench, late.disputes[0], DisputeOutcome.BOTH, 5_000)
    answer = await acquire(bench, request(activity, "ccer", days(0, 30))._replace(slice=Slice(0, 5_000)))
    assert isinstance(answer, DomainError)
    assert answer.reason is Reason.PERIOD_OVERLAPS_OWN_LOCK


async def test_more_for_a_lock_that_lost_a_part_is_in_dispute_again(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    standing = await issued(bench, request(activity, "ccer", days(20, 40)))
    [late] = await take(bench, row("A"))
    await settled(bench, late.disputes[0], DisputeOutcome.STANDING)
    [more] = await take(bench, row("B"))
    assert (more.state, more.lock_id) == (ImportState.DISPUTED, late.lock_id)
    assert set(more.disputes).isdisjoint(late.disputes)
    found = await dispute(bench, more.disputes[0])
    assert (found.standing, found.late, found.where.period) == (standing.lock_id, late.lock_id, days(20, 30))
    [again] = await take(bench, row("C"))
    assert again.disputes == more.disputes, "one that is open already says it"
    await settled(bench, more.disputes[0], DisputeOutcome.LATE)
    assert (await claims(bench, late.lock_id))[0] == [days(0, 20), days(20, 30)]


async def test_ones_own_grant_that_has_not_begun_gives_way_where_a_measure_bounds_both(bench: Bench) -> None:
    activity = await registered(bench, project("arb"), project("ccer"))
    async with bench.store.transaction() as transaction:
        record = bench.outcome(activity.key, days(0, 30), 10_000, unit="kgCO2e")
        [kept] = await outcomes.record(transaction, BUNDLE, [record])
    assert not isinstance(kept, DomainError)
    held = await acquire(bench, request(activity, "arb", days(0, 30), units=10))
    assert isinstance(held, Lock)
    [late] = await take(bench, row("A"))
    assert late.state is ImportState.FITTED
    [begun] = await bench.begin(ref(held))
    assert not begun.done, "it would issue for the second time what is measured once"


async def test_a_dispute_over_more_units_than_the_wire_holds_is_told_all_the_same(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    await issued(bench, request(activity, "ccer", days(0, 30)))
    [late] = await take(bench, row("A"))
    file = await settled(bench, late.disputes[0], DisputeOutcome.STANDING)
    sums: tuple[Any, ...] = (10**19, 1e19)
    for many in sums:  # what SQLite makes of a sum above int64
        told = to_dispute(replace(file, late=file.late._replace(issued_units=many)))
        assert told.late.issued_units == 2**63 - 1


async def test_a_settlement_that_a_third_lock_stands_against_is_refused(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"), project("gec"))
    await issued(bench, request(activity, "ccer", days(0, 30)))
    [late] = await take(bench, row("A"))
    await settled(bench, late.disputes[0], DisputeOutcome.NEITHER)
    await issued(bench, request(activity, "gec", days(5, 6)))
    await settled(bench, late.disputes[0], None)
    answer = await decide(bench, late.disputes[0], DisputeOutcome.LATE)
    assert isinstance(answer, DomainError)
    assert answer.reason is Reason.SETTLEMENT_BREAKS_EXCLUSION


async def test_a_request_that_has_not_begun_gives_way_to_a_fact(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    held = await acquire(bench, request(activity, "ccer", days(0, 30)))
    assert isinstance(held, Lock)
    [late] = await take(bench, row("A"))
    assert late.state is ImportState.FITTED
    [moved] = await bench.begin(ref(held))
    assert not moved.done
    assert await bench.state(held) is LockState.EXPIRED


async def test_an_issuance_under_way_disputes_and_its_end_is_waited_for(bench: Bench) -> None:
    activity = await registered(bench, project("ccer"))
    lock = await acquire(bench, request(activity, "ccer", days(0, 30)))
    assert isinstance(lock, Lock)
    await bench.begin(ref(lock))
    [late] = await take(bench, row("A"))
    assert late.state is ImportState.DISPUTED
    answer = await decide(bench, late.disputes[0], DisputeOutcome.LATE)
    assert isinstance(answer, DomainError)
    assert answer.reason is Reason.DISPUTE_LOCK_UNDER_WAY
    bench.done(await bench.abort(bench.abortion(lock)))
    blocked = await acquire(bench, request(activity, "ccer", days(0, 30)))
    assert isinstance(blocked, DomainError)
    assert blocked.reason is Reason.OUTCOME_DISPUTED
    ended = await decide(bench, late.disputes[0], DisputeOutcome.STANDING)
    assert isinstance(ended, DomainError)
    assert ended.reason is Reason.DISPUTE_SIDE_ENDED
    await settled(bench, late.disputes[0], DisputeOutcome.LATE)
    assert (await claims(bench, late.lock_id))[0] == [days(0, 30)]


async def test_own_issuances_join_the_lock_that_waits_and_its_grant_goes_on(bench: Bench) -> None:
    activity = await registered(bench, project("arb"))
    held = await acquire(bench, request(activity, "arb", days(0, 30)))
    assert isinstance(held, Lock)
    [late] = await take(bench, row("A"))
    assert (late.state, late.lock_id) == (ImportState.FITTED, held.lock_id)
    bench.done(await bench.begin(ref(held)))
    lock = bench.done(await bench.commit(bench.commitment(held)))
    assert (lock.state, lock.issued_units, lock.issuance_count) == (LockState.ISSUED, 15, 2)


async def test_what_may_be_the_issuance_under_way_waits_until_it_is_settled(bench: Bench) -> None:
    """Its file tells of it before its adapter does."""
    lock = await acquire(bench, request(await registered(bench, project("arb")), "arb", days(0, 30), units=10))
    assert isinstance(lock, Lock)
    bench.done(await bench.begin(ref(lock)))
    block = UnitBlock("S", 1, 10)
    rows = [row("A", blocks=(block,)), row("A-earlier", units=9), row("A", units=8)]
    early, other, unlike = await work_once(bench, lambda to: history.take_over(to, BUNDLE, rows))
    assert isinstance(early, DomainError)
    assert (early.reason, early.variables["lock"]) == (Reason.ISSUANCE_UNDER_WAY, f"issuanceLocks/{lock.lock_id}")
    assert unlike == early, "what it differs from does not stand yet"
    assert isinstance(other, Imported)
    assert (other.state, other.lock_id) == (ImportState.FITTED, lock.lock_id)
    bench.done(await bench.commit(bench.commitment(lock, block, native_id="A")))
    [late] = await take(bench, rows[0])
    assert (late.state, late.lock_id) == (ImportState.REPEATED, lock.lock_id)


async def test_what_was_issued_through_the_gateway_is_a_repeat(bench: Bench) -> None:
    activity = await registered(bench, project("arb"))
    lock = await acquire(bench, request(activity, "arb", days(0, 30), units=10))
    assert isinstance(lock, Lock)
    await bench.begin(ref(lock))
    block = UnitBlock("S", 1, 10)
    bench.done(await bench.commit(bench.commitment(lock, block, native_id="A")))
    [same, other] = await take(bench, row("A", blocks=(block,)), row("A", units=9, blocks=()))
    assert (same.state, same.lock_id) == (ImportState.REPEATED, lock.lock_id)
    assert other.state is ImportState.DISPUTED


async def test_a_registry_that_overlaps_itself_in_part_disputes_with_itself(bench: Bench) -> None:
    first, second = await take(bench, row("A"), row("B", period=days(20, 50)))
    assert (first.state, second.state) == (ImportState.FITTED, ImportState.DISPUTED)
    assert await claims(bench, second.lock_id) == ([days(30, 50)], [days(20, 30)])
    found = await dispute(bench, second.disputes[0])
    assert (found.standing, found.late) == (first.lock_id, second.lock_id)
    [supplement] = await take(bench, row("B2", period=days(20, 50)))
    assert (supplement.state, supplement.disputes) == (ImportState.DISPUTED, second.disputes)


async def test_serials_that_stand_already_are_kept_beside_the_ledger(bench: Bench) -> None:
    first, second = await take(
        bench,
        row("A", blocks=(UnitBlock("S", 0, 9),)),
        row("B", period=days(30, 60), blocks=(UnitBlock("S", 5, 14),)),
    )
    assert (first.state, second.state) == (ImportState.FITTED, ImportState.DISPUTED)
    found = await dispute(bench, second.disputes[0])
    assert (found.kind, found.standing) == (DisputeKind.SERIALS_TWICE, first.lock_id)
    assert "S 5-9" in found.detail
    free = await bench.sql("SELECT start_serial, end_serial FROM unit_block ORDER BY start_serial")
    kept = await bench.sql("SELECT start_serial, end_serial FROM disputed_block")
    assert [tuple(each) for each in free] == [(0, 9), (10, 14)]
    assert [tuple(each) for each in kept] == [(5, 9)]
    [third] = await take(bench, row("C", period=days(60, 90), blocks=(UnitBlock("S", 9, 18),)))
    assert len(third.disputes) == 2


async def test_more_units_than_were_measured_are_recorded_and_told(bench: Bench) -> None:
    activity = await registered(bench, project("arb"), project("ccer"))
    record = bench.outcome(activity.key, days(0, 30), 9_000, unit="kgCO2e")
    async with bench.store.transaction() as transaction:
        await outcomes.record(transaction, BUNDLE, [record])
    [late] = await take(bench, row("A"))
    assert late.state is ImportState.DISPUTED
    assert (await dispute(bench, late.disputes[0])).kind is DisputeKind.MORE_THAN_MEASURED
    [more] = await take(bench, row("A2"))
    assert more.disputes == late.disputes
    await settled(bench, late.disputes[0], DisputeOutcome.LATE)
    assert (await claims(bench, late.lock_id))[0] == [days(0, 30)]


async def test_an_allocation_is_bounded_by_no_measure_of_another_instrument(bench: Bench) -> None:
    activity = await registered(bench, project("cea"), project("ccer"))
    record = bench.outcome(activity.key, days(0, 30), 9_000, unit="kgCO2e")
    async with bench.store.transaction() as transaction:
        await outcomes.record(transaction, BUNDLE, [record])
    [allocated] = await take(bench, row("A", registry="cea"))
    assert (allocated.state, allocated.disputes) == (ImportState.FITTED, ())
    [more] = await take(bench, row("A2", registry="cea"))
    assert (more.state, more.lock_id) == (ImportState.FITTED, allocated.lock_id)


async def test_rows_wait_for_the_review_of_their_project_and_are_applied_when_it_is_decided(bench: Bench) -> None:
    await registered(bench, project("ccer", ("gec_filing_code", "FDWD2407150000123")))
    await registered(bench, project("gec", CDM))
    unclear = project("arb", ("gec_filing_code", "FDWD2407150000123"), CDM)
    first, second = await take(bench, row("A", of=unclear), row("B", of=unclear, period=days(30, 60)))
    assert (first.state, second.state) == (ImportState.IN_REVIEW, ImportState.IN_REVIEW)
    assert first.review_case is not None
    [again] = await take(bench, row("A", of=unclear))
    assert (again.state, again.review_case) == (ImportState.REPEATED, first.review_case)
    assert await bench.locks() == []
    async with bench.store.transaction() as transaction:
        decision = Decision(first.review_case, DecisionKind.DIFFERENT, None, "", "seen", "operator/me")
        answer = await reviews.decide(transaction, BUNDLE, decision)
    assert not isinstance(answer, DomainError)
    assert sorted(each.issued_units for each in await bench.locks()) == [10, 10]
    [repeat] = await take(bench, row("A"))
    assert repeat.state is ImportState.REPEATED


async def test_a_review_is_decided_though_what_waits_for_it_was_issued_meanwhile(bench: Bench) -> None:
    await registered(bench, project("ccer", ("gec_filing_code", "FDWD2407150000123")))
    await registered(bench, project("gec", CDM))
    unclear = project("arb", ("gec_filing_code", "FDWD2407150000123"), CDM)
    waits, free = await take(bench, row("A", of=unclear), row("B", of=unclear))
    assert (waits.state, free.state) == (ImportState.IN_REVIEW, ImportState.IN_REVIEW)
    assert waits.review_case is not None
    other = await registered(bench, project("arb", ("cdm", "99"), native_id="p-9"))
    lock = await acquire(bench, request(other, "arb", days(0, 30), units=10))
    assert isinstance(lock, Lock)
    await bench.begin(ref(lock))
    bench.done(await bench.commit(bench.commitment(lock, UnitBlock("S-arb-A", 1, 10), native_id="A")))
    [again] = await take(bench, row("A", of=unclear))
    assert (again.state, again.disputes) == (ImportState.REPEATED, ())
    async with bench.store.transaction() as transaction:
        decision = Decision(waits.review_case, DecisionKind.DIFFERENT, None, "", "seen", "operator/me")
        assert not isinstance(await reviews.decide(transaction, BUNDLE, decision), DomainError)
    assert sorted(each.issued_units for each in await bench.locks()) == [10, 10]
    async with bench.store.reading() as reader:
        opened = await reader.list_disputes(registry="arb", state=None, activity_key=None, after=0, limit=10)
    assert [each.kind for each in opened] == [DisputeKind.CONTENT_DIFFERS], "one id, told of two plants"


@pytest.mark.postgres
@pytest.mark.parametrize("store_kind", ["postgres"])
async def test_imports_and_grants_that_race_leave_one_live_claim(bench: Bench, store_kind: str) -> None:  # noqa: ARG001  read by the fixture
    plants = [project("ccer", ("cdm", str(1000 + i)), native_id=f"c-{i}") for i in range(40)]
    async with bench.store.transaction() as transaction:
        stands = [each for each in await activities.register(transaction, plants) if isinstance(each, Activity)]
    rows = [row(f"A-{i}", of=project("arb", ("cdm", str(1000 + i)), native_id=f"a-{i}")) for i in range(40)]

    async def once(name: str, work: Any) -> None:
        async def run(transaction: Any) -> bytes:
            await work(transaction)
            return b""

        await bench.store.once(bench.request_key(name), run)

    async def grant(i: int) -> None:
        wanted = [request(stands[i], "ccer", days(10, 20))]
        await once(f"grant-{i:06}", lambda transaction: locks.acquire(transaction, BUNDLE, wanted))

    async def bring(i: int) -> None:
        await once(f"bring-{i:06}", lambda transaction: history.take_over(transaction, BUNDLE, rows[i : i + 8]))

    await asyncio.gather(*(grant(i) for i in range(40)), *(bring(i) for i in range(0, 40, 8)))
    imported = [each for each in await bench.locks() if each.registry == "arb"]
    assert len(imported) == 40
    assert all(each.state is LockState.ISSUED for each in imported)
    alive = [each for each in await bench.locks() if each.registry == "ccer" and each.state is LockState.HELD]
    assert alive == []


async def merged(bench: Bench, case_id: int, into: Activity) -> None:
    """Two persons say that the case's project is that activity."""
    async with bench.store.transaction() as transaction:
        decision = Decision(case_id, DecisionKind.SAME, into.activity_id, "", "seen", "operator/me")
        assert not isinstance(await reviews.decide(transaction, BUNDLE, decision), DomainError)
    async with bench.store.transaction() as transaction:
        answer = await reviews.confirm(transaction, BUNDLE, case_id, reason="seen too", decider="operator/other")
    assert not isinstance(answer, DomainError)


async def test_a_dispute_follows_its_lock_through_a_merge(bench: Bench) -> None:
    filing: Identifier = ("gec_filing_code", "FDWD2407150000123")
    await registered(bench, project("ccer"))
    other = await registered(bench, project("gec", filing))
    [first, late] = await take(bench, row("C", registry="ccer"), row("A"))
    [waiting] = await take(bench, row("G", registry="gec", period=days(60, 90), of=project("gec", filing, CDM)))
    assert waiting.review_case is not None
    await merged(bench, waiting.review_case, other)
    found = await dispute(bench, late.disputes[0])
    assert (found.activity_key, found.standing) == (other.key, first.lock_id)
    await settled(bench, found.dispute_id, DisputeOutcome.LATE)
    assert await claims(bench, late.lock_id) == ([days(0, 30)], [])
    blocked = await acquire(bench, request(other, "gec", days(0, 30)))
    assert isinstance(blocked, DomainError)
    assert blocked.reason is Reason.ACTIVITY_ALREADY_ISSUED


async def test_a_described_project_of_which_a_person_has_to_tell_waits_with_its_rows(bench: Bench) -> None:
    """It bars descriptions before all else, and grants anew where it shares the bar of outcome changes with grants."""
    known = replace(project("ccer", native_id="c-1"), identifiers=(), description=replace(SHAXI, capacity_mw=20.0))
    await registered(bench, known)
    doubtful = replace(project("arb", native_id="a-1"), identifiers=(), description=SHAXI_ZH)
    sides = [bench, await bench.another()]
    answers = await asyncio.gather(*(take(side, row(f"A-{i}", of=doubtful)) for i, side in enumerate(sides)))
    assert [each.state for one in answers for each in one] == [ImportState.IN_REVIEW] * 2
