"""A registry's adapter as a client sees it."""

from typing import TYPE_CHECKING, Self

from soleclaim.api.lookup.v1.registry_directory_service_pb2 import GetRegistryEntryRequest
from soleclaim.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from soleclaim.client.calls import Client, RemoteUnavailable
from soleclaim.client.lookup import LookupClient
from soleclaim.core.identity import Caller
from soleclaim.rpc.tls import TlsFiles

if TYPE_CHECKING:
    # This name exists in the stubs only.
    from soleclaim.api.registry.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub


class RegistryClient(Client):
    """One registry's ``RegistryService`` as the generated stub ``registry``; use it through ``call``."""

    def __init__(self, target: str, tls: TlsFiles | None, *, caller: Caller | None = None) -> None:
        """``target`` is ``host:port``. Raises ``TlsFault``."""
        super().__init__(target, tls, caller=caller)
        self.registry: RegistryServiceAsyncStub = RegistryServiceStub(self._channel)

    @classmethod
    async def resolve(
        cls,
        lookup: LookupClient,
        code: str,
        tls: TlsFiles | None,
        *,
        caller: Caller | None = None,
    ) -> Self:
        """A client of the registry ``code``, dialled where its adapter last announced itself.

        Raises ``RemoteRefusal`` (``REGISTRY_UNKNOWN``), and ``RemoteUnavailable`` when the lookup does not answer
        or the adapter never announced itself.
        """
        request = GetRegistryEntryRequest(name=f"registries/{code}")
        entry = await lookup.call(lookup.directory.GetRegistryEntry, request)
        if not entry.endpoint:
            raise RemoteUnavailable("UNAVAILABLE", f"registry {code} never announced where its adapter answers")
        return cls(entry.endpoint, tls, caller=caller)
