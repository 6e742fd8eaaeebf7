"""Projects that share no key: joined where they are one beyond doubt, held for a person where not; on both stores."""

import asyncio
import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.identity.record import Description
from soleclaim.identity.strong import Join
from soleclaim.lookup.domain import Activity, ProjectRegistration
from soleclaim.lookup.service import activities
from soleclaim.lookup.service.likeness import Alike, Doubt, find
from tests.lookup.conftest import Bench

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


async def test_a_described_project_registered_again_is_answered_the_same(bench: Bench) -> None:
    one = project(bench, "ccer", SHAXI)
    (first,) = await registered(bench, one)
    (second,) = await registered(bench, replace(one, description=replace(SHAXI, capacity_mw=88.0)))
    assert second == first


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
