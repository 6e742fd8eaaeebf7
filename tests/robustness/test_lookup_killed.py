"""The lookup is killed around each of its writes, with and without a late native call; the adapters live on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb
from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.parse import to_interval
from tests.robustness.cells import ACROSS, KINDS, Cell, mutations, parameters
from tests.robustness.judge import Demand
from tests.robustness.processes import Process, Processes
from tests.robustness.scenarios import (
    REACH_S,
    Complaints,
    Runs,
    ask_until,
    at_rest,
    clean_adapter,
    close,
    plants_for,
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
    "RegisterActivity", "RecordOutcome", "AcquireIssuanceLock", "BeginIssuance", "CommitIssuance", "AbortIssuance",
)  # fmt: skip
"""In the order of an issuance. Whatever else the protos have comes after, and must be called here by hand."""

CELLS = [
    Cell(kind, registry, late, method, moment)
    for kind in KINDS
    for registry in REGISTRIES
    for late in (False, True)
    for moment in ACROSS
    for method in sorted(mutations(), key=lambda name: _FLOW.index(name) if name in _FLOW else 99, reverse=True)
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


def registration(cell: Cell, plant: Plant, number: int, project: str, *codes: str) -> Any:
    return activity_pb.RegisterActivityRequest(
        request_id=f"{cell.request_id}:{number}"[:64],
        native_project=activity_pb.NativeProjectRef(registry=cell.registry, native_project_id=project),
        country="CN",
        activity_type="wind",
        display_name=f"风电场{plant.number}",
        time_zone="Asia/Shanghai",
        identifiers=[types_pb2.Identifier(scheme="cn_project_code", value=code) for code in codes],
    )


async def decide_by_hand(at: World, cell: Cell, plant: Plant, killed: Process | None) -> Any:
    """Open a review case and decide it as an operator would; ``killed``: the lookup that this is to kill."""
    other = f"{plant.code[:-6]}9{plant.code[-5:]}"
    async with at.dial_lookup(Caller(Role.REGISTRY, cell.registry)) as lookup:
        first = registration(cell, plant, 1, plant.project(cell.registry), plant.code)
        await lookup.call(lookup.activities.RegisterActivity, first)
        try:
            second = registration(cell, plant, 2, f"other-{plant.number}", plant.code, other)
            await lookup.call(lookup.activities.RegisterActivity, second)
        except RemoteRefusal as refusal:
            case = f"reviewCases/{refusal.variables['case']}"
    decide = review_pb.DecideReviewCaseRequest(
        request_id=f"{cell.request_id}:3"[:64],
        name=case,
        kind=review_pb.REVIEW_DECISION_KIND_DIFFERENT,
        reason="现场核实",
    )
    async with at.dial_lookup() as lookup:
        if killed is None:
            return await lookup.call(lookup.reviews.DecideReviewCase, decide)
        with contextlib.suppress(RemoteUnavailable):
            await lookup.call(lookup.reviews.DecideReviewCase, decide, timeout_s=2)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(killed.ended.wait(), REACH_S)
    return None


async def release_by_hand(at: World, cell: Cell, plant: Plant, killed: Process | None) -> Any:
    """Acquire and release as the registry itself would; ``killed``: the lookup that this is to kill."""
    caller = Caller(Role.REGISTRY, cell.registry)
    register = registration(cell, plant, 1, plant.project(cell.registry), plant.code)
    async with at.dial_lookup(caller) as lookup:
        activity = await lookup.call(lookup.activities.RegisterActivity, register)
        acquire = lock_pb.AcquireIssuanceLockRequest(
            request_id=f"{cell.request_id}:2"[:64],
            registry=cell.registry,
            instrument=cell.registry.upper(),
            activity=activity.name,
            period=to_interval(PERIOD),
            units=UNITS[cell.registry],
            reference=f"by-hand-{plant.number}",
            declaration=DECLARED,
        )
        lock = await lookup.call(lookup.locks.AcquireIssuanceLock, acquire)
        release = lock_pb.ReleaseIssuanceLockRequest(
            request_id=f"{cell.request_id}:3"[:64], name=lock.name, fencing_token=lock.fencing_token
        )
        if killed is None:
            return await lookup.call(lookup.locks.ReleaseIssuanceLock, release)
        with contextlib.suppress(RemoteUnavailable):
            await lookup.call(lookup.locks.ReleaseIssuanceLock, release, timeout_s=2)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(killed.ended.wait(), REACH_S)
        return None


BY_HAND: Final[dict[str, tuple[Callable[[World, Cell, Plant, Process | None], Awaitable[Any]], int]]] = {
    "ReleaseIssuanceLock": (release_by_hand, lock_pb.ISSUANCE_LOCK_STATE_RELEASED),
    "DecideReviewCase": (decide_by_hand, review_pb.REVIEW_CASE_STATE_DECIDED),
}
"""What no issuance calls, and the state it ends in."""


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
                    by_hand, _ = BY_HAND[cell.place]
                    await by_hand(at, cell, plants[cell], lookup)
                    demands.append(demand)
                else:
                    demands += await ask_until(client, demand, lookup.ended)
                complaints[cell] = [] if lookup.ended.is_set() else [f"{cell}: never reached: {demands[-1].told}"]
                await lookup.kill()
            # What is left must not come past the points of the next round.
            lookup = await at.start_lookup()
            await at_rest(client)
            if moment != ACROSS[-1]:
                await lookup.kill()
        for cell, plant in plants.items():
            if cell.place in BY_HAND:
                by_hand, state = BY_HAND[cell.place]
                answers = [await by_hand(at, cell, plant, None) for _ in range(2)]
                if answers[0] is None or answers[0] != answers[1] or answers[0].state != state:
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
