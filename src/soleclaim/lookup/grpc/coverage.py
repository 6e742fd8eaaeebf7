"""CoverageService."""

from collections.abc import Sequence
from typing import Final

import grpc

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import coverage_service_pb2 as pb2
from soleclaim.api.lookup.v1 import coverage_service_pb2_grpc as pb2_grpc
from soleclaim.core.activity_id import ActivityKey, activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.lookup.domain import Coverage, CoverageStatement
from soleclaim.lookup.grpc.convert import activity_name, parse_numbered_name, parse_registration
from soleclaim.lookup.grpc.mutation import Mutation, run_batch, run_single
from soleclaim.lookup.ports import LookupStore, Reader, Transaction
from soleclaim.lookup.service import coverage
from soleclaim.lookup.service.boundaries import with_wholes
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, require_registry
from soleclaim.rpc.pages import page_asked
from soleclaim.rpc.parse import Faults, to_timestamp

SERVICE: Final = "soleclaim.api.lookup.v1.CoverageService"
PREFIX: Final = "coverages/"
MAX_BOUNDARY: Final = 512
"""Characters of a boundary."""

_SCHEMES: Final = {
    "emission_trading": pb2.COVERAGE_SCHEME_EMISSION_TRADING,
    "energy_use": pb2.COVERAGE_SCHEME_ENERGY_USE,
}
_FOR_OTHERS: Final = ("name", "registry", "scheme", "period", "boundary", "in_force")
"""What a registry reads of another's statement."""


class CoverageServicer(pb2_grpc.CoverageServiceServicer):
    """Coverage on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store
        self._bundle = bundle

        def parse(message: pb2.RecordCoverageRequest, caller: Caller, faults: Faults) -> CoverageStatement | None:
            statement = parse_statement(message, bundle, faults)
            if not faults.any():
                require_registry(caller, message.unit.native_project.registry)
            return statement

        async def work(
            transaction: Transaction, statements: list[CoverageStatement]
        ) -> Sequence[Coverage | DomainError]:
            return await coverage.record(transaction, statements)

        def fill(result: pb2.CoverageResult, done: Coverage) -> None:
            result.coverage.CopyFrom(to_coverage(done, bundle))

        self._record: Mutation[CoverageStatement, Coverage] = Mutation(
            "RecordCoverage", parse, work, fill, pb2.BatchRecordCoverageResponse
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_CoverageServiceServicer_to_server(self, server)

    async def RecordCoverage(self, request: pb2.RecordCoverageRequest, context: Context) -> pb2.Coverage:
        """See the proto."""
        result: pb2.CoverageResult = await run_single(self._store, self._record, request, context)
        return result.coverage

    async def BatchRecordCoverage(
        self, request: pb2.BatchRecordCoverageRequest, context: Context
    ) -> pb2.BatchRecordCoverageResponse:
        """See the proto."""
        response: pb2.BatchRecordCoverageResponse = await run_batch(self._store, self._record, request, context)
        return response

    async def GetCoverage(self, request: pb2.GetCoverageRequest, context: Context) -> pb2.Coverage:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        number = parse_numbered_name("name", request.name, PREFIX, faults)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            found = await reader.coverage(number)
            # The same answer for what the caller may not see and for none, so that nothing is revealed.
            if found is None or not await _is_visible(reader, caller, found):
                raise DomainError(Reason.COVERAGE_UNKNOWN, coverage=request.name)
        return as_seen_by(caller, to_coverage(found, self._bundle))

    async def ListCoverage(self, request: pb2.ListCoverageRequest, context: Context) -> pb2.ListCoverageResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        asked = page_asked(request, faults)
        if request.registry:
            faults.code("registry", request.registry)
        activity_id = faults.activity("activity", request.activity) if request.activity else None
        at = faults.instant("at", request.at) if request.HasField("at") else None
        faults.raise_if_any()
        seen_by = caller.code if caller.role is Role.REGISTRY else None
        async with self._store.reading() as reader:
            keys = None
            if activity_id is not None:
                key = await reader.survivor_of(activity_key(activity_id))
                keys = (await with_wholes(reader, [key]))[key]
                if seen_by is not None and await _has_registered(reader, seen_by, key):
                    # Whoever has registered the part is refused because of the whole, and may see why.
                    seen_by = None
            found = await reader.list_coverage(
                registry=request.registry or None,
                keys=keys,
                at=at,
                history=request.show_history,
                seen_by=seen_by,
                after=asked.after,
                limit=asked.limit,
            )
        messages = [as_seen_by(caller, to_coverage(each, self._bundle)) for each in found]
        page, next_page_token = asked.cut(messages, found, lambda each: each.number)
        return pb2.ListCoverageResponse(coverages=page, next_page_token=next_page_token)


async def _is_visible(reader: Reader, caller: Caller, found: Coverage) -> bool:
    if caller.role is not Role.REGISTRY or found.statement.registry == caller.code:
        return True
    activity_id = found.activity_id
    return activity_id is not None and await _has_registered(reader, caller.code, activity_key(activity_id))


async def _has_registered(reader: Reader, registry: str, key: ActivityKey) -> bool:
    standing = (await reader.standing(registry, [key])).get(key)
    return standing is not None and standing.registered


def parse_statement(message: pb2.RecordCoverageRequest, bundle: Bundle, faults: Faults) -> CoverageStatement | None:
    """A statement to record; ``None`` when it has faults."""
    unit = parse_registration(message.unit, bundle, faults.prefixed("unit."))
    if message.unit.request_id:
        faults.add("unit.request_id", "must stay empty; the request's own request_id counts")
    if unit.registry in bundle.registries and unit.registry not in bundle.boundary_of:
        known = ", ".join(sorted(bundle.boundary_of))
        faults.add("unit.native_project.registry", f"runs no cap or market; those that do: {known}")
    statement_id = faults.text("statement_id", message.statement_id, max_length=128)
    corrects = faults.text("corrects", message.corrects, max_length=128, required=False)
    if corrects and corrects == statement_id:
        faults.add("corrects", "is the statement itself; a correction has an id of its own")
    inside = faults.text("inside", message.inside, max_length=128, required=False)
    if inside and inside == unit.native_project_id:
        faults.add("inside", "is the unit itself; name another unit, or none")
    boundary = faults.text("boundary", message.boundary, max_length=MAX_BOUNDARY)
    sector = faults.text("sector", message.sector, max_length=128, required=False)
    period = faults.open_period("period", message.HasField("period"), message.period)
    if period is None:
        return None
    return CoverageStatement(
        registry=unit.registry,
        statement_id=statement_id,
        corrects=corrects,
        unit=unit,
        inside=inside,
        boundary=boundary,
        sector=sector,
        start=period[0],
        end=period[1],
        withdrawn=message.withdrawn,
    )


def as_seen_by(caller: Caller, message: pb2.Coverage) -> pb2.Coverage:
    """Without what a registry may not see of another's statement."""
    if caller.role is Role.REGISTRY and message.registry != caller.code:
        for field in message.DESCRIPTOR.fields_by_name:
            if field not in _FOR_OTHERS:
                message.ClearField(field)  # type: ignore[arg-type]  # the stub wants literals
    return message


def to_coverage(found: Coverage, bundle: Bundle) -> pb2.Coverage:
    """On the wire, whole."""
    statement = found.statement
    rule = bundle.boundary_of.get(statement.registry)
    message = pb2.Coverage(
        name=f"{PREFIX}{found.number}",
        registry=statement.registry,
        scheme=_SCHEMES[bundle.boundaries[rule].scheme] if rule else pb2.COVERAGE_SCHEME_UNSPECIFIED,
        statement_id=statement.statement_id,
        corrects=statement.corrects,
        corrects_unknown=found.corrects_unknown,
        in_force=found.in_force,
        withdrawn=statement.withdrawn,
        native_project=activity_pb2.NativeProjectRef(
            registry=statement.registry, native_project_id=statement.unit.native_project_id
        ),
        display_name=statement.unit.display_name,
        inside=statement.inside,
        activity=activity_name(found.activity_id),
        review_case="" if found.review_case is None else f"reviewCases/{found.review_case}",
        boundary=statement.boundary,
        sector=statement.sector,
        create_time=to_timestamp(found.create_time),
    )
    message.period.start_time.CopyFrom(to_timestamp(statement.start))
    if statement.end is not None:
        message.period.end_time.CopyFrom(to_timestamp(statement.end))
    return message
