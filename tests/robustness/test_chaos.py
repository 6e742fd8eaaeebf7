"""Random traffic of both registries on contended months, under random faults, kills and pauses; then the judge.

``SOLECLAIM_CHAOS_SEED=N`` repeats the choices of a run (not its timing); every run prints its seed.
"""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import pytest

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RegistryClient, RemoteRefusal
from tests.robustness.cells import ACROSS, AROUND, STEPS, mutations
from tests.robustness.judge import Demand
from tests.robustness.processes import Process, Processes, ProcessFailed, processes
from tests.robustness.scenarios import ask, close
from tests.robustness.world import ISSUE_PATH, LATE_S, REGISTRIES, Databases, Kind, Plant, Registry, World, world

# The first test of the module waits for all of its cells, on a busy machine for long.
pytestmark = pytest.mark.timeout(900)

SECONDS: Final = 25.0
PLANTS: Final = 40
CLIENTS: Final = 6
TWINS: Final = 2
ASLEEP_S: Final = 2.5
"""A process that a stop point holds is let go on after this time."""
ISSUE_FAULTS: Final = (
    "slow", "timeout_before_work", "timeout_after_work", "late_work", "error_500", "html_200", "truncated_json",
    "cut_connection", "others_answer", "duplicate_rows", "lost_rows",
)  # fmt: skip
FIND_FAULTS: Final = ("slow", "timeout_before_work", "error_500", "html_200", "truncated_json", "others_answer")
FIND_PATH: Final[dict[Registry, str]] = {"ccer": "/api/assumed/find", "gec": "/api/v1/references"}


@dataclass
class Chaos:
    """One run."""

    at: World
    dice: random.Random
    adapters: dict[tuple[Registry, int], tuple[Process, RegistryClient]] = field(default_factory=dict)
    current: dict[tuple[Registry, int], Demand] = field(default_factory=dict)
    """The demand under way of each registry for each plant: one at a time, for a second would be a supplement."""
    buried: list[RegistryClient] = field(default_factory=list)
    """Channels to processes that were ended."""
    demands: list[Demand] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """What was done to whom, for the report of a failure."""

    # -- Traffic ------------------------------------------------------------------------------------------------

    def _demand(self) -> Demand:
        registry, plant = self.dice.choice(REGISTRIES), Plant(self.dice.randrange(PLANTS))
        demand = self.current.get((registry, plant.number))
        if demand is None or (demand.answers and demand.answers[-1].state == pb.ISSUANCE_STATE_REFUSED):
            demand = Demand(plant, registry, f"chaos:{registry}:{plant.number}:{len(self.demands)}")
            self.current[registry, plant.number] = demand
            self.demands.append(demand)
        return demand

    async def traffic(self) -> None:
        """One client: asks, and asks again."""
        while True:
            demand = self._demand()
            known = self.adapters.get((demand.registry, self.dice.randrange(TWINS)))
            if known is not None:
                with contextlib.suppress(RemoteRefusal):
                    await ask(known[1], demand, timeout_s=3)
            await asyncio.sleep(self.dice.uniform(0, 0.1))

    # -- Harm ---------------------------------------------------------------------------------------------------

    def _adapter_point(self) -> str:
        action = self.dice.choice(("", "kill", "kill", "stop"))
        step, moment = self.dice.choice(STEPS), self.dice.choice(AROUND)
        return f"{action}:registry.{step.name}.{moment}" if action else ""

    def _lookup_point(self) -> str:
        point = f"kill:lookup.{self.dice.choice(mutations())}.{self.dice.choice(ACROSS)}"
        return self.dice.choice(("", point))

    async def start_adapter(self, registry: Registry, twin: int) -> None:
        """Start it anew; when its point ends it at once, then without any."""
        point = self._adapter_point()
        self.done.append(f"start {registry} {twin} {point}")
        known = self.adapters.pop((registry, twin), None)
        if known is not None:
            # Calls under way would be cancelled by closing their channel now, and with them whoever waits for them.
            self.buried.append(known[1])
            await known[0].kill()
        try:
            adapter = await self.at.start_adapter(registry, point)
        except ProcessFailed:
            adapter = await self.at.start_adapter(registry)
        self.adapters[registry, twin] = adapter, self.at.dial(adapter)

    async def start_lookup(self) -> None:
        """Kill it and start it anew."""
        point = self._lookup_point()
        self.done.append(f"start lookup {point}")
        await self.at.lookup.kill()
        await self.at.start_lookup(point)

    async def harm(self) -> None:
        """Do one random thing to a random process."""
        registry, twin = self.dice.choice(REGISTRIES), self.dice.randrange(TWINS)
        adapter = self.adapters.get((registry, twin))
        match self.dice.choices(range(6), (5, 3, 2, 1, 6, 3))[0]:
            case 0:
                await self.start_adapter(registry, twin)
            case 1 if adapter is not None:
                await self._pause(adapter[0], f"{registry} {twin}")
            case 2:
                await self.start_lookup()
            case 3:
                await self._pause(self.at.lookup, "lookup")
            case 4:
                await self._fault(registry, self.dice.choice(ISSUE_FAULTS), ISSUE_PATH[registry])
            case 5:
                await self._fault(registry, self.dice.choice(FIND_FAULTS), FIND_PATH[registry])
            case _:
                pass

    async def _pause(self, process: Process, name: str) -> None:
        pause_s = self.dice.uniform(0.1, ASLEEP_S)
        self.done.append(f"pause {name} {pause_s:.1f} s")
        process.send(signal.SIGSTOP)
        await asyncio.sleep(pause_s)
        process.send(signal.SIGCONT)

    async def _fault(self, registry: Registry, name: str, path: str) -> None:
        fault = {
            "fault": name, "path": path, "times": self.dice.randint(1, 3), "delay_s": self.dice.uniform(0.1, LATE_S),
            "after_work": self.dice.random() < 0.5,
        }  # fmt: skip
        self.done.append(f"fault {registry} {fault}")
        await self.at.native(registry, "POST", "/_faults", fault)

    async def tend(self) -> None:
        """Start anew what a point ended, and let go on what a point stopped."""
        asleep: dict[int, float] = {}
        while True:
            await asyncio.sleep(0.2)
            for process in self.at.processes.running():
                if not process.stopped.is_set():
                    asleep.pop(process.pid, None)
                elif time.monotonic() - asleep.setdefault(process.pid, time.monotonic()) > ASLEEP_S:
                    process.send(signal.SIGCONT)

    async def revive(self) -> None:
        """Start anew what has ended."""
        for (registry, twin), (process, _) in list(self.adapters.items()):
            if process.ended.is_set():
                await self.start_adapter(registry, twin)
        if self.at.lookup.ended.is_set():
            await self.start_lookup()

    async def run(self) -> None:
        """Harm under traffic for a while."""
        end = time.monotonic() + SECONDS
        tending = asyncio.create_task(self.tend())
        try:
            await asyncio.gather(
                *(self.start_adapter(registry, twin) for registry in REGISTRIES for twin in range(TWINS))
            )
            clients = [asyncio.create_task(self.traffic()) for _ in range(CLIENTS)]
            try:
                while time.monotonic() < end:
                    await self.harm()
                    await self.revive()
                    await asyncio.sleep(self.dice.uniform(0, 0.5))
                    for client in clients:
                        if client.done():
                            client.result()
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
        finally:
            tending.cancel()
        for process, dialled in self.adapters.values():
            await process.kill()
            self.buried.append(dialled)
        for dialled in self.buried:
            await dialled.close()
        await self.at.lookup.kill()
        await self.at.start_lookup()


async def run(started: Processes, folder: Path, databases: Databases) -> tuple[list[str], str]:
    """One run: what there is to complain, and what happened in one line."""
    seed = int(os.environ.get("SOLECLAIM_CHAOS_SEED", "0")) or secrets.randbelow(10**6)
    print(f"SOLECLAIM_CHAOS_SEED={seed} on {databases.kind}")
    async with world(started, folder, databases, [Plant(number) for number in range(PLANTS)]) as at:
        at.lease_s, at.renew_s = 1.5, 0.4
        chaos = Chaos(at, random.Random(seed))
        await chaos.run()
        complaints = await close(at, chaos.demands, rivals=False)
    states = [demand.answers[-1].state for demand in chaos.demands if demand.answers]
    issued = states.count(pb.ISSUANCE_STATE_ISSUED)
    if not issued:
        complaints.append("nothing was issued")
    if complaints:
        complaints += [f"SOLECLAIM_CHAOS_SEED={seed}", *chaos.done]
    return complaints, f"{databases.kind}: {len(states)} requests, {issued} issued, {len(chaos.done)} harms"


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, databases: Callable[[Kind], Databases], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Kind], list[str]]:
    """The complaints of the run on each kind of store. They run side by side, when the first is asked for."""
    folder = tmp_path_factory.mktemp("chaos")
    chosen = (item.callspec.params for item in request.session.items if isinstance(item, pytest.Function)
              and item.parent is request.node and hasattr(item, "callspec"))  # fmt: skip
    kinds = {cast("Kind", params["kind"]) for params in chosen}
    known: dict[Kind, list[str]] = {}

    async def run_all(made: list[Databases]) -> None:
        async with processes() as started:
            runs = await asyncio.gather(*(run(started, folder / each.kind, each) for each in made))
        for each, (complaints, told) in zip(made, runs, strict=True):
            known[each.kind] = complaints
            print(told)

    def of(kind: Kind) -> list[str]:
        if kind not in known:
            made = [databases(kind)]
            for other in kinds - {kind}:
                with contextlib.suppress(pytest.skip.Exception):
                    made.append(databases(other))
            asyncio.run(run_all(made))
        return known[kind]

    return of


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_random_harm_never_issues_twice_and_loses_nothing(kind: Kind, outcomes: Callable[[Kind], list[str]]) -> None:
    assert not (complaints := outcomes(kind)), "\n".join(complaints)
