"""SettlementService."""

from collections.abc import Sequence
from typing import Final

import grpc

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import settlement_service_pb2 as pb2
from soleclaim.api.lookup.v1 import settlement_service_pb2_grpc as pb2_grpc
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.core.serials import total
from soleclaim.lookup.domain import Settlement, SettlementLine, SettlementState
from soleclaim.lookup.grpc.convert import MAX_UNITS, activity_name, parse_blocks, parse_numbered_name
from soleclaim.lookup.grpc.mutation import Mutation, run_batch, run_single
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import settlements
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, require_registry
from soleclaim.rpc.pages import page_asked
from soleclaim.rpc.parse import Faults, to_interval, to_timestamp

SERVICE: Final = "soleclaim.api.lookup.v1.SettlementService"
PREFIX: Final = "settlements/"
USCC_LENGTH: Final = 18


class SettlementServicer(pb2_grpc.SettlementServiceServicer):
    """Settlements on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store
        self._bundle = bundle

        def parse(message: pb2.RecordSettlementRequest, caller: Caller, faults: Faults) -> SettlementLine | None:
            line = parse_line(message, bundle, faults)
            if not faults.any():
                require_registry(caller, message.native_project.registry)
            return line

        async def work(transaction: Transaction, lines: list[SettlementLine]) -> Sequence[Settlement | DomainError]:
            return await settlements.record(transaction, lines, bundle.registries[lines[0].registry].settles)

        def fill(result: pb2.SettlementResult, done: Settlement) -> None:
            result.settlement.CopyFrom(self._told(done))

        self._record: Mutation[SettlementLine, Settlement] = Mutation(
            "RecordSettlement", parse, work, fill, pb2.BatchRecordSettlementsResponse
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_SettlementServiceServicer_to_server(self, server)

    async def RecordSettlement(self, request: pb2.RecordSettlementRequest, context: Context) -> pb2.Settlement:
        """See the proto."""
        result: pb2.SettlementResult = await run_single(self._store, self._record, request, context)
        return result.settlement

    async def BatchRecordSettlements(
        self, request: pb2.BatchRecordSettlementsRequest, context: Context
    ) -> pb2.BatchRecordSettlementsResponse:
        """See the proto."""
        response: pb2.BatchRecordSettlementsResponse = await run_batch(self._store, self._record, request, context)
        return response

    async def GetSettlement(self, request: pb2.GetSettlementRequest, context: Context) -> pb2.Settlement:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        number = parse_numbered_name("name", request.name, PREFIX, faults)
        faults.raise_if_any()
        visible = self._visible(caller)
        async with self._store.reading() as reader:
            found = await reader.settlement(number)
        # The same answer for what the caller may not see and for none, so that nothing is revealed.
        if found is None or (visible is not None and found.line.registry not in visible):
            raise DomainError(Reason.SETTLEMENT_UNKNOWN, settlement=request.name)
        return as_seen_by(caller, self._told(found))

    async def ListSettlements(
        self, request: pb2.ListSettlementsRequest, context: Context
    ) -> pb2.ListSettlementsResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        asked = page_asked(request, faults)
        if request.registry:
            faults.code("registry", request.registry)
        state = faults.enum("state", request.state, pb2.SettlementState, required=False)
        faults.raise_if_any()
        registries = self._visible(caller)
        if request.registry:
            registries = {request.registry} if registries is None else registries & {request.registry}
        async with self._store.reading() as reader:
            found = await reader.list_settlements(
                registries=registries,
                state=SettlementState(state) if state else None,
                after=asked.after,
                limit=asked.limit,
            )
        messages = [as_seen_by(caller, self._told(each)) for each in found]
        page, next_page_token = asked.cut(messages, found, lambda each: each.number)
        return pb2.ListSettlementsResponse(settlements=page, next_page_token=next_page_token)

    def _visible(self, caller: Caller) -> set[str] | None:
        """The exchanges whose lines the caller may read; ``None``: all."""
        if caller.role is not Role.REGISTRY:
            return None
        served = {code for code, row in self._bundle.registries.items() if row.settles == caller.code}
        return served | {caller.code}

    def _kwh_of_a_certificate(self, registry: str) -> int:
        """0: the bundle in force knows no such exchange any more."""
        row = self._bundle.registries.get(registry)
        codes = self._bundle.instruments_of(row.settles) if row is not None else ()
        return self._bundle.instruments[codes[0]].base_units_per_unit if codes else 0

    def _told(self, found: Settlement) -> pb2.Settlement:
        """On the wire, whole."""
        line, count = found.line, total(found.line.blocks)
        kwh_each = self._kwh_of_a_certificate(line.registry)
        return pb2.Settlement(
            name=f"{PREFIX}{found.number}",
            registry=line.registry,
            settlement_id=line.settlement_id,
            corrects=line.corrects,
            state=pb2.SettlementState.ValueType(found.state),
            contradictions=[
                pb2.SettlementRef(
                    name=f"{PREFIX}{each.number}", registry=each.registry, settlement_id=each.settlement_id
                )
                for each in found.contradictions
            ],
            native_project=activity_pb2.NativeProjectRef(
                registry=line.registry, native_project_id=line.native_project_id
            ),
            activity=activity_name(found.activity_id),
            contract=line.contract,
            period=to_interval(line.period),
            energy_kwh=line.energy_kwh,
            buyer_code=line.buyer_code,
            blocks=[types_pb2.UnitBlock(series=each.series, start=each.start, end=each.end) for each in line.blocks],
            certificates=count,
            # Less than a certificate is carried from month to month.
            count_differs=0 < kwh_each <= abs(line.energy_kwh - count * kwh_each),
            create_time=to_timestamp(found.create_time),
        )


def parse_line(message: pb2.RecordSettlementRequest, bundle: Bundle, faults: Faults) -> SettlementLine | None:
    """A line to record; ``None`` when it has faults."""
    registry = faults.code("native_project.registry", message.native_project.registry)
    settling = sorted(code for code, row in bundle.registries.items() if row.settles)
    if registry and registry not in settling:
        faults.add("native_project.registry", f"settles no certificates; those that do: {', '.join(settling)}")
    native_project_id = faults.text(
        "native_project.native_project_id", message.native_project.native_project_id, max_length=128
    )
    settlement_id = faults.text("settlement_id", message.settlement_id, max_length=128)
    corrects = faults.text("corrects", message.corrects, max_length=128, required=False)
    if corrects and corrects == settlement_id:
        faults.add("corrects", "is the line itself; a correction has an id of its own")
    contract = faults.text("contract", message.contract, max_length=128)
    period = faults.period("period", message.HasField("period"), message.period)
    energy_kwh = faults.number("energy_kwh", message.energy_kwh, minimum=0, maximum=MAX_UNITS)
    buyer_code = faults.text("buyer_code", message.buyer_code, max_length=USCC_LENGTH)
    if buyer_code and len(buyer_code) != USCC_LENGTH:
        faults.add("buyer_code", f"must be a unified social credit code of {USCC_LENGTH} characters")
    blocks = parse_blocks(message.blocks, faults, minimum=0)
    if bool(energy_kwh) is not bool(message.blocks):
        faults.add("blocks", "must be there with energy, and only then")
    elif not energy_kwh and not corrects:
        faults.add("energy_kwh", "is 0, and the line corrects nothing")
    if period is None:
        return None
    return SettlementLine(
        registry=registry,
        settlement_id=settlement_id,
        corrects=corrects,
        native_project_id=native_project_id,
        contract=contract,
        period=period,
        energy_kwh=energy_kwh,
        buyer_code=buyer_code,
        blocks=tuple(sorted(blocks)),
    )


def as_seen_by(caller: Caller, message: pb2.Settlement) -> pb2.Settlement:
    """Without what a registry may not see of another's line."""
    if caller.role is Role.REGISTRY and message.registry != caller.code:
        message.ClearField("buyer_code")
        message.ClearField("contract")
    return message
