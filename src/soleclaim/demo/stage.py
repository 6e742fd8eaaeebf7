"""What an act plays on: clients, native addresses and plants; and what it reports."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

import httpx

from soleclaim.api.common.v1.types_pb2 import Declaration
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, RemoteUnavailable
from soleclaim.demo.plants import Months, Plant
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status

CALL_LIMIT_S: Final = 90.0
"""Longest wait for one answer: a batch makes hundreds of native calls."""
SETTLE_LIMIT_S: Final = 60.0
"""Longest wait until an issuance in doubt is settled."""
PATIENCE_S: Final = 30.0
"""How long a call without an answer is made again, always with the same request id."""

DECLARATION: Final = Declaration(no_other_application=True, no_claim_after_transfer=True)

_Result = TypeVar("_Result")


class Line(NamedTuple):
    """One sentence of a report."""

    english: str
    chinese: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an act saw. ``figures`` are counted, never assumed; ``lines`` tell them to people."""

    name: str
    figures: dict[str, object]
    lines: tuple[Line, ...]


class ActFailed(Exception):
    """An act did not see what must be seen."""

    def __init__(self, act: str, english: str, chinese: str) -> None:
        self.act = act
        self.line = Line(english, chinese)
        super().__init__(f"act {act}: {english}")


class Victim(Protocol):
    """The process that act 4 kills: the CCER adapter, wherever it runs."""

    async def arm(self) -> None:
        """Restart it so that SIGKILL ends it after the next native issuance, before the lookup is told."""

    async def wait_for_death(self) -> str:
        """Wait until it has ended; how it ended, for people."""

    async def revive(self) -> None:
        """Start it again, unarmed, on the same journal and address."""


@dataclass(frozen=True, slots=True)
class Stage:
    """``run`` starts every request id, so that two runs against one system do not meet.

    ``lookup``: the lookup dialled as each registry (``ccer``, ``gec``, ``arb``). ``adapters``: each adapter dialled
    as an operator. ``natives``: base URL of each native stand-in.
    """

    run: str
    plants: tuple[Plant, ...]
    lookup: Mapping[str, LookupClient]
    adapters: Mapping[str, RegistryClient]
    natives: Mapping[str, str]
    progress: Callable[[str, int, int], None] = lambda _act, _done, _total: None
    """Told (act, steps done, steps in all)."""

    async def native(self, registry: str, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """One POST to a native stand-in; ``ActFailed`` unless it says yes."""
        async with httpx.AsyncClient(base_url=self.natives[registry], timeout=30, trust_env=False) as http:
            answer = await http.post(path, json=body)
        content: dict[str, object] = answer.json()
        if answer.status_code != 200 or content.get("successful", True) is not True:
            raise ActFailed("register", f"{registry} {path}: {content}", f"{registry} {path}：{content}")
        return content

    async def request(
        self,
        registry: str,
        request_id: str,
        plants: tuple[Plant, ...],
        months: Months,
        *,
        patience_s: float = PATIENCE_S,
    ) -> list[registry_pb.Issuance]:
        """Ask a registry's adapter to issue for these plants and months, in one batch; waits until all is settled.

        ``RemoteUnavailable`` when it did not answer within ``patience_s``.
        """
        client = self.adapters[registry]
        request = registry_pb.BatchRequestIssuancesRequest(
            request_id=f"{self.run}-{request_id}", requests=[order(registry, plant, months) for plant in plants]
        )
        answer = await repeated(
            lambda: client.call(client.registry.BatchRequestIssuances, request, timeout_s=CALL_LIMIT_S),
            patience_s=patience_s,
        )
        return [await self.settled(registry, issuance) for issuance in answer.issuances]

    async def settled(self, registry: str, issuance: registry_pb.Issuance) -> registry_pb.Issuance:
        """The issuance once it is ISSUED or REFUSED; ``ActFailed`` after ``SETTLE_LIMIT_S``."""
        client = self.adapters[registry]
        deadline = asyncio.get_running_loop().time() + SETTLE_LIMIT_S
        while issuance.state not in (registry_pb.ISSUANCE_STATE_ISSUED, registry_pb.ISSUANCE_STATE_REFUSED):
            if asyncio.get_running_loop().time() > deadline:
                state = registry_pb.IssuanceState.Name(issuance.state)
                raise ActFailed(
                    "issue",
                    f"{registry} {issuance.name} is still {state} after {SETTLE_LIMIT_S:.0f} s",
                    f"{registry} {issuance.name} 在 {SETTLE_LIMIT_S:.0f} 秒后仍为 {state}",
                )
            await asyncio.sleep(0.25)
            request = registry_pb.GetIssuanceRequest(name=issuance.name)
            issuance = await repeated(lambda: client.call(client.registry.GetIssuance, request))  # noqa: B023
        return issuance


def order(registry: str, plant: Plant, months: Months) -> registry_pb.RequestIssuanceRequest:
    """Everything measured for these months."""
    return registry_pb.RequestIssuanceRequest(
        native_project_id=native_id(registry, plant), period=to_interval(months.period), declaration=DECLARATION
    )


def native_id(registry: str, plant: Plant) -> str:
    """Under which id the registry knows the plant."""
    return plant.filing_code if registry == "gec" else plant.ccer_project_id


def refusal_of(issuance: registry_pb.Issuance) -> RemoteRefusal:
    """Why an issuance was refused."""
    return from_status(issuance.error)


async def repeated(call: Callable[[], Awaitable[_Result]], *, patience_s: float = PATIENCE_S) -> _Result:
    """Make a call, and again with the same request id while its result is unknown: that is always safe."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await call()
        except RemoteUnavailable:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(0.25)


async def registered(
    client: LookupClient, request_id: str, requests: Sequence[activity_pb.RegisterActivityRequest]
) -> list[activity_pb.Activity]:
    """The activities of these projects, in order; ``RemoteRefusal`` when one is refused."""
    batch = activity_pb.BatchRegisterActivitiesRequest(request_id=request_id, requests=requests)
    answer = await repeated(lambda: client.call(client.activities.BatchRegisterActivities, batch, timeout_s=60))
    for result in answer.results:
        if result.HasField("error"):
            raise from_status(result.error)
    return [result.activity for result in answer.results]
