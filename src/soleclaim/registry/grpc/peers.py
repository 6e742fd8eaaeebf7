"""``Peers`` over gRPC: every other registry of the directory is asked, and silence is never "clear" (R83)."""

import asyncio

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.activity_id import ActivityId
from soleclaim.core.identity import Caller
from soleclaim.core.period import Period
from soleclaim.registry.domain import IssuanceState
from soleclaim.registry.grpc.convert import STATES_BACK, from_interval
from soleclaim.registry.lookup import LookupUnavailable
from soleclaim.registry.peers import FoundIssuance, PeerAnswer, Verdict
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.tls import TlsFiles


class DirectoryPeers:
    """The other registries, found through the lookup's directory. Each has ``timeout_s`` to answer."""

    def __init__(
        self, lookup: LookupClient, registry: str, tls: TlsFiles | None, *, caller: Caller | None, timeout_s: float
    ) -> None:
        self._lookup = lookup
        self._registry = registry
        self._tls = tls
        self._caller = caller
        self._timeout_s = timeout_s

    async def ask(self, activity: ActivityId, period: Period) -> list[PeerAnswer]:
        """See ``Peers``."""
        try:
            directory = await self._lookup.call(
                self._lookup.directory.ListRegistries, directory_pb.ListRegistriesRequest(), timeout_s=self._timeout_s
            )
        except (RemoteRefusal, RemoteUnavailable) as error:
            raise LookupUnavailable(str(error)) from error
        request = pb.FindIssuancesRequest(activity=f"activities/{activity}", period=to_interval(period))
        codes = {entry.name.removeprefix("registries/"): entry.endpoint for entry in directory.registries}
        codes.pop(self._registry, None)
        return list(await asyncio.gather(*(self._ask_one(code, at, request) for code, at in codes.items())))

    async def _ask_one(self, code: str, endpoint: str, request: pb.FindIssuancesRequest) -> PeerAnswer:
        if not endpoint:
            return PeerAnswer(code, Verdict.UNKNOWN)
        async with RegistryClient(endpoint, self._tls, caller=self._caller) as peer:
            try:
                response = await peer.call(peer.registry.FindIssuances, request, timeout_s=self._timeout_s)
            except (RemoteRefusal, RemoteUnavailable):
                return PeerAnswer(code, Verdict.UNKNOWN)
        found = tuple(
            FoundIssuance(
                registry=each.registry,
                instrument=each.instrument,
                period=from_interval(each.period),
                # A state that this release does not know may well mean "issued".
                state=STATES_BACK.get(each.state, IssuanceState.IN_DOUBT),
            )
            for each in response.issuances
        )
        return PeerAnswer(code, Verdict.ISSUED if found else Verdict.CLEAR, found)
