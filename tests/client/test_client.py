"""The client library against real servers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from soleclaim.api.lookup.v1 import event_service_pb2 as events
from soleclaim.api.lookup.v1 import event_service_pb2_grpc as events_grpc
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory
from soleclaim.api.lookup.v1 import registry_directory_service_pb2_grpc as directory_grpc
from soleclaim.api.registry.v1 import registry_service_pb2 as registry
from soleclaim.api.registry.v1 import registry_service_pb2_grpc as registry_grpc
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.errors import DomainError, FieldViolation, InvalidRequest, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.server import RpcServer, ServerOptions, Service
from soleclaim.rpc.tls import TlsFiles

# ruff: noqa: N802  servicers are named by the protos

GEC = Caller(Role.REGISTRY, "gec")


class Lookup(directory_grpc.RegistryDirectoryServiceServicer, events_grpc.EventServiceServicer):
    """Fails as told, and knows one registry."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.endpoint = ""
        self.cursors: list[str] = []
        self.failures: list[Exception | None] = []

    async def AnnounceRegistry(self, request: Any, context: Any) -> directory.Registry:
        del context
        if self.error is not None:
            raise self.error
        return directory.Registry(name=request.registry)

    async def GetRegistryEntry(self, request: Any, context: Any) -> directory.Registry:
        del context
        if request.name != "registries/gec":
            raise DomainError(Reason.REGISTRY_UNKNOWN, registry=request.name)
        return directory.Registry(name=request.name, endpoint=self.endpoint)

    async def ListRegistries(self, request: Any, context: Any) -> directory.ListRegistriesResponse:
        del request, context
        await asyncio.sleep(60)
        raise AssertionError

    async def WatchEvents(self, request: Any, context: Any) -> AsyncIterator[events.WatchEventsResponse]:
        del context
        self.cursors.append(request.cursor)
        first = int(request.cursor or 0) + 1
        for number in range(first, first + 2):
            yield events.WatchEventsResponse(cursor=str(number))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


class Registry(registry_grpc.RegistryServiceServicer):
    """Answers one question."""

    async def GetRegistry(self, request: Any, context: Any) -> registry.RegistryInfo:
        del request, context
        return registry.RegistryInfo(code="gec")

    async def _none(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    RequestIssuance = BatchRequestIssuances = CheckIssuance = GetIssuance = ListIssuances = FindIssuances = _none


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    path = tmp_path_factory.mktemp("certificates")
    make_authority(path)
    return issue_certificate(path, GEC)


@pytest.fixture
async def stack() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


@pytest.fixture
async def lookup(stack: AsyncExitStack, tls: TlsFiles) -> tuple[Lookup, LookupClient, RpcServer]:
    servicer = Lookup()
    server = RpcServer(
        ServerOptions(host="127.0.0.1", port=0, tls=tls, grace_s=1),
        [
            Service(
                "soleclaim.api.lookup.v1.RegistryDirectoryService",
                lambda server: directory_grpc.add_RegistryDirectoryServiceServicer_to_server(servicer, server),
            ),
            Service(
                "soleclaim.api.lookup.v1.EventService",
                lambda server: events_grpc.add_EventServiceServicer_to_server(servicer, server),
            ),
        ],
    )
    port = await server.start()
    stack.push_async_callback(server.stop)
    return servicer, await stack.enter_async_context(LookupClient(f"localhost:{port}", tls)), server


Started = tuple[Lookup, LookupClient, RpcServer]


async def test_refusals_arrive_typed(lookup: Started) -> None:
    servicer, client, _ = lookup
    request = directory.AnnounceRegistryRequest(registry="gec")
    assert (await client.call(client.directory.AnnounceRegistry, request)).name == "gec"
    servicer.error = InvalidRequest([FieldViolation("endpoint", "is empty"), FieldViolation("api_version", "is empty")])
    with pytest.raises(RemoteRefusal) as caught:
        await client.call(client.directory.AnnounceRegistry, request)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in caught.value.violations] == ["endpoint", "api_version"]
    assert "请求有 2 处错误" in caught.value.message_zh


@pytest.mark.parametrize(
    "error",
    [RuntimeError("bug"), DomainError(Reason.STORE_BUSY), DomainError(Reason.TOO_MANY_CALLS, limit=1)],
    ids=["bug", "busy", "crowded"],
)
async def test_answers_that_do_not_tell_the_outcome_are_unknown(lookup: Started, error: Exception) -> None:
    servicer, client, _ = lookup
    servicer.error = error
    with pytest.raises(RemoteUnavailable) as caught:
        await client.call(client.directory.AnnounceRegistry, directory.AnnounceRegistryRequest())
    assert caught.value.refusal is not None
    assert caught.value.refusal.reason in {Reason.INTERNAL, Reason.STORE_BUSY, Reason.TOO_MANY_CALLS}


async def test_a_time_out_is_unknown(lookup: Started) -> None:
    _, client, _ = lookup
    with pytest.raises(RemoteUnavailable) as caught:
        await client.call(client.directory.ListRegistries, directory.ListRegistriesRequest(), timeout_s=0.3)
    assert (caught.value.code, caught.value.refusal) == ("DEADLINE_EXCEEDED", None)


async def test_a_server_that_is_gone_is_unknown(lookup: Started) -> None:
    _, client, server = lookup
    await server.stop()
    with pytest.raises(RemoteUnavailable) as caught:
        await client.call(client.directory.AnnounceRegistry, directory.AnnounceRegistryRequest(), timeout_s=3)
    assert caught.value.code == "UNAVAILABLE"


async def test_a_service_that_is_not_served_is_a_refusal(lookup: Started) -> None:
    _, client, _ = lookup
    from soleclaim.api.lookup.v1.activity_service_pb2 import GetActivityRequest  # noqa: PLC0415

    with pytest.raises(RemoteRefusal) as caught:
        await client.call(client.activities.GetActivity, GetActivityRequest())
    assert (caught.value.reason, caught.value.code) == (None, "UNIMPLEMENTED")


async def test_a_registry_is_dialled_where_it_announced_itself(
    lookup: Started, stack: AsyncExitStack, tls: TlsFiles
) -> None:
    servicer, client, _ = lookup
    with pytest.raises(RemoteUnavailable, match="never announced"):
        await RegistryClient.resolve(client, "gec", tls)
    with pytest.raises(RemoteRefusal) as caught:
        await RegistryClient.resolve(client, "vcs", tls)
    assert caught.value.reason is Reason.REGISTRY_UNKNOWN
    service = Service(
        "soleclaim.api.registry.v1.RegistryService",
        lambda server: registry_grpc.add_RegistryServiceServicer_to_server(Registry(), server),
    )
    adapter = RpcServer(ServerOptions(host="127.0.0.1", port=0, tls=tls, grace_s=1), [service])
    servicer.endpoint = f"localhost:{await adapter.start()}"
    stack.push_async_callback(adapter.stop)
    async with await RegistryClient.resolve(client, "gec", tls) as gec:
        assert (await gec.call(gec.registry.GetRegistry, registry.GetRegistryRequest())).code == "gec"


async def test_a_watch_resumes_after_the_last_event_it_gave(lookup: Started) -> None:
    servicer, client, _ = lookup
    servicer.failures = [DomainError(Reason.STORE_BUSY), RuntimeError("bug"), None]
    watch = client.watch("4")
    seen = [(await anext(watch)).cursor for _ in range(7)]
    await watch.aclose()
    assert seen == ["5", "6", "7", "8", "9", "10", "11"]
    assert servicer.cursors == ["4", "6", "8", "10"]


async def test_a_watch_until_now_ends(lookup: Started) -> None:
    _, client, _ = lookup
    assert [event.cursor async for event in client.watch(until_now=True)] == ["1", "2"]


async def test_a_watch_ends_when_it_is_refused(lookup: Started) -> None:
    servicer, client, _ = lookup
    servicer.failures = [InvalidRequest([FieldViolation("cursor", "is unknown")])]
    watch = client.watch()
    assert [(await anext(watch)).cursor for _ in range(2)] == ["1", "2"]
    with pytest.raises(RemoteRefusal):
        await anext(watch)


async def test_a_watch_outlives_the_server(lookup: Started, tls: TlsFiles, stack: AsyncExitStack) -> None:
    _, client, server = lookup
    watch = client.watch()
    assert (await anext(watch)).cursor == "1"
    await server.stop()
    port = int(client.target.rsplit(":", 1)[1])
    again = Lookup()
    second = RpcServer(
        ServerOptions(host="127.0.0.1", port=port, tls=tls, grace_s=1),
        [
            Service(
                "soleclaim.api.lookup.v1.EventService",
                lambda server: events_grpc.add_EventServiceServicer_to_server(again, server),
            )
        ],
    )
    await second.start()
    stack.push_async_callback(second.stop)
    async with asyncio.timeout(20):
        assert [(await anext(watch)).cursor for _ in range(3)][-1] == "4"
    await watch.aclose()
