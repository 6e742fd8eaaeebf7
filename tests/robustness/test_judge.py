"""The judge sees what it is there for: a judge that is always content would prove nothing."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from tests.robustness.judge import Demand, judge
from tests.robustness.processes import processes
from tests.robustness.scenarios import ask_until_final, clean_adapter
from tests.robustness.world import DAYS, MONTH, REGISTRIES, Databases, Kind, Plant, world


async def test_planted_harm_is_complained_of(databases: Callable[[Kind], Databases], tmp_path: Path) -> None:
    plant = Plant(0)
    async with (
        processes() as started,
        world(started, tmp_path / "judge", databases("sqlite"), [plant]) as at,
        AsyncExitStack() as stack,
    ):
        clients = {each: (await stack.enter_async_context(clean_adapter(at, each)))[1] for each in REGISTRIES}
        demand = Demand(plant, "gec", "judge:gec")
        await ask_until_final(clients["gec"], demand)
        assert await judge(at, clients, [demand]) == []

        # The other registry issues behind the gateway's back.
        order = {"projectInfoId": plant.project("ccer"), "issueNum": 1, "fencingToken": 1, **DAYS}
        await at.native("ccer", "POST", "/api/assumed/issue", {**order, "externalReference": "smuggled"})
        told = "\n".join(await judge(at, clients, [demand]))
        for sentence in (
            f"plant 0 {MONTH} is issued 2 times",
            "smuggled: issued natively, unknown to the adapter",
            "has no lock",
            "check: I2",
        ):
            assert sentence in told

        # An answer that changed, and one that was acknowledged for nothing.
        other = pb.Issuance()
        other.CopyFrom(demand.answers[0])
        other.reference = "never-made"
        demand.answers.append(other)
        told = "\n".join(await judge(at, clients, [demand]))
        assert "the final answer changed" in told
        assert "acknowledged" in told
