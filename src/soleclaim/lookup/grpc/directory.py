"""RegistryDirectoryService and EventService."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

import grpc

from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import event_service_pb2_grpc as event_pb2_grpc
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as pb2
from soleclaim.api.lookup.v1 import registry_directory_service_pb2_grpc as pb2_grpc
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Role
from soleclaim.lookup.domain import RegistryEntry
from soleclaim.lookup.grpc.convert import parse_registry, to_event
from soleclaim.lookup.ports import LookupStore
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, require_registry
from soleclaim.rpc.parse import Faults, to_timestamp

SERVICE: Final = "soleclaim.api.lookup.v1.RegistryDirectoryService"
EVENT_SERVICE: Final = "soleclaim.api.lookup.v1.EventService"
REACHABLE_FOR_S: Final = 30.0
PREFIX: Final = "registries/"
POLL_S: Final = 0.5
"""How often a stream looks for new events."""
EVENT_PAGE: Final = 500
_CURSOR: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")
_ADDRESS: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def _is_address(endpoint: str) -> bool:
    """Whether other registries can dial it, and it is nothing else that a gRPC library would take for a target."""
    match = _ADDRESS.fullmatch(endpoint)
    return match is not None and 0 < int(match[2]) <= 65_535


class RegistryDirectoryServicer(pb2_grpc.RegistryDirectoryServiceServicer):
    """The directory on the wire. Which registries exist, the policy bundle says."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store, self._bundle = store, bundle

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_RegistryDirectoryServiceServicer_to_server(self, server)

    async def AnnounceRegistry(self, request: pb2.AnnounceRegistryRequest, context: Context) -> pb2.Registry:
        """See the proto."""
        faults = Faults()
        registry = parse_registry("registry", request.registry, self._bundle, faults)
        endpoint = faults.text("endpoint", request.endpoint, max_length=255)
        if 0 < len(endpoint) <= 255 and not _is_address(endpoint):
            faults.add(
                "endpoint", "must be HOST:PORT, for example adapter.example:7401; an IPv6 address stands in brackets"
            )
        api_version = faults.code("api_version", request.api_version)
        faults.raise_if_any()
        require_registry(caller_of(context), registry)
        async with self._store.transaction() as transaction:
            await transaction.announce(registry, endpoint, api_version)
            entries = await transaction.registry_entries()
        return self._registry(registry, entries.get(registry))

    async def GetRegistryEntry(self, request: pb2.GetRegistryEntryRequest, context: Context) -> pb2.Registry:
        """See the proto."""
        code = request.name.removeprefix(PREFIX)
        faults = Faults()
        if code == request.name:
            faults.add("name", "must be registries/{code}")
        faults.code("name", code)
        faults.raise_if_any()
        if code not in self._bundle.registries:
            raise DomainError(Reason.REGISTRY_UNKNOWN, registry=code)
        async with self._store.reading() as reader:
            return self._registry(code, (await reader.registry_entries()).get(code))

    async def ListRegistries(self, request: pb2.ListRegistriesRequest, context: Context) -> pb2.ListRegistriesResponse:
        """See the proto."""
        async with self._store.reading() as reader:
            entries = await reader.registry_entries()
        return pb2.ListRegistriesResponse(
            registries=[self._registry(code, entries.get(code)) for code in sorted(self._bundle.registries)]
        )

    def _registry(self, code: str, entry: RegistryEntry | None) -> pb2.Registry:
        message = pb2.Registry(
            name=f"{PREFIX}{code}",
            instruments=self._bundle.instruments_of(code),
            reachability=pb2.REACHABILITY_UNKNOWN,
        )
        if entry is not None:
            message.endpoint, message.api_version = entry.endpoint, entry.api_version
            message.announce_time.CopyFrom(to_timestamp(entry.announce_time))
            alive = entry.age_s <= REACHABLE_FOR_S
            message.reachability = pb2.REACHABILITY_REACHABLE if alive else pb2.REACHABILITY_UNREACHABLE
        return message


class EventServicer(event_pb2_grpc.EventServiceServicer):
    """The history as a stream."""

    def __init__(self, store: LookupStore) -> None:
        self._store = store

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        event_pb2_grpc.add_EventServiceServicer_to_server(self, server)

    async def WatchEvents(
        self, request: event_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[event_pb2.WatchEventsResponse]:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        match = _CURSOR.fullmatch(request.cursor or "0.0")
        if match is None:
            faults.add("cursor", "is no cursor; pass the one of the last response, or none to start from the beginning")
        faults.raise_if_any()
        if match is None:
            raise AssertionError("no cursor and no fault")
        after = (int(match[1]), int(match[2]))
        while True:
            seen = 0
            async for event in self._store.events(after=after, limit=EVENT_PAGE):
                seen += 1
                after = (event.position, event.entry)
                if caller.role is not Role.REGISTRY or event.registry == caller.code:
                    yield to_event(event)
            if seen < EVENT_PAGE:
                if request.until_now:
                    return
                await asyncio.sleep(POLL_S)
