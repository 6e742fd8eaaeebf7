"""IssuanceLockService."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc

from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2_grpc as pb2_grpc
from soleclaim.core.activity_id import activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.lookup.domain import Abortion, Commitment, GrantRef, Lock, LockId, LockRequest, LockState
from soleclaim.lookup.grpc.convert import (
    LOCK_PREFIX,
    fill_changed_lock,
    parse_abortion,
    parse_commitment,
    parse_grant,
    parse_lock_name,
    parse_lock_request,
    to_lock,
)
from soleclaim.lookup.grpc.mutation import Mutation, run_batch, run_single
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import locks
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, own_registry, require_registry
from soleclaim.rpc.pages import MAX_PAGE, fitting, page_asked
from soleclaim.rpc.parse import Faults
from soleclaim.rpc.status import to_status

SERVICE: Final = "soleclaim.api.lookup.v1.IssuanceLockService"

Item = TypeVar("Item")


def _fill(result: pb2.IssuanceLockResult, lock: Lock) -> None:
    fill_changed_lock(result.lock, lock)


def _mutation(
    method: str,
    parse: Callable[[Any, Caller, Faults], Item | None],
    work: Callable[[Transaction, list[Item]], Awaitable[Sequence[Lock | DomainError]]],
) -> Mutation[Item, Lock]:
    return Mutation(method, parse, work, _fill, pb2.BatchIssuanceLocksResponse)


class IssuanceLockServicer(pb2_grpc.IssuanceLockServiceServicer):
    """Issuance locks on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store, self._bundle = store, bundle

        async def acquire(transaction: Transaction, requests: list[LockRequest]) -> Sequence[Lock | DomainError]:
            return await locks.acquire(transaction, bundle, requests)

        self._acquire: Mutation[LockRequest, Lock] = _mutation("AcquireIssuanceLock", self._parse_acquire, acquire)
        self._begin: Mutation[GrantRef, Lock] = _mutation("BeginIssuance", parse_grant, locks.begin)
        self._commit: Mutation[Commitment, Lock] = _mutation("CommitIssuance", parse_commitment, locks.commit)
        self._abort: Mutation[Abortion, Lock] = _mutation("AbortIssuance", parse_abortion, locks.abort)
        self._release: Mutation[GrantRef, Lock] = _mutation("ReleaseIssuanceLock", parse_grant, locks.release)

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_IssuanceLockServiceServicer_to_server(self, server)

    def _parse_acquire(
        self, message: pb2.AcquireIssuanceLockRequest, caller: Caller, faults: Faults
    ) -> LockRequest | None:
        request = parse_lock_request(message, self._bundle, faults)
        if not faults.any():
            require_registry(caller, message.registry)
        return request

    async def AcquireIssuanceLock(self, request: pb2.AcquireIssuanceLockRequest, context: Context) -> pb2.IssuanceLock:
        """See the proto."""
        return await self._single(self._acquire, request, context)

    async def CheckIssuanceLock(
        self, request: pb2.CheckIssuanceLockRequest, context: Context
    ) -> pb2.CheckIssuanceLockResponse:
        """See the proto."""
        faults = Faults()
        wanted = self._parse_acquire(request.request, caller_of(context), faults.prefixed("request."))
        faults.raise_if_any()
        if wanted is None:
            raise AssertionError("no request and no fault")
        async with self._store.reading() as reader:
            reasons = await locks.dry_run(reader, self._bundle, wanted)
        return pb2.CheckIssuanceLockResponse(refusals=[to_status(each) for each in reasons])

    async def BatchAcquireIssuanceLocks(
        self, request: pb2.BatchAcquireIssuanceLocksRequest, context: Context
    ) -> pb2.BatchIssuanceLocksResponse:
        """See the proto."""
        return await self._batch(self._acquire, request, context)

    async def BeginIssuance(self, request: pb2.BeginIssuanceRequest, context: Context) -> pb2.IssuanceLock:
        """See the proto."""
        return await self._single(self._begin, request, context)

    async def BatchBeginIssuances(
        self, request: pb2.BatchBeginIssuancesRequest, context: Context
    ) -> pb2.BatchIssuanceLocksResponse:
        """See the proto."""
        return await self._batch(self._begin, request, context)

    async def CommitIssuance(self, request: pb2.CommitIssuanceRequest, context: Context) -> pb2.IssuanceLock:
        """See the proto."""
        return await self._single(self._commit, request, context)

    async def BatchCommitIssuances(
        self, request: pb2.BatchCommitIssuancesRequest, context: Context
    ) -> pb2.BatchIssuanceLocksResponse:
        """See the proto."""
        return await self._batch(self._commit, request, context)

    async def AbortIssuance(self, request: pb2.AbortIssuanceRequest, context: Context) -> pb2.IssuanceLock:
        """See the proto."""
        return await self._single(self._abort, request, context)

    async def BatchAbortIssuances(
        self, request: pb2.BatchAbortIssuancesRequest, context: Context
    ) -> pb2.BatchIssuanceLocksResponse:
        """See the proto."""
        return await self._batch(self._abort, request, context)

    async def ReleaseIssuanceLock(self, request: pb2.ReleaseIssuanceLockRequest, context: Context) -> pb2.IssuanceLock:
        """See the proto."""
        return await self._single(self._release, request, context)

    async def BatchReleaseIssuanceLocks(
        self, request: pb2.BatchReleaseIssuanceLocksRequest, context: Context
    ) -> pb2.BatchIssuanceLocksResponse:
        """See the proto."""
        return await self._batch(self._release, request, context)

    async def _single(self, mutation: Mutation[Any, Lock], request: object, context: Context) -> pb2.IssuanceLock:
        result: pb2.IssuanceLockResult = await run_single(self._store, mutation, request, context)
        return result.lock

    async def _batch(
        self, mutation: Mutation[Any, Lock], request: object, context: Context
    ) -> pb2.BatchIssuanceLocksResponse:
        response: pb2.BatchIssuanceLocksResponse = await run_batch(self._store, mutation, request, context)
        return response

    async def GetIssuanceLock(self, request: pb2.GetIssuanceLockRequest, context: Context) -> pb2.IssuanceLock:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        lock_id = parse_lock_name("name", request.name, faults)
        faults.raise_if_any()
        (lock,) = await self._get([lock_id], caller)
        return lock

    async def BatchGetIssuanceLocks(
        self, request: pb2.BatchGetIssuanceLocksRequest, context: Context
    ) -> pb2.BatchGetIssuanceLocksResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        faults.number("names.size", len(request.names), minimum=1, maximum=MAX_PAGE)
        lock_ids = [
            parse_lock_name(f"names[{index}]", name, faults) for index, name in enumerate(request.names[:MAX_PAGE])
        ]
        faults.raise_if_any()
        return pb2.BatchGetIssuanceLocksResponse(issuance_locks=fitting(await self._get(lock_ids, caller)))

    async def _get(self, lock_ids: Sequence[LockId], caller: Caller) -> list[pb2.IssuanceLock]:
        """The locks, all of them there and the caller's to see."""
        async with self._store.reading() as reader:
            found = await reader.locks(lock_ids)
            issuances = await reader.issuances(lock_ids)
        for lock_id in lock_ids:
            lock, name = found.get(lock_id), f"{LOCK_PREFIX}{lock_id}"
            if caller.role is Role.REGISTRY and (lock is None or lock.registry != caller.code):
                # The same answer for another's lock and for none, so that nothing is revealed.
                raise DomainError(Reason.LOCK_NOT_YOURS, lock=name)
            if lock is None:
                raise DomainError(Reason.LOCK_UNKNOWN, lock=name)
        return [to_lock(found[lock_id], issuances.get(lock_id, [])) for lock_id in lock_ids]

    async def ListIssuanceLocks(
        self, request: pb2.ListIssuanceLocksRequest, context: Context
    ) -> pb2.ListIssuanceLocksResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        asked = page_asked(request, faults)
        activity_id = faults.activity("activity", request.activity) if request.activity else None
        period = faults.period("period", request.HasField("period"), request.period, required=False)
        faults.enum("state", request.state, pb2.IssuanceLockState, required=False)
        if request.registry:
            faults.code("registry", request.registry)
        faults.raise_if_any()
        registry = own_registry(caller, request.registry)
        async with self._store.reading() as reader:
            rows = await reader.list_locks(
                activity_key=await reader.survivor_of(activity_key(activity_id)) if activity_id else None,
                registry=registry,
                state=LockState(request.state) if request.state else None,
                period=period,
                after=asked.after,
                limit=asked.limit,
            )
            issuances = await reader.issuances([each.lock_id for each in rows])
        messages = [to_lock(each, issuances.get(each.lock_id, [])) for each in rows]
        page, next_page_token = asked.cut(messages, rows, lambda each: each.lock_id)
        return pb2.ListIssuanceLocksResponse(issuance_locks=page, next_page_token=next_page_token)
