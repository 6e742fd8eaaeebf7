"""Whole adapters as processes over mutual TLS: against the real lookup and the stand-ins of the native registries."""

import asyncio
import signal

import pytest

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.errors import Reason
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status
from tests.registry.stack import (
    CCER_PROJECT,
    DECLARED,
    HALF_YEAR,
    MARCH,
    SETTLE_S,
    Process,
    Stack,
    a_request,
    settled,
)


async def test_one_outcome_is_issued_by_one_registry_only(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1], "ccer") as ccer:
        green = await gec.call(gec.registry.RequestIssuance, a_request(0))
        assert (green.state, green.units) == (pb.ISSUANCE_STATE_ISSUED, 12)
        assert sum(block.end - block.start + 1 for block in green.blocks) == 12
        assert green.reference in await stack.native_references("gec")
        lock = await lookup.call(lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=green.issuance_lock))
        assert lock.state == lock_pb.ISSUANCE_LOCK_STATE_ISSUED

        asked = pb.RequestIssuanceRequest(
            request_id="credit-1",
            native_project_id=CCER_PROJECT,
            period=to_interval(HALF_YEAR),
            declaration=DECLARED,
        )
        credit = await ccer.call(ccer.registry.RequestIssuance, asked)
        assert credit.state == pb.ISSUANCE_STATE_REFUSED
        assert from_status(credit.error).reason is Reason.ACTIVITY_ALREADY_ISSUED
        assert credit.activity == green.activity
        assert await stack.native_references("ccer") == []

        dry_run = pb.CheckIssuanceRequest(native_project_id=CCER_PROJECT, period=asked.period, declaration=DECLARED)
        check = await ccer.call(ccer.registry.CheckIssuance, dry_run)
        assert [from_status(each).reason for each in check.refusals] == [Reason.ACTIVITY_ALREADY_ISSUED]
        answers = {answer.registry: answer for answer in check.peer_answers}
        assert answers["gec"].verdict == pb.PEER_VERDICT_ISSUED
        assert [found.instrument for found in answers["gec"].issuances] == ["GEC"]
        assert all(each.verdict == pb.PEER_VERDICT_UNKNOWN for code, each in answers.items() if code != "gec")

        assert adapters[0].stop() == 0
        check = await ccer.call(ccer.registry.CheckIssuance, dry_run)
        assert {each.verdict for each in check.peer_answers} == {pb.PEER_VERDICT_UNKNOWN}


async def test_a_registry_asks_only_its_own_adapter_to_issue(stack: Stack, adapters: list[Process]) -> None:
    adapters.append(stack.adapter("gec"))
    async with stack.dial(adapters[0], "ccer") as other, stack.dial(adapters[0], "gec") as own:
        with pytest.raises(RemoteRefusal) as refused:
            await other.call(other.registry.RequestIssuance, a_request(1))
        assert refused.value.reason is Reason.REGISTRY_NOT_YOURS
        batch = pb.BatchRequestIssuancesRequest(requests=[a_request(1), pb.RequestIssuanceRequest(units=-1)])
        with pytest.raises(RemoteRefusal) as refused:
            await own.call(own.registry.BatchRequestIssuances, batch)
        assert [each.field for each in refused.value.violations] == [
            "request_id",
            "requests[0].request_id",
            "requests[1].native_project_id",
            "requests[1].period",
            "requests[1].units",
        ]
        first = await own.call(own.registry.RequestIssuance, a_request(1))
        other_caller = await settled(stack.dial(adapters[0]), a_request(1))
        assert from_status(other_caller.error).reason is not None
        found = await other.call(
            other.registry.FindIssuances,
            pb.FindIssuancesRequest(activity=first.activity, period=to_interval(MARCH)),
        )
        assert [each.state for each in found.issuances] == [pb.ISSUANCE_STATE_ISSUED]
        page = await own.call(own.registry.ListIssuances, pb.ListIssuancesRequest(page_size=1))
        rest = await own.call(
            own.registry.ListIssuances, pb.ListIssuancesRequest(page_size=1, page_token=page.next_page_token)
        )
        assert page.issuances[0].name != rest.issuances[0].name
        assert await own.call(own.registry.GetIssuance, pb.GetIssuanceRequest(name=first.name)) == first


@pytest.mark.parametrize(("number", "point"), [(2, "ACQUIRE.after"), (3, "SEND.after"), (4, "NATIVE.after")])
async def test_a_killed_adapter_comes_back_and_settles_its_issuance(
    stack: Stack, adapters: list[Process], lookup: LookupClient, number: int, point: str
) -> None:
    adapters.append(stack.adapter("gec", failpoint=f"kill:registry.{point}", lease_s=1.5))
    async with stack.dial(adapters[0]) as client:
        with pytest.raises(RemoteUnavailable):
            await client.call(client.registry.RequestIssuance, a_request(number))
    assert adapters[0].ended() == -signal.SIGKILL
    adapters.append(stack.adapter("gec", lease_s=1.5))
    async with stack.dial(adapters[1]) as client:
        issuance = await settled(client, a_request(number))
    lock = await lookup.call(lookup.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=issuance.issuance_lock))
    issued = issuance.reference in await stack.native_references("gec")
    # The native registry voids references, so what was about to be sent and was not there is proven absent.
    assert issued is (point != "SEND.after")
    assert issuance.state == (pb.ISSUANCE_STATE_ISSUED if issued else pb.ISSUANCE_STATE_REFUSED)
    assert lock.state == (lock_pb.ISSUANCE_LOCK_STATE_ISSUED if issued else lock_pb.ISSUANCE_LOCK_STATE_ABORTED)


async def test_a_stopped_adapter_that_wakes_up_finds_its_place_taken(stack: Stack, adapters: list[Process]) -> None:
    adapters.append(stack.adapter("gec", failpoint="stop:registry.NATIVE.before", lease_s=1.5))
    async with stack.dial(adapters[0]) as sleeper:
        asked = asyncio.create_task(sleeper.call(sleeper.registry.RequestIssuance, a_request(6), timeout_s=30))
        async with asyncio.timeout(SETTLE_S):
            while not adapters[0].is_stopped():  # noqa: ASYNC110  another process gives no event
                await asyncio.sleep(0.05)
        adapters.append(stack.adapter("gec", lease_s=1.5))
        async with stack.dial(adapters[1]) as twin:
            issuance = await settled(twin, a_request(6))
            assert issuance.state == pb.ISSUANCE_STATE_REFUSED
            adapters[0].popen.send_signal(signal.SIGCONT)
            with pytest.raises((RemoteRefusal, RemoteUnavailable)):
                await asked
            with pytest.raises(RemoteUnavailable) as refused:
                await sleeper.call(sleeper.registry.RequestIssuance, a_request(7))
            assert refused.value.refusal is not None
            assert refused.value.refusal.reason is Reason.ADAPTER_STANDING_BY
            assert (await settled(twin, a_request(7))).state == pb.ISSUANCE_STATE_ISSUED
    assert issuance.reference not in await stack.native_references("gec")
