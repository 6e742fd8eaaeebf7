"""Merging activities: everything moves, an alias stays, and what would break a rule is refused with nothing changed."""

import asyncio
import random
from typing import Any

import pytest

from soleclaim.check.activities import check_activities
from soleclaim.check.findings import Findings
from soleclaim.check.ledger import check_ledger
from soleclaim.check.source import open_snapshot
from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import DecisionKind, EventKind, Likeness, Lock, LockState, ReviewState
from soleclaim.lookup.service import reviews
from soleclaim.lookup.service.reviews import ReviewFile
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import Bench, ref
from tests.lookup.test_service_reviews import acquire, case_of, decide, joined, once, reasons, register, waiting

SAME = DecisionKind.SAME
REDUCTION, CAP = (1,), (2,)


def code(number: int) -> Identifier:
    return "vcs", str(number)


async def two(bench: Bench) -> tuple[ActivityKey, ActivityKey]:
    """One of ccer and gec each, with a code of its own."""
    return await joined(bench, bench.project(code(1))), await joined(bench, bench.project(code(2), registry="gec"))


async def met(bench: Bench, *numbers: int, registry: str = "arb") -> int:
    """The case of a project whose codes lead to several activities."""
    return await waiting(bench, bench.project(*map(code, numbers), registry=registry))


async def confirm(bench: Bench, case: int, by: str = "operator/other") -> ReviewFile | DomainError:
    answer: ReviewFile | DomainError = await once(
        bench, lambda to: reviews.confirm(to, default_bundle(), case, reason="复核无误", decider=by)
    )
    return answer


async def live(bench: Bench, *keys: ActivityKey) -> list[Lock]:
    async with bench.store.reading() as reader:
        return await reader.live_locks_on(keys)


async def survivor(bench: Bench, key: ActivityKey) -> ActivityKey:
    async with bench.store.reading() as reader:
        return await reader.survivor_of(key)


async def violations(bench: Bench) -> list[Any]:
    """What `soleclaim check` finds of I1, I3, I4, I6 and I7 in the store."""

    def look() -> list[Any]:
        findings, bundle = Findings(), default_bundle()
        tables = ("issuance_lock", "segment", "history_entry", "outcome", "issuance", "unit_block")
        with open_snapshot("lookup store", bench.url, tables=tables) as snapshot:
            check_activities(snapshot, {bundle.hash: bundle}, findings)
            check_ledger(snapshot, findings)
        return list(findings.violations)

    return await asyncio.to_thread(look)


class TestMerging:
    async def test_everything_moves_and_the_other_id_is_an_alias(self, bench: Bench) -> None:
        one, other = await two(bench)
        [mine] = await acquire(bench, one)
        [theirs] = await acquire(bench, other, day=1, registry="gec")
        assert isinstance(mine, Lock)
        assert isinstance(theirs, Lock)
        bench.done(await bench.release(ref(mine)))
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes([bench.outcome(other, bench.period(5), 7)])
        case = await met(bench, 1, 2, 3)
        file = await decide(bench, case, SAME, one)
        assert isinstance(file, ReviewFile)
        assert (file.case.state, file.case.stands_on) == (ReviewState.DECIDED, one)
        async with bench.store.reading() as reader:
            found = (await reader.activities([one]))[one]
            listed = await reader.list_activities(registry=None, after=0, limit=10)
            assert [each.record.period for each in await reader.outcomes_of([one])] == [bench.period(5)]
            assert await reader.outcomes_of([other]) == []
            assert await reader.activity_of_identifier(code(2)) == one
        assert {registry for registry, _ in found.native_projects} == {"ccer", "gec", "arb"}
        assert set(found.identifiers) == {code(1), code(2), code(3)}
        assert [each.key for _, each in listed] == [one], "an alias is no activity any more"
        assert await survivor(bench, other) == one
        # Their lock goes on where it is now, by the same number and token.
        assert [each.lock_id for each in await live(bench, one)] == [theirs.lock_id]
        issued = bench.done(await bench.commit(bench.commitment(bench.done(await bench.begin(ref(theirs))))))
        assert issued.activity_key == one
        [refused] = await acquire(bench, other, day=9, registry="gec")
        assert isinstance(refused, DomainError)
        assert refused.reason is Reason.ACTIVITY_MERGED
        assert refused.variables["survivor"] == f"activities/{make_activity_id('CN', one)}"
        assert reasons(await acquire(bench, one, day=9, registry="gec")) == [None]
        assert await violations(bench) == []

    async def test_the_exclusion_rule_holds_over_what_moved(self, bench: Bench) -> None:
        one, other = await two(bench)
        await acquire(bench, other, registry="gec")
        assert isinstance(await decide(bench, await met(bench, 1, 2), SAME, one), ReviewFile)
        assert reasons(await acquire(bench, one)) == [Reason.ISSUANCE_LOCK_HELD]

    async def test_history_tells_of_the_merge_and_of_each_lock(self, bench: Bench) -> None:
        one, other = await two(bench)
        [lock] = await acquire(bench, other, registry="gec")
        assert isinstance(lock, Lock)
        await decide(bench, await met(bench, 1, 2), SAME, one)
        told = [(each.kind, each.activity_key, each.registry, each.lock_id) for each in await bench.events()]
        assert (EventKind.ACTIVITY_MERGED, one, "", None) in told
        assert (EventKind.LOCK_MOVED, one, "gec", lock.lock_id) in told

    async def test_an_alias_follows_when_its_survivor_is_merged_too(self, bench: Bench) -> None:
        one, other = await two(bench)
        third = await joined(bench, bench.project(code(3)))
        await decide(bench, await met(bench, 1, 2), SAME, one)
        await decide(bench, await met(bench, 1, 3), SAME, third)
        assert await survivor(bench, other) == await survivor(bench, one) == third
        assert await joined(bench, bench.project(code(2))) == third

    async def test_three_become_one_in_one_decision(self, bench: Bench) -> None:
        one, other = await two(bench)
        third = await joined(bench, bench.project(code(3)))
        assert isinstance(await decide(bench, await met(bench, 1, 2, 3), SAME, other), ReviewFile)
        assert await survivor(bench, one) == await survivor(bench, third) == other

    async def test_a_registered_project_brings_its_activity_along(self, bench: Bench) -> None:
        project = bench.project(code(1), native_id="P")
        one, other = await joined(bench, project), await joined(bench, bench.project(code(2)))
        case = await waiting(bench, bench.project(code(1), code(2), native_id="P"))
        assert isinstance(await decide(bench, case, SAME, other), ReviewFile)
        assert await survivor(bench, one) == other
        assert await joined(bench, project) == other

    async def test_candidates_that_are_only_alike_stay_apart(self, bench: Bench) -> None:
        one, other = await two(bench)
        project = bench.project(registry="arb")
        case = await once(
            bench, lambda to: to.open_review(project, [Likeness(one, 0.9), Likeness(other, 0.8)], "alike")
        )
        assert isinstance(await decide(bench, case, SAME, one), ReviewFile)
        assert await survivor(bench, other) == other

    async def test_other_open_cases_go_on_holding(self, bench: Bench) -> None:
        one, other = await two(bench)
        waits = await once(bench, lambda to: to.open_review(bench.project(), [other], "alike"))
        await decide(bench, await met(bench, 1, 2), SAME, one)
        assert [each.key for each in (await case_of(bench, waits)).candidates] == [one]
        assert reasons(await acquire(bench, one)) == [Reason.IDENTITY_UNDER_REVIEW]
        assert isinstance(await decide(bench, waits, SAME, one), ReviewFile)
        assert reasons(await acquire(bench, one)) == [None]

    async def test_a_registration_that_meets_a_merge_joins_the_survivor(self, bench: Bench) -> None:
        """It found the other activity, then waited while that was merged."""
        side = await bench.another()
        for number in range(10, 40, 3):
            one = await joined(bench, bench.project(code(number)))
            await joined(bench, bench.project(code(number + 1)))
            case = await met(bench, number, number + 1)
            late = side.project(code(number + 1), code(number + 2))
            _, [answer] = await asyncio.gather(decide(bench, case, SAME, one), register(side, late))
            assert not isinstance(answer, DomainError)
            assert await joined(side, late) == one


class TestRefusals:
    async def refused(self, bench: Bench, one: ActivityKey) -> DomainError:
        case = await met(bench, 1, 2)
        before = (await case_of(bench, case), await live(bench, one), len(await bench.events()))
        answer = await decide(bench, case, SAME, one)
        assert isinstance(answer, DomainError), answer
        assert (await case_of(bench, case), await live(bench, one), len(await bench.events())) == before
        assert await bench.sql("SELECT * FROM activity_alias") == []
        return answer

    async def test_two_that_claim_one_outcome(self, bench: Bench) -> None:
        one, other = await two(bench)
        locks_ = [await bench.issued(bench.claim(key)) for key in (one, other)]
        refusal = await self.refused(bench, one)
        assert refusal.reason is Reason.MERGE_BREAKS_EXCLUSION
        assert {refusal.variables["lock"], refusal.variables["other_lock"]} == {
            f"issuanceLocks/{each.lock_id}" for each in locks_
        }

    async def test_two_that_claim_other_attributes_may_become_one(self, bench: Bench) -> None:
        one, other = await two(bench)
        await bench.held(bench.claim(one, attributes=REDUCTION))
        await bench.issued(bench.claim(other, attributes=CAP))
        file = await decide(bench, await met(bench, 1, 2), SAME, one)
        assert isinstance(file, ReviewFile)
        assert file.case.awaits_confirmation

    @pytest.mark.parametrize("begun", [False, True])
    async def test_locks_under_way_on_both(self, bench: Bench, begun: bool) -> None:
        one, other = await two(bench)
        for day, key in enumerate((one, other)):
            await (bench.issuing if begun else bench.held)(bench.claim(key, bench.period(day)))
        assert (await self.refused(bench, one)).reason is Reason.MERGE_LOCKS_UNDER_WAY

    async def test_a_lock_that_ran_out_is_not_under_way(self, bench: Bench) -> None:
        one, other = await two(bench)
        held = [await bench.held(bench.claim(key, bench.period(day))) for day, key in enumerate((one, other))]
        await bench.expire(held[0])
        assert isinstance(await decide(bench, await met(bench, 1, 2), SAME, one), ReviewFile)
        assert await bench.state(held[0]) is LockState.EXPIRED
        assert await violations(bench) == []

    async def measured(self, bench: Bench, *figures: tuple[ActivityKey, float, float, int]) -> None:
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes(
                [
                    bench.outcome(key, bench.period(start, end), amount, unit="kgCO2e")
                    for key, start, end, amount in figures
                ]
            )

    async def test_two_figures_for_one_period(self, bench: Bench) -> None:
        one, other = await two(bench)
        await self.measured(bench, (one, 0, 1, 10), (other, 0, 1, 11))
        assert (await self.refused(bench, one)).reason is Reason.MERGE_OUTCOMES_DIFFER

    async def test_one_figure_of_both_is_kept_once(self, bench: Bench) -> None:
        one, other = await two(bench)
        await self.measured(bench, (one, 0, 1, 10), (other, 0, 1, 10), (other, 1, 2, 5))
        assert isinstance(await decide(bench, await met(bench, 1, 2), SAME, one), ReviewFile)
        async with bench.store.reading() as reader:
            assert [each.record.quantity for each in await reader.outcomes_of([one, other])] == [10, 5]
        [row] = await bench.sql("SELECT moved FROM activity_merge")
        assert '"outcomes_of_both": [["kgCO2e"' in row.moved, "nothing is lost"

    async def test_a_lock_within_a_longer_period_of_the_other(self, bench: Bench) -> None:
        one, other = await two(bench)
        await bench.held(bench.claim(other))
        await self.measured(bench, (one, 0, 3, 10**6))
        assert (await self.refused(bench, one)).reason is Reason.MERGE_OUTCOMES_DIFFER

    async def test_more_than_was_measured(self, bench: Bench) -> None:
        one, other = await two(bench)
        await bench.held(bench.claim(other, units=10))
        await self.measured(bench, (one, 0, 1, 9_999))
        refusal = await self.refused(bench, one)
        assert refusal.reason is Reason.MERGE_EXCEEDS_MEASURED
        assert (refusal.variables["used"], refusal.variables["available"]) == ("10000", "9999")

    async def test_a_part_and_its_whole(self, bench: Bench) -> None:
        whole, part = await two(bench)
        phase = bench.project(code(2), registry="gec", native_id="PHASE")
        case = await once(bench, lambda to: to.open_review(phase, [whole], "alike"))
        async with bench.store.transaction() as transaction:
            await transaction.add_part(part, whole, case)
        assert (await self.refused(bench, whole)).reason is Reason.ACTIVITY_PART_OF_ITSELF


class TestTwoPersons:
    async def proposed(self, bench: Bench) -> tuple[ActivityKey, ActivityKey, int]:
        one, other = await two(bench)
        await bench.issued(bench.claim(other, registry="gec"))
        case = await met(bench, 1, 2)
        file = await decide(bench, case, SAME, one)
        assert isinstance(file, ReviewFile)
        assert (file.case.state, file.case.awaits_confirmation) == (ReviewState.OPEN, True)
        return one, other, case

    async def test_a_merge_over_issuances_waits_for_a_second_person(self, bench: Bench) -> None:
        one, other, case = await self.proposed(bench)
        assert await survivor(bench, other) == other
        assert reasons(await acquire(bench, one, day=1)) == [Reason.IDENTITY_UNDER_REVIEW]
        refused = await confirm(bench, case, by="operator/ops")
        assert reasons([refused]) == [Reason.REVIEW_SECOND_PERSON_NEEDED]
        file = await confirm(bench, case)
        assert isinstance(file, ReviewFile)
        assert [(each.kind, each.proposed, each.decider) for each in file.decisions] == [
            (SAME, True, "operator/ops"),
            (DecisionKind.CONFIRM, False, "operator/other"),
        ]
        assert (file.case.state, await survivor(bench, other)) == (ReviewState.DECIDED, one)
        assert reasons(await acquire(bench, one, day=1)) == [None]
        assert reasons([await confirm(bench, case)]) == [Reason.REVIEW_CASE_DECIDED]
        assert await violations(bench) == []

    async def test_what_changed_meanwhile_is_seen_by_the_confirmation(self, bench: Bench) -> None:
        one, other, case = await self.proposed(bench)
        await bench.held(bench.claim(one, registry="ccer"))  # as a fact that came in some other way
        assert reasons([await confirm(bench, case)]) == [Reason.MERGE_BREAKS_EXCLUSION]
        assert (await case_of(bench, case)).awaits_confirmation
        assert await survivor(bench, other) == other

    async def test_another_decision_or_new_evidence_takes_the_place_of_a_proposal(self, bench: Bench) -> None:
        _, _, case = await self.proposed(bench)
        assert isinstance(await decide(bench, case, DecisionKind.ASK, question="？"), ReviewFile)
        assert reasons([await confirm(bench, case)]) == [Reason.REVIEW_NOTHING_PROPOSED]
        key = (await case_of(bench, case)).candidates[0].key
        assert isinstance(await decide(bench, case, SAME, key), ReviewFile)
        project = (await case_of(bench, case)).registration
        again = bench.project(*map(code, (1, 2, 7)), registry="arb", native_id=project.native_project_id)
        assert await waiting(bench, again) == case
        assert reasons([await confirm(bench, case)]) == [Reason.REVIEW_NOTHING_PROPOSED]

    async def test_of_two_confirmations_at_once_one_merges(self, bench: Bench) -> None:
        _, _, case = await self.proposed(bench)
        side = await bench.another()
        answers = await asyncio.gather(confirm(bench, case), confirm(side, case, by="operator/third"))
        assert sorted(map(str, reasons(answers))) == ["None", "Reason.REVIEW_CASE_DECIDED"]


async def live_on(at: Bench, chance: random.Random, keys: list[ActivityKey], registry: str = "ccer") -> None:
    """Acquire, release, begin, abort and commit at random."""
    for _ in range(25):
        key = await survivor(at, chance.choice(keys))
        [answer] = await acquire(at, key, day=chance.randrange(6), registry=registry)
        if not isinstance(answer, Lock):
            continue
        step = chance.random()
        if step < 0.3:
            await at.release(ref(answer))
        elif step < 0.9:
            [begun] = await at.begin(ref(answer))
            assert begun.done
            await (at.abort(at.abortion(answer)) if step < 0.4 else at.commit(at.commitment(answer)))


async def work_queue(at: Bench, chance: random.Random, count: int) -> int:
    """Register projects that lead to several activities, and merge those where that is let; how many merged."""
    merged = 0
    for _ in range(12):
        numbers = chance.sample(range(1, count + 1), chance.choice((2, 2, 3)))
        [answer] = await register(at, at.project(*map(code, numbers), registry="arb"))
        if not isinstance(answer, DomainError):
            continue
        case = int(answer.variables["case"])
        file = await decide(at, case, SAME, chance.choice((await case_of(at, case)).candidates).key)
        if isinstance(file, ReviewFile) and file.case.awaits_confirmation:
            file = await confirm(at, case)
        merged += isinstance(file, ReviewFile)
        if isinstance(file, DomainError):
            assert file.reason.name.startswith("MERGE_"), file
            file = await decide(at, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile)
        assert file.case.state is ReviewState.DECIDED
    return merged


@pytest.mark.parametrize("seed", range(3))
async def test_random_merges_under_locks_break_no_invariant(bench: Bench, seed: int) -> None:
    """Two issue on many activities, some measured, while a third decides cases at random."""
    chance = random.Random(seed)
    keys = [await joined(bench, bench.project(code(i), registry="ccer")) for i in range(1, 13)]
    measured = [(key, bench.period(day)) for key in keys for day in range(6) if chance.random() < 0.3]
    async with bench.store.transaction() as transaction:
        await transaction.record_outcomes(
            [bench.outcome(*spot, chance.choice((20_000, 40_000)), unit="kgCO2e") for spot in measured]
        )
    side = await bench.another()
    _, _, merged = await asyncio.gather(
        live_on(bench, chance, keys), live_on(side, chance, keys), work_queue(bench, chance, len(keys))
    )
    assert merged
    assert await violations(bench) == []
    for key in keys:
        last = await survivor(bench, key)
        assert await survivor(bench, last) == last, "no alias leads to an alias"
        if last != key:
            assert await live(bench, key) == []
