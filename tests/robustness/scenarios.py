"""What the matrices have in common: chains of interrupted processes, and how a world comes to rest.

A chain costs one process per cell. Process *n* is armed with cell *n*'s point and, until that point is reached,
recovers what the processes before it left behind. Points are taken from the last step to the first: what is left
behind by a later step never comes past an earlier step's point again, so it is the cell's own request that reaches it.
"""

import asyncio
import contextlib
import time
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import pytest

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RegistryClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.errors import REASONS
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.status import from_status
from tests.robustness.cells import Cell
from tests.robustness.judge import FINAL, Demand, issuances, judge, native_records
from tests.robustness.processes import Process, Processes, processes
from tests.robustness.world import LATE_S, REGISTRIES, Databases, Kind, Plant, Registry, World

T = TypeVar("T")

OPEN: Final = (pb.ISSUANCE_STATE_PENDING, pb.ISSUANCE_STATE_IN_DOUBT)
UNSETTLED: Final = (*OPEN, pb.ISSUANCE_STATE_UNDER_REVIEW)
"""Also what waits for a person: to be empty where every case is decided."""
REACH_S: Final = 60.0
"""The longest time until an armed point is reached; a shared machine needs some of it."""
RIVAL_TRIES: Final = 10
ASKED_AT_ONCE: Final = 4
"""A client that repeats everything at once on a busy machine only meets its own time-outs."""
AIM_S: Final = 60.0
"""Every doubt is settled this long after a restart, or after the longest time that a call can stay under way."""
SETTLE_S: Final = 3 * AIM_S
"""A machine that is shared may take longer, and what it took is printed; here a test gives up."""
OTHER: Final[dict[Registry, Registry]] = {"ccer": "gec", "gec": "ccer"}

Complaints = dict[Cell, list[str]]
Run = Callable[[Processes, Path, Databases, Sequence[Cell]], Awaitable[Complaints]]


async def ask(client: RegistryClient, demand: Demand, *, timeout_s: float = 5.0) -> pb.Issuance | None:
    """Ask once; ``None`` when there was no answer that tells."""
    try:
        answer = await client.call(client.registry.RequestIssuance, demand.request, timeout_s=timeout_s)
    except RemoteUnavailable:
        return None
    demand.answers.append(answer)
    return answer


async def ask_until_final(client: RegistryClient, demand: Demand) -> None:
    """Ask, with the same request id, until the answer is final, and once more."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            answer = await ask(client, demand)
            if answer is not None and answer.state in FINAL:
                break
            await asyncio.sleep(0.1)
        while await ask(client, demand) is None:  # noqa: ASYNC110  another process gives no event
            await asyncio.sleep(0.1)


async def ask_until(client: RegistryClient, demand: Demand, interrupted: asyncio.Event) -> list[Demand]:
    """Ask again and again until the process is interrupted, for at most ``REACH_S``; the requests this took.

    On a busy machine one may be refused because the native registry was slow or the time to send had passed; then
    nothing was issued, and the way on is a new request.
    """
    asked = [demand]

    async def asking() -> None:
        while True:
            answer = await ask(client, asked[-1])
            if answer is not None and answer.state == pb.ISSUANCE_STATE_REFUSED:
                asked.append(Demand(demand.plant, demand.registry, f"{len(asked)}:{demand.request_id}"[:64]))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(asking())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(interrupted.wait(), REACH_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, RemoteRefusal):
        await task
    return asked


async def at_rest(client: RegistryClient, states: Sequence["pb.IssuanceState.ValueType"] = OPEN) -> None:
    """Wait until nothing in this adapter's journal is in these states. ``TimeoutError`` after ``SETTLE_S``."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            with contextlib.suppress(RemoteUnavailable):
                if not await issuances(client, *states):
                    return
            await asyncio.sleep(0.2)


# -- Reviews ---------------------------------------------------------------------------------------------------------


def registration(demand: Demand, number: int, project: str, *codes: str) -> activity_pb.RegisterActivityRequest:
    """The demand's registry registers a project by hand; ``number`` within the demand."""
    return activity_pb.RegisterActivityRequest(
        request_id=f"{demand.request_id}:{number}"[:64],
        native_project=activity_pb.NativeProjectRef(registry=demand.registry, native_project_id=project),
        country="CN",
        activity_type="wind",
        display_name=f"风电场{demand.plant.number}",
        time_zone="Asia/Shanghai",
        identifiers=[types_pb2.Identifier(scheme="cn_project_code", value=code) for code in codes],
    )


async def open_case(world: World, demand: Demand) -> str:
    """The review case that holds the demand's activity; opened, or found when it is there."""
    plant = demand.plant
    other = f"{plant.code[:-6]}9{plant.code[-5:]}"
    async with world.dial_lookup(Caller(Role.REGISTRY, demand.registry)) as lookup:
        first = registration(demand, 1, plant.project(demand.registry), plant.code)
        await lookup.call(lookup.activities.RegisterActivity, first)
        second = registration(demand, 2, f"other-{plant.number}", plant.code, other)
        with pytest.raises(RemoteRefusal) as refused:
            await lookup.call(lookup.activities.RegisterActivity, second)
    return f"reviewCases/{refused.value.variables['case']}"


def decision(demand: Demand, case: str) -> review_pb.DecideReviewCaseRequest:
    """The other project is another plant: the demand's activity is free."""
    return review_pb.DecideReviewCaseRequest(
        request_id=f"{demand.request_id}:3"[:64],
        name=case,
        kind=review_pb.REVIEW_DECISION_KIND_DIFFERENT,
        reason="现场核实",
    )


async def ask_until_it_waits(client: RegistryClient, demand: Demand) -> list[Demand]:
    """Ask until the adapter says that it waits for a review; the requests this took."""
    waits = asyncio.Event()
    asking = asyncio.create_task(ask_until(client, demand, waits))
    project = demand.plant.project(demand.registry)
    async with asyncio.timeout(REACH_S):
        while not waits.is_set():
            with contextlib.suppress(RemoteUnavailable):
                found = await issuances(client, pb.ISSUANCE_STATE_UNDER_REVIEW)
                if any(each.native_project_id == project for each in found):
                    waits.set()
            await asyncio.sleep(0.1)
    return await asking


async def have_decided_while_it_waits(world: World, demand: Demand) -> list[Demand]:
    """An adapter is killed with a request that waits, then the case is decided: what the next adapter finds."""
    case = await open_case(world, demand)
    async with clean_adapter(world, demand.registry) as (_, client):
        asked = await ask_until_it_waits(client, demand)
    async with world.dial_lookup() as lookup:
        await lookup.call(lookup.reviews.DecideReviewCase, decision(demand, case))
    return asked


@contextlib.asynccontextmanager
async def clean_adapter(world: World, registry: Registry) -> AsyncIterator[tuple[Process, RegistryClient]]:
    """An adapter with nothing armed."""
    adapter = await world.start_adapter(registry)
    async with world.dial(adapter) as client:
        yield adapter, client
    await adapter.kill()


async def close(world: World, demands: Sequence[Demand], *, rivals: bool = True) -> list[str]:
    """Bring a world to rest with new adapters, repeat every request, let the rivals ask too, and judge."""
    async with contextlib.AsyncExitStack() as stack:
        clients: dict[Registry, RegistryClient] = {}
        for registry in REGISTRIES:
            _, clients[registry] = await stack.enter_async_context(clean_adapter(world, registry))
        begun = time.monotonic()
        try:
            await asyncio.gather(*(at_rest(client, UNSETTLED) for client in clients.values()))
        except TimeoutError:
            left = [each for client in clients.values() for each in await issuances(client) if each.state not in FINAL]
            return [f"not settled {SETTLE_S} s after the restart: {each}" for each in left]
        print(f"{world.folder.name}: at rest {time.monotonic() - begun:.1f} s after the restart")
        await asyncio.gather(*(world.set_fault(registry, None) for registry in REGISTRIES))
        # Whatever was sent before and is late has come by then.
        late = asyncio.create_task(asyncio.sleep(LATE_S + 0.3))
        gate = asyncio.Semaphore(ASKED_AT_ONCE)

        async def repeat(demand: Demand) -> None:
            async with gate:
                await ask_until_final(clients[demand.registry], demand)

        await asyncio.gather(*map(repeat, demands))
        await late
        if not rivals:
            return await judge(world, clients, demands)
        # Once for each plant: a second request of the same registry would be a supplement.
        first = {(demand.plant, demand.registry): demand for demand in demands}.values()
        others = [Demand(demand.plant, OTHER[demand.registry], f"rival:{demand.request_id}"[:64]) for demand in first]
        asked = await _ask_rivals(clients, others)
        complaints = await judge(world, clients, [*demands, *asked])
        # A month is free again for the other registry when the first was refused, and only then.
        issued = {record.plant for record in await native_records(world)}
        complaints += [
            f"{demand.request_id}: issued by nobody: {demand.answers[-1]}"
            for demand in demands
            if demand.plant.number not in issued
        ]
        return complaints


async def _ask_rivals(clients: Mapping[Registry, RegistryClient], demands: Iterable[Demand]) -> list[Demand]:
    """Ask for each, a few at once, until it is issued or refused for good; with the further requests this took."""
    gate = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(demand: Demand) -> list[Demand]:
        async with gate:
            asked = [demand]
            for number in range(RIVAL_TRIES):
                await ask_until_final(clients[demand.registry], asked[-1])
                reason = from_status(asked[-1].answers[-1].error).reason
                if reason is None or not REASONS[reason].retryable:
                    break
                # On a busy machine the time to send may have passed, or the native registry was slow to answer.
                asked.append(Demand(demand.plant, demand.registry, f"{number}:{demand.request_id}"[:64]))
            return [each for each in asked if each.answers]

    tried = await asyncio.gather(*(one(demand) for demand in demands))
    return [each for asked in tried for each in asked]


def by_world(cells: Iterable[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """The cells that share a world, and the world's name."""
    worlds: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        worlds["-".join(filter(None, (cell.kind, cell.variant, "late" if cell.late else "")))].append(cell)
    yield from worlds.items()


class Runs:
    """Runs all chosen cells together, when the first of them is asked for: most of a cell's time is waiting."""

    def __init__(
        self, request: pytest.FixtureRequest, databases: Callable[[Kind], Databases], folder: Path, run: Run
    ) -> None:
        self._databases = databases
        self._folder = folder
        self._run = run
        chosen = (getattr(item, "callspec", None) for item in request.session.items if item.parent is request.node)
        self._cells = [spec.params["cell"] for spec in chosen if spec is not None and "cell" in spec.params]
        self._complaints: Complaints = {}

    def of(self, cell: Cell) -> list[str]:
        """What there is to complain about this cell or its world."""
        if cell not in self._complaints:
            databases = {cell.kind: self._databases(cell.kind)}
            for kind in {each.kind for each in self._cells}:
                # Skips the test of a cell that lacks its database, but not those of the others.
                with contextlib.suppress(pytest.skip.Exception):
                    databases[kind] = self._databases(kind)
            self._complaints |= asyncio.run(self._run_together(databases))
        return self._complaints[cell]

    async def _run_together(self, databases: Mapping[Kind, Databases]) -> Complaints:
        begun = time.monotonic()
        cells = [cell for cell in self._cells if cell.kind in databases]
        async with processes() as started:
            worlds = [
                self._run_one(started, self._folder / name, databases[chosen[0].kind], chosen)
                for name, chosen in by_world(cells)
            ]
            found: Complaints = {}
            for complaints in await asyncio.gather(*worlds):
                found |= complaints
        used_s: defaultdict[str, float] = defaultdict(float)
        for part, each_s in started.used_s:
            used_s[part] += each_s
        print(f"processor seconds: {', '.join(f'{part} {each_s:.0f}' for part, each_s in used_s.items())}")
        print(*sorted({each for complaints in found.values() for each in complaints}), sep="\n")
        print(f"{len(cells)} cells in {time.monotonic() - begun:.1f} s")
        return found

    async def _run_one(
        self, started: Processes, folder: Path, databases: Databases, cells: Sequence[Cell]
    ) -> Complaints:
        try:
            return await self._run(started, folder, databases, cells)
        except Exception:  # noqa: BLE001  one world's failure is a complaint of its cells and leaves the others alone
            told = traceback.format_exc()
            return {cell: [told] for cell in cells}


def plants_for(cells: Sequence[Cell]) -> dict[Cell, Plant]:
    """A plant for each cell."""
    return {cell: Plant(number) for number, cell in enumerate(cells)}
