"""The adapter is killed before and after every step of an issuance, with and without a late native call."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from soleclaim.registry.domain import Step
from tests.robustness.cells import AROUND, KINDS, Cell, around_steps, parameters
from tests.robustness.judge import Demand
from tests.robustness.processes import Processes
from tests.robustness.scenarios import (
    REACH_S,
    Complaints,
    Runs,
    ask_until,
    at_rest,
    clean_adapter,
    close,
    have_decided_while_it_waits,
    plants_for,
)
from tests.robustness.world import REGISTRIES, Databases, Kind, Plant, Registry, World, world

# The first test of the module waits for all of its cells, on a busy machine for long.
pytestmark = pytest.mark.timeout(900)

CELLS = [cell for cell in around_steps([(False, ""), (True, "")]) if cell.is_begun or not cell.late]
# And in the midst of the native call, which no point can reach: when the stand-in says that the call has come in.
DURING = "during"
CELLS += [
    Cell(kind, registry, late, Step.NATIVE.name, DURING)
    for kind in KINDS
    for registry in REGISTRIES
    for late in (False, True)
]
# Once over mutual TLS: the rest is faster without, and the same but for the channels.
CELLS += [
    Cell("sqlite", registry, late=False, place=place, moment="after", variant="tls")
    for registry in REGISTRIES
    for place in ("COMMIT", "NATIVE")
]


async def kill_chain(at: World, registry: Registry, plants: dict[Cell, Plant]) -> tuple[Complaints, list[Demand]]:
    """Kill one adapter after the other, each at its cell's point."""
    complaints: Complaints = {}
    demands = []
    for moment in AROUND:
        cells = [cell for cell in plants if (cell.registry, cell.moment) == (registry, moment)]
        for cell in cells:
            await at.set_fault(registry, cell.fault)
            demand = Demand(plants[cell], registry, cell.request_id)
            if cell.waits:
                *before, demand = await have_decided_while_it_waits(at, demand)
                demands += before
            adapter = await at.start_adapter(registry, f"kill:registry.{cell.place}.{cell.moment}")
            async with at.dial(adapter) as client:
                demands += await ask_until(client, demand, adapter.ended)
            complaints[cell] = [] if adapter.ended.is_set() else [f"{cell}: never reached: {demands[-1].told}"]
            await adapter.kill()
        if cells and moment == AROUND[0]:
            # What is left must not come past the points of the second half.
            async with clean_adapter(at, registry) as (_, client):
                await at_rest(client)
    for cell in [cell for cell in plants if (cell.registry, cell.moment) == (registry, DURING)]:
        async with clean_adapter(at, registry) as (adapter, client):
            await at_rest(client)
            await at.set_fault(registry, "late_work" if cell.late else "timeout_after_work")
            demand = Demand(plants[cell], registry, cell.request_id)
            asking = asyncio.create_task(ask_until(client, demand, adapter.ended))
            async with asyncio.timeout(REACH_S):
                while not await at.fault_hits(registry):  # noqa: ASYNC110  another process gives no event
                    await asyncio.sleep(0.05)
            await adapter.kill()
            demands += await asking
            complaints[cell] = []
    return complaints, demands


async def run(started: Processes, folder: Path, databases: Databases, cells: Sequence[Cell]) -> Complaints:
    """All cells of one world: both registries side by side."""
    plants = plants_for(cells)
    async with world(started, folder, databases, list(plants.values()), tls=cells[0].variant == "tls") as at:
        chains = await asyncio.gather(*(kill_chain(at, registry, plants) for registry in REGISTRIES))
        told = await close(at, [demand for _, demands in chains for demand in demands])
        return {cell: own + told for complaints, _ in chains for cell, own in complaints.items()}


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    databases: Callable[[Kind], Databases],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    return Runs(request, databases, tmp_path_factory.mktemp("killed"), run)


@pytest.mark.parametrize("cell", parameters(CELLS))
def test_an_adapter_killed_at_any_step_issues_once_and_loses_nothing(cell: Cell, runs: Runs) -> None:
    assert not (complaints := runs.of(cell)), "\n".join(complaints)
