"""Projects that share no key: joined where they are one beyond doubt, held for a person where not; on both stores."""

import asyncio
import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.matching import TOO_MANY, rank
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Join
from soleclaim.lookup.domain import Activity, DecisionKind, ProjectRegistration
from soleclaim.lookup.service import activities, likeness
from soleclaim.lookup.service.likeness import Alike, Doubt, find
from soleclaim.lookup.service.reviews import ReviewFile
from soleclaim.lookup.store import refiling
from tests.lookup.conftest import Bench
from tests.lookup.test_service_reviews import acquire, case_of, decide, reasons

SHAXI = Description("", name="Sichuan Jialingjiang River Shaxi Hydropower Project", technology="hydro",
                    capacity_mw=87.0, latitude=31.62, longitude=105.95, country="CN")  # fmt: skip
SHAXI_ZH = Description("", name="嘉陵江沙溪水电站", technology="hydro", capacity_mw=87.0, latitude=31.621,
                       longitude=105.948, region="四川省", country="CN")  # fmt: skip
BAONING = Description("", name="保宁水电站", technology="hydro", capacity_mw=120.0, latitude=31.54, longitude=106.06,
                      region="四川省", country="CN")  # fmt: skip


def project(bench: Bench, registry: str, description: Description, **more: Any) -> ProjectRegistration:
    plain = bench.project(registry=registry, name=description.name)
    return replace(
        plain, identifiers=(), activity_type=description.technology or "hydro", description=description, **more
    )


async def register(bench: Bench, *projects: ProjectRegistration) -> list[Activity | DomainError]:
    answers: list[Activity | DomainError] = []

    async def work(transaction: Any) -> bytes:
        answers[:] = await activities.register(transaction, list(projects))
        return b""

    await bench.store.once(bench.request_key(), work)
    return answers


async def registered(bench: Bench, *projects: ProjectRegistration) -> list[Activity]:
    answers = await register(bench, *projects)
    assert all(isinstance(each, Activity) for each in answers), answers
    return [each for each in answers if isinstance(each, Activity)]


async def test_one_plant_under_two_names_in_two_languages_is_one_activity(bench: Bench) -> None:
    (first,) = await registered(bench, project(bench, "ccer", SHAXI))
    (second,) = await registered(bench, project(bench, "gec", SHAXI_ZH))
    assert second.key == first.key
    assert [registry for registry, _ in second.native_projects] == ["ccer", "gec"]


async def test_two_of_one_batch_are_told_to_be_one(bench: Bench) -> None:
    first, other, second = await registered(
        bench, project(bench, "ccer", SHAXI), project(bench, "ccer", BAONING), project(bench, "gec", SHAXI_ZH)
    )
    assert second.key == first.key != other.key


async def test_a_doubt_is_held_for_a_person_and_tells_the_registry_nothing_of_others(bench: Bench) -> None:
    (first,) = await registered(bench, project(bench, "ccer", SHAXI))
    unlike = replace(SHAXI_ZH, capacity_mw=20.0)
    (refused,) = await register(bench, project(bench, "gec", unlike))
    assert isinstance(refused, DomainError)
    assert refused.reason is Reason.IDENTITY_UNDER_REVIEW
    assert "Shaxi" not in str(refused)
    async with bench.store.reading() as reader:
        case = await reader.review_case(int(refused.variables["case"]))
        assert case is not None
        ((key, probability, reasons),) = case.candidates
        assert key == first.key
        assert probability is not None
        assert 0.05 <= probability < 1
        assert reasons[0] == "capacities differ too much"
        kept = case.registration.description
        assert kept is not None
        assert kept == replace(unlike, id=kept.id)


async def test_a_registry_does_not_hold_one_plant_twice(bench: Bench) -> None:
    await registered(bench, project(bench, "ccer", SHAXI))
    (refused,) = await register(bench, project(bench, "ccer", SHAXI_ZH))
    assert isinstance(refused, DomainError)
    assert refused.reason is Reason.IDENTITY_UNDER_REVIEW


async def test_siblings_of_one_registry_are_activities_of_their_own(bench: Bench) -> None:
    phases = [replace(SHAXI, name=f"Tongyu Xinhua Wind Farm Phase {each}", technology="wind") for each in ("I", "II")]
    first, second = await registered(bench, *(project(bench, "gec", each) for each in phases))
    assert first.key != second.key


async def test_strong_identifiers_decide_before_likeness_does(bench: Bench) -> None:
    code, other = ("gec_filing_code", "FDWD2407150000123"), ("gec_filing_code", "FDWD2407150000999")
    coded = project(bench, "ccer", replace(SHAXI, identifiers=(code,)))
    await registered(bench, replace(coded, identifiers=(code,)))
    alike = replace(project(bench, "gec", replace(SHAXI_ZH, identifiers=(other,))), identifiers=(other,))
    (refused,) = await register(bench, alike)
    assert isinstance(refused, DomainError), "two filing codes are two plants until a person says otherwise"
    (joined,) = await registered(bench, replace(alike, identifiers=(code,), native_project_id="another"))
    assert ("gec", "another") in joined.native_projects


async def test_an_identifier_counts_whichever_project_of_the_activity_brought_it(bench: Bench) -> None:
    """Its own description may lack what another project of the same activity has."""
    meter, code, other = ("metering_point", "3101234567890"), ("gec_filing_code", "FDWD2407150000123"), (
        "gec_filing_code", "FDWD2407150000999",
    )  # fmt: skip
    described = replace(project(bench, "ccer", replace(SHAXI, identifiers=(meter,))), identifiers=(meter,))
    coded = bench.project(meter, code, registry="arb")
    first, again = await registered(bench, described, coded)
    assert again.key == first.key
    sought = replace(SHAXI_ZH, identifiers=(other,))
    async with bench.store.reading() as reader:
        (found,) = await find(reader, sought)
    assert (found.key, found.same) == (first.key, False)
    assert found.reasons[0] == "identifiers of scheme gec_filing_code differ"
    (refused,) = await register(bench, replace(project(bench, "gec", sought), identifiers=(other,)))
    assert isinstance(refused, DomainError)
    assert refused.reason is Reason.IDENTITY_UNDER_REVIEW


async def test_an_identifier_counts_also_when_one_batch_brings_both(bench: Bench) -> None:
    meter, code, other = ("metering_point", "3101234567890"), ("gec_filing_code", "FDWD2407150000123"), (
        "gec_filing_code", "FDWD2407150000999",
    )  # fmt: skip
    answers = await register(
        bench,
        replace(project(bench, "ccer", replace(SHAXI, identifiers=(meter,))), identifiers=(meter,)),
        bench.project(meter, code, registry="arb"),
        replace(project(bench, "gec", replace(SHAXI_ZH, identifiers=(other,))), identifiers=(other,)),
    )
    assert [isinstance(each, Activity) for each in answers] == [True, True, False]


async def test_a_described_project_registered_again_is_answered_the_same(bench: Bench) -> None:
    one = project(bench, "ccer", SHAXI)
    (first,) = await registered(bench, one)
    (second,) = await registered(bench, replace(one, description=replace(SHAXI, capacity_mw=88.0)))
    assert second == first


async def doubted(bench: Bench, *projects: ProjectRegistration) -> list[int]:
    """The cases of projects of which a person has to tell."""
    answers = await register(bench, *projects)
    assert [each.reason for each in answers if isinstance(each, DomainError)] == (
        [Reason.IDENTITY_UNDER_REVIEW] * len(projects)
    ), answers
    return [int(each.variables["case"]) for each in answers if isinstance(each, DomainError)]


async def candidates(bench: Bench, case: int) -> set[ActivityKey]:
    return {each.key for each in (await case_of(bench, case)).candidates}


async def decided(bench: Bench, case: int, kind: DecisionKind, key: ActivityKey | None = None) -> ActivityKey:
    """Decide, and where its project stands then."""
    file = await decide(bench, case, kind, key)
    assert isinstance(file, ReviewFile), file
    assert file.case.stands_on is not None
    return file.case.stands_on


@pytest.mark.parametrize("at_once", [False, True])
async def test_two_that_wait_each_by_itself_are_told_to_be_one(bench: Bench, *, at_once: bool) -> None:
    """Each is doubtful against a third, and neither was an activity when the other one came."""
    (third,) = await registered(bench, project(bench, "arb", replace(SHAXI, capacity_mw=20.0)))
    one, two = project(bench, "gec", SHAXI_ZH), project(bench, "ccer", SHAXI)
    first, second = (
        await doubted(bench, one, two) if at_once else [*await doubted(bench, one), *await doubted(bench, two)]
    )
    own = await decided(bench, first, DecisionKind.DIFFERENT)
    for kind, named in ((DecisionKind.DIFFERENT, None), (DecisionKind.SAME, third.key)):
        if kind is DecisionKind.DIFFERENT:
            refused = await decide(bench, second, kind, named)
            assert isinstance(refused, DomainError)
            assert refused.reason is Reason.REVIEW_CASE_CHANGED
        assert await candidates(bench, second) == {third.key, own}
    assert await decided(bench, second, DecisionKind.SAME, own) == own
    assert {each.key for each in await registered(bench, one, two)} == {own}


async def test_what_is_like_a_waiting_project_is_seen_by_whoever_decides_it(bench: Bench) -> None:
    (third,) = await registered(bench, project(bench, "arb", replace(SHAXI, capacity_mw=20.0)))
    (case,) = await doubted(bench, project(bench, "gec", SHAXI_ZH))
    code = ("gec_filing_code", "FDWD2407150000123")
    await registered(bench, replace(bench.project(code), native_project_id="C"))
    late = replace(project(bench, "ccer", replace(SHAXI, identifiers=(code,))), identifiers=(code,))
    (stands,) = await registered(bench, late)
    refused = await decide(bench, case, DecisionKind.SAME, third.key)
    assert isinstance(refused, DomainError)
    assert refused.reason is Reason.REVIEW_CASE_CHANGED
    assert await candidates(bench, case) == {third.key, stands.key}
    assert await decided(bench, case, DecisionKind.SAME, third.key) == third.key, "now it was seen"


async def test_evidence_that_is_like_more_activities_adds_them_to_the_case(bench: Bench) -> None:
    (third,) = await registered(bench, project(bench, "arb", replace(SHAXI, capacity_mw=20.0)))
    waits = project(bench, "gec", SHAXI_ZH)
    (case,) = await doubted(bench, waits)
    code = ("gec_filing_code", "FDWD2407150000123")
    await registered(bench, replace(bench.project(code), native_project_id="C"))
    late = replace(project(bench, "ccer", replace(SHAXI, identifiers=(code,))), identifiers=(code,))
    (stands,) = await registered(bench, late)
    assert await doubted(bench, waits) == [case], "the very same text"
    assert await candidates(bench, case) == {third.key, stands.key}


async def test_a_description_that_comes_later_is_compared_and_merges_nothing_by_itself(bench: Bench) -> None:
    plain = bench.project(registry="gec", name="P", native_id="G1")
    (own,) = await registered(bench, plain)
    (other,) = await registered(bench, project(bench, "ccer", SHAXI))
    described = replace(project(bench, "gec", SHAXI_ZH), native_project_id="G1")
    (case,) = await doubted(bench, described)
    assert await candidates(bench, case) == {own.key, other.key}
    assert await decided(bench, case, DecisionKind.SAME, other.key) == other.key
    (again,) = await registered(bench, described)
    assert again.key == other.key


async def test_a_description_of_what_was_told_apart_opens_nothing_again(bench: Bench) -> None:
    plain = bench.project(registry="gec", name="P", native_id="G1")
    (own,) = await registered(bench, plain)
    theirs = project(bench, "ccer", SHAXI)
    (other,) = await registered(bench, theirs)
    described = replace(project(bench, "gec", SHAXI_ZH), native_project_id="G1")
    (case,) = await doubted(bench, described)
    assert await decided(bench, case, DecisionKind.DIFFERENT) == own.key
    assert described.description is not None
    for capacity_mw in (87.0, 88.0):
        changed = replace(described, description=replace(described.description, capacity_mw=capacity_mw))
        (again,) = await registered(bench, changed)
        assert again.key == own.key
    (back,) = await registered(bench, replace(theirs, description=replace(SHAXI, capacity_mw=88.0)))
    assert back.key == other.key, "nor when the other side is described anew"


async def test_a_description_that_is_most_like_its_own_activity_opens_nothing(bench: Bench) -> None:
    phases = [
        replace(
            SHAXI,
            name=f"Tongyu Xinhua Wind Farm Phase {each}",
            name_local=f"通榆新华风电场{local}期",
            technology="wind",
        )
        for each, local in (("I", "一"), ("II", "二"))
    ]
    ours = [project(bench, "gec", each) for each in phases]
    first, second = await registered(bench, *ours)
    changed = [
        replace(each, description=replace(phase, capacity_mw=86.5)) for each, phase in zip(ours, phases, strict=True)
    ]
    assert [each.key for each in await registered(bench, *changed)] == [first.key, second.key]


async def test_finding_tells_what_registering_would_find_and_changes_nothing(bench: Bench) -> None:
    (first,) = await registered(bench, project(bench, "ccer", SHAXI))
    async with bench.store.reading() as reader:
        (found,) = await find(reader, SHAXI_ZH)
        assert (found.key, found.same) == (first.key, True)
        assert await find(reader, replace(BAONING, name="完全不同水电站", latitude=23.0, longitude=101.0)) == []


@pytest.mark.parametrize("seed", range(3))
async def test_clusters_do_not_depend_on_the_order_of_registration(bench: Bench, seed: int) -> None:
    names = {
        "shaxi": [SHAXI, SHAXI_ZH, replace(SHAXI, name="Shaxi Hydro")],
        "qirehataer": [
            replace(SHAXI, name=name, capacity_mw=210.0, latitude=37.5, longitude=75.5)
            for name in ("Qirehata'er Hydropower Project Xinjiang China", "齐热哈塔尔水电站", "Qirehataer Hydro")
        ],
    }
    entries = [
        (plant, project(bench, registry, each))
        for plant, ones in names.items()
        for registry, each in zip(("ccer", "gec", "arb"), ones, strict=True)
    ]
    random.Random(seed).shuffle(entries)
    found: dict[str, set[int]] = {}
    for plant, each in entries:
        (activity,) = await registered(bench, each)
        found.setdefault(plant, set()).add(activity.key)
    assert [len(keys) for keys in found.values()] == [1, 1]
    assert len(set(itertools.chain(*found.values()))) == 2


async def test_two_that_register_at_once_see_each_other(bench: Bench) -> None:
    one, two = await asyncio.gather(
        registered(bench, project(bench, "ccer", SHAXI)), registered(bench, project(bench, "gec", SHAXI_ZH))
    )
    assert one[0].key == two[0].key


@pytest.mark.parametrize("store_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_grants_do_not_wait_while_a_doubtful_project_is_compared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is compared, also the last time before its case opens, another is granted a day."""
    (third,) = await registered(bench, project(bench, "ccer", replace(SHAXI, capacity_mw=20.0)))
    side, loop, answers = await bench.another(), asyncio.get_running_loop(), list[object]()

    def slow(*given: Any, **named: Any) -> Any:
        day = len(answers)
        granting = asyncio.run_coroutine_threadsafe(acquire(side, third.key, day=day), loop)
        answers.extend(granting.result(timeout=10))
        return rank(*given, **named)

    monkeypatch.setattr(likeness, "rank", slow)
    (refused,) = await register(bench, project(bench, "gec", SHAXI_ZH))
    assert isinstance(refused, DomainError)
    assert answers
    assert reasons(answers) == [None] * len(answers)
    assert reasons(await acquire(side, third.key, day=99)) == [Reason.IDENTITY_UNDER_REVIEW]


async def test_a_thousand_orders_of_registration_give_one_result() -> None:
    """The decision itself, without a store: three plants, each as three registries write it."""
    pumice = replace(SHAXI, name="Gansu Huanghe Bingling Hydropower Station", capacity_mw=240.0, latitude=35.9,
                     longitude=103.3)  # fmt: skip
    yangang = replace(SHAXI, name="Yangang Hydropower Station Project in Muli County", capacity_mw=120.0,
                      latitude=28.3, longitude=101.2)  # fmt: skip
    written = {
        "shaxi": [SHAXI, SHAXI_ZH, replace(SHAXI, name="Shaxi Hydro", longitude=105.96)],
        "bingling": [pumice, replace(pumice, name="炳灵水电站"), replace(pumice, name="Bing Ling Hydro")],
        "yangang": [yangang, replace(yangang, name="烟岗水电站"), replace(yangang, name="Yan'gang Hydro")],
    }
    records = [
        (plant, ProjectRegistration(registry, f"{plant}-{registry}", "CN", "hydro", each.name, "", (), each))
        for plant, ones in written.items()
        for registry, each in zip(("ccer", "gec", "arb"), ones, strict=True)
    ]
    for seed in range(1000):
        random.Random(seed).shuffle(records)
        alike, fresh = Alike({}, {}), itertools.count(1)
        held: dict[str, set[int]] = {}
        for plant, record in records:
            decision = await alike.decide(record)
            assert not isinstance(decision, Doubt), (seed, record)
            key = decision.key if isinstance(decision, Join) else ActivityKey(next(fresh))
            alike.note(key, record)
            held.setdefault(plant, set()).add(key)
        assert [len(keys) for keys in held.values()] == [1, 1, 1], seed
        assert len(set.union(*held.values())) == 3, seed


ROOFTOP = Description("", name="Baoshan Tangqiao Rooftop Solar", technology="solar", capacity_mw=6.0, latitude=31.2,
                      longitude=121.4, country="CN")  # fmt: skip


async def crowd(bench: Bench, sizes: list[float]) -> None:
    """So that a meter alone tells each, and joins what another registry describes: likeness would ask a person."""
    plain = [
        replace(project(bench, "arb", ROOFTOP), identifiers=(("metering_point", f"CROWD{i:05d}"),), description=None)
        for i in range(len(sizes))
    ]
    await registered(bench, *plain)
    await registered(
        bench,
        *(
            replace(each, registry="vcs", description=replace(ROOFTOP, capacity_mw=size))
            for each, size in zip(plain, sizes, strict=True)
        ),
    )


async def test_a_crowd_of_one_name_and_place_hides_no_twin(bench: Bench) -> None:
    (first,) = await registered(bench, project(bench, "ccer", ROOFTOP))
    async with bench.store.reading() as reader:
        (before,) = await find(reader, ROOFTOP)
    await crowd(bench, [10 + i / 100 for i in range(450)])
    async with bench.store.reading() as reader:
        found = await find(reader, ROOFTOP)
    assert [(each.key, each.same) for each in found if each.same] == [(before.key, True)]
    (second,) = await registered(bench, project(bench, "gec", ROOFTOP))
    assert second.key == first.key


async def test_of_a_crowd_that_nothing_tells_apart_a_person_decides(bench: Bench) -> None:
    await crowd(bench, [6.0] * 450)
    async with bench.store.reading() as reader:
        found = await find(reader, ROOFTOP)
    assert found
    assert all(not each.same and each.reasons[0] == TOO_MANY for each in found)
    (refused,) = await register(bench, project(bench, "gec", ROOFTOP))
    assert isinstance(refused, DomainError)
    assert refused.reason is Reason.IDENTITY_UNDER_REVIEW
    async with bench.store.reading() as reader:
        case = await reader.review_case(int(refused.variables["case"]))
        assert case is not None
        assert case.candidates, "a person has something to look at"


async def test_what_older_rules_filed_is_filed_again_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiling, "PORTION", 2)
    plants = [replace(SHAXI, name=f"{each} Hydropower Project") for each in ("Shaxi", "Baoning", "Yangang")]
    registered_ones = await registered(bench, *(project(bench, "ccer", each) for each in plants))
    sought = project(bench, "gec", plants[2])
    async with bench.store.transaction() as transaction:
        await transaction._run("UPDATE description_key SET number = number / 2")
        await transaction._run("UPDATE project_description SET filing = 0")
    async with bench.store.reading() as reader:
        assert await find(reader, plants[2]) == [], "older keys find nothing"
    assert await refiling.refile(bench.store) == 3
    assert await refiling.refile(bench.store) == 0
    (again,) = await registered(bench, sought)
    assert again.key == registered_ones[2].key
