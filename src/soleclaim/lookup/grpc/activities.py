"""ActivityService and OutcomeService."""

from collections.abc import Sequence
from typing import Final

import grpc

from soleclaim.api.lookup.v1 import activity_service_pb2 as pb2
from soleclaim.api.lookup.v1 import activity_service_pb2_grpc as pb2_grpc
from soleclaim.api.lookup.v1 import outcome_service_pb2 as outcome_pb2
from soleclaim.api.lookup.v1 import outcome_service_pb2_grpc as outcome_pb2_grpc
from soleclaim.core.activity_id import ActivityId, ActivityKey, activity_key
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.identity.matching import Ranked
from soleclaim.identity.schemes import fault_of
from soleclaim.lookup.domain import Activity, Outcome, OutcomeRecord, ProjectRegistration
from soleclaim.lookup.grpc.convert import (
    fill_summary,
    outcome_position,
    parse_outcome,
    parse_outcome_key,
    parse_outcome_position,
    parse_registration,
    parse_sought,
    to_activity,
    to_outcome,
)
from soleclaim.lookup.grpc.mutation import Mutation, run_batch, run_single
from soleclaim.lookup.ports import LookupStore, Reader, Transaction
from soleclaim.lookup.service import activities, outcomes
from soleclaim.lookup.service.likeness import find
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, require_registry
from soleclaim.rpc.pages import page_size
from soleclaim.rpc.parse import Faults, encode_page_token, query_hash

SERVICE: Final = "soleclaim.api.lookup.v1.ActivityService"
OUTCOME_SERVICE: Final = "soleclaim.api.lookup.v1.OutcomeService"


class ActivityServicer(pb2_grpc.ActivityServiceServicer):
    """Activities on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store

        def parse(message: pb2.RegisterActivityRequest, caller: Caller, faults: Faults) -> ProjectRegistration:
            project = parse_registration(message, bundle, faults)
            if not faults.any():
                require_registry(caller, project.registry)
            return project

        def fill(result: pb2.ActivityResult, activity: Activity) -> None:
            result.activity.CopyFrom(to_activity(activity))

        self._register: Mutation[ProjectRegistration, Activity] = Mutation(
            "RegisterActivity", parse, activities.register, fill, pb2.BatchRegisterActivitiesResponse
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_ActivityServiceServicer_to_server(self, server)

    async def RegisterActivity(self, request: pb2.RegisterActivityRequest, context: Context) -> pb2.Activity:
        """See the proto."""
        result: pb2.ActivityResult = await run_single(self._store, self._register, request, context)
        return result.activity

    async def BatchRegisterActivities(
        self, request: pb2.BatchRegisterActivitiesRequest, context: Context
    ) -> pb2.BatchRegisterActivitiesResponse:
        """See the proto."""
        response: pb2.BatchRegisterActivitiesResponse = await run_batch(self._store, self._register, request, context)
        return response

    async def GetActivity(self, request: pb2.GetActivityRequest, context: Context) -> pb2.Activity:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        activity_id = faults.activity("name", request.name)
        faults.enum("view", request.view, pb2.ActivityView, required=False)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            return await _shown(reader, await _known(reader, activity_id), request.view, caller)

    async def ResolveActivity(self, request: pb2.ResolveActivityRequest, context: Context) -> pb2.Activity:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        if request.WhichOneof("key") is None:
            faults.add("key", "is missing; give native_project or identifier")
        if request.HasField("identifier"):
            fault = fault_of(request.identifier.scheme, request.identifier.value)
            if fault:
                faults.add("identifier", fault)
        if request.HasField("native_project"):
            faults.code("native_project.registry", request.native_project.registry)
            faults.text("native_project.native_project_id", request.native_project.native_project_id, max_length=128)
        faults.enum("view", request.view, pb2.ActivityView, required=False)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            key, what = await _resolve(reader, request)
            if key is None:
                raise DomainError(Reason.ACTIVITY_UNKNOWN, what=what)
            return await _shown(reader, (await reader.activities([key]))[key], request.view, caller)

    async def FindActivities(self, request: pb2.FindActivitiesRequest, context: Context) -> pb2.FindActivitiesResponse:
        """See the proto."""
        faults = Faults()
        sought = parse_sought(request, faults)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            return pb2.FindActivitiesResponse(candidates=await _candidates(reader, await find(reader, sought)))

    async def ListActivities(self, request: pb2.ListActivitiesRequest, context: Context) -> pb2.ListActivitiesResponse:
        """See the proto."""
        faults = Faults()
        limit = page_size(request.page_size, faults)
        query = query_hash(request)
        after = faults.page_token("page_token", request.page_token, query)
        if request.registry:
            faults.code("registry", request.registry)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            rows = await reader.list_activities(registry=request.registry or None, after=after or 0, limit=limit)
        return pb2.ListActivitiesResponse(
            activities=[to_activity(each) for _, each in rows],
            next_page_token=encode_page_token(query, rows[-1][0]) if len(rows) == limit else "",
        )


async def _candidates(reader: Reader, found: Sequence[Ranked[ActivityKey]]) -> list[pb2.ActivityCandidate]:
    known = await reader.activities([each.key for each in found])
    return [
        pb2.ActivityCandidate(
            activity=f"activities/{known[each.key].activity_id}",
            probability=each.probability,
            same=each.same,
            reasons=each.reasons,
        )
        for each in found
    ]


async def _known(reader: Reader, activity_id: ActivityId | None) -> Activity:
    """The activity of an id, or the one that it was merged into."""
    if activity_id is None:
        raise AssertionError("no id and no fault")
    key = activity_key(activity_id)
    survivor = await reader.survivor_of(key)
    found = await reader.activities([key, survivor])
    if key not in found or found[key].activity_id != activity_id:
        raise DomainError(Reason.ACTIVITY_UNKNOWN, what=f"activities/{activity_id}")
    return found[survivor]


async def _shown(reader: Reader, activity: Activity, view: pb2.ActivityView.ValueType, caller: Caller) -> pb2.Activity:
    """As much as is asked for, within what the caller may see."""
    message = to_activity(activity)
    if view == pb2.ACTIVITY_VIEW_FULL:
        takes_part = any(registry == caller.code for registry, _ in activity.native_projects)
        fill_summary(
            message, await reader.summary(activity.key), with_units=caller.role is not Role.REGISTRY or takes_part
        )
    return message


async def _resolve(reader: Reader, request: pb2.ResolveActivityRequest) -> tuple[ActivityKey | None, str]:
    if request.HasField("identifier"):
        identifier = (request.identifier.scheme, request.identifier.value)
        return await reader.activity_of_identifier(identifier), f"identifier {identifier[0]} {identifier[1]}"
    project = request.native_project
    key = await reader.activity_of_project(project.registry, project.native_project_id)
    return key, f"project {project.native_project_id} of registry {project.registry}"


class OutcomeServicer(outcome_pb2_grpc.OutcomeServiceServicer):
    """Measured outcomes on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store

        def parse(message: outcome_pb2.RecordOutcomeRequest, caller: Caller, faults: Faults) -> OutcomeRecord | None:
            record = parse_outcome(message, bundle, faults)
            if not faults.any():
                require_registry(caller, message.registry)
            return record

        async def work(transaction: Transaction, records: list[OutcomeRecord]) -> Sequence[Outcome | DomainError]:
            return await outcomes.record(transaction, bundle, records)

        def fill(result: outcome_pb2.OutcomeResult, outcome: Outcome) -> None:
            result.outcome.CopyFrom(to_outcome(outcome))

        self._record: Mutation[OutcomeRecord, Outcome] = Mutation(
            "RecordOutcome", parse, work, fill, outcome_pb2.BatchRecordOutcomesResponse
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        outcome_pb2_grpc.add_OutcomeServiceServicer_to_server(self, server)

    async def RecordOutcome(self, request: outcome_pb2.RecordOutcomeRequest, context: Context) -> outcome_pb2.Outcome:
        """See the proto."""
        result: outcome_pb2.OutcomeResult = await run_single(self._store, self._record, request, context)
        return result.outcome

    async def BatchRecordOutcomes(
        self, request: outcome_pb2.BatchRecordOutcomesRequest, context: Context
    ) -> outcome_pb2.BatchRecordOutcomesResponse:
        """See the proto."""
        response: outcome_pb2.BatchRecordOutcomesResponse = await run_batch(self._store, self._record, request, context)
        return response

    async def GetOutcome(self, request: outcome_pb2.GetOutcomeRequest, context: Context) -> outcome_pb2.Outcome:
        """See the proto."""
        faults = Faults()
        wanted = parse_outcome_key(request, faults)
        faults.raise_if_any()
        if wanted is None:
            raise AssertionError("no value and no fault")
        key = activity_key(wanted.activity_id)
        async with self._store.reading() as reader:
            spot = (await reader.survivor_of(key), wanted.period, wanted.base_unit)
            found = (await reader.outcomes([spot])).get(spot)
        # An alias names its survivor's outcomes; of any other the whole id must be right.
        if found is None or (spot[0] == key and found.record.activity_id != wanted.activity_id):
            raise DomainError(
                Reason.OUTCOME_UNKNOWN,
                activity=f"activities/{wanted.activity_id}",
                period=wanted.period,
                base_unit=wanted.base_unit,
            )
        return to_outcome(found)

    async def ListOutcomes(
        self, request: outcome_pb2.ListOutcomesRequest, context: Context
    ) -> outcome_pb2.ListOutcomesResponse:
        """See the proto."""
        faults = Faults()
        limit = page_size(request.page_size, faults)
        query = query_hash(request)
        after = parse_outcome_position("page_token", request.page_token, query, faults)
        activity_id = faults.activity("activity", request.activity)
        period = faults.period("period", request.HasField("period"), request.period, required=False)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            activity = await _known(reader, activity_id)
            rows = await reader.list_outcomes(activity.key, period=period, after=after, limit=limit)
        return outcome_pb2.ListOutcomesResponse(
            outcomes=[to_outcome(each) for each in rows],
            next_page_token=encode_page_token(query, *outcome_position(rows[-1])) if len(rows) == limit else "",
        )
