"""Statements of coverage in the store: append-only, in any order, and a grant sees what was committed before it."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.errors import DomainError
from soleclaim.lookup.domain import CoverageStatement, EventKind, Lock, ProjectRegistration
from soleclaim.lookup.ports import Transaction
from soleclaim.lookup.service import coverage, locks
from soleclaim.lookup.service.activities import register
from soleclaim.lookup.service.boundaries import Inside, inside
from soleclaim.lookup.store.coverage import _Link, current_of
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import DAY_0, Bench


def statement(unit: ProjectRegistration, number: int, *, corrects: int = 0) -> CoverageStatement:
    return CoverageStatement(
        registry=unit.registry,
        statement_id=f"{unit.native_project_id}-{number}",
        corrects=f"{unit.native_project_id}-{corrects}" if corrects else "",
        unit=unit,
        inside="",
        boundary="全厂",
        sector="发电",
        start=DAY_0 + timedelta(days=number),
        end=None,
        withdrawn=False,
    )


async def record(bench: Bench, *statements: CoverageStatement) -> None:
    async with bench.store.transaction() as transaction:
        for each in await coverage.record(transaction, statements):
            assert not isinstance(each, Exception), each


async def in_force(bench: Bench, unit: ProjectRegistration) -> list[str]:
    async with bench.store.reading() as reader:
        found = await reader.list_coverage(
            registry=unit.registry, keys=None, at=None, history=False, seen_by=None, after=0, limit=1000
        )
    return [each.statement.statement_id for each in found if each.statement.unit == unit]


@pytest.mark.parametrize("split", range(1, 4))
async def test_a_chain_ends_in_the_same_statement_in_every_order_of_arrival(bench: Bench, split: int) -> None:
    """Each corrects the one before; some come in one batch, some later, the first perhaps last."""
    for order in itertools.permutations((1, 2, 3, 4)):
        unit = bench.project(("metering_point", f"CHAIN{next(bench.numbers):08d}"), registry="cea")
        chain = [statement(unit, number, corrects=number - 1) for number in order]
        await record(bench, *chain[:split])
        await record(bench, *chain[split:])
        assert await in_force(bench, unit) == [f"{unit.native_project_id}-4"], order


CHAINS = pytest.mark.parametrize(
    ("links", "current"),
    [
        ([(1, "A", "")], {1}),
        ([(1, "A", ""), (2, "B", "A"), (3, "C", "A")], {3}),
        ([(1, "A", ""), (2, "B", "A"), (3, "C", "A"), (4, "D", "B")], {4}),
        ([(1, "B", "A"), (2, "C", "A")], {2}),
        ([(1, "B", "A"), (2, "A", "")], {1}),
        ([(1, "A", "B"), (2, "B", "A")], {2}),
        ([(1, "A", ""), (2, "B", "")], {1, 2}),
        ([(1, "A", "X"), (2, "B", "Y"), (3, "X", "Y")], {2}),
    ],
)


@CHAINS
def test_of_each_chain_the_newest_that_nobody_corrects_counts(
    links: Sequence[tuple[int, str, str]], current: set[int]
) -> None:
    for order in itertools.permutations(links):
        assert current_of([_Link(*each, withdrawn=False) for each in order]) == current


@CHAINS
async def test_the_store_follows_each_chain_from_end_to_end(
    bench: Bench, links: Sequence[tuple[int, str, str]], current: set[int]
) -> None:
    unit = bench.project(("metering_point", f"LINKS{next(bench.numbers):08d}"), registry="cea")

    def id_of(name: str) -> str:
        return f"{unit.native_project_id}-{name}" if name else ""

    for number, own, corrects in links:
        told = replace(statement(unit, number), statement_id=id_of(own), corrects=id_of(corrects))
        await record(bench, told)
    assert await in_force(bench, unit) == [id_of(own) for number, own, _ in links if number in current]


def test_a_withdrawal_ends_its_chain_with_nothing() -> None:
    assert current_of([_Link(1, "A", "", withdrawn=False), _Link(2, "B", "A", withdrawn=True)]) == set()


async def test_statements_are_append_only(bench: Bench) -> None:
    unit = bench.project(("metering_point", f"APPEND{next(bench.numbers):08d}"), registry="cea")
    await record(bench, statement(unit, 1))
    for change in ("UPDATE coverage_statement SET boundary = 'x'", "DELETE FROM coverage_statement"):
        with pytest.raises(DBAPIError, match="append-only"):
            await bench.sql(change)
    assert await in_force(bench, unit) == [f"{unit.native_project_id}-1"]


async def test_a_statement_is_read_as_it_was_told(bench: Bench) -> None:
    unit = bench.project(("metering_point", f"TOLD{next(bench.numbers):08d}"), registry="cea", name='a "b" \\c 炉')
    told = replace(statement(unit, 1, corrects=9), inside="plant", end=DAY_0 + timedelta(days=2, microseconds=1))
    await record(bench, told)
    async with bench.store.reading() as reader:
        [found] = (await reader.coverage_stated("cea", [told.statement_id])).values()
        assert await reader.coverage(found.number) == found
        assert await reader.coverage(found.number + 1) is None
    assert found.statement == told
    assert found.corrects_unknown


async def test_only_what_a_covering_registry_knows_or_is_part_of_another_may_be_covered(bench: Bench) -> None:
    free = await bench.activity(bench.project(("metering_point", f"FREE{next(bench.numbers):08d}")))
    known = await bench.activity(bench.project(("metering_point", f"KNOWN{next(bench.numbers):08d}"), registry="cea"))
    part = await bench.activity(bench.project(("metering_point", f"PART{next(bench.numbers):08d}")))
    project = bench.project(("metering_point", f"CASE{next(bench.numbers):08d}"))
    async with bench.store.transaction() as transaction:
        await transaction.bar_grants()
        case = await transaction.open_review(project, [part], "alike")
        await transaction.add_part(part, free, case)
    for registry in ("ccer", "gec"):
        async with bench.store.reading() as reader:
            standing = await reader.standing(registry, [free, known, part], covering=("bea", "cea"))
            nobody = await reader.standing(registry, [free, known, part])
        by_ccer = registry == "ccer"
        assert [standing[key].registered for key in (free, known, part)] == [by_ccer, False, by_ccer]
        assert not any(each.may_be_covered for each in nobody.values())
        expected = {free: False, known: False, part: by_ccer}
        assert {key: each.may_be_covered for key, each in standing.items()} == expected


async def acquire(bench: Bench, key: ActivityKey) -> Lock | DomainError:
    async with bench.store.transaction() as transaction:
        (answer,) = await locks.acquire(transaction, default_bundle(), [bench.claim(key).request])
        return answer


async def test_a_grant_under_way_comes_before_a_statement_that_came_while_it_looked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer: nothing can come between")
    key, unit = await both(bench)
    recording: list[asyncio.Task[None]] = []

    async def then_somebody_states(*asked: Any) -> dict[int, list[Inside]]:
        answer = await inside(*asked)
        recording.append(asyncio.create_task(record(bench, statement(unit, 0))))
        await asyncio.sleep(0.3)
        return answer

    monkeypatch.setattr(locks, "inside", then_somebody_states)
    assert isinstance(await acquire(bench, key), Lock)
    await recording[0]
    kinds = [each.kind for each in await bench.events() if each.activity_key == key]
    assert kinds[-3:] == [EventKind.LOCK_GRANTED, EventKind.PROJECT_JOINED, EventKind.COVERAGE_RECORDED]


async def test_a_grant_that_came_while_a_statement_was_recorded_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, unit = await both(bench)
    asking: list[asyncio.Task[Lock | DomainError]] = []

    async def then_somebody_asks(transaction: Transaction, units: Sequence[ProjectRegistration]) -> Any:
        asking.append(asyncio.create_task(acquire(bench, key)))
        await asyncio.sleep(0.3)
        return await register(transaction, units)

    monkeypatch.setattr(coverage, "register", then_somebody_asks)
    await record(bench, statement(unit, 0))
    answer = await asking[0]
    assert isinstance(answer, DomainError)
    assert answer.variables["rules"] == "source-inside-covered-boundary"


async def both(bench: Bench) -> tuple[ActivityKey, ProjectRegistration]:
    """An activity of ccer, and what the cap registers as the same."""
    meter = ("metering_point", f"BOTH{next(bench.numbers):08d}")
    return await bench.activity(bench.project(meter)), bench.project(meter, registry="cea")
