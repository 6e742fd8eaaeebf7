"""The lookup as a client sees it."""

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

import grpc

from soleclaim.api.lookup.v1.activity_service_pb2_grpc import ActivityServiceStub
from soleclaim.api.lookup.v1.coverage_service_pb2_grpc import CoverageServiceStub
from soleclaim.api.lookup.v1.dispute_service_pb2_grpc import DisputeServiceStub
from soleclaim.api.lookup.v1.event_service_pb2 import WatchEventsRequest, WatchEventsResponse
from soleclaim.api.lookup.v1.event_service_pb2_grpc import EventServiceStub
from soleclaim.api.lookup.v1.history_service_pb2_grpc import HistoryServiceStub
from soleclaim.api.lookup.v1.issuance_lock_service_pb2_grpc import IssuanceLockServiceStub
from soleclaim.api.lookup.v1.outcome_service_pb2_grpc import OutcomeServiceStub
from soleclaim.api.lookup.v1.registry_directory_service_pb2_grpc import RegistryDirectoryServiceStub
from soleclaim.api.lookup.v1.review_service_pb2_grpc import ReviewServiceStub
from soleclaim.api.lookup.v1.settlement_service_pb2_grpc import SettlementServiceStub
from soleclaim.client.calls import Client, RemoteUnavailable, translate
from soleclaim.core.identity import Caller
from soleclaim.rpc.tls import TlsFiles

if TYPE_CHECKING:
    # These names exist in the stubs only.
    from soleclaim.api.lookup.v1.activity_service_pb2_grpc import ActivityServiceAsyncStub
    from soleclaim.api.lookup.v1.coverage_service_pb2_grpc import CoverageServiceAsyncStub
    from soleclaim.api.lookup.v1.dispute_service_pb2_grpc import DisputeServiceAsyncStub
    from soleclaim.api.lookup.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from soleclaim.api.lookup.v1.history_service_pb2_grpc import HistoryServiceAsyncStub
    from soleclaim.api.lookup.v1.issuance_lock_service_pb2_grpc import IssuanceLockServiceAsyncStub
    from soleclaim.api.lookup.v1.outcome_service_pb2_grpc import OutcomeServiceAsyncStub
    from soleclaim.api.lookup.v1.registry_directory_service_pb2_grpc import RegistryDirectoryServiceAsyncStub
    from soleclaim.api.lookup.v1.review_service_pb2_grpc import ReviewServiceAsyncStub
    from soleclaim.api.lookup.v1.settlement_service_pb2_grpc import SettlementServiceAsyncStub

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0


class LookupClient(Client):
    """The lookup's services as generated stubs; use them through ``call``."""

    def __init__(self, target: str, tls: TlsFiles | None, *, caller: Caller | None = None) -> None:
        """``target`` is ``host:port``. Raises ``TlsFault``."""
        super().__init__(target, tls, caller=caller)
        self.activities: ActivityServiceAsyncStub = ActivityServiceStub(self._channel)
        self.outcomes: OutcomeServiceAsyncStub = OutcomeServiceStub(self._channel)
        self.locks: IssuanceLockServiceAsyncStub = IssuanceLockServiceStub(self._channel)
        self.directory: RegistryDirectoryServiceAsyncStub = RegistryDirectoryServiceStub(self._channel)
        self.coverage: CoverageServiceAsyncStub = CoverageServiceStub(self._channel)
        self.reviews: ReviewServiceAsyncStub = ReviewServiceStub(self._channel)
        self.settlements: SettlementServiceAsyncStub = SettlementServiceStub(self._channel)
        self.disputes: DisputeServiceAsyncStub = DisputeServiceStub(self._channel)
        self.history: HistoryServiceAsyncStub = HistoryServiceStub(self._channel)
        self.events: EventServiceAsyncStub = EventServiceStub(self._channel)

    async def watch(self, cursor: str = "", *, until_now: bool = False) -> AsyncGenerator[WatchEventsResponse]:
        """Events after ``cursor``, at least once each; resumes by itself after a break, with growing pauses.

        Ends only when ``until_now`` is set and all was sent. Raises ``RemoteRefusal`` (a bad cursor, a role that
        may not watch). Store each response's cursor after its event is dealt with.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            call = self.events.WatchEvents(WatchEventsRequest(cursor=cursor, until_now=until_now))
            try:
                async for response in call:
                    pause_s = _FIRST_PAUSE_S
                    yield response
                    cursor = response.cursor
                if until_now:
                    return
            except grpc.aio.AioRpcError as error:
                told = translate(error)
                if not isinstance(told, RemoteUnavailable):
                    raise told from error
            finally:
                call.cancel()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  spreads reconnects, no secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
