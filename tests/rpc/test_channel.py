"""Deadlines, retries and trace ids from one server to the next."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory
from soleclaim.api.lookup.v1 import registry_directory_service_pb2_grpc as directory_grpc
from soleclaim.core.errors import DomainError, Reason
from soleclaim.rpc.calls import remaining_s, trace_id, unbound
from soleclaim.rpc.channel import open_channel, retried_methods
from soleclaim.rpc.limits import KEEPALIVE_TIME_MS, MIN_PING_INTERVAL_MS
from soleclaim.rpc.status import from_call
from tests.rpc.conftest import GEC

if TYPE_CHECKING:
    from tests.rpc.conftest import Harness

GET, LIST, ANNOUNCE = (
    directory.GetRegistryEntryRequest(),
    directory.ListRegistriesRequest(),
    directory.AnnounceRegistryRequest(),
)


async def two_servers(harness: "Harness", inner: Any, outer: Any) -> Any:
    """A stub to a server whose ``outer`` handler may call a second one, ``inner``, by a stub it is given."""

    async def answer(request: Any, context: Any) -> Any:
        if isinstance(request, directory.GetRegistryEntryRequest):
            return await outer(downstream)
        return await inner(request, context)

    harness.directory.answer = answer
    _, port = await harness.serve()
    downstream = directory_grpc.RegistryDirectoryServiceStub(await harness.channel(port))
    return directory_grpc.RegistryDirectoryServiceStub(await harness.channel(port))


async def test_a_call_made_on_behalf_of_another_ends_before_it(harness: "Harness") -> None:
    seen: list[tuple[float, str]] = []

    async def inner(_request: Any, context: Any) -> Any:
        seen.append((context.time_remaining(), trace_id()))
        return directory.ListRegistriesResponse()

    async def outer(downstream: Any) -> Any:
        await downstream.ListRegistries(LIST)
        await downstream.ListRegistries(LIST, timeout=0.5)
        with unbound():
            await asyncio.create_task(_call(downstream))
        return directory.Registry(name=trace_id(), endpoint=str(remaining_s()))

    stub = await two_servers(harness, inner, outer)
    response = await stub.GetRegistryEntry(GET, timeout=3)
    bounded, configured, free = seen
    assert bounded[0] < 3
    assert configured[0] < 0.6
    assert 9 < free[0] < 11
    assert {trace for _, trace in seen} == {response.name}


async def _call(stub: Any) -> None:
    await stub.ListRegistries(LIST)


async def test_a_downstream_time_out_is_still_reported(harness: "Harness") -> None:
    async def inner(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(60)

    async def outer(downstream: Any) -> Any:
        if await downstream.ListRegistries(LIST).code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise DomainError(Reason.LOOKUP_UNAVAILABLE)

    stub = await two_servers(harness, inner, outer)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetRegistryEntry(GET, timeout=0.6)
    assert from_call(caught.value).reason is Reason.LOOKUP_UNAVAILABLE


async def test_no_call_starts_when_no_time_is_left(harness: "Harness") -> None:
    reached: list[object] = []

    async def inner(request: Any, _context: Any) -> Any:
        reached.append(request)
        return directory.ListRegistriesResponse()

    codes: list[grpc.StatusCode] = []

    async def outer(downstream: Any) -> Any:
        await asyncio.sleep(0.37)
        codes.append(await downstream.ListRegistries(LIST).code())
        return directory.Registry()

    stub = await two_servers(harness, inner, outer)
    await stub.GetRegistryEntry(GET, timeout=0.4).code()
    await asyncio.sleep(0.1)
    assert codes in ([], [grpc.StatusCode.DEADLINE_EXCEEDED])
    assert not reached


async def test_a_call_without_deadline_gets_the_default(harness: "Harness") -> None:
    async def answer(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(60)

    harness.directory.answer = answer
    _, port = await harness.serve()
    channel = await harness.channel(port, default_deadline_s=0.3)
    started = time.monotonic()
    call = directory_grpc.RegistryDirectoryServiceStub(channel).ListRegistries(LIST)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("reason", "method", "runs"),
    [
        (Reason.STORE_BUSY, "ListRegistries", 3),
        (Reason.STORE_BUSY, "AnnounceRegistry", 1),  # not protected by a request_id
        (Reason.ISSUANCE_LOCK_HELD, "ListRegistries", 1),  # not UNAVAILABLE
    ],
)
async def test_only_safe_calls_are_run_again_and_only_when_unavailable(
    harness: "Harness", reason: Reason, method: str, runs: int
) -> None:
    counted = 0

    async def answer(_request: Any, _context: Any) -> Any:
        nonlocal counted
        counted += 1
        raise DomainError(reason, registry="gec", instrument="GEC", period="p", state="s")

    harness.directory.answer = answer
    _, port = await harness.serve()
    stub = directory_grpc.RegistryDirectoryServiceStub(await harness.channel(port))
    with pytest.raises(grpc.aio.AioRpcError):
        await getattr(stub, method)(LIST if method == "ListRegistries" else ANNOUNCE)
    assert counted == runs


async def test_a_call_that_fails_once_succeeds_by_itself(harness: "Harness") -> None:
    counted = 0

    async def answer(_request: Any, _context: Any) -> Any:
        nonlocal counted
        counted += 1
        if counted == 1:
            raise DomainError(Reason.STORE_BUSY)
        return directory.ListRegistriesResponse()

    harness.directory.answer = answer
    _, port = await harness.serve()
    await directory_grpc.RegistryDirectoryServiceStub(await harness.channel(port)).ListRegistries(LIST)
    assert counted == 2


async def test_a_new_client_does_not_wait_with_one_that_found_no_server(harness: "Harness") -> None:
    server, port = await harness.serve(tls=None, plaintext_on_loopback=True)
    await server.stop()
    target = f"127.0.0.1:{port}"
    async with open_channel(target, None, caller=GEC) as before, asyncio.timeout(30):
        # By then it waits more than two seconds between its tries to connect, longer than a call is tried again.
        stub, waits_from = directory_grpc.RegistryDirectoryServiceStub(before), time.monotonic() + 4.9
        while time.monotonic() < waits_from:
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.ListRegistries(LIST)
        await harness.serve(tls=None, plaintext_on_loopback=True, port=port)
        async with open_channel(target, None, caller=GEC) as after:
            await directory_grpc.RegistryDirectoryServiceStub(after).GetRegistryEntry(GET)


def test_what_is_run_again_is_a_read_or_protected_by_a_request_id() -> None:
    names = {method for _, method in retried_methods()}
    assert {"AcquireIssuanceLock", "BatchCommitIssuances", "RequestIssuance", "FindIssuances", "GetOutcome"} <= names
    assert names.isdisjoint({"AnnounceRegistry", "WatchEvents"})


def test_clients_ping_less_often_than_servers_tolerate() -> None:
    assert KEEPALIVE_TIME_MS >= 2 * MIN_PING_INTERVAL_MS
