"""Activities, their identifiers and projects, reviews, outcomes and the directory, on both stores."""

import asyncio
import json
from dataclasses import replace

import pytest

from soleclaim.core.activity_id import ActivityKey, activity_key, new_activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.strong import Contradiction, Create, Join, decide
from soleclaim.lookup.domain import EventKind, LockId, ProjectRegistration
from soleclaim.lookup.ports import Standing
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.lookup.store.transaction import SqlTransaction
from tests.lookup.conftest import Bench, ref

FILING = ("gec_filing_code", "FDWD2407150000123")
CODE = ("cn_project_code", "2509-320193-89-01-544060")
OTHER_CODE = ("cn_project_code", "2509-320193-89-01-544061")


async def register(bench: Bench, store: SqlLookupStore, project: ProjectRegistration) -> str:
    """As the service does it: look, decide, write. Answers ``created``, ``joined`` or ``review``, and the activity."""

    async def work(transaction: SqlTransaction) -> bytes:
        registered, owners, known = await transaction.identity_of([project])
        at = registered.get((project.registry, project.native_project_id))
        match decide(project.identifiers, owners, known, at):
            case Create():
                key = new_activity_key()
                await transaction.add_activities([(key, project)])
                return f"created {key}".encode()
            case Join(key, new):
                await transaction.join_projects([(key, project, new)])
                return f"joined {key}".encode()
            case Contradiction(candidates, detail):
                await transaction.open_review(project, candidates, detail)
                return b"review"

    return (await store.once(bench.request_key(), work)).decode()


async def test_an_activity_is_found_by_key_project_and_identifier(bench: Bench) -> None:
    project = bench.project(FILING, CODE, native_id="P-1", name="汕尾甲子一期 “海上” \\ 'x' {\"a\"}")
    key = await bench.activity(project)
    async with bench.store.reading() as reader:
        found = (await reader.activities([key, ActivityKey(5), key]))[key]
        assert await reader.activity_of_project("ccer", "P-1") == key
        assert await reader.activity_of_project("gec", "P-1") is None
        assert await reader.activity_of_identifier(FILING) == key
        assert await reader.activity_of_identifier(OTHER_CODE) is None
    assert (found.key, activity_key(found.activity_id), found.country) == (key, key, "CN")
    assert (found.display_name, found.activity_type) == (project.display_name, "wind")
    assert found.time_zone == "Asia/Shanghai"
    assert found.identifiers == tuple(sorted((FILING, CODE)))
    assert found.native_projects == (("ccer", "P-1"),)
    [event] = await bench.events()
    assert (event.kind, event.activity_key, event.registry) == (EventKind.ACTIVITY_REGISTERED, key, "ccer")
    assert event.create_time == found.create_time


async def test_many_activities_are_created_in_one_statement_each(bench: Bench) -> None:
    created = [(bench.key(), bench.project(("vcs", str(i + 1)), native_id=f"P{i:03d}")) for i in range(200)]
    async with bench.store.transaction() as transaction:
        await transaction.add_activities(created)
    async with bench.store.reading() as reader:
        listed = await reader.list_activities(registry=None, after=0, limit=1000)
    assert [each.key for _, each in listed] == [key for key, _ in created], "in order of creation"
    assert len(await bench.events()) == 200


async def test_activities_are_listed_page_by_page(bench: Bench) -> None:
    keys = [await bench.activity(bench.project(registry=name)) for name in ("ccer", "gec", "ccer", "gec", "ccer")]

    async def pages(registry: str | None) -> list[ActivityKey]:
        found: list[ActivityKey] = []
        after = 0
        while True:
            async with bench.store.reading() as reader:
                page = await reader.list_activities(registry=registry, after=after, limit=2)
            if not page:
                return found
            assert len(page) <= 2
            found += [activity.key for _, activity in page]
            after = page[-1][0]

    assert await pages(None) == keys
    assert await pages("gec") == [keys[1], keys[3]]


async def test_a_joined_project_brings_its_identifiers(bench: Bench) -> None:
    key = await bench.activity(bench.project(FILING))
    joined = bench.project(FILING, CODE, registry="gec", native_id="G-1")
    async with bench.store.transaction() as transaction:
        await transaction.join_projects([(key, joined, [CODE])])
    async with bench.store.reading() as reader:
        found = (await reader.activities([key]))[key]
        assert await reader.activity_of_project("gec", "G-1") == key
    assert found.identifiers == tuple(sorted((FILING, CODE)))
    assert [registry for registry, _ in found.native_projects] == ["ccer", "gec"]
    assert [each.kind for each in await bench.events()] == [EventKind.ACTIVITY_REGISTERED, EventKind.PROJECT_JOINED]


async def test_joining_again_with_nothing_new_leaves_no_history(bench: Bench) -> None:
    project = bench.project(FILING)
    key = await bench.activity(project)
    async with bench.store.transaction() as transaction:
        await transaction.join_projects([(key, project, [])])
    assert len(await bench.events()) == 1


async def test_standing_tells_country_and_registration_of_known_activities(bench: Bench) -> None:
    mine, theirs, unknown = await bench.activity(), await bench.activity(bench.project(registry="gec")), bench.key()
    async with bench.store.transaction() as transaction:
        assert await transaction.standing("ccer", [unknown, theirs, mine, mine]) == {
            mine: Standing("CN", registered=True, measured=False),
            theirs: Standing("CN", registered=False, measured=False),
        }
        assert await transaction.standing("ccer", []) == {}


async def test_identity_of_tells_all_that_the_decision_needs(bench: Bench) -> None:
    one, two = bench.project(FILING, native_id="P-1"), bench.project(CODE, native_id="P-2")
    first, second = await bench.activity(one), await bench.activity(two)
    fresh = bench.project(FILING, CODE, ("vcs", "7"), native_id="P-3")
    async with bench.store.transaction() as transaction:
        registered, owners, known = await transaction.identity_of([one, fresh])
        assert await transaction.identity_of([]) == ({}, {}, {})
    assert registered == {("ccer", "P-1"): first}
    assert owners == {FILING: first, CODE: second}
    assert known == {first: frozenset({FILING}), second: frozenset({CODE})}


async def test_two_registrations_of_one_identifier_at_once_meet_on_one_activity(bench: Bench) -> None:
    other = await bench.another()
    for round_ in range(10):
        code = ("gec_filing_code", f"FDWD24071500{round_:05d}")
        projects = [bench.project(code, registry=name) for name in ("ccer", "gec")]
        answers = await asyncio.gather(
            *(register(bench, at.store, each) for at, each in zip((bench, other), projects, strict=True))
        )
        verbs, keys = zip(*(each.split() for each in answers), strict=True)
        assert sorted(verbs) == ["created", "joined"]
        assert len(set(keys)) == 1
    async with bench.store.reading() as reader:
        listed = await reader.list_activities(registry=None, after=0, limit=100)
    assert [len(each.native_projects) for _, each in listed] == [2] * 10


async def test_two_registrations_of_one_project_at_once_make_one_activity(bench: Bench) -> None:
    """Also when the project names no identifier that could tell."""
    other = await bench.another()
    for round_ in range(10):
        project = bench.project(native_id=f"P-{round_}")
        answers = await asyncio.gather(*(register(bench, at.store, project) for at in (bench, other, bench)))
        assert sorted(each.split()[0] for each in answers) == ["created", "joined", "joined"]
        assert len({each.split()[1] for each in answers}) == 1
    async with bench.store.reading() as reader:
        assert len(await reader.list_activities(registry=None, after=0, limit=100)) == 10


async def test_one_project_with_two_activities_identifiers_at_once_goes_to_review(bench: Bench) -> None:
    """Each request by itself would join; the one that comes second sees what the first did."""
    other = await bench.another()
    for round_ in range(5):
        codes = [("gec_filing_code", f"FDWD2407150{round_:05d}{side}") for side in "AB"]
        for code in codes:
            await bench.activity(bench.project(code, registry="gec"))
        projects = [bench.project(code, native_id=f"P-{round_}") for code in codes]
        answers = await asyncio.gather(
            *(register(bench, at.store, each) for at, each in zip((bench, other), projects, strict=True))
        )
        assert sorted(each.split()[0] for each in answers) == ["joined", "review"]


async def test_a_unit_of_work_that_loses_an_identity_race_says_busy(bench: Bench) -> None:
    """Where nothing repeats the work, the caller may."""
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    other = await bench.another()

    async def add(at: Bench, both_inside: asyncio.Barrier) -> None:
        async with at.store.transaction() as transaction:
            await transaction.identity_of([])
            await both_inside.wait()
            await transaction.add_activities([(at.key(), at.project(FILING))])

    barrier = asyncio.Barrier(2)
    outcomes = await asyncio.gather(add(bench, barrier), add(other, barrier), return_exceptions=True)
    [refusal] = [each for each in outcomes if each is not None]
    assert isinstance(refusal, DomainError)
    assert refusal.reason is Reason.STORE_BUSY


async def test_a_review_case_is_opened_once_per_project(bench: Bench) -> None:
    project = bench.project(FILING, CODE, native_id="P-1")
    async with bench.store.transaction() as transaction:
        await transaction.bar_grants()
        case = await transaction.open_review(project, [ActivityKey(2), ActivityKey(1)], "两个编码矛盾")
        assert await transaction.open_review(project, [ActivityKey(1)], "again") == case
        assert await transaction.open_review(bench.project(), [], "other") != case
    async with bench.store.transaction() as transaction:
        await transaction.bar_grants()
        assert await transaction.open_review(project, [], "later") == case
    [row] = await bench.sql("SELECT * FROM review_case WHERE case_id = :case", case=case)
    assert (row.registry, row.native_project_id, row.detail) == ("ccer", "P-1", "两个编码矛盾")
    assert json.loads(row.candidates) == [2, 1]
    assert json.loads(row.registration)["identifiers"] == [list(FILING), list(CODE)]
    assert [each.kind for each in await bench.events()] == [EventKind.REVIEW_OPENED] * 2


@pytest.mark.parametrize("store_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_bars_are_set_in_one_order_and_before_a_case_is_opened(bench: Bench) -> None:
    """SQLite has one writer, whom nobody can meet."""
    with pytest.raises(AssertionError, match="before anything is held"):
        async with bench.store.transaction() as transaction:
            await transaction.open_review(bench.project(), [], "alike")
    async with bench.store.transaction() as transaction:
        await transaction.bar_grants()
        with pytest.raises(AssertionError, match="descriptions are barred before grants"):
            await transaction.bar_descriptions()


async def test_an_outcome_is_recorded_changed_and_left_alone(bench: Bench) -> None:
    key, period = await bench.activity(), bench.period(0, 31)
    spot = (key, period, "kWh")

    async def record(quantity: int) -> None:
        async with bench.store.transaction() as transaction:
            await transaction.bar_grants()
            await transaction.record_outcomes([bench.outcome(key, period, quantity)])

    await record(1000)
    async with bench.store.reading() as reader:
        first = (await reader.outcomes([spot]))[spot]
    assert first.record == bench.outcome(key, period, 1000)
    await record(1000)
    async with bench.store.reading() as reader:
        assert (await reader.outcomes([spot]))[spot] == first, "the same figure changes nothing"
    await record(0)
    async with bench.store.reading() as reader:
        second = (await reader.outcomes([spot]))[spot]
    assert second.record.quantity == 0
    assert second.update_time >= first.update_time
    kinds = [each.kind for each in await bench.events()]
    assert kinds == [EventKind.ACTIVITY_REGISTERED, EventKind.OUTCOME_RECORDED, EventKind.OUTCOME_RECORDED]


async def test_outcomes_are_found_by_exactly_their_activity_period_and_unit(bench: Bench) -> None:
    key, other = await bench.activity(), await bench.activity()
    recorded = [
        bench.outcome(key, bench.period(0, 2), 1),
        bench.outcome(key, bench.period(0, 3), 2),
        bench.outcome(key, bench.period(0, 2), 3, unit="kgCO2e"),
        bench.outcome(other, bench.period(0, 2), 4),
    ]
    async with bench.store.transaction() as transaction:
        await transaction.record_outcomes(recorded)
        wanted = [(each.activity_key, each.period, each.base_unit) for each in recorded]
        found = await transaction.outcomes(
            [*wanted, (key, bench.period(0, 1), "kWh"), (key, bench.period(0, 2), "kgce")]
        )
        assert await transaction.outcomes([]) == {}
    assert [found[each].record.quantity for each in wanted] == [1, 2, 3, 4]
    assert len(found) == 4


async def test_outcomes_touching_are_those_before_and_after(bench: Bench) -> None:
    key = await bench.activity()
    spans = [(0, 2), (1, 2), (2, 3), (3, 4), (3, 6), (4, 5)]
    async with bench.store.transaction() as transaction:
        await transaction.record_outcomes([bench.outcome(key, bench.period(*span), 1) for span in spans])
        await transaction.record_outcomes([bench.outcome(key, bench.period(1, 2), 1, unit="kgCO2e")])
        around, nothing = await transaction.outcomes_touching(
            [(key, bench.period(2, 3), "kWh"), (key, bench.period(7, 8), "kWh")]
        )
    first = bench.period().start
    days = [((each.record.period.start - first).days, (each.record.period.end - first).days) for each in around]
    assert sorted(days) == [(0, 2), (1, 2), (3, 4), (3, 6)]
    assert nothing == []


async def test_no_grant_passes_while_an_outcome_is_being_recorded(bench: Bench) -> None:
    key, order = await bench.activity(), []
    other = await bench.another()
    inside = asyncio.Event()

    async def record() -> None:
        async with bench.store.transaction() as transaction:
            await transaction.bar_grants()
            inside.set()
            await transaction.record_outcomes([bench.outcome(key, bench.period(), 7)])
            await asyncio.sleep(0.05)
            order.append("recorded")

    async def grant() -> None:
        await inside.wait()
        async with other.store.transaction() as transaction:
            await transaction.bar_outcome_changes()
            spot = (key, bench.period(), "kWh")
            order.append(str((await transaction.outcomes([spot]))[spot].record.quantity))

    await asyncio.gather(record(), grant())
    assert order == ["recorded", "7"]


async def test_measured_grants_of_one_activity_take_turns(bench: Bench) -> None:
    key, inside = await bench.activity(), 0
    other = await bench.another()

    async def measured(at: Bench) -> None:
        nonlocal inside
        async with at.store.transaction() as transaction:
            await transaction.bar_outcome_changes()
            await transaction.hold_activities([key, key])
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.02)
            inside -= 1

    await asyncio.gather(*(measured(at) for at in (bench, other, bench, other)))


async def test_the_last_word_of_a_registry_counts_in_the_directory(bench: Bench) -> None:
    async with bench.store.transaction() as transaction:
        await transaction.announce("ccer", "dns:///a:1", "v1")
        await transaction.announce("gec", "dns:///g:1", "v1")
        await transaction.announce("ccer", "dns:///b:2", "v2")
    async with bench.store.reading() as reader:
        entries = await reader.registry_entries()
    assert {code: (each.endpoint, each.api_version) for code, each in entries.items()} == {
        "ccer": ("dns:///b:2", "v2"),
        "gec": ("dns:///g:1", "v1"),
    }
    assert all(each.age_s >= 0 for each in entries.values())


async def test_a_view_for_questions_stays_as_it_was(bench: Bench) -> None:
    """Two questions in one view agree, whatever is written between them."""
    lock = await bench.held(bench.claim(bench.key()))
    async with bench.store.reading() as reader:
        before = await reader.lock(lock.lock_id)
        await bench.begin(ref(lock))
        await bench.activity()
        assert await reader.lock(lock.lock_id) == before
        assert await reader.list_activities(registry=None, after=0, limit=10) == []
        assert await reader.lock(LockId(lock.lock_id + 1)) is None
    assert await bench.lock(lock) != before


async def test_text_of_any_script_comes_back_as_it_went_in(bench: Bench) -> None:
    odd = "a\"b'c\\d{e},f;g\n\t\\N NULL \\\\ \u200b 😀 Ω 绿证 \x7f"
    project = replace(bench.project(native_id=odd), display_name=odd)
    key = await bench.activity(project)
    async with bench.store.reading() as reader:
        assert await reader.activity_of_project("ccer", odd) == key
        found = (await reader.activities([key]))[key]
    assert (found.display_name, found.native_projects) == (odd, (("ccer", odd),))
    for plain in ("NULL", "null", " ", "{}", "1", "1e3", "true"):
        assert (await bench.activity(bench.project(native_id=plain))) is not None
        async with bench.store.reading() as reader:
            assert await reader.activity_of_project("ccer", plain) is not None
