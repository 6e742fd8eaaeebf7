"""The lookup is killed around each of its writes, with and without a late native call; the adapters live on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import coverage_service_pb2 as coverage_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb
from soleclaim.api.lookup.v1 import settlement_service_pb2 as settlement_pb
from soleclaim.client import RemoteUnavailable
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.parse import to_interval
from tests.robustness.cells import ACROSS, KINDS, Cell, mutations, parameters
from tests.robustness.judge import Demand
from tests.robustness.processes import Process, Processes
from tests.robustness.scenarios import (
    OPEN,
    REACH_S,
    UNSETTLED,
    Complaints,
    Runs,
    ask_until,
    ask_until_it_waits,
    at_rest,
    clean_adapter,
    close,
    decision,
    open_case,
    plants_for,
    registration,
)
from tests.robustness.world import (
    DECLARED,
    PERIOD,
    REGISTRIES,
    UNITS,
    Databases,
    Kind,
    Plant,
    Registry,
    World,
    world,
)

# The first test of the module waits for all of its cells, on a busy machine for long.
pytestmark = pytest.mark.timeout(900)

_FLOW: Final = (
    "DecideReviewCase", "RegisterActivity", "RecordOutcome", "AcquireIssuanceLock", "BeginIssuance", "CommitIssuance",
    "AbortIssuance",
)  # fmt: skip
"""In the order of an issuance that waits for a decision; what no issuance calls is called here by hand."""
_BEGUN: Final = _FLOW[_FLOW.index("BeginIssuance") :]
"""May find a native call under way: the others cannot tell a late one from another."""

CELLS = [
    Cell(kind, registry, late, method, moment)
    for kind in KINDS
    for registry in REGISTRIES
    for late in (False, True)
    for moment in ACROSS
    for method in sorted(mutations(), key=lambda name: _FLOW.index(name) if name in _FLOW else 99, reverse=True)
    if method in _BEGUN or not late
]


def fault_for(cell: Cell) -> str | None:
    """What the native registry does, so that the method of this cell is called."""
    if cell.place == "AbortIssuance" and cell.registry == "ccer":
        return "timeout_before_work"
    if cell.place == "AbortIssuance":
        # GEC is of the first kind: the reference is voided before the late call comes, which is then refused.
        return "late_work" if cell.late else "timeout_before_work"
    if cell.place == "CommitIssuance" and cell.registry == "gec" and cell.late:
        return "timeout_after_work"
    return "late_work" if cell.late else None


async def until_killed(killed: Process, calling: Awaitable[Any]) -> None:
    """Wait until the lookup dies of a call, for at most ``REACH_S``; what it answers does not count."""
    call = asyncio.ensure_future(calling)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(killed.ended.wait(), REACH_S)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError, RemoteUnavailable):
        await call


async def as_operator(at: World, method: str, request: Any, killed: Process | None) -> Any:
    """Send what the lookup ``killed`` dies of; ``None``: it lives, and its answer counts."""
    async with at.dial_lookup() as lookup:
        call = getattr(lookup.reviews, method)
        if killed is None:
            return await lookup.call(call, request)
        await until_killed(killed, lookup.call(call, request, timeout_s=REACH_S))
    return None


async def decide_by_hand(at: World, demand: Demand, killed: Process | None) -> Any:
    """Decide the case for which the demand waits."""
    decide = decision(demand, await open_case(at, demand))
    return await as_operator(at, "DecideReviewCase", decide, killed)


async def reopen_by_hand(at: World, demand: Demand, killed: Process | None) -> Any:
    """Decide a case and open it again: of a plant beside, for the open case would hold the demand."""
    beside = replace(demand, plant=Plant(demand.plant.number + 50_000))
    decide = decision(beside, await open_case(at, beside))
    async with at.dial_lookup() as lookup:
        await lookup.call(lookup.reviews.DecideReviewCase, decide)
    request_id = f"{demand.request_id}:4"[:64]
    reopen = review_pb.ReopenReviewCaseRequest(request_id=request_id, name=decide.name, reason="裁定有误")
    return await as_operator(at, "ReopenReviewCase", reopen, killed)


async def split_by_hand(at: World, demand: Demand, killed: Process | None) -> Any:
    """Register a second project on an activity and take it off again."""
    registry, plant = demand.registry, demand.plant
    first = registration(demand, 1, plant.project(registry), plant.code)
    second = registration(demand, 2, f"other-{plant.number}", plant.code)
    async with at.dial_lookup(Caller(Role.REGISTRY, registry)) as lookup:
        for request in (first, second):
            activity = await lookup.call(lookup.activities.RegisterActivity, request)
    split = review_pb.SplitActivityRequest(
        request_id=f"{demand.request_id}:3"[:64],
        activity=activity.name,
        native_projects=[second.native_project],
        reason="现场核实为两处",
    )
    return await as_operator(at, "SplitActivity", split, killed)


async def release_by_hand(at: World, demand: Demand, killed: Process | None) -> Any:
    """Acquire and release as the registry itself would; ``killed``: the lookup that this is to kill."""
    registry, plant = demand.registry, demand.plant
    caller = Caller(Role.REGISTRY, registry)
    register = registration(demand, 1, plant.project(registry), plant.code)
    async with at.dial_lookup(caller) as lookup:
        activity = await lookup.call(lookup.activities.RegisterActivity, register)
        acquire = lock_pb.AcquireIssuanceLockRequest(
            request_id=f"{demand.request_id}:2"[:64],
            registry=registry,
            instrument=registry.upper(),
            activity=activity.name,
            period=to_interval(PERIOD),
            units=UNITS[registry],
            reference=f"by-hand-{plant.number}",
            declaration=DECLARED,
        )
        lock = await lookup.call(lookup.locks.AcquireIssuanceLock, acquire)
        release = lock_pb.ReleaseIssuanceLockRequest(
            request_id=f"{demand.request_id}:3"[:64], name=lock.name, fencing_token=lock.fencing_token
        )
        if killed is None:
            return await lookup.call(lookup.locks.ReleaseIssuanceLock, release)
        await until_killed(killed, lookup.call(lookup.locks.ReleaseIssuanceLock, release, timeout_s=REACH_S))
    return None


async def cover_by_hand(at: World, demand: Demand, killed: Process | None) -> Any:
    """State coverage as a registry with a cap would; ``killed``: the lookup that this is to kill.

    Of another plant than the registry issues for: no cap shall stand in the way of the demand.
    """
    plant, name = demand.plant, f"{demand.registry}-{demand.plant.number}"
    unit = registration(demand, 1, f"unit-{name}", f"{plant.code[:-6]}8{plant.code[-5:]}")
    unit.ClearField("request_id")
    unit.native_project.registry = "cea"
    record = coverage_pb.RecordCoverageRequest(
        request_id=f"{demand.request_id}:3"[:64],
        statement_id=f"statement-{name}",
        unit=unit,
        boundary="全厂",
        period=to_interval(PERIOD),
    )
    async with at.dial_lookup(Caller(Role.REGISTRY, "cea")) as lookup:
        if killed is None:
            return await lookup.call(lookup.coverage.RecordCoverage, record)
        await until_killed(killed, lookup.call(lookup.coverage.RecordCoverage, record, timeout_s=REACH_S))
    return None


async def settle_by_hand(at: World, demand: Demand, killed: Process | None) -> Any:
    """Settle green power as an exchange would, of certificates that nobody issued; ``killed``: as above."""
    record = settlement_pb.RecordSettlementRequest(
        request_id=f"{demand.request_id}:3"[:64],
        native_project=activity_pb.NativeProjectRef(registry="gp-bj", native_project_id=demand.plant.project("gec")),
        settlement_id=f"line-{demand.registry}-{demand.plant.number}",
        contract="BJGP2025000001",
        period=to_interval(PERIOD),
        energy_kwh=1_000,
        buyer_code="91110000100003962T",
        blocks=[types_pb2.UnitBlock(series=f"never-{demand.registry}-{demand.plant.number}", start=1, end=1)],
    )
    async with at.dial_lookup(Caller(Role.REGISTRY, "gp-bj")) as lookup:
        if killed is None:
            return await lookup.call(lookup.settlements.RecordSettlement, record)
        await until_killed(killed, lookup.call(lookup.settlements.RecordSettlement, record, timeout_s=REACH_S))
    return None


BY_HAND: Final[dict[str, tuple[Callable[[World, Demand, Process | None], Awaitable[Any]], str, int]]] = {
    "ReleaseIssuanceLock": (release_by_hand, "state", lock_pb.ISSUANCE_LOCK_STATE_RELEASED),
    "DecideReviewCase": (decide_by_hand, "state", review_pb.REVIEW_CASE_STATE_DECIDED),
    "ReopenReviewCase": (reopen_by_hand, "state", review_pb.REVIEW_CASE_STATE_OPEN),
    "SplitActivity": (split_by_hand, "state", review_pb.ACTIVITY_SPLIT_STATE_DONE),
    "RecordCoverage": (cover_by_hand, "in_force", True),
    "RecordSettlement": (settle_by_hand, "state", settlement_pb.SETTLEMENT_STATE_UNKNOWN_CERTIFICATES),
}
"""What no issuance calls, and the field of its answer that says what it ends in."""


async def kill_chain(at: World, registry: Registry, plants: dict[Cell, Plant]) -> tuple[Complaints, list[Demand]]:
    """Kill one lookup after the other, each around its cell's write, under one adapter that lives on."""
    complaints: Complaints = {}
    demands = []
    async with clean_adapter(at, registry) as (adapter, client):
        for moment in ACROSS:
            for cell in (each for each in plants if each.moment == moment):
                await at.set_fault(registry, fault_for(cell))
                lookup = await at.start_lookup(f"kill:lookup.{cell.place}.{cell.moment}")
                demand = Demand(plants[cell], registry, cell.request_id)
                if cell.place in BY_HAND:
                    by_hand, _, _ = BY_HAND[cell.place]
                    asked = [demand]
                    if cell.place == "DecideReviewCase":
                        await open_case(at, demand)
                        asked = await ask_until_it_waits(client, demand)
                    await by_hand(at, demand, lookup)
                    demands += asked
                else:
                    demands += await ask_until(client, demand, lookup.ended)
                complaints[cell] = [] if lookup.ended.is_set() else [f"{cell}: never reached: {demands[-1].told}"]
                await lookup.kill()
            # What is left must not come past the points of the next round.
            lookup = await at.start_lookup()
            await at_rest(client, UNSETTLED if moment == "committed" else OPEN)
            if moment != ACROSS[-1]:
                await lookup.kill()
        for cell, plant in plants.items():
            if cell.place in BY_HAND:
                by_hand, field, ended = BY_HAND[cell.place]
                demand = Demand(plant, registry, cell.request_id)
                answers = [await by_hand(at, demand, None) for _ in range(2)]
                if answers[0] is None or answers[0] != answers[1] or getattr(answers[0], field) != ended:
                    complaints[cell].append(f"repeated: {answers}")
        if adapter.ended.is_set():
            raise AssertionError(adapter.tail())
    return complaints, demands


async def run(started: Processes, folder: Path, databases: Databases, cells: Sequence[Cell]) -> Complaints:
    """A world for each registry, for each has a lookup of its own to be killed."""

    async def run_one(registry: Registry) -> Complaints:
        plants = plants_for([cell for cell in cells if cell.registry == registry])
        if not plants:
            return {}
        chosen = list(plants.values())
        async with world(started, folder.with_name(f"{folder.name}-{registry}"), databases, chosen) as at:
            await at.lookup.kill()
            # The adapter lives long here: it need not look so often.
            at.lease_s, at.renew_s, at.poll_s = 3.0, 1.0, 0.4
            complaints, demands = await kill_chain(at, registry, plants)
            told = await close(at, demands)
            return {cell: own + told for cell, own in complaints.items()}

    by_registry = await asyncio.gather(*(run_one(registry) for registry in REGISTRIES))
    return {cell: told for complaints in by_registry for cell, told in complaints.items()}


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    databases: Callable[[Kind], Databases],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    return Runs(request, databases, tmp_path_factory.mktemp("lookup"), run)


@pytest.mark.parametrize("cell", parameters(CELLS))
def test_a_lookup_killed_around_any_write_loses_and_doubles_nothing(cell: Cell, runs: Runs) -> None:
    assert not (complaints := runs.of(cell)), "\n".join(complaints)
