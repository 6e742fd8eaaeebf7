"""The profile ``all`` of the deployed stack: a wrong clock, half a file, a settled month, an archive."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.lookup.v1 import settlement_service_pb2 as settlement_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal
from soleclaim.core.errors import Reason
from soleclaim.demo.stage import DECLARATION, SETTLE_LIMIT_S, Stage, repeated
from soleclaim.history import archive
from soleclaim.history.rows import Line
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.parts.examples import EXAMPLES, Filing, Result
from soleclaim.parts.stand_ins import NativeSystem
from soleclaim.rpc.parse import to_interval

from .stack import FURTHER, START_LIMIT_S, Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

UNITS: Final = 1_234
"""As many as the certificates whose energy the example of a power exchange settles."""
ISSUED: Final = registry_pb.ISSUANCE_STATE_ISSUED
IN_DOUBT: Final = registry_pb.ISSUANCE_STATE_IN_DOUBT
SETTLED: Final = settlement_pb.SETTLEMENT_STATE_SETTLED
PANDA: Final = Path(str(resources.files("soleclaim"))) / "sandbox/archive/panda"
"""The tables that the profile mounts."""


@pytest.fixture(scope="module")
def families(stack: Stack) -> Iterator[Stack]:
    """The stack with the profile's registries beside it."""
    stack.add_further()
    yield stack
    stack.remove_further()


@pytest.fixture
async def clients(families: Stack) -> AsyncIterator[dict[str, RegistryClient]]:
    """An operator's line to each adapter, once it answers."""
    async with AsyncExitStack() as opened:
        lines = {
            code: await opened.enter_async_context(RegistryClient(families.address(code), families.identity("desk")))
            for code in ("cea", "eur-hen", "gec", "gp-bj", "panda")
        }
        for each in lines.values():
            call = partial(each.call, each.registry.GetRegistry, registry_pb.GetRegistryRequest())
            await repeated(call, patience_s=START_LIMIT_S)
        yield lines


@pytest.fixture
async def lookup(families: Stack) -> AsyncIterator[LookupClient]:
    """An operator's line to the lookup."""
    async with LookupClient(families.address("lookup"), families.identity("desk")) as client:
        yield client


async def ask(client: RegistryClient, registry: str, filing: Filing) -> registry_pb.Issuance:
    request = registry_pb.RequestIssuanceRequest(
        request_id=f"families-{registry}",
        native_project_id=filing.id,
        period=to_interval(period_of_days(*filing.results[0].days, CHINA)),
        declaration=DECLARATION,
    )
    issuance: registry_pb.Issuance = await repeated(
        lambda: client.call(client.registry.RequestIssuance, request, timeout_s=30)
    )
    return issuance


async def filed(stack: Stack, registry: str) -> tuple[NativeSystem, Filing]:
    """The registry's example, at its desk."""
    native = stack.native(registry)
    filing = native.example.filing(1, [Result(native.example.desk.measured[0], UNITS)])
    await native.fill([filing])
    return native, filing


async def tell(native: NativeSystem, path: str, body: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=native.desk_url, trust_env=False) as http:
        (await http.post(path, json=body)).raise_for_status()


async def hits(native: NativeSystem) -> int:
    async with httpx.AsyncClient(base_url=native.desk_url, trust_env=False) as http:
        faults: list[dict[str, Any]] = (await http.get("/_faults")).json()["faults"]
    return sum(fault["hits"] for fault in faults)


async def settled(registry: str, client: RegistryClient, issuance: registry_pb.Issuance) -> registry_pb.Issuance:
    return await Stage("families", (), {}, {registry: client}, {}).settled(registry, issuance)


async def test_signed_order_that_meets_a_skewed_clock_is_issued_once(
    families: Stack, clients: dict[str, RegistryClient]
) -> None:
    native, filing = await filed(families, "cea")
    fault = {"fault": "skewed_clock", "delay_s": 400, "path": native.example.desk.issue_path, "times": 1}
    await tell(native, "/_faults", fault)
    issuance = await settled("cea", clients["cea"], await ask(clients["cea"], "cea", filing))
    assert (issuance.state, issuance.units) == (ISSUED, UNITS), issuance.error.message
    assert await hits(native) == 1


async def test_order_by_file_stays_in_doubt_while_its_answer_is_half_written(
    families: Stack, clients: dict[str, RegistryClient]
) -> None:
    client = clients["eur-hen"]
    native, filing = await filed(families, "eur-hen")
    doubtful = await ask(client, "eur-hen", filing)
    assert doubtful.state == IN_DOUBT, doubtful.error.message
    await tell(native, "/_faults", {"fault": "half_file", "path": "/issuances", "times": 1})
    await tell(native, "/night", {})
    assert await hits(native) == 1
    await asyncio.sleep(3)
    assert (await ask(client, "eur-hen", filing)).state == IN_DOUBT, "half of an answer is none"
    await tell(native, "/night", {})
    issuance = await settled("eur-hen", client, doubtful)
    assert (issuance.state, issuance.units) == (ISSUED, UNITS), issuance.error.message


async def test_month_that_a_power_exchange_settled_reaches_the_lookup(
    families: Stack, clients: dict[str, RegistryClient], lookup: LookupClient
) -> None:
    native, filing = await filed(families, "gp-bj")
    await families.native("gec").fill([filing])
    issuance = await settled("gec", clients["gec"], await ask(clients["gec"], "gec", filing))
    assert (issuance.state, issuance.units) == (ISSUED, UNITS), issuance.error.message
    (block,) = issuance.blocks
    await native.tell([native.example.settled(filing, block.series, block.start, block.end)])
    request = settlement_pb.ListSettlementsRequest(registry="gp-bj")
    found = settlement_pb.ListSettlementsResponse()
    async with asyncio.timeout(SETTLE_LIMIT_S):
        while not found.settlements:
            await asyncio.sleep(0.25)
            found = await lookup.call(lookup.settlements.ListSettlements, request)
    (line,) = found.settlements
    assert (line.state, line.certificates, list(line.blocks)) == (SETTLED, UNITS, [block])
    assert (line.activity, line.period, line.count_differs) == (issuance.activity, issuance.period, False)


async def test_archive_refuses_to_issue_and_its_history_stands_in_the_ledger(
    clients: dict[str, RegistryClient], lookup: LookupClient
) -> None:
    client, example = clients["panda"], EXAMPLES["panda"]
    filing = example.filing(1, [Result(example.desk.measured[0], UNITS)])
    assert not (await client.call(client.registry.GetRegistry, registry_pb.GetRegistryRequest())).instruments
    with pytest.raises(RemoteRefusal) as refused:
        await ask(client, "panda", filing)
    assert refused.value.reason is Reason.REGISTRY_ISSUES_NOTHING
    locks = await lookup.call(lookup.locks.ListIssuanceLocks, lock_pb.ListIssuanceLocksRequest(registry="panda"))
    held = {each.native_issuance_id: each.units for lock in locks.issuance_locks for each in lock.issuances}
    told = [each.issued for each in archive.read(PANDA, "panda") if isinstance(each, Line) and each.issued]
    assert held == {each.native_issuance_id: each.units for each in told}
    assert len(told) > 1


def test_check_of_everything_finds_nothing(families: Stack) -> None:
    report: Any = families.check("check-all")
    assert (report["complete"], report["violations"]) == (True, 0), report
    not_compared = {note.partition(":")[0] for note in report["notes"]}
    assert not not_compared.intersection(f"registry {code}" for code in FURTHER), report
