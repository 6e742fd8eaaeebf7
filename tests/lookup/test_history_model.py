"""Any history, in any order, among grants and settlements, keeps the invariants; and nothing of it is ever lost."""

import asyncio
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soleclaim.check.run import Targets, run_check
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.lookup.domain import (
    Activity,
    DisputeDecision,
    DisputeOutcome,
    DisputeState,
    HistoryRow,
    Imported,
    Lock,
)
from soleclaim.lookup.service import activities, disputes, history, locks
from soleclaim.lookup.store import open_store
from soleclaim.lookup.store.base import SqlLookupStore
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import ref
from tests.lookup.test_service_history import days, project, request, row

BUNDLE = default_bundle()
REGISTRIES = ("ccer", "gec", "arb")

PERIODS = st.tuples(st.integers(0, 5), st.integers(1, 4)).map(lambda pair: days(pair[0], pair[0] + pair[1]))
BRING = st.tuples(
    st.just("bring"),
    st.lists(st.tuples(st.sampled_from(REGISTRIES), PERIODS, st.integers(0, 30)), min_size=1, max_size=4),
)
GRANT = st.tuples(
    st.just("grant"),
    st.tuples(st.sampled_from(REGISTRIES), PERIODS, st.booleans()),
)
SETTLE = st.tuples(
    st.just("settle"),
    st.tuples(st.integers(1, 8), st.sampled_from((None, *DisputeOutcome)), st.integers(1, 10_000)),
)


def serials(registry: str, start: int) -> tuple[UnitBlock, ...]:
    return (UnitBlock(f"S-{registry}", start, start + 4),)


class Walk:
    """One activity under everything that can happen to it."""

    def __init__(self, store: SqlLookupStore, activity: Activity) -> None:
        self.store, self.activity = store, activity
        self.brought: dict[tuple[str, str], HistoryRow] = {}
        self.number = 0

    async def bring(self, told: list[tuple[str, Period, int]]) -> None:
        rows = []
        for registry, period, start in told:
            self.number += 1
            one = row(f"N{self.number}", registry=registry, period=period, units=5, blocks=serials(registry, start))
            rows.append(one)
        async with self.store.transaction() as transaction:
            answers = await history.take_over(transaction, BUNDLE, rows)
        # A fact is never refused, but told to come again where it may be what is under way.
        for one, each in zip(rows, answers, strict=True):
            assert isinstance(each, Imported) or each.reason is Reason.ISSUANCE_UNDER_WAY
            if isinstance(each, Imported) and one.issuance is not None:
                assert each.lock_id
                self.brought[one.project.registry, one.issuance.native_issuance_id] = one

    async def grant(self, told: tuple[str, Period, bool]) -> None:
        registry, period, begins = told
        async with self.store.transaction() as transaction:
            [lock] = await locks.acquire(transaction, BUNDLE, [request(self.activity, registry, period)])
            if not isinstance(lock, Lock) or not begins:
                return
            await transaction.begin([ref(lock)])

    async def settle(self, told: tuple[int, DisputeOutcome | None, int]) -> None:
        number, outcome, boundary = told
        wish = DisputeDecision(number, outcome, boundary, "seen", "", "operator/me")
        try:
            async with self.store.transaction() as transaction:
                await disputes.decide(transaction, BUNDLE, wish)
        except DomainError:
            return

    async def nothing_is_lost(self) -> None:
        async with self.store.reading() as reader:
            known = await reader.known_issuances(list(self.brought))
            open_ones = [
                each for each in await reader.disputes_on([self.activity.key]) if each.state is DisputeState.OPEN
            ]
        assert known.keys() == self.brought.keys()
        for name, each in self.brought.items():
            assert each.issuance is not None
            assert known[name].content == each.issuance.content
        assert all(each.late for each in open_ones)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(BRING, BRING, GRANT, SETTLE), min_size=2, max_size=10))
def test_imports_grants_and_settlements_keep_the_invariants(
    steps: list[tuple[str, object]], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("walk") / "lookup.db"
    shutil.copy(sqlite_template, path)
    url = f"sqlite+aiosqlite:///{path}"

    async def run() -> None:
        store = await open_store(url, BUNDLE, pool_size=2)
        try:
            async with store.transaction() as transaction:
                [activity, *_] = await activities.register(transaction, [project(each) for each in REGISTRIES])
            assert isinstance(activity, Activity)
            walk = Walk(store, activity)
            for verb, told in steps:
                await getattr(walk, verb)(told)
            await walk.nothing_is_lost()
        finally:
            await store.close()
        findings = await run_check(Targets(url))
        assert (findings.violations, findings.not_looked) == ([], [])

    asyncio.run(run())
