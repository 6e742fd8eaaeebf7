"""Splitting activities and undoing merges: what moves, what is refused, and that nothing is lost or doubled."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from soleclaim.core.activity_id import ActivityKey, activity_key, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    Activity,
    ActivitySplit,
    DecisionKind,
    EventKind,
    Lock,
    LockState,
    ProjectRegistration,
    ReviewState,
    SplitState,
    SplitWish,
)
from soleclaim.lookup.service import reviews, splitting
from soleclaim.lookup.service.reviews import ReviewFile
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import Bench, ref
from tests.lookup.test_service_merging import code, confirm, met, survivor, two, violations
from tests.lookup.test_service_reviews import acquire, case_of, decide, joined, once, reasons, register

SAME, DIFFERENT, PART_OF = DecisionKind.SAME, DecisionKind.DIFFERENT, DecisionKind.PART_OF
Split = ActivitySplit | DomainError


async def split(
    bench: Bench,
    key: ActivityKey,
    *projects: tuple[str, str],
    identifiers: Sequence[Identifier] = (),
    locks: Sequence[Lock] = (),
    restore: ActivityKey | None = None,
    by: str = "operator/ops",
) -> Split:
    wish = SplitWish(
        activity_id=make_activity_id("CN", key),
        native_projects=projects,
        identifiers=tuple(identifiers),
        locks=tuple(each.lock_id for each in locks),
        restore=None if restore is None else make_activity_id("CN", restore),
        reason="现场核实为两处",
        proposer=by,
    )
    answer: Split = await once(bench, lambda to: splitting.split(to, default_bundle(), wish))
    return answer


async def confirm_split(bench: Bench, split_id: int, by: str = "operator/other") -> Split:
    answer: Split = await once(
        bench, lambda to: splitting.confirm_split(to, default_bundle(), split_id, reason="复核无误", decider=by)
    )
    return answer


async def reopen(bench: Bench, case: int, by: str = "operator/ops") -> ReviewFile | DomainError:
    answer: ReviewFile | DomainError = await once(
        bench, lambda to: reviews.reopen(to, case, reason="裁定有误", decider=by)
    )
    return answer


async def carried_out(bench: Bench, answer: Split) -> Split:
    """Confirmed by a second person, where that is needed."""
    if isinstance(answer, ActivitySplit) and answer.state is SplitState.PROPOSED:
        return await confirm_split(bench, answer.split_id)
    return answer


def done(answer: Split) -> ActivityKey:
    """The activity that what moved stands on now."""
    assert isinstance(answer, ActivitySplit), answer
    assert answer.state is SplitState.DONE
    assert answer.into is not None
    return activity_key(answer.into)


async def activity(bench: Bench, key: ActivityKey) -> Activity:
    async with bench.store.reading() as reader:
        return (await reader.activities([key]))[key]


async def standing_on(bench: Bench, key: ActivityKey) -> tuple[Any, ...]:
    """Everything that stands on an activity, to be compared."""
    async with bench.store.reading() as reader:
        found = (await reader.activities([key]))[key]
        segments = await bench.sql(
            "SELECT lock_id, attributes, period_start_us, period_end_us, slice_start, slice_end, live FROM segment "
            "WHERE activity_key = :key ORDER BY lock_id",
            key=key,
        )
        parts = await bench.sql(
            "SELECT child_key, parent_key, case_id FROM activity_part WHERE child_key = :key OR parent_key = :key "
            "ORDER BY child_key, parent_key",
            key=key,
        )
        return (
            found,
            await reader.locks_on(key),
            await reader.outcomes_of([key]),
            [tuple(each) for each in segments],
            [tuple(each) for each in parts],
        )


async def shared(bench: Bench) -> ActivityKey:
    """An activity with a project of ccer, C, and one of gec, G, that has a code of its own."""
    key = await joined(bench, bench.project(code(1), native_id="C"))
    assert await joined(bench, bench.project(code(1), code(2), registry="gec", native_id="G")) == key
    return key


async def merged(bench: Bench, *, outcome: bool = False) -> tuple[ActivityKey, ActivityKey, int]:
    """One of ccer that gec's was merged into, by the case of a project of arb."""
    one, other = await two(bench)
    await acquire(bench, one)
    await acquire(bench, other, day=1, registry="gec")
    if outcome:
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes([bench.outcome(other, bench.period(5), 7)])
    for lock in (await standing_on(bench, one))[1] + (await standing_on(bench, other))[1]:
        await bench.release(ref(lock))
    case = await met(bench, 1, 2, 3)
    assert isinstance(await decide(bench, case, SAME, one), ReviewFile)
    return one, other, case


class TestSplitting:
    async def test_a_registry_takes_its_locks_along_and_both_sides_go_on(self, bench: Bench) -> None:
        key = await shared(bench)
        mine = await bench.issued(bench.claim(key))
        [theirs] = await acquire(bench, key, day=1, registry="gec")
        assert isinstance(theirs, Lock)
        bench.done(await bench.release(ref(theirs)))
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes(
                [bench.outcome(key, bench.period(day), 10_000, unit="kgCO2e") for day in (0, 3)]
            )
        answer = await split(bench, key, ("gec", "G"), identifiers=[code(2)])
        assert isinstance(answer, ActivitySplit)
        assert answer.state is SplitState.PROPOSED, "what leaves may issue for what is issued here"
        new = done(await carried_out(bench, answer))
        assert await survivor(bench, new) == new != key
        stays, goes = await standing_on(bench, key), await standing_on(bench, new)
        assert (stays[0].native_projects, goes[0].native_projects) == ((("ccer", "C"),), (("gec", "G"),))
        assert (stays[0].identifiers, goes[0].identifiers) == ((code(1),), (code(2),))
        assert ([each.lock_id for each in stays[1]], [each.lock_id for each in goes[1]]) == (
            [mine.lock_id],
            [theirs.lock_id],
        )
        assert (len(stays[2]), len(goes[2])) == (2, 0), "what ccer measured stays with ccer"
        assert (goes[0].country, goes[0].activity_type, goes[0].time_zone) == ("CN", "wind", "Asia/Shanghai")
        assert reasons(await acquire(bench, new, day=0, registry="gec")) == [None], "nobody else claims it there"
        assert reasons(await acquire(bench, key, day=2)) == [None]
        assert reasons(await acquire(bench, key, day=9, registry="gec")) == [Reason.ACTIVITY_NOT_REGISTERED]
        assert await violations(bench) == []

    async def test_the_split_is_kept_and_told_on_both_sides(self, bench: Bench) -> None:
        key = await shared(bench)
        [lock] = await acquire(bench, key, registry="gec")
        assert isinstance(lock, Lock)
        bench.done(await bench.release(ref(lock)))
        answer = await split(bench, key, ("gec", "G"))
        new = done(answer)
        told = [(each.kind, each.activity_key, each.registry, each.lock_id) for each in await bench.events()]
        assert told[-3:] == [
            (EventKind.ACTIVITY_SPLIT, key, "", None),
            (EventKind.ACTIVITY_SPLIT, new, "", None),
            (EventKind.LOCK_MOVED, new, "gec", lock.lock_id),
        ]
        async with bench.store.reading() as reader:
            assert await reader.list_activity_splits(key=key, after=0, limit=10) == [answer]
            assert await reader.list_activity_splits(key=new, after=0, limit=10) == []

    async def test_a_new_activity_is_called_as_the_project_is_described(self, bench: Bench) -> None:
        key = await joined(bench, bench.project(code(1), native_id="C"))
        described = bench.project(code(1), registry="gec", native_id="G")
        description = Description(id="", name="Dongtai wind farm phase two", name_local="东台二期风电场")
        [answer] = await register(bench, replace(described, description=description))
        assert isinstance(answer, Activity)
        assert (await activity(bench, done(await split(bench, key, ("gec", "G"))))).display_name == description.name

    async def test_of_a_registry_with_projects_on_both_sides_only_the_named_locks_move(self, bench: Bench) -> None:
        key = await shared(bench)
        await joined(bench, bench.project(code(1), registry="gec", native_id="G2"))
        locks = [await bench.issued(bench.claim(key, bench.period(day), registry="gec")) for day in range(2)]
        async with bench.store.transaction() as transaction:
            records = [bench.outcome(key, bench.period(day), 10**6) for day in range(3)]
            await transaction.record_outcomes([replace(each, registry="gec") for each in records])
        proposed = await split(bench, key, ("gec", "G2"), locks=locks[:1])
        assert isinstance(proposed, ActivitySplit)
        new = done(await confirm_split(bench, proposed.split_id))
        stays, goes = await standing_on(bench, key), await standing_on(bench, new)
        assert [[each.lock_id for each in side[1]] for side in (goes, stays)] == [[each.lock_id] for each in locks]
        assert [each.record.period for each in goes[2]] == [bench.period(0)], "a figure goes with the lock on it"
        assert [each.record.period for each in stays[2]] == [bench.period(1), bench.period(2)]
        assert await violations(bench) == []

    async def test_what_is_sent_again_opens_no_case_on_either_side(self, bench: Bench) -> None:
        """A project is sent with identifiers that the person left on, or gave to, the other side."""
        mine, theirs = bench.project(code(1), code(2)), bench.project(code(1), code(2), registry="gec", native_id="G")
        key = await joined(bench, mine)
        assert await joined(bench, theirs) == key
        new = done(await split(bench, key, ("gec", "G"), identifiers=[code(2)]))
        assert await joined(bench, theirs) == new
        assert await joined(bench, mine) == key
        assert reasons(await acquire(bench, key)) == [None]
        assert reasons(await acquire(bench, new, registry="gec")) == [None]
        # What another has is no part of what was settled.
        other = await joined(bench, bench.project(code(3)))
        case = await met_again(bench, replace(theirs, identifiers=(code(1), code(3))))
        assert {each.key for each in (await case_of(bench, case)).candidates} == {new, other}


class TestUndoingAMerge:
    async def test_the_very_same_stands_on_both_again(self, bench: Bench) -> None:
        one, other = await two(bench)
        third = await joined(bench, bench.project(code(7)))
        for day, key, registry in ((0, one, "ccer"), (1, other, "gec"), (2, other, "gec")):
            [lock] = await acquire(bench, key, day=day, registry=registry)
            assert isinstance(lock, Lock)
            bench.done(await bench.release(ref(lock)))
        phase = await once(bench, lambda to: to.open_review(bench.project(), [third], "alike"))
        async with bench.store.transaction() as transaction:
            await transaction.add_part(other, third, phase)
            figures = ((4, one, "ccer"), (4, other, "gec"), (5, other, "gec"))
            await transaction.record_outcomes(
                [replace(bench.outcome(key, bench.period(day), 7), registry=registry) for day, key, registry in figures]
            )
        before = await standing_on(bench, one), await standing_on(bench, other)
        case = await met(bench, 1, 2)
        assert isinstance(await decide(bench, case, SAME, one), ReviewFile)
        assert done(await split(bench, one, restore=other)) == other
        after = await standing_on(bench, one), await standing_on(bench, other)
        assert after[1] == before[1]
        own, *rest = after[0]
        assert rest == list(before[0][1:])
        assert own.identifiers == before[0][0].identifiers
        late = [each for each in own.native_projects if each not in before[0][0].native_projects]
        assert [registry for registry, _ in late] == ["arb"], "what registered later stays"
        assert await survivor(bench, other) == other
        async with bench.store.reading() as reader:
            listed = [each.key for _, each in await reader.list_activities(registry=None, after=0, limit=10)]
        assert listed == [one, other, third]
        assert await violations(bench) == []

    async def test_a_project_that_registered_later_moves_when_it_is_named(self, bench: Bench) -> None:
        one, other, case = await merged(bench)
        late = (await case_of(bench, case)).registration
        answer = await split(bench, one, (late.registry, late.native_project_id), identifiers=[code(3)], restore=other)
        assert done(answer) == other
        found = await activity(bench, other)
        assert found.identifiers == (code(2), code(3))
        assert {registry for registry, _ in found.native_projects} == {"gec", "arb"}

    async def test_its_registry_takes_what_it_did_since(self, bench: Bench) -> None:
        one, other, _ = await merged(bench)
        since = await bench.issued(bench.claim(one, bench.period(3), registry="gec"))
        answer = await split(bench, one, restore=other)
        assert isinstance(answer, ActivitySplit)
        assert answer.state is SplitState.PROPOSED
        assert done(await confirm_split(bench, answer.split_id)) == other
        assert since.lock_id in [each.lock_id for each in (await standing_on(bench, other))[1]]
        assert await violations(bench) == []

    async def test_registering_again_joins_where_it_stands_and_opens_no_case(self, bench: Bench) -> None:
        one, other, case = await merged(bench)
        late = (await case_of(bench, case)).registration
        done(await split(bench, one, restore=other))
        assert await joined(bench, late) == one, "a person has seen that its codes lead to both"
        assert await joined(bench, bench.project(code(2), registry="vcs")) == other

    async def test_aliases_that_led_to_it_lead_to_it_again(self, bench: Bench) -> None:
        one, other = await two(bench)
        third, fourth = [await joined(bench, bench.project(code(number))) for number in (3, 4)]
        for numbers, survives in (((1, 2), one), ((1, 3), third), ((3, 4), fourth)):
            assert isinstance(await decide(bench, await met(bench, *numbers), SAME, survives), ReviewFile)
        assert {await survivor(bench, each) for each in (one, other, third)} == {fourth}
        assert done(await split(bench, fourth, restore=third)) == third
        assert {await survivor(bench, each) for each in (one, other, third)} == {third}
        assert done(await split(bench, third, restore=other)) == other, "of a merge before the last"
        assert (await survivor(bench, one), await survivor(bench, other)) == (third, other)
        assert done(await split(bench, third, restore=one)) == one
        assert (await activity(bench, other)).identifiers == (code(2),)
        assert await survivor(bench, one) == one


class TestRefusals:
    async def refused(self, bench: Bench, answer: Split, reason: Reason) -> DomainError:
        assert isinstance(answer, DomainError), answer
        assert answer.reason is reason
        assert await bench.sql("SELECT * FROM activity_split") == []
        assert not [each for each in await bench.events() if each.kind is EventKind.ACTIVITY_SPLIT]
        return answer

    @pytest.mark.parametrize("state", [LockState.HELD, LockState.ISSUING])
    async def test_a_lock_under_way_would_move(self, bench: Bench, state: LockState) -> None:
        key = await shared(bench)
        claim = bench.claim(key, registry="gec")
        lock = await (bench.held(claim) if state is LockState.HELD else bench.issuing(claim))
        before = await standing_on(bench, key)
        refusal = await self.refused(bench, await split(bench, key, ("gec", "G")), Reason.SPLIT_LOCK_UNDER_WAY)
        assert refusal.variables["lock"] == f"issuanceLocks/{lock.lock_id}"
        assert await standing_on(bench, key) == before
        apart = await split(bench, key, ("ccer", "C"))
        assert isinstance(apart, ActivitySplit)
        assert apart.state is SplitState.PROPOSED, "ccer would be free to issue beside what is under way"
        assert done(await carried_out(bench, apart)) != key, "where it stays it hinders nobody"

    async def test_a_lock_under_way_whose_project_may_be_the_one_that_moves(self, bench: Bench) -> None:
        key = await shared(bench)
        await joined(bench, bench.project(code(1), registry="gec", native_id="G2"))
        await bench.issuing(bench.claim(key, registry="gec"))
        await self.refused(bench, await split(bench, key, ("gec", "G2")), Reason.SPLIT_LOCK_UNDER_WAY)

    async def test_a_supplement_under_way_would_move(self, bench: Bench) -> None:
        key = await shared(bench)
        await bench.supplemented(await bench.issued(bench.claim(key, registry="gec")))
        await self.refused(bench, await split(bench, key, ("gec", "G")), Reason.SPLIT_LOCK_UNDER_WAY)

    async def test_a_lock_that_ran_out_moves_as_expired(self, bench: Bench) -> None:
        key = await shared(bench)
        lock = await bench.held(bench.claim(key, registry="gec"))
        await bench.expire(lock)
        done(await split(bench, key, ("gec", "G")))
        assert await bench.state(lock) is LockState.EXPIRED
        assert await violations(bench) == []

    async def test_a_lock_whose_registry_has_no_project_among_those_that_move(self, bench: Bench) -> None:
        key = await shared(bench)
        lock = await bench.issued(bench.claim(key))
        answer = await split(bench, key, ("gec", "G"), locks=[lock])
        refusal = await self.refused(bench, answer, Reason.SPLIT_LOCK_WITHOUT_PROJECT)
        assert refusal.variables["registry"] == "ccer"

    async def test_what_does_not_stand_there(self, bench: Bench) -> None:
        key, elsewhere = await shared(bench), await joined(bench, bench.project(code(5), native_id="E"))
        lock = await bench.issued(bench.claim(elsewhere))
        for answer in (
            await split(bench, key, ("ccer", "E")),
            await split(bench, key, ("gec", "G"), identifiers=[code(5)]),
            await split(bench, key, ("gec", "G"), locks=[lock]),
        ):
            await self.refused(bench, answer, Reason.SPLIT_NOT_THERE)

    async def test_everything_or_nothing_would_move(self, bench: Bench) -> None:
        key = await shared(bench)
        await self.refused(bench, await split(bench, key, ("gec", "G"), ("ccer", "C")), Reason.SPLIT_NOTHING_STAYS)
        one, other = [await joined(bench, bench.project(code(number))) for number in (11, 12)]
        assert isinstance(await decide(bench, await met(bench, 11, 12), SAME, one), ReviewFile)
        async with bench.store.reading() as reader:
            merge = await reader.merge_of(other)
        assert merge is not None
        done(await split(bench, one, *merge.moved.projects))
        assert reasons([await split(bench, one, restore=other)]) == [Reason.SPLIT_NOTHING_MOVES]

    async def test_what_is_no_alias_of_it(self, bench: Bench) -> None:
        one, other, _ = await merged(bench)
        third = await joined(bench, bench.project(code(8)))
        await self.refused(bench, await split(bench, one, restore=third), Reason.SPLIT_NOT_AN_ALIAS)
        await self.refused(bench, await split(bench, third, restore=other), Reason.SPLIT_NOT_AN_ALIAS)
        await self.refused(bench, await split(bench, other, restore=other), Reason.ACTIVITY_MERGED)
        await self.refused(bench, await split(bench, bench.key(), ("gec", "G")), Reason.ACTIVITY_UNKNOWN)

    async def test_an_activity_that_an_open_case_holds(self, bench: Bench) -> None:
        key = await shared(bench)
        case = await once(bench, lambda to: to.open_review(bench.project(), [key], "alike"))
        refusal = await self.refused(bench, await split(bench, key, ("gec", "G")), Reason.IDENTITY_UNDER_REVIEW)
        assert refusal.variables["case"] == str(case)

    async def test_a_figure_that_comes_back_smaller_than_what_was_issued_since(self, bench: Bench) -> None:
        one, other = await two(bench)
        async with bench.store.transaction() as transaction:
            figures = [
                replace(bench.outcome(key, bench.period(), 9_000), registry=registry)
                for key, registry in ((one, "ccer"), (other, "gec"))
            ]
            await transaction.record_outcomes(figures)
        assert isinstance(await decide(bench, await met(bench, 1, 2), SAME, one), ReviewFile)
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes([replace(figures[0], quantity=10_000)])
        await bench.issued(bench.claim(one, registry="gec", units=10))
        answer = await split(bench, one, restore=other)
        refusal = await self.refused(bench, answer, Reason.SPLIT_EXCEEDS_MEASURED)
        assert (refusal.variables["used"], refusal.variables["available"]) == ("10000", "9000")


class TestTwoPersons:
    async def proposed(self, bench: Bench) -> tuple[ActivityKey, Lock, ActivitySplit]:
        key = await shared(bench)
        lock = await bench.issued(bench.claim(key, registry="gec"))
        answer = await split(bench, key, ("gec", "G"), identifiers=[code(2)])
        assert isinstance(answer, ActivitySplit)
        assert (answer.state, answer.into) == (SplitState.PROPOSED, None)
        return key, lock, answer

    async def test_issued_units_move_when_a_second_person_confirms(self, bench: Bench) -> None:
        key, lock, proposed = await self.proposed(bench)
        assert (await bench.lock(lock)).activity_key == key
        own = await confirm_split(bench, proposed.split_id, by="operator/ops")
        assert reasons([own]) == [Reason.SPLIT_SECOND_PERSON_NEEDED]
        answer = await confirm_split(bench, proposed.split_id)
        new = done(answer)
        assert isinstance(answer, ActivitySplit)
        assert (answer.wish.proposer, answer.confirmer, answer.confirm_reason) == (
            "operator/ops", "operator/other", "复核无误",
        )  # fmt: skip
        assert (await bench.lock(lock)).activity_key == new
        assert reasons([await confirm_split(bench, proposed.split_id)]) == [Reason.SPLIT_NOT_WAITING]
        assert reasons([await confirm_split(bench, 999)]) == [Reason.SPLIT_UNKNOWN]
        assert reasons(await acquire(bench, key)) == [None]
        assert await violations(bench) == []

    async def test_what_changed_meanwhile_is_seen_by_the_confirmation(self, bench: Bench) -> None:
        key, lock, proposed = await self.proposed(bench)
        await bench.supplemented(lock)
        assert reasons([await confirm_split(bench, proposed.split_id)]) == [Reason.SPLIT_LOCK_UNDER_WAY]
        async with bench.store.reading() as reader:
            [kept] = await reader.list_activity_splits(key=key, after=0, limit=10)
        assert kept == proposed

    async def test_a_split_is_confirmed_as_it_was_proposed_or_proposed_anew(self, bench: Bench) -> None:
        key, lock, proposed = await self.proposed(bench)
        since = await bench.issued(bench.claim(key, bench.period(5), registry="gec"))
        refused = await confirm_split(bench, proposed.split_id)
        assert isinstance(refused, DomainError)
        assert refused.reason is Reason.SPLIT_CHANGED
        async with bench.store.reading() as reader:
            old, new = await reader.list_activity_splits(key=key, after=0, limit=10)
        assert (old.state, old.moved.locks) == (SplitState.REPLACED, (lock.lock_id,))
        assert (new.state, new.moved.locks) == (SplitState.PROPOSED, (lock.lock_id, since.lock_id))
        assert refused.variables["proposal"] == f"activitySplits/{new.split_id}"
        assert new.wish == proposed.wish
        assert (await bench.lock(lock)).activity_key == key
        confirmed = await confirm_split(bench, new.split_id)
        done(confirmed)
        assert isinstance(confirmed, ActivitySplit)
        assert confirmed.moved == new.moved

    async def test_a_proposal_ends_when_its_activity_becomes_an_alias(self, bench: Bench) -> None:
        key, _, proposed = await self.proposed(bench)
        other = await joined(bench, bench.project(code(3)))
        case = await met(bench, 1, 3)
        file = await decide(bench, case, SAME, other)
        assert isinstance(file, ReviewFile)
        assert isinstance(await confirm(bench, case), ReviewFile)
        assert await survivor(bench, key) == other
        refused = await confirm_split(bench, proposed.split_id)
        assert isinstance(refused, DomainError)
        assert (refused.reason, refused.variables["state"]) == (Reason.SPLIT_NOT_WAITING, "REPLACED")

    async def test_another_split_takes_the_place_of_a_proposal(self, bench: Bench) -> None:
        key, _, proposed = await self.proposed(bench)
        again = await split(bench, key, ("gec", "G"))
        assert isinstance(again, ActivitySplit)
        assert reasons([await confirm_split(bench, proposed.split_id)]) == [Reason.SPLIT_NOT_WAITING]
        new = done(await confirm_split(bench, again.split_id))
        assert (await activity(bench, new)).identifiers == ()

    async def test_of_two_confirmations_at_once_one_splits(self, bench: Bench) -> None:
        _, _, proposed = await self.proposed(bench)
        side = await bench.another()
        answers = await asyncio.gather(
            confirm_split(bench, proposed.split_id), confirm_split(side, proposed.split_id, by="operator/third")
        )
        assert sorted(map(str, reasons(answers))) == ["None", "Reason.SPLIT_NOT_WAITING"]


class TestReopening:
    async def contradicted(self, bench: Bench, kind: DecisionKind) -> tuple[ActivityKey, ActivityKey, int]:
        """An activity, that which a decision gave a project whose code leads there, and the case."""
        key = await joined(bench, bench.project(code(1), ("metering_point", "AAAAAAAA1")))
        case = await met_by(bench, code(1), ("metering_point", "BBBBBBBB2"))
        assert isinstance(await decide(bench, case, kind, key if kind is PART_OF else None), ReviewFile)
        own = (await case_of(bench, case)).stands_on
        assert own is not None
        return key, own, case

    @pytest.mark.parametrize("kind", [DIFFERENT, PART_OF])
    async def test_what_was_told_apart_can_be_made_one_after_all(self, bench: Bench, kind: DecisionKind) -> None:
        key, own, case = await self.contradicted(bench, kind)
        file = await reopen(bench, case)
        assert isinstance(file, ReviewFile)
        assert file.case.state is ReviewState.OPEN
        assert {each.key for each in file.case.candidates} == {key, own}
        assert [each.kind for each in file.decisions] == [kind, DecisionKind.REOPEN]
        assert reasons(await acquire(bench, key)) == [Reason.IDENTITY_UNDER_REVIEW]
        assert reasons(await acquire(bench, own, registry="gec")) == [Reason.IDENTITY_UNDER_REVIEW]
        assert isinstance(await decide(bench, case, SAME, key), ReviewFile)
        assert await survivor(bench, own) == key
        assert await bench.sql("SELECT * FROM activity_part") == [], "a part of it no more"
        assert reasons(await acquire(bench, key)) == [None]

    async def test_a_part_stays_one_until_the_case_is_decided_otherwise(self, bench: Bench) -> None:
        key, own, case = await self.contradicted(bench, PART_OF)
        assert isinstance(await reopen(bench, case), ReviewFile)
        async with bench.store.reading() as reader:
            assert await reader.parents_of(own) == [key]
        assert isinstance(await decide(bench, case, PART_OF, key), ReviewFile)
        assert isinstance(await reopen(bench, case), ReviewFile)
        assert isinstance(await decide(bench, case, DIFFERENT), ReviewFile)
        async with bench.store.reading() as reader:
            assert await reader.parents_of(own) == []

    async def test_a_same_is_reversed_by_a_split_and_then_the_case_can_be_reopened(self, bench: Bench) -> None:
        one, other, case = await merged(bench)
        refusal = await reopen(bench, case)
        assert isinstance(refusal, DomainError)
        assert refusal.reason is Reason.REVIEW_SAME_STANDS
        assert "SplitActivity" in refusal.message_en
        assert "SplitActivity" in refusal.message_zh
        done(await split(bench, one, restore=other))
        file = await reopen(bench, case)
        assert isinstance(file, ReviewFile)
        assert {each.key for each in file.case.candidates} == {one, other}
        assert isinstance(await decide(bench, case, SAME, other), ReviewFile)
        assert await survivor(bench, one) == other
        assert reasons([await reopen(bench, case)]) == [Reason.REVIEW_SAME_STANDS]

    async def test_an_open_or_unknown_case_is_not_reopened(self, bench: Bench) -> None:
        _, _, case = await self.contradicted(bench, DIFFERENT)
        assert isinstance(await reopen(bench, case), ReviewFile)
        assert reasons([await reopen(bench, case), await reopen(bench, 999)]) == [
            Reason.REVIEW_CASE_OPEN,
            Reason.REVIEW_CASE_UNKNOWN,
        ]


async def met_by(bench: Bench, *identifiers: Identifier) -> int:
    """The case of a project of gec with these identifiers."""
    return await met_again(bench, bench.project(*identifiers, registry="gec"))


async def met_again(bench: Bench, project: ProjectRegistration) -> int:
    """The case of a project that is known."""
    [answer] = await register(bench, project)
    assert isinstance(answer, DomainError)
    return int(answer.variables["case"])
