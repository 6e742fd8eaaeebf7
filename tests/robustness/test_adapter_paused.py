"""The adapter is stopped (SIGSTOP) at every point, past every time-out and lease, and let go on beside its twin.

*settled*: let go when the twin has settled everything. *taken*: let go as soon as the twin has the journal, while it
still settles.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RegistryClient
from tests.robustness.cells import AROUND, Cell, around_steps, parameters
from tests.robustness.judge import Demand
from tests.robustness.processes import Process, Processes
from tests.robustness.scenarios import Complaints, Runs, ask, ask_until, at_rest, clean_adapter, close, plants_for
from tests.robustness.world import ACTIVE, REGISTRIES, Databases, Kind, Plant, Registry, World, world

# The first test of the module waits for all of its cells, on a busy machine for long.
pytestmark = pytest.mark.timeout(900)

# Not around what only reads: a process that wakes there finds its lease gone, as anywhere.
CELLS = [cell for cell in around_steps([(False, "settled"), (True, "taken")]) if not cell.waits]
TRIES = 8
SPARE = 40
AWAKE_S = 0.4


class Sleepers:
    """The stopped adapters of one registry, and what they were asked."""

    def __init__(self, at: World, registry: Registry) -> None:
        self._at = at
        self._registry = registry
        self._asleep: list[tuple[Process, RegistryClient, Demand]] = []
        self.demands: list[Demand] = []

    async def put_to_sleep(self, adapter: Process, demand: Demand) -> bool | None:
        """Have it stopped by its request. ``None``: it was stopped while it wrote the journal, and had to be killed."""
        client = self._at.dial(adapter)
        # Only its doubts are left to recover: while it writes much, it would be stopped in mid-write again and again.
        recovered = asyncio.create_task(at_rest(client, [pb.ISSUANCE_STATE_PENDING]))
        stopped = asyncio.create_task(adapter.stopped.wait())
        await asyncio.wait({recovered, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (recovered, stopped):
            task.cancel()
        await asyncio.gather(recovered, stopped, return_exceptions=True)
        if adapter.stopped.is_set():
            # By an issuance that a process left which had the journal for a moment when it woke.
            await client.close()
            await adapter.kill()
            return None
        self.demands += await ask_until(client, demand, adapter.stopped)
        reached = adapter.stopped.is_set()
        if reached and await asyncio.to_thread(self._at.journal_is_free, self._registry):
            self._asleep.append((adapter, client, self.demands[-1]))
            return True
        await client.close()
        await adapter.kill()
        return None if reached else False

    async def wake(self) -> None:
        """Let all of them go on for a moment, ask them again, and end them."""
        for adapter, _, _ in self._asleep:
            adapter.send(signal.SIGCONT)
        await asyncio.sleep(AWAKE_S)
        await asyncio.gather(*(ask(client, demand, timeout_s=2) for _, client, demand in self._asleep))
        for adapter, client, _ in self._asleep:
            await client.close()
            await adapter.kill()
        self._asleep.clear()


async def pause_chain(
    at: World, registry: Registry, plants: dict[Cell, Plant], spare: Iterator[Plant]
) -> tuple[Complaints, list[Demand]]:
    """Stop one adapter after the other, each at its cell's point; the next one is its twin."""
    complaints: Complaints = {}
    sleepers = Sleepers(at, registry)
    for moment in AROUND:
        cells = [cell for cell in plants if (cell.registry, cell.moment) == (registry, moment)]
        for cell in cells:
            await at.set_fault(registry, cell.fault)
            plant = plants[cell]
            for attempt in range(TRIES):
                adapter = await at.start_adapter(registry, f"stop:registry.{cell.place}.{cell.moment}")
                await adapter.until_written(ACTIVE)
                if cell.variant == "taken":
                    await sleepers.wake()
                reached = await sleepers.put_to_sleep(adapter, Demand(plant, registry, f"{cell.request_id}:{attempt}"))
                if reached is not None:
                    break
                plant = next(spare)
                # What the killed one left would reach this very point again.
                async with clean_adapter(at, registry) as (_, client):
                    await at_rest(client)
            complaints[cell] = [] if reached else [f"{cell}: never stopped: {reached}, {sleepers.demands[-1].told}"]
        async with clean_adapter(at, registry) as (twin, client):
            await twin.until_written(ACTIVE)
            if any(cell.variant == "taken" for cell in cells):
                await sleepers.wake()
            await at_rest(client)
            await sleepers.wake()
    return complaints, sleepers.demands


async def run(started: Processes, folder: Path, databases: Databases, cells: Sequence[Cell]) -> Complaints:
    """All cells of one world: both registries side by side."""
    plants = plants_for(cells)
    spare = [Plant(len(plants) + number) for number in range(SPARE)]
    async with contextlib.AsyncExitStack() as stack:
        at = await stack.enter_async_context(world(started, folder, databases, [*plants.values(), *spare]))
        # Seldom renewed, so that seldom one is stopped while it writes the journal.
        at.lease_s, at.renew_s = 1.5, 0.5
        more = iter(spare)
        chains = await asyncio.gather(*(pause_chain(at, registry, plants, more) for registry in REGISTRIES))
        told = await close(at, [demand for _, demands in chains for demand in demands])
        return {cell: own + told for complaints, _ in chains for cell, own in complaints.items()}


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    databases: Callable[[Kind], Databases],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    return Runs(request, databases, tmp_path_factory.mktemp("paused"), run)


@pytest.mark.parametrize("cell", parameters(CELLS))
def test_an_adapter_paused_at_any_step_does_no_harm_when_it_wakes(cell: Cell, runs: Runs) -> None:
    assert not (complaints := runs.of(cell)), "\n".join(complaints)
