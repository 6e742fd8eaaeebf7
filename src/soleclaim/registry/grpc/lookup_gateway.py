"""``Lookup`` over gRPC."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.client import LookupClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.activity_id import ActivityId, parse_activity_id
from soleclaim.core.errors import REASONS, Reason
from soleclaim.registry.domain import EvidenceKind, Refusal
from soleclaim.registry.grpc.convert import BASE_UNITS, from_refusal, to_declaration
from soleclaim.registry.instruments import Instrument
from soleclaim.registry.lookup import (
    Absent,
    Grant,
    LockNow,
    LockState,
    LockWish,
    LookupUnavailable,
    Made,
    RecordedOutcome,
)
from soleclaim.registry.native import NativeProject
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

API_VERSION: Final = "v1"

_GETS_AT_ONCE: Final = 16
"""Up to so many locks are read one by one; more are looked up among all that are under way."""
_PAGE: Final = 500

_STATES: Final = {lock_pb.IssuanceLockState.Value(f"ISSUANCE_LOCK_STATE_{state.value}"): state for state in LockState}

_EVIDENCE: Final = {
    EvidenceKind.NATIVE_REFUSED: lock_pb.ABSENCE_EVIDENCE_KIND_NATIVE_REFUSED,
    EvidenceKind.REFERENCE_VOIDED: lock_pb.ABSENCE_EVIDENCE_KIND_REFERENCE_VOIDED,
    EvidenceKind.NOT_FOUND_TWICE: lock_pb.ABSENCE_EVIDENCE_KIND_NOT_FOUND_TWICE,
    EvidenceKind.NEVER_SENT: lock_pb.ABSENCE_EVIDENCE_KIND_NEVER_SENT,
}


class LookupGateway:
    """The lookup as registry ``registry`` sees it, over a ``LookupClient``."""

    def __init__(self, client: LookupClient, registry: str, instrument: Instrument, *, timeout_s: float) -> None:
        self._client = client
        self._registry = registry
        self._instrument = instrument
        self._timeout_s = timeout_s

    async def resolve(self, native_project_id: str) -> ActivityId | None:
        """See ``Lookup``."""
        key = activity_pb.NativeProjectRef(registry=self._registry, native_project_id=native_project_id)
        request = activity_pb.ResolveActivityRequest(native_project=key)
        try:
            return _activity_id(await self._call(self._client.activities.ResolveActivity, request))
        except RemoteRefusal as refusal:
            if refusal.reason is Reason.ACTIVITY_UNKNOWN:
                return None
            raise LookupUnavailable(f"resolve refused: {refusal}") from refusal

    async def register(self, request_id: str, projects: Sequence[NativeProject]) -> list[ActivityId | Refusal]:
        """See ``Lookup``."""
        request = activity_pb.BatchRegisterActivitiesRequest(
            request_id=request_id,
            requests=[
                activity_pb.RegisterActivityRequest(
                    native_project=activity_pb.NativeProjectRef(
                        registry=self._registry, native_project_id=project.native_project_id
                    ),
                    country=project.country,
                    activity_type=project.activity_type,
                    display_name=project.name,
                    time_zone=project.time_zone,
                    identifiers=[
                        types_pb2.Identifier(scheme=scheme, value=value) for scheme, value in project.identifiers
                    ],
                )
                for project in projects
            ],
        )
        return await self._batch(
            self._client.activities.BatchRegisterActivities, request, lambda result: _activity_id(result.activity)
        )

    async def record_outcomes(self, request_id: str, outcomes: Sequence[RecordedOutcome]) -> list[Refusal | None]:
        """See ``Lookup``."""
        request = outcome_pb.BatchRecordOutcomesRequest(
            request_id=request_id,
            requests=[
                outcome_pb.RecordOutcomeRequest(
                    registry=self._registry,
                    activity=f"activities/{outcome.activity}",
                    period=to_interval(outcome.period),
                    base_unit=BASE_UNITS[self._instrument.base_unit],
                    quantity=outcome.quantity,
                )
                for outcome in outcomes
            ],
        )
        return await self._batch(self._client.outcomes.BatchRecordOutcomes, request, _done)

    async def acquire(self, request_id: str, wishes: Sequence[LockWish]) -> list[Grant | Refusal]:
        """See ``Lookup``."""
        request = lock_pb.BatchAcquireIssuanceLocksRequest(
            request_id=request_id, requests=[self._to_acquire(wish) for wish in wishes]
        )
        return await self._batch(
            self._client.locks.BatchAcquireIssuanceLocks,
            request,
            lambda result: Grant(result.lock.name, result.lock.fencing_token, result.lock.supplement),
        )

    async def begin(self, request_id: str, grants: Sequence[Grant]) -> list[Refusal | None]:
        """See ``Lookup``."""
        request = lock_pb.BatchBeginIssuancesRequest(
            request_id=request_id,
            requests=[
                lock_pb.BeginIssuanceRequest(name=grant.lock, fencing_token=grant.fencing_token) for grant in grants
            ],
        )
        return await self._batch(self._client.locks.BatchBeginIssuances, request, _done, whole_tells=False)

    async def commit(self, request_id: str, made: Sequence[Made]) -> list[Refusal | None]:
        """See ``Lookup``."""
        request = lock_pb.BatchCommitIssuancesRequest(
            request_id=request_id,
            requests=[
                lock_pb.CommitIssuanceRequest(
                    name=each.grant.lock,
                    fencing_token=each.grant.fencing_token,
                    native_issuance_id=each.native_issuance_id,
                    blocks=[
                        types_pb2.UnitBlock(series=block.series, start=block.start, end=block.end)
                        for block in each.blocks
                    ],
                )
                for each in made
            ],
        )
        return await self._batch(self._client.locks.BatchCommitIssuances, request, _done, whole_tells=False)

    async def abort(self, request_id: str, absent: Sequence[Absent]) -> list[Refusal | None]:
        """See ``Lookup``."""
        request = lock_pb.BatchAbortIssuancesRequest(
            request_id=request_id,
            requests=[
                lock_pb.AbortIssuanceRequest(
                    name=each.grant.lock,
                    fencing_token=each.grant.fencing_token,
                    evidence=lock_pb.AbsenceEvidence(kind=_EVIDENCE[each.evidence.kind], detail=each.evidence.detail),
                )
                for each in absent
            ],
        )
        return await self._batch(self._client.locks.BatchAbortIssuances, request, _done, whole_tells=False)

    async def locks(self, names: Sequence[str]) -> list[LockNow]:
        """See ``Lookup``."""
        try:
            known = await self._issuing() if len(names) > _GETS_AT_ONCE else {}
            for start in range(0, len(names), _GETS_AT_ONCE):
                rest = [name for name in names[start : start + _GETS_AT_ONCE] if name not in known]
                known.update(zip(rest, await asyncio.gather(*map(self._lock, rest)), strict=True))
        except RemoteRefusal as refusal:
            _LOG.error("the lookup does not tell how this registry's locks stand: %s", refusal)
            raise LookupUnavailable(f"reading locks refused: {refusal}") from refusal
        return [known[name] for name in names]

    async def check(self, wish: LockWish) -> list[Refusal]:
        """See ``Lookup``."""
        request = lock_pb.CheckIssuanceLockRequest(request=self._to_acquire(wish))
        try:
            answer = await self._call(self._client.locks.CheckIssuanceLock, request)
        except RemoteRefusal as refusal:
            return [from_refusal(refusal)]
        return [from_refusal(from_status(each)) for each in answer.refusals]

    async def announce(self, endpoint: str) -> None:
        """See ``Lookup``."""
        request = directory_pb.AnnounceRegistryRequest(
            registry=self._registry, endpoint=endpoint, api_version=API_VERSION
        )
        try:
            await self._call(self._client.directory.AnnounceRegistry, request)
        except RemoteRefusal as refusal:
            raise LookupUnavailable(f"announcement refused: {refusal}") from refusal

    # -- Inside -------------------------------------------------------------------------------------------------

    async def _lock(self, name: str) -> LockNow:
        return _lock_now(
            await self._call(self._client.locks.GetIssuanceLock, lock_pb.GetIssuanceLockRequest(name=name))
        )

    async def _issuing(self) -> dict[str, LockNow]:
        """All locks of this registry in ISSUING, by name."""
        request = lock_pb.ListIssuanceLocksRequest(
            registry=self._registry, state=lock_pb.ISSUANCE_LOCK_STATE_ISSUING, page_size=_PAGE
        )
        found: dict[str, LockNow] = {}
        while True:
            page = await self._call(self._client.locks.ListIssuanceLocks, request)
            found |= {lock.name: _lock_now(lock) for lock in page.issuance_locks}
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def _to_acquire(self, wish: LockWish) -> lock_pb.AcquireIssuanceLockRequest:
        return lock_pb.AcquireIssuanceLockRequest(
            registry=self._registry,
            instrument=self._instrument.code,
            activity=f"activities/{wish.activity}",
            period=to_interval(wish.period),
            units=wish.units,
            carried_in=wish.carried_in,
            reference=wish.reference,
            declaration=to_declaration(wish.declaration),
        )

    async def _call(self, method: Any, request: Message) -> Any:
        try:
            return await self._client.call(method, request, timeout_s=self._timeout_s)
        except RemoteUnavailable as error:
            raise LookupUnavailable(str(error)) from error
        except RemoteRefusal as refusal:
            if refusal.reason is None or REASONS[refusal.reason].tells_nothing:
                raise LookupUnavailable(str(refusal)) from refusal
            raise

    async def _batch(
        self, method: Any, request: Any, read: Callable[[Any], _T], *, whole_tells: bool = True
    ) -> list[_T | Refusal]:
        """One answer per item. ``whole_tells``: a refusal of the whole call is every item's; else it is no answer."""
        try:
            response = await self._call(method, request)
        except RemoteRefusal as refusal:
            if not whole_tells:
                name = request.DESCRIPTOR.name
                _LOG.error("the lookup refuses %s as a whole, which says nothing of its items: %s", name, refusal)
                raise LookupUnavailable(f"{name} refused as a whole: {refusal}") from refusal
            return [from_refusal(refusal)] * len(request.requests)
        results: Iterable[Any] = response.results
        answers = [_refused(result.error) if result.HasField("error") else read(result) for result in results]
        if len(answers) != len(request.requests):
            raise LookupUnavailable(f"{len(answers)} answers for {len(request.requests)} items")
        return answers


def _done(_result: object) -> None:
    """The item was done; nothing of the answer is needed."""


def _refused(status: status_pb2.Status) -> Refusal:
    remote = from_status(status)
    if remote.reason is not None and REASONS[remote.reason].tells_nothing:
        raise LookupUnavailable(str(remote))
    return from_refusal(remote)


def _lock_now(lock: lock_pb.IssuanceLock) -> LockNow:
    state = _STATES.get(lock.state)
    if state is None:
        raise LookupUnavailable(f"{lock.name} is in state {lock.state}, which this release does not know")
    return LockNow(state, lock.fencing_token, frozenset(each.fencing_token for each in lock.issuances))


def _activity_id(activity: activity_pb.Activity) -> ActivityId:
    return parse_activity_id(activity.name.removeprefix("activities/"))
