"""The deployed stack: what its containers may do, the demo's acts on it, and outages that must leave no trace."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, Final

import httpx
import pytest

from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb
from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.core.errors import Reason
from soleclaim.demo import acts
from soleclaim.demo.plants import Months, Plant, gec_filing, gec_reading, load_plants
from soleclaim.demo.stage import Stage

from .stack import LEASE_TTL_S, PLANTS, ContainerVictim, Stack, run

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

MORE_PLANTS: Final = load_plants(16)[len(PLANTS) :]
"""Known to nobody at the start."""
CCER_MONTHS: Final = acts.CRASH
"""Certified by act 1 for every plant and asked for by act 4 for the first alone."""
GEC_MONTH: Final = Months(date(2025, 1, 1), 1)
ISSUE_PATHS: Final = {"ccer": "/api/assumed/issue", "gec": "/api/v1/issuances"}
HIT_LIMIT_S: Final = 20.0

ISSUED: Final = registry_pb.ISSUANCE_STATE_ISSUED
REFUSED: Final = registry_pb.ISSUANCE_STATE_REFUSED


def test_containers_have_no_privileges(stack: Stack) -> None:
    for container in stack.containers():
        config: Any = container["Config"]
        host: Any = container["HostConfig"]
        name = container["Name"]
        assert config["User"] in {"soleclaim", "postgres"}, name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert not host["Privileged"], name


def test_only_its_part_reaches_a_database_or_native_system(stack: Stack) -> None:
    networks: dict[str, set[str]] = {}
    for container in stack.containers():
        labels: Any = container["Config"]
        settings: Any = container["NetworkSettings"]
        service = labels["Labels"]["com.docker.compose.service"]
        for network in settings["Networks"]:
            networks.setdefault(network.removeprefix(f"{stack.project}_"), set()).add(service)
    assert networks == {
        "gateway": {"lookup", "ccer-adapter", "gec-adapter"},
        "lookup-data": {"lookup", "lookup-database", "lookup-migrate"},
        "ccer-data": {"ccer-adapter", "ccer-database", "ccer-migrate"},
        "gec-data": {"gec-adapter", "gec-database", "gec-migrate"},
        "ccer-native": {"ccer-adapter", "ccer-sandbox"},
        "gec-native": {"gec-adapter", "gec-sandbox"},
    }


async def test_acts_of_the_demo_hold_on_the_stack(stack: Stack) -> None:
    async with stack.stage("acts", PLANTS) as stage:
        await acts.issue(stage)
        race = await acts.race(stage)
        assert race.figures["issued"] == len(PLANTS)
        crash = await acts.crash(stage, ContainerVictim(stack))
        assert crash.figures["native_issuances_after_restart"] == 1
    nothing_is_wrong(stack)


async def test_native_system_killed_in_mid_issue(stack: Stack) -> None:
    done, not_done = PLANTS[1:3], PLANTS[3:5]
    async with stack.stage("native-killed", PLANTS) as stage:
        for plants, fault in ((done, "timeout_after_work"), (not_done, "timeout_before_work")):
            # One after the other, so that each fault meets its own plants.
            await switch(stage, "ccer", fault, times=len(plants))
            pending = asyncio.create_task(stage.request("ccer", fault, plants, CCER_MONTHS))
            await until_hit(stage, "ccer", len(plants), pending)
            run("docker", "kill", stack.container("ccer-sandbox"))
            await asyncio.sleep(1)
            run("docker", "start", stack.container("ccer-sandbox"))
            issuances = await pending
            expected = ISSUED if plants is done else REFUSED
            assert [each.state for each in issuances] == [expected] * len(plants)
        again = await stage.request("ccer", "again", not_done, CCER_MONTHS)
        assert [each.state for each in again] == [ISSUED] * len(not_done)
    nothing_is_wrong(stack)


async def test_native_system_paused_past_the_deadline_of_a_call(stack: Stack) -> None:
    plants = MORE_PLANTS
    async with stack.stage("native-paused", PLANTS) as stage:
        await stage.native("gec", "/api/v1/filings", {"filings": [gec_filing(plant) for plant in plants]})
        readings = [gec_reading(plant, month) for plant in plants for month in GEC_MONTH]
        await stage.native("gec", "/api/v1/readings", {"readings": readings})
        await switch(stage, "gec", "slow", delay_s=1)
        pending = asyncio.create_task(stage.request("gec", "paused", plants, GEC_MONTH))
        await until_hit(stage, "gec", 1, pending)
        await paused(stack, "gec-sandbox", 6)
        # Whether the late call or the tombstone came first is the native system's affair; both are final.
        assert {each.state for each in await pending} <= {ISSUED, REFUSED}
        assert {each.state for each in await stage.request("gec", "again", plants, GEC_MONTH)} <= {ISSUED, REFUSED}
    nothing_is_wrong(stack)


async def test_adapter_paused_past_its_lease_in_mid_issue(stack: Stack) -> None:
    plants = PLANTS[5:7]
    async with stack.stage("adapter-paused", PLANTS) as stage:
        await switch(stage, "ccer", "slow", times=len(plants), delay_s=1)
        pending = asyncio.create_task(answered(lambda: stage.request("ccer", "paused", plants, CCER_MONTHS)))
        await until_hit(stage, "ccer", len(plants), pending)
        await paused(stack, "ccer-adapter", LEASE_TTL_S + 2)
        await pending
        await asyncio.to_thread(stack.wait_until_active, "ccer")
        issuances = await stage.request("ccer", "paused", plants, CCER_MONTHS)
        assert [each.state for each in issuances] == [ISSUED] * len(plants)
    nothing_is_wrong(stack)


async def test_lookup_cut_off_in_mid_issue(stack: Stack) -> None:
    plants: tuple[Plant, ...] = PLANTS[7:10]
    lookup, gateway = stack.container("lookup"), f"{stack.project}_gateway"
    async with stack.stage("lookup-cut", PLANTS) as stage:
        await switch(stage, "ccer", "slow", times=len(plants), delay_s=2)
        pending = asyncio.create_task(answered(lambda: stage.request("ccer", "cut", plants, CCER_MONTHS)))
        await until_hit(stage, "ccer", len(plants), pending)
        run("docker", "network", "disconnect", gateway, lookup)
        refused = await answered(lambda: stage.request("ccer", "meanwhile", PLANTS[10:11], CCER_MONTHS))
        await asyncio.sleep(3)
        run("docker", "network", "connect", "--alias", "lookup", gateway, lookup)
        assert refused is None
        await pending
        issuances = await until_answered(lambda: stage.request("ccer", "cut", plants, CCER_MONTHS))
        assert [each.state for each in issuances] == [ISSUED] * len(plants)
    nothing_is_wrong(stack)


def nothing_is_wrong(stack: Stack) -> None:
    """The checker looked at every store and native system, saw issuances, and found nothing."""
    report: Any = stack.check()
    assert report["complete"] is True
    assert report["violations"] == 0
    assert all(report["invariants"][name]["looked_at"] for name in ("I1", "I2", "I3")), report


async def switch(stage: Stage, registry: str, fault: str, *, times: int = 1, delay_s: float = 0) -> None:
    """Switch a fault of the native stand-in on, for its next calls that issue; earlier ones off."""
    body = {"fault": fault, "path": ISSUE_PATHS[registry], "times": times, "delay_s": delay_s}
    async with httpx.AsyncClient(base_url=stage.natives[registry], trust_env=False) as http:
        (await http.delete("/_faults")).raise_for_status()
        (await http.post("/_faults", json=body)).raise_for_status()


async def until_hit(stage: Stage, registry: str, times: int, request: asyncio.Task[Any]) -> None:
    """Wait until that many calls of ``request`` met the fault: from then on they are under way."""
    async with httpx.AsyncClient(base_url=stage.natives[registry], trust_env=False) as http:
        async with asyncio.timeout(HIT_LIMIT_S):
            while sum(fault["hits"] for fault in (await http.get("/_faults")).json()["faults"]) < times:
                assert not request.done(), f"ended before it met the fault: {request.result()}"
                await asyncio.sleep(0.05)


async def paused(stack: Stack, service: str, seconds: float) -> None:
    """Freeze a container for a while."""
    container = stack.container(service)
    run("docker", "pause", container)
    try:
        await asyncio.sleep(seconds)
    finally:
        run("docker", "unpause", container)


async def answered(
    request: Callable[[], Awaitable[list[registry_pb.Issuance]]],
) -> list[registry_pb.Issuance] | None:
    """The answer; ``None`` when there is none for now."""
    try:
        return await request()
    except RemoteUnavailable:
        return None
    except RemoteRefusal as refusal:
        if refusal.reason not in {Reason.LOOKUP_UNAVAILABLE, Reason.ADAPTER_STANDING_BY}:
            raise
        return None


async def until_answered(
    request: Callable[[], Awaitable[list[registry_pb.Issuance]]],
) -> list[registry_pb.Issuance]:
    """Ask, with the same request id, until there is an answer."""
    async with asyncio.timeout(60):
        while (answer := await answered(request)) is None:  # noqa: ASYNC110  what is waited for is elsewhere
            await asyncio.sleep(0.5)
    return answer
