"""A registry that exchanges files, behind a real adapter: nights pass between an order and its answer."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import httpx
import pytest

from soleclaim.api.lookup.v1 import coverage_service_pb2 as coverage_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RemoteUnavailable
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.rpc.parse import to_interval
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn
from tests.registry.stack import DECLARED, KINDS, SETTLE_S, Process, Stack, settled

SAVER: Final = "HEN-2024-00001"
FOREST: Final = "BFCER-110109-2023-001"
PROJECTS: Final = {"eur-hen": SAVER, "bfcer": FOREST}


@pytest.fixture(scope="module")
def exchanges(stack: Stack) -> Iterator[dict[str, str]]:
    """Where each stand-in is told what to do."""
    with contextlib.ExitStack() as exits:
        urls = {}
        for registry in PROJECTS:
            drop = stack.folder / f"drop-{registry}"
            drop.mkdir()
            stand_in = StandIn(stack.folder / f"native-{registry}.db", registry, folder=drop)
            urls[registry] = exits.enter_context(running(KINDS[registry], stand_in))
            stack.natives[registry] = drop.as_uri()
        yield urls


def _tell(url: str, path: str, /, **body: object) -> None:
    httpx.post(f"{url}{path}", json=body, trust_env=False, verify=False).raise_for_status()  # noqa: S501  plain HTTP


def _set_up(registry: str, url: str, first: str, last: str) -> None:
    """A project with 1,428 units in a year."""
    if registry == "bfcer":
        filing = {
            "filingNo": FOREST, "divisionCode": "110109", "projectName": "门头沟造林碳汇", "applicant": "某林场",
            "category": "林业碳汇", "province": "北京市",
        }  # fmt: skip
        reduction = {"filingNo": FOREST, "from": first, "to": last, "verifiedTonnes": "1428.6"}
        _tell(url, "/office/filings", filings=[filing])
        _tell(url, "/office/reductions", reductions=[reduction])
        return
    project = {
        "projectNo": SAVER, "name": "安阳某钢厂余热发电", "owner": "某钢铁公司", "uscc": "91410500MA4UQ0001X",
        "kind": "余热利用",
    }  # fmt: skip
    saving = {"projectNo": SAVER, "from": first, "to": last, "amount": "2000", "unit": "吨原煤"}
    _tell(url, "/office/projects", projects=[project])
    _tell(url, "/office/savings", savings=[saving])


def _orders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("order-*") if path.suffix != ".sha256"]


@pytest.mark.parametrize(
    ("registry", "number", "killed"),
    [("eur-hen", 1, "SEND.after"), ("eur-hen", 2, "NATIVE.after"), ("eur-hen", 3, ""), ("bfcer", 1, "NATIVE.after")],
)
async def test_an_order_by_file_is_in_doubt_until_a_whole_delivery_answers_it(
    stack: Stack,
    exchanges: dict[str, str],
    adapters: list[Process],
    lookup: LookupClient,
    registry: str,
    number: int,
    killed: str,
) -> None:
    exchange = exchanges[registry]
    year = period_of_days(date(2020 + number, 1, 1), date(2020 + number, 12, 31), CHINA)
    _set_up(registry, exchange, f"{2020 + number}-01-01", f"{2020 + number}-12-31")
    _tell(exchange, "/night")
    issued_before = await stack.native_references(registry)
    request = pb.RequestIssuanceRequest(
        request_id=f"request-{registry}-{number}",
        native_project_id=PROJECTS[registry],
        period=to_interval(year),
        declaration=DECLARED,
    )
    adapters.append(stack.adapter(registry, failpoint=f"kill:registry.{killed}" if killed else "", lease_s=1.5))
    async with stack.dial(adapters[0]) as client:
        if killed:
            with pytest.raises(RemoteUnavailable):
                await client.call(client.registry.RequestIssuance, request)
        else:
            doubt = await client.call(client.registry.RequestIssuance, request)
            assert doubt.state == pb.ISSUANCE_STATE_IN_DOUBT, doubt.error
            adapters[0].popen.kill()
    assert adapters[0].ended() == -signal.SIGKILL

    adapters.append(stack.adapter(registry, lease_s=1.5))
    async with stack.dial(adapters[1]) as client:
        result = "/delivery" if registry == "bfcer" else "/issuances"
        orders = stack.folder / f"drop-{registry}" / "to-registry"
        async with asyncio.timeout(SETTLE_S):
            # Killed before the call, it is handed over by recovery: the very same order again is no second one.
            while len(_orders(orders)) < number:  # noqa: ASYNC110  another process gives no event
                await asyncio.sleep(0.05)
        _tell(exchange, "/_faults", fault="half_file", path=result)
        _tell(exchange, "/night")
        await asyncio.sleep(1)
        doubt = await client.call(client.registry.RequestIssuance, request)
        assert doubt.state == pb.ISSUANCE_STATE_IN_DOUBT, "half of a result is no result"
        _tell(exchange, "/_faults", fault="doubled_file", path=result)
        _tell(exchange, "/night")
        issuance = await settled(client, request)
    assert (issuance.state, issuance.units) == (pb.ISSUANCE_STATE_ISSUED, 1_428)
    _tell(exchange, "/night")
    assert await stack.native_references(registry) == [*issued_before, issuance.reference]
    assert len(_orders(orders)) == number
    lock = await lookup.call(lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=issuance.issuance_lock))
    assert lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUED


async def test_entities_inside_the_market_are_passed_on_to_the_lookup(
    stack: Stack, exchanges: dict[str, str], adapters: list[Process], lookup: LookupClient
) -> None:
    exchange = exchanges["eur-hen"]
    entity = {
        "entryNo": "1", "entityNo": "HEN-E00001", "name": "安阳某钢铁厂", "uscc": "91410500MA4UQ0001X",
        "sector": "钢铁", "boundary": "全厂", "from": "2022-04-01",
    }  # fmt: skip
    left = {**entity, "entryNo": "2", "corrects": "1", "to": "2024-06-30"}
    _tell(exchange, "/office/entities", entities=[entity, left])
    _tell(exchange, "/night")
    adapters.append(stack.adapter("eur-hen", lease_s=1.5))
    request = coverage_pb.ListCoverageRequest(registry="eur-hen", show_history=True)
    async with asyncio.timeout(SETTLE_S):
        while len(found := (await lookup.call(lookup.coverage.ListCoverage, request)).coverages) < 2:  # noqa: ASYNC110  another process gives no event
            await asyncio.sleep(0.1)
    [counts] = [each for each in found if each.in_force]
    assert (counts.statement_id, counts.corrects, counts.scheme) == (
        "2",
        "1",
        coverage_pb.COVERAGE_SCHEME_ENERGY_USE,
    )
    assert counts.period == to_interval(period_of_days(date(2022, 4, 1), date(2024, 6, 30), CHINA))
