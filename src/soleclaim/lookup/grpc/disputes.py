"""DisputeService."""

from collections.abc import Sequence
from typing import Final

import grpc

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import dispute_service_pb2 as pb2
from soleclaim.api.lookup.v1 import dispute_service_pb2_grpc as pb2_grpc
from soleclaim.core.activity_id import activity_key, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.core.rectangle import MAX_SLICE
from soleclaim.lookup.domain import DisputeDecision, DisputeDecisionTaken, DisputeOutcome, DisputeState, Lock
from soleclaim.lookup.grpc.convert import LOCK_PREFIX, MAX_INT64, parse_numbered_name
from soleclaim.lookup.grpc.mutation import Mutation, run_single
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import disputes
from soleclaim.lookup.service.disputes import DisputeFile
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, own_registry
from soleclaim.rpc.pages import page_asked
from soleclaim.rpc.parse import Faults, to_interval, to_timestamp

SERVICE: Final = "soleclaim.api.lookup.v1.DisputeService"
PREFIX: Final = "disputes/"
MAX_TEXT: Final = 1024
"""Characters of evidence."""
MAX_URI: Final = 512


class DisputeServicer(pb2_grpc.DisputeServiceServicer):
    """Disputes on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store

        async def work(transaction: Transaction, wanted: list[DisputeDecision]) -> Sequence[DisputeFile | DomainError]:
            return [await disputes.decide(transaction, bundle, each) for each in wanted]

        def fill(result: pb2.DisputeResult, file: DisputeFile) -> None:
            result.dispute.CopyFrom(to_dispute(file))

        self._settle: Mutation[DisputeDecision, DisputeFile] = Mutation(
            "SettleDispute", parse_decision, work, fill, pb2.DisputeResults
        )
        self._reopen: Mutation[DisputeDecision, DisputeFile] = Mutation(
            "ReopenDispute", parse_reopening, work, fill, pb2.DisputeResults
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_DisputeServiceServicer_to_server(self, server)

    async def SettleDispute(self, request: pb2.SettleDisputeRequest, context: Context) -> pb2.Dispute:
        """See the proto."""
        result: pb2.DisputeResult = await run_single(self._store, self._settle, request, context)
        return result.dispute

    async def ReopenDispute(self, request: pb2.ReopenDisputeRequest, context: Context) -> pb2.Dispute:
        """See the proto."""
        result: pb2.DisputeResult = await run_single(self._store, self._reopen, request, context)
        return result.dispute

    async def GetDispute(self, request: pb2.GetDisputeRequest, context: Context) -> pb2.Dispute:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        dispute_id = parse_numbered_name("name", request.name, PREFIX, faults)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            dispute = await reader.dispute(dispute_id)
            files = await disputes.read_all(reader, [dispute] if dispute else [])
        # The same answer for another's dispute and for none, so that nothing is revealed.
        if not files or (caller.role is Role.REGISTRY and caller.code not in _registries(files[0])):
            raise DomainError(Reason.DISPUTE_UNKNOWN, dispute=request.name)
        return as_seen_by(caller, to_dispute(files[0]))

    async def ListDisputes(self, request: pb2.ListDisputesRequest, context: Context) -> pb2.ListDisputesResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        asked = page_asked(request, faults)
        faults.enum("state", request.state, pb2.DisputeState, required=False)
        activity_id = faults.activity("activity", request.activity) if request.activity else None
        if request.registry:
            faults.code("registry", request.registry)
        faults.raise_if_any()
        registry = own_registry(caller, request.registry)
        async with self._store.reading() as reader:
            rows = await reader.list_disputes(
                registry=registry,
                state=DisputeState(request.state) if request.state else None,
                activity_key=await reader.survivor_of(activity_key(activity_id)) if activity_id else None,
                after=asked.after,
                limit=asked.limit,
            )
            files = await disputes.read_all(reader, rows)
        messages = [as_seen_by(caller, to_dispute(each)) for each in files]
        page, next_page_token = asked.cut(messages, rows, lambda each: each.dispute_id)
        return pb2.ListDisputesResponse(disputes=page, next_page_token=next_page_token)


def parse_decision(message: pb2.SettleDisputeRequest, caller: Caller, faults: Faults) -> DisputeDecision:
    """A decision of the caller."""
    outcome = faults.enum("outcome", message.outcome, pb2.DisputeOutcome)
    if outcome == pb2.DISPUTE_OUTCOME_BOTH:
        faults.number("boundary", message.boundary, minimum=1, maximum=MAX_INT64 - 1)
    elif message.boundary:
        faults.add("boundary", "must be 0: only BOTH has a boundary")
    known = outcome in {each.value for each in DisputeOutcome}
    return _parse(message, caller, faults, DisputeOutcome(outcome) if known else None, message.boundary)


def parse_reopening(message: pb2.ReopenDisputeRequest, caller: Caller, faults: Faults) -> DisputeDecision:
    """The caller's word that opens a dispute again."""
    return _parse(message, caller, faults, None, 0)


def _parse(
    message: pb2.SettleDisputeRequest | pb2.ReopenDisputeRequest,
    caller: Caller,
    faults: Faults,
    outcome: DisputeOutcome | None,
    boundary: int,
) -> DisputeDecision:
    return DisputeDecision(
        parse_numbered_name("name", message.name, PREFIX, faults),
        outcome,
        boundary,
        faults.text("evidence", message.evidence, max_length=MAX_TEXT),
        faults.text("evidence_uri", message.evidence_uri, max_length=MAX_URI, required=False),
        str(caller),
    )


def _registries(file: DisputeFile) -> set[str]:
    return {lock.registry for lock in (file.standing, file.late) if lock is not None}


def as_seen_by(caller: Caller, message: pb2.Dispute) -> pb2.Dispute:
    """Without what a registry may not see: the other side's lock, and who decided."""
    if caller.role is Role.REGISTRY:
        for name in ("standing", "late"):
            side: pb2.DisputeSide = getattr(message, name)
            if message.HasField(name) and side.registry != caller.code:
                side.ClearField("issuance_lock")
        for each in message.decisions:
            each.ClearField("decider")
    return message


def to_dispute(file: DisputeFile) -> pb2.Dispute:
    """On the wire, whole."""
    dispute = file.dispute
    message = pb2.Dispute(
        name=f"{PREFIX}{dispute.dispute_id}",
        kind=dispute.kind.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
        state=dispute.state.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
        activity=f"activities/{make_activity_id(dispute.country, dispute.activity_key)}",
        period=to_interval(dispute.where.period),
        standing=None if file.standing is None else _to_side(file.standing),
        late=_to_side(file.late),
        detail=dispute.detail,
        decisions=[_to_decision(each) for each in file.decisions],
        create_time=to_timestamp(dispute.create_time),
        update_time=to_timestamp(dispute.update_time),
    )
    start, end = dispute.where.slice_start, dispute.where.slice_end
    if (start, end) != (0, MAX_SLICE):
        message.slice.CopyFrom(types_pb2.Slice(start=start, end=end))
    return message


def _to_side(lock: Lock) -> pb2.DisputeSide:
    return pb2.DisputeSide(
        registry=lock.registry,
        instrument=lock.instrument,
        issuance_lock=f"{LOCK_PREFIX}{lock.lock_id}",
        period=to_interval(lock.period),
        # A sum of many: one registry's figures must not keep anybody from a page of disputes.
        issued_units=min(int(lock.issued_units), MAX_INT64),
    )


def _to_decision(decision: DisputeDecisionTaken) -> pb2.DisputeDecision:
    return pb2.DisputeDecision(
        kind=decision.kind.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
        outcome=None if decision.outcome is None else decision.outcome.value,  # type: ignore[arg-type]  # as above
        boundary=decision.boundary,
        evidence=decision.evidence,
        evidence_uri=decision.evidence_uri,
        decider=decision.decider,
        create_time=to_timestamp(decision.create_time),
    )
