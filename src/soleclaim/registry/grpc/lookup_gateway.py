"""``Lookup`` over gRPC."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import coverage_service_pb2 as coverage_pb
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb
from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.api.lookup.v1 import settlement_service_pb2 as settlement_pb
from soleclaim.client import LookupClient, RemoteRefusal, RemoteUnavailable
from soleclaim.core.activity_id import ActivityId, parse_activity_id
from soleclaim.core.errors import REASONS, Reason
from soleclaim.registry.domain import EvidenceKind, Refusal
from soleclaim.registry.grpc.convert import BASE_UNITS, from_refusal, to_declaration, to_description
from soleclaim.registry.instruments import Instrument
from soleclaim.registry.lookup import (
    Absent,
    Grant,
    LockNow,
    LockState,
    LockWish,
    LookupUnavailable,
    Made,
    Names,
    RecordedOutcome,
    Settled,
)
from soleclaim.registry.native import NativeCoverage, NativeProject, NativeSettlement
from soleclaim.rpc.parse import to_interval, to_timestamp
from soleclaim.rpc.status import from_status

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

API_VERSION: Final = "v1"

_GETS_AT_ONCE: Final = 1000
"""Locks read in one call."""

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

    async def names_of(self, activity: ActivityId) -> Names:
        """See ``Lookup``."""
        request = activity_pb.GetActivityRequest(name=f"activities/{activity}", view=activity_pb.ACTIVITY_VIEW_FULL)
        try:
            known = await self._call(self._client.activities.GetActivity, request)
        except RemoteRefusal as refusal:
            if refusal.reason is Reason.ACTIVITY_UNKNOWN:
                return Names(frozenset({activity}), frozenset())
            raise LookupUnavailable(f"reading an activity refused: {refusal}") from refusal
        return Names(
            frozenset({activity, *map(_activity_id_of, (known.name, *known.aliases))}),
            frozenset(each.native_project_id for each in known.native_projects if each.registry == self._registry),
        )

    async def register(self, request_id: str, projects: Sequence[NativeProject]) -> list[ActivityId | Refusal]:
        """See ``Lookup``."""
        request = activity_pb.BatchRegisterActivitiesRequest(
            request_id=request_id,
            requests=[_to_registration(self._registry, project) for project in projects],
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

    async def record_coverage(self, request_id: str, statements: Sequence[NativeCoverage]) -> list[Refusal | None]:
        """See ``CoverageLookup``."""
        request = coverage_pb.BatchRecordCoverageRequest(
            request_id=request_id, requests=[_to_statement(self._registry, each) for each in statements]
        )
        return await self._batch(self._client.coverage.BatchRecordCoverage, request, _done)

    async def record_settlements(self, request_id: str, lines: Sequence[NativeSettlement]) -> list[Settled | Refusal]:
        """See ``SettlementLookup``."""
        request = settlement_pb.BatchRecordSettlementsRequest(
            request_id=request_id, requests=[_to_line(self._registry, each) for each in lines]
        )
        return await self._batch(
            self._client.settlements.BatchRecordSettlements, request, lambda result: _settled(result.settlement)
        )

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
        found: list[LockNow] = []
        try:
            while rest := names[len(found) :]:
                request = lock_pb.BatchGetIssuanceLocksRequest(names=rest[:_GETS_AT_ONCE])
                answer = await self._call(self._client.locks.BatchGetIssuanceLocks, request)
                if [lock.name for lock in answer.issuance_locks] != request.names[: len(answer.issuance_locks) or 1]:
                    raise LookupUnavailable("the answer is not about the locks that were asked for")
                found += map(_lock_now, answer.issuance_locks)
        except RemoteRefusal as refusal:
            _LOG.error("the lookup does not tell how this registry's locks stand: %s", refusal)
            raise LookupUnavailable(f"reading locks refused: {refusal}") from refusal
        return found

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
            if refusal.reason is None:
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


def _to_registration(registry: str, project: NativeProject) -> activity_pb.RegisterActivityRequest:
    return activity_pb.RegisterActivityRequest(
        native_project=activity_pb.NativeProjectRef(registry=registry, native_project_id=project.native_project_id),
        country=project.country,
        activity_type=project.activity_type,
        display_name=project.name,
        time_zone=project.time_zone,
        identifiers=[types_pb2.Identifier(scheme=scheme, value=value) for scheme, value in project.identifiers],
        description=None if project.description is None else to_description(project.description),
    )


def _to_statement(registry: str, statement: NativeCoverage) -> coverage_pb.RecordCoverageRequest:
    message = coverage_pb.RecordCoverageRequest(
        statement_id=statement.statement_id,
        corrects=statement.corrects or "",
        unit=_to_registration(registry, statement.project),
        inside=statement.inside or "",
        boundary=statement.boundary,
        sector=statement.sector,
        withdrawn=statement.withdrawn,
    )
    if not message.unit.identifiers:
        # A cap knows its units by their owner's number, which names many plants: what it looks like is all there is.
        message.unit.description.SetInParent()
    message.period.start_time.CopyFrom(to_timestamp(statement.start))
    if statement.end is not None:
        message.period.end_time.CopyFrom(to_timestamp(statement.end))
    return message


def _to_line(registry: str, line: NativeSettlement) -> settlement_pb.RecordSettlementRequest:
    return settlement_pb.RecordSettlementRequest(
        native_project=activity_pb.NativeProjectRef(registry=registry, native_project_id=line.native_project_id),
        settlement_id=line.settlement_id,
        corrects=line.corrects or "",
        contract=line.contract,
        period=to_interval(line.period),
        energy_kwh=line.energy_kwh,
        buyer_code=line.buyer_code,
        blocks=[types_pb2.UnitBlock(series=each.series, start=each.start, end=each.end) for each in line.blocks],
    )


def _settled(settlement: settlement_pb.Settlement) -> Settled:
    final = (settlement_pb.SETTLEMENT_STATE_SETTLED, settlement_pb.SETTLEMENT_STATE_CORRECTED)
    return Settled.YES if settlement.state in final else Settled.NOT_YET


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
    return _activity_id_of(activity.name)


def _activity_id_of(name: str) -> ActivityId:
    return parse_activity_id(name.removeprefix("activities/"))
