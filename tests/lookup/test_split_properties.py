"""Merges, splits and undone merges at random under locks at every stage: after each step all of it holds."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import (
    Activity,
    ActivitySplit,
    DecisionKind,
    EventKind,
    Lock,
    LockState,
    ReviewState,
    SplitState,
)
from soleclaim.lookup.service.reviews import ReviewFile
from tests.lookup.conftest import Bench, ref
from tests.lookup.test_service_merging import code, confirm, live_on, survivor, violations, work_queue
from tests.lookup.test_service_reviews import acquire, case_of, decide, joined, reasons, register
from tests.lookup.test_service_splitting import carried_out, confirm_split, done, reopen, split, standing_on

pytestmark = pytest.mark.timeout(240)

COUNT = 8
DAYS = 5
STEPS = 50


async def totals(bench: Bench) -> dict[str, Any]:
    """What no merge and no split may change: each project, identifier and lock once, and all that was issued."""
    asked = {
        "projects": "SELECT registry, native_project_id FROM native_project",
        "identifiers": "SELECT scheme, value FROM strong_identifier",
        "locks": "SELECT lock_id FROM issuance_lock",
        "segments": "SELECT lock_id, period_start_us, period_end_us FROM segment",
        "issued": "SELECT lock_id, units FROM issuance",
        "blocks": "SELECT lock_id, series, start_serial, end_serial FROM unit_block",
        "descriptions": "SELECT registry, native_project_id FROM project_description",
    }
    return {name: Counter(tuple(row) for row in await bench.sql(statement)) for name, statement in asked.items()}


STRAY = {
    "something stands on an alias": "SELECT x.alias_key FROM activity_alias x JOIN ("
    "SELECT activity_key FROM native_project UNION ALL SELECT activity_key FROM strong_identifier "
    "UNION ALL SELECT activity_key FROM issuance_lock UNION ALL SELECT activity_key FROM segment "
    "UNION ALL SELECT activity_key FROM outcome) t ON t.activity_key = x.alias_key",
    "an alias leads to an alias": "SELECT 1 FROM activity_alias x JOIN activity_alias y "
    "ON y.alias_key = x.activity_key",
    "a lock and its segment stand apart": "SELECT l.lock_id FROM issuance_lock l JOIN segment s "
    "ON s.lock_id = l.lock_id AND s.activity_key <> l.activity_key",
    "a lock stands without a project of its registry": "SELECT l.lock_id FROM issuance_lock l WHERE NOT EXISTS "
    "(SELECT 1 FROM native_project p WHERE p.activity_key = l.activity_key AND p.registry = l.registry)",
    "an activity has no project": "SELECT a.activity_key FROM activity a WHERE NOT EXISTS (SELECT 1 FROM "
    "native_project p WHERE p.activity_key = a.activity_key) AND NOT EXISTS (SELECT 1 FROM activity_alias x "
    "WHERE x.alias_key = a.activity_key)",
}


class Driver:
    """Takes one random step after the other, and knows what must not have changed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.open: list[Lock] = []
        self.cases: list[int] = []

    async def start(self) -> None:
        """Activities of ccer, half of them of gec too, some measured."""
        bench, records = self.bench, []
        for number in range(1, COUNT + 1):
            key = await joined(bench, bench.project(code(number)))
            if number % 2:
                await joined(bench, bench.project(code(number), registry="gec"))
            for day in range(DAYS):
                if self.chance.random() < 0.3:
                    quantity = self.chance.choice((20_000, 40_000))
                    records.append(bench.outcome(key, bench.period(day), quantity, unit="kgCO2e"))
        async with bench.store.transaction() as transaction:
            await transaction.record_outcomes(records)

    async def keys(self) -> list[ActivityKey]:
        """Activities that are no alias."""
        async with self.bench.store.reading() as reader:
            return [each.key for _, each in await reader.list_activities(registry=None, after=0, limit=1000)]

    async def activity(self, key: ActivityKey) -> Activity:
        async with self.bench.store.reading() as reader:
            return (await reader.activities([key]))[key]

    async def acquire(self) -> str:
        key, registry = self.chance.choice(await self.keys()), self.chance.choice(("ccer", "ccer", "gec"))
        [answer] = await acquire(self.bench, key, day=self.chance.randrange(DAYS), registry=registry)
        if isinstance(answer, Lock):
            self.open.append(answer)
            return "granted"
        return "not granted"

    async def move_on(self) -> str:
        """Begin, release or expire a grant, or end one that is under way."""
        if not self.open:
            return "nothing open"
        lock = self.open.pop(self.chance.randrange(len(self.open)))
        state, step = await self.bench.state(lock), self.chance.random()
        if state is LockState.ISSUING:
            change = self.bench.abort(self.bench.abortion(lock)) if step < 0.3 else None
            self.bench.done(await (change or self.bench.commit(self.bench.commitment(lock))))
            return "aborted" if step < 0.3 else "committed"
        if step < 0.2:
            self.bench.done(await self.bench.release(ref(lock)))
            return "released"
        if step < 0.3:
            await self.bench.expire(lock)
            return "expired"
        self.bench.done(await self.bench.begin(ref(lock)))
        self.open.append(lock)
        return "begun"

    async def merge(self) -> str:
        """A project that leads to several activities is decided; half of the merges are undone at once."""
        numbers = self.chance.sample(range(1, COUNT + 1), 2)
        [answer] = await register(self.bench, self.bench.project(*map(code, numbers), registry="arb"))
        if not isinstance(answer, DomainError):
            return "joined"
        case = int(answer.variables["case"])
        one, other = await self.candidates(case)
        async with self.bench.store.transaction() as transaction:
            await transaction.expire_stale_on([one, other])
        before = await standing_on(self.bench, one), await standing_on(self.bench, other)
        merged = await self.decide(case, one)
        if merged and self.chance.random() < 0.5:
            return await self.undo_at_once(case, one, other, before)
        return "merged" if merged else "told apart"

    async def candidates(self, case: int) -> list[ActivityKey]:
        """In order of their creation: a seed takes the same steps each time."""
        held = {each.key for each in (await case_of(self.bench, case)).candidates}
        return [each for each in await self.keys() if each in held]

    async def decide(self, case: int, one: ActivityKey) -> bool:
        """Whether it is SAME: else a rule forbids it, and it is DIFFERENT."""
        file = await decide(self.bench, case, DecisionKind.SAME, one)
        if isinstance(file, DomainError) and file.reason is Reason.REVIEW_CASE_CHANGED:
            # A split moved an identifier of it to an activity that was no candidate.
            file = await decide(self.bench, case, DecisionKind.SAME, one)
        if isinstance(file, ReviewFile) and file.case.awaits_confirmation:
            file = await confirm(self.bench, case)
        merged = isinstance(file, ReviewFile)
        if isinstance(file, DomainError):
            assert file.reason.name.startswith("MERGE_"), file
            file = await decide(self.bench, case, DecisionKind.DIFFERENT)
        assert isinstance(file, ReviewFile), file
        assert file.case.state is ReviewState.DECIDED
        self.cases.append(case)
        return merged

    async def undo_at_once(self, case: int, one: ActivityKey, other: ActivityKey, before: Any) -> str:
        """Undo what was merged just now: the very same stands on both again, but for what the case itself brought."""
        project = (await case_of(self.bench, case)).registration
        into = await self.split(one, restore=other)
        if into is None:
            assert any(each.state in (LockState.HELD, LockState.ISSUING) for each in before[1][1]), (
                "nothing but a lock under way keeps it"
            )
            return "not undone at once"
        brought = (project.registry, project.native_project_id)
        assert await standing_on(self.bench, other) == before[1]
        own, *rest = await standing_on(self.bench, one)
        projects = tuple(each for each in own.native_projects if each != brought)
        assert (replace(own, native_projects=projects), rest) == (before[0][0], list(before[0][1:]))
        return "undone at once"

    async def split(self, key: ActivityKey, *projects: tuple[str, str], **how: Any) -> ActivityKey | None:
        """Where it went; ``None``: refused."""
        answer = await carried_out(self.bench, await split(self.bench, key, *projects, **how))
        if isinstance(answer, DomainError):
            assert answer.reason.name.startswith("SPLIT_"), answer
            self.done[answer.reason.name] += 1
            return None
        return done(answer)

    async def split_off(self) -> str:
        """Some projects, some identifiers, some locks of registries on both sides."""
        key = self.chance.choice(await self.keys())
        found = await self.activity(key)
        projects = self.chance.sample(found.native_projects, self.chance.randint(1, len(found.native_projects)))
        identifiers = [each for each in found.identifiers if self.chance.random() < 0.5]
        left = {registry for registry, project in found.native_projects if (registry, project) not in projects}
        both = left & {registry for registry, _ in projects}
        async with self.bench.store.reading() as reader:
            locks = [each for each in await reader.locks_on(key) if each.registry in both]
        some = [each for each in locks if self.chance.random() < 0.5]
        into = await self.split(key, *projects, identifiers=identifiers, locks=some)
        return "not split" if into is None else "split"

    async def undo(self) -> str:
        """Any merge that still stands."""
        aliases = await self.bench.sql(
            "SELECT x.alias_key FROM activity_alias x JOIN activity a ON a.activity_key = x.alias_key "
            "ORDER BY a.ordinal"
        )
        if not aliases:
            return "no alias"
        alias = ActivityKey(self.chance.choice(aliases)[0])
        into = await self.split(await survivor(self.bench, alias), restore=alias)
        assert into in (None, alias)
        return "not undone" if into is None else "undone"

    async def reopen(self) -> str:
        """A decided case, decided again."""
        if not self.cases:
            return "no case"
        case = self.chance.choice(self.cases)
        file = await reopen(self.bench, case)
        if isinstance(file, DomainError):
            assert file.reason is Reason.REVIEW_SAME_STANDS
            return "same stands"
        candidates = await self.candidates(case)
        if file.case.stands_on is None or candidates == [file.case.stands_on]:
            assert isinstance(await decide(self.bench, case, DecisionKind.SAME, candidates[0]), ReviewFile)
            return "reopened"
        await self.decide(case, self.chance.choice(candidates))
        return "reopened and decided"

    async def step(self) -> None:
        """One step, and what must hold after it."""
        steps = (self.acquire, self.move_on, self.merge, self.split_off, self.undo, self.reopen)
        chosen = self.chance.choices(steps, weights=(6, 6, 3, 3, 2, 1))[0]
        before = await totals(self.bench)
        what = await chosen()
        self.done[what] += 1
        after = await totals(self.bench)
        moves_alone = chosen not in (self.acquire, self.move_on)
        for name, counted in before.items():
            # A project that opens or ends a case is new; nothing else is, unless it was granted or issued.
            assert not counted - after[name], (what, "lost", name)
            if moves_alone and name in ("locks", "segments", "issued", "blocks"):
                assert after[name] == counted, (what, "made", name)
            assert set(after[name].values()) <= {1}, (what, "doubled", name)
        assert await violations(self.bench) == [], what
        for wrong, statement in STRAY.items():
            assert await self.bench.sql(statement) == [], (what, wrong)


@pytest.mark.parametrize("seed", range(3))
async def test_no_random_step_breaks_an_invariant_or_loses_anything(bench: Bench, seed: int) -> None:
    driver = Driver(bench, seed)
    await driver.start()
    for _ in range(STEPS):
        await driver.step()
    assert driver.done["undone at once"] + driver.done["undone"], driver.done
    assert driver.done["committed"], driver.done


async def take_apart(at: Bench, chance: random.Random, keys: list[ActivityKey]) -> Counter[str]:
    """Split and undo at random; what came of it."""
    told: Counter[str] = Counter()
    for _ in range(25):
        key = await survivor(at, chance.choice(keys))
        async with at.store.reading() as reader:
            found = (await reader.activities([key]))[key]
        aliases = await at.sql("SELECT alias_key FROM activity_alias WHERE activity_key = :key", key=key)
        if aliases:
            answer = await split(at, key, restore=ActivityKey(chance.choice(aliases)[0]))
        elif found.native_projects:
            answer = await split(at, key, chance.choice(found.native_projects))
        else:
            continue
        if isinstance(answer, ActivitySplit) and answer.state is SplitState.PROPOSED:
            answer = await confirm_split(at, answer.split_id)
        told[answer.reason.name if isinstance(answer, DomainError) else "split"] += 1
    return told


@pytest.mark.parametrize("seed", range(2))
async def test_splits_beside_grants_of_two_registries_break_no_invariant(bench: Bench, seed: int) -> None:
    """Two issue on many activities while one merges and another splits, all at once."""
    chance = random.Random(seed)
    keys = []
    for number in range(1, COUNT + 1):
        keys.append(await joined(bench, bench.project(code(number))))
        await joined(bench, bench.project(code(number), registry="gec"))
    sides = [await bench.another() for _ in range(3)]
    *_, merged, told = await asyncio.gather(
        live_on(bench, chance, keys, "ccer"),
        live_on(sides[0], chance, keys, "gec"),
        work_queue(sides[1], chance, COUNT),
        take_apart(sides[2], chance, keys),
    )
    assert merged
    assert told["split"], told
    assert all(name == "split" or name.startswith(("SPLIT_", "IDENTITY_", "ACTIVITY_MERGED")) for name in told), told
    assert await violations(bench) == []
    for wrong, statement in STRAY.items():
        assert await bench.sql(statement) == [], wrong


async def test_a_split_races_the_grants_of_both_registries(bench: Bench) -> None:
    """Each grant comes whole before the split, and hinders it, or whole after it, where its project is then."""
    sides = [await bench.another() for _ in range(2)]
    seen: Counter[str] = Counter()
    for number in range(1, 13):
        key = await joined(bench, bench.project(code(number), native_id=f"C{number}"))
        await joined(bench, bench.project(code(number), registry="gec", native_id=f"G{number}"))
        answer, [mine], [theirs] = await asyncio.gather(
            split(bench, key, ("gec", f"G{number}")),
            acquire(sides[0], key),
            acquire(sides[1], key, registry="gec"),
        )
        granted = [each for each in (mine, theirs) if isinstance(each, Lock)]
        assert len(granted) <= 1, "both claim one outcome of one activity"
        if isinstance(answer, DomainError):
            assert (answer.reason, granted) == (Reason.SPLIT_LOCK_UNDER_WAY, [theirs])
        else:
            assert not isinstance(theirs, Lock), "it was granted on an activity that its project had left"
            new = done(await carried_out(bench, answer))
            assert reasons(await acquire(bench, new, registry="gec")) == [None]
            assert reasons(await acquire(bench, key, day=1)) == [None]
        seen["refused" if isinstance(answer, DomainError) else "split"] += 1
    assert await violations(bench) == []
    for wrong, statement in STRAY.items():
        assert await bench.sql(statement) == [], wrong
    assert seen.total() == 12


async def test_a_registration_that_meets_a_split_joins_where_its_identifier_went(bench: Bench) -> None:
    """It found the activity by an identifier, then waited while that moved to another."""
    side = await bench.another()
    for number in range(1, 25, 2):
        key = await joined(bench, bench.project(code(number), native_id=f"C{number}"))
        gec = bench.project(code(number), code(number + 1), registry="gec", native_id=f"G{number}")
        await joined(bench, gec)
        late = side.project(code(number + 1), registry="arb")
        answer, [joined_late] = await asyncio.gather(
            split(bench, key, ("gec", f"G{number}"), identifiers=[code(number + 1)]), register(side, late)
        )
        new = done(answer)
        assert not isinstance(joined_late, DomainError)
        assert joined_late.key in (key, new)
        told = [(each.kind, each.activity_key, each.registry) for each in await bench.events()]
        if joined_late.key == key:
            came, went = (EventKind.PROJECT_JOINED, key, "arb"), (EventKind.ACTIVITY_SPLIT, key, "")
            assert told.index(came) < told.index(went), "what joins after the split joins where its identifier is"
