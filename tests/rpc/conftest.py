"""Real servers on loopback with real mutual TLS, around a small directory of our own."""

# ruff: noqa: N802  servicers are named by the protos

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from soleclaim.api.lookup.v1 import event_service_pb2 as events
from soleclaim.api.lookup.v1 import event_service_pb2_grpc as events_grpc
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory
from soleclaim.api.lookup.v1 import registry_directory_service_pb2_grpc as directory_grpc
from soleclaim.client import LookupClient
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.channel import open_channel
from soleclaim.rpc.server import RpcServer, ServerOptions, Service
from soleclaim.rpc.tls import TlsFiles

LOOKUP = Caller(Role.OPERATOR, "lookup")
GEC = Caller(Role.REGISTRY, "gec")
Answer = Callable[[Any, Any], Awaitable[Any]]


class Directory(directory_grpc.RegistryDirectoryServiceServicer, events_grpc.EventServiceServicer):
    """Answers as the test says: ``answer`` for every unary call, ``stream`` for the watch."""

    def __init__(self) -> None:
        self.answer: Answer = self._empty
        self.stream: Callable[[Any, Any], AsyncIterator[Any]] = self._nothing

    async def _empty(self, _request: Any, _context: Any) -> directory.Registry:
        return directory.Registry()

    async def _nothing(self, _request: Any, _context: Any) -> AsyncIterator[events.WatchEventsResponse]:
        for _ in ():
            yield _

    async def AnnounceRegistry(self, request: Any, context: Any) -> Any:
        return await self.answer(request, context)

    async def GetRegistryEntry(self, request: Any, context: Any) -> Any:
        return await self.answer(request, context)

    async def ListRegistries(self, request: Any, context: Any) -> Any:
        return await self.answer(request, context)

    async def WatchEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for each in self.stream(request, context):
            yield each


@dataclass
class Harness:
    """Starts servers and clients for one test and ends them after it."""

    certificates: Path
    stack: AsyncExitStack
    directory: Directory = field(default_factory=Directory)

    def certificate(self, caller: Caller) -> TlsFiles:
        stem = self.certificates / f"{caller.role.value}-{caller.code}"
        return TlsFiles(self.certificates / "authority.crt", stem.with_suffix(".crt"), stem.with_suffix(".key"))

    def services(self) -> list[Service]:
        return [
            Service(
                "soleclaim.api.lookup.v1.RegistryDirectoryService",
                lambda server: directory_grpc.add_RegistryDirectoryServiceServicer_to_server(self.directory, server),
            ),
            Service(
                "soleclaim.api.lookup.v1.EventService",
                lambda server: events_grpc.add_EventServiceServicer_to_server(self.directory, server),
            ),
        ]

    async def serve(self, services: list[Service] | None = None, **changes: Any) -> tuple[RpcServer, int]:
        options: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "tls": self.certificate(LOOKUP), "grace_s": 1.0}
        server = RpcServer(ServerOptions(**options | changes), self.services() if services is None else services)
        port = await server.start()
        self.stack.push_async_callback(server.stop)
        return server, port

    async def channel(self, port: int, caller: Caller = GEC, **options: Any) -> Any:
        """Untyped, so that methods can be called by name with bytes."""
        return await self.stack.enter_async_context(
            open_channel(f"localhost:{port}", self.certificate(caller), **options)
        )

    async def client(self, port: int, caller: Caller = GEC) -> LookupClient:
        return await self.stack.enter_async_context(LookupClient(f"localhost:{port}", self.certificate(caller)))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and one certificate per role."""
    path = tmp_path_factory.mktemp("certificates")
    make_authority(path)
    for caller in (LOOKUP, GEC, Caller(Role.REGISTRY, "ccer"), Caller(Role.REGULATOR, "mee")):
        issue_certificate(path, caller)
    return path


@pytest.fixture
async def harness(certificates: Path) -> AsyncGenerator[Harness]:
    async with AsyncExitStack() as stack:
        yield Harness(certificates, stack)
