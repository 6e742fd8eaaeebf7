"""The kit as another registry at the lookup: it registers the same activity there and takes a lock on it."""

from soleclaim.api.common.v1.types_pb2 import UnitBlock
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.client import LookupClient
from soleclaim.conformance.model import Skipped
from soleclaim.conformance.stand import DECLARED, Spot, Stand, given
from soleclaim.rpc.parse import to_interval


class PeerRegistry:
    """The fixture's ``peer``, on the activity of one project of the target."""

    def __init__(self, stand: Stand, activity: str) -> None:
        self._stand = stand
        self._client: LookupClient = given(stand.peer_lookup)
        self._code = stand.fixture.peer.registry
        self._activity = activity

    async def join(self) -> None:
        """Register a project of its own that is the same activity, by the identifiers that the lookup knows."""
        lookup = self._stand.lookup
        known = await lookup.call(lookup.activities.GetActivity, activity_pb.GetActivityRequest(name=self._activity))
        if not known.identifiers:
            raise Skipped(
                "the project has no identifier that another registry could know it by",
                "该项目没有其他登记簿可据以识别的标识",
            )
        request_id = self._stand.request_id()
        request = activity_pb.RegisterActivityRequest(
            request_id=request_id,
            native_project=activity_pb.NativeProjectRef(registry=self._code, native_project_id=request_id),
            country=known.country,
            activity_type=known.activity_type,
            display_name=known.display_name,
            time_zone=known.time_zone,
            identifiers=known.identifiers,
        )
        joined = await self._client.call(self._client.activities.RegisterActivity, request)
        if joined.name != self._activity:
            raise Skipped("the lookup does not take both projects for one", "查询中心未将两个项目视为同一减排活动")

    async def hold(self, spot: Spot) -> lock_pb.IssuanceLock:
        """Take the lock on the spot's period; it is HELD."""
        request = lock_pb.AcquireIssuanceLockRequest(
            request_id=self._stand.request_id(),
            registry=self._code,
            instrument=self._stand.fixture.peer.instrument,
            activity=self._activity,
            period=to_interval(spot.period),
            units=1,
            reference=self._stand.request_id(),
            declaration=DECLARED,
        )
        return await self._client.call(self._client.locks.AcquireIssuanceLock, request)

    async def release(self, lock: lock_pb.IssuanceLock) -> None:
        """Give a HELD lock back."""
        request = lock_pb.ReleaseIssuanceLockRequest(
            request_id=self._stand.request_id(), name=lock.name, fencing_token=lock.fencing_token
        )
        await self._client.call(self._client.locks.ReleaseIssuanceLock, request)

    async def issue(self, spot: Spot) -> None:
        """Take the lock, begin and commit one unit: the outcome of the spot is issued elsewhere."""
        lock = await self.hold(spot)
        begin = lock_pb.BeginIssuanceRequest(
            request_id=self._stand.request_id(), name=lock.name, fencing_token=lock.fencing_token
        )
        await self._client.call(self._client.locks.BeginIssuance, begin)
        native_id = self._stand.request_id()
        commit = lock_pb.CommitIssuanceRequest(
            request_id=self._stand.request_id(),
            name=lock.name,
            fencing_token=lock.fencing_token,
            native_issuance_id=native_id,
            blocks=[UnitBlock(series=native_id, start=1, end=1)],
        )
        await self._client.call(self._client.locks.CommitIssuance, commit)
