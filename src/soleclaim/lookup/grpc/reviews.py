"""ReviewService."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import grpc

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import review_service_pb2 as pb2
from soleclaim.api.lookup.v1 import review_service_pb2_grpc as pb2_grpc
from soleclaim.core.activity_id import ActivityId, ActivityKey
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.lookup.domain import (
    Decision,
    DecisionKind,
    DecisionTaken,
    ProjectRegistration,
    ReviewEvidence,
    ReviewState,
)
from soleclaim.lookup.grpc.convert import parse_numbered_name, to_activity
from soleclaim.lookup.grpc.mutation import Mutation, run_single
from soleclaim.lookup.grpc.pages import fitting, page_size
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import reviews
from soleclaim.lookup.service.reviews import ReviewFile
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, require_registry
from soleclaim.rpc.parse import Faults, encode_page_token, query_hash, to_timestamp

SERVICE: Final = "soleclaim.api.lookup.v1.ReviewService"
PREFIX: Final = "reviewCases/"
MAX_TEXT: Final = 1024
"""Characters of a reason and of a question."""

_NAMES_ACTIVITY: Final = (pb2.REVIEW_DECISION_KIND_SAME, pb2.REVIEW_DECISION_KIND_PART_OF)


class ReviewServicer(pb2_grpc.ReviewServiceServicer):
    """Review cases on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        self._store = store

        async def decide(transaction: Transaction, decisions: list[Decision]) -> Sequence[ReviewFile | DomainError]:
            return [await reviews.decide(transaction, bundle, each) for each in decisions]

        async def confirm(transaction: Transaction, wanted: list[Confirmation]) -> Sequence[ReviewFile | DomainError]:
            return [
                await reviews.confirm(transaction, bundle, each.case_id, reason=each.reason, decider=each.decider)
                for each in wanted
            ]

        def fill(result: pb2.ReviewCaseResult, file: ReviewFile) -> None:
            result.review_case.CopyFrom(to_review_case(file))

        self._decide: Mutation[Decision, ReviewFile] = Mutation(
            "DecideReviewCase", parse_decision, decide, fill, pb2.ReviewCaseResults
        )
        self._confirm: Mutation[Confirmation, ReviewFile] = Mutation(
            "ConfirmReviewDecision", parse_confirmation, confirm, fill, pb2.ReviewCaseResults
        )

    def register(self, server: grpc.aio.Server) -> None:
        """Add to a server."""
        pb2_grpc.add_ReviewServiceServicer_to_server(self, server)

    async def DecideReviewCase(self, request: pb2.DecideReviewCaseRequest, context: Context) -> pb2.ReviewCase:
        """See the proto."""
        result: pb2.ReviewCaseResult = await run_single(self._store, self._decide, request, context)
        return result.review_case

    async def ConfirmReviewDecision(
        self, request: pb2.ConfirmReviewDecisionRequest, context: Context
    ) -> pb2.ReviewCase:
        """See the proto."""
        result: pb2.ReviewCaseResult = await run_single(self._store, self._confirm, request, context)
        return result.review_case

    async def GetReviewCase(self, request: pb2.GetReviewCaseRequest, context: Context) -> pb2.ReviewCase:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        case_id = parse_case_name("name", request.name, faults)
        faults.raise_if_any()
        async with self._store.reading() as reader:
            case = await reader.review_case(case_id)
            # The same answer for another's case and for none, so that nothing is revealed.
            if case is None or (caller.role is Role.REGISTRY and case.registration.registry != caller.code):
                raise DomainError(Reason.REVIEW_CASE_UNKNOWN, case=request.name)
            file = await reviews.read(reader, case)
        return as_seen_by(caller, to_review_case(file))

    async def ListReviewCases(
        self, request: pb2.ListReviewCasesRequest, context: Context
    ) -> pb2.ListReviewCasesResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        limit = page_size(request.page_size, faults)
        query = query_hash(request)
        after = faults.page_token("page_token", request.page_token, query)
        faults.enum("state", request.state, pb2.ReviewCaseState, required=False)
        if request.registry:
            faults.code("registry", request.registry)
        faults.raise_if_any()
        registry = request.registry or None
        if caller.role is Role.REGISTRY:
            require_registry(caller, registry or caller.code)
            registry = caller.code
        async with self._store.reading() as reader:
            cases = await reader.list_review_cases(
                registry=registry,
                state=ReviewState(request.state) if request.state else None,
                after=after or 0,
                limit=limit,
            )
            files = await reviews.read_all(reader, cases)
        page = fitting([as_seen_by(caller, to_review_case(each)) for each in files])
        is_last = len(page) == len(cases) < limit
        return pb2.ListReviewCasesResponse(
            review_cases=page,
            next_page_token="" if is_last else encode_page_token(query, cases[len(page) - 1].case_id),
        )


def parse_case_name(field: str, name: str, faults: Faults) -> int:
    """``reviewCases/{number}``."""
    return parse_numbered_name(field, name, PREFIX, faults)


class Confirmation(NamedTuple):
    """A second operator's word on a proposal."""

    case_id: int
    reason: str
    decider: str


def parse_confirmation(message: pb2.ConfirmReviewDecisionRequest, caller: Caller, faults: Faults) -> Confirmation:
    """A confirmation by the caller."""
    case_id = parse_case_name("name", message.name, faults)
    return Confirmation(case_id, faults.text("reason", message.reason, max_length=MAX_TEXT), str(caller))


def parse_decision(message: pb2.DecideReviewCaseRequest, caller: Caller, faults: Faults) -> Decision:
    """A decision of the caller."""
    case_id = parse_case_name("name", message.name, faults)
    kind = faults.enum("kind", message.kind, pb2.ReviewDecisionKind)
    if kind == pb2.REVIEW_DECISION_KIND_CONFIRM:
        faults.add("kind", "must not be CONFIRM; call ConfirmReviewDecision to confirm a proposal")
    activity_id: ActivityId | None = None
    if kind in _NAMES_ACTIVITY:
        activity_id = faults.activity("activity", message.activity)
    elif message.activity:
        faults.add("activity", "must be empty: only SAME and PART_OF name an activity")
    if kind == pb2.REVIEW_DECISION_KIND_ASK:
        faults.text("question", message.question, max_length=MAX_TEXT)
    elif message.question:
        faults.add("question", "must be empty: only ASK has a question")
    faults.text("reason", message.reason, max_length=MAX_TEXT)
    known = kind in {each.value for each in DecisionKind}
    return Decision(
        case_id=case_id,
        kind=DecisionKind(kind) if known else DecisionKind.ASK,
        activity_id=activity_id,
        question=message.question,
        reason=message.reason,
        decider=str(caller),
    )


def as_seen_by(caller: Caller, message: pb2.ReviewCase) -> pb2.ReviewCase:
    """Without what a registry may not see: other parties, and who decided for which reason."""
    if caller.role is Role.REGISTRY:
        message.ClearField("candidates")
        for each in message.decisions:
            for field in ("activity", "reason", "decider"):
                each.ClearField(field)
    return message


def to_review_case(file: ReviewFile) -> pb2.ReviewCase:
    """On the wire, whole."""
    case = file.case
    return pb2.ReviewCase(
        name=f"{PREFIX}{case.case_id}",
        state=case.state.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
        registration=_to_registration(case.registration),
        detail=case.detail,
        candidates=[
            pb2.ReviewCandidate(
                activity=to_activity(activity), probability=likeness.probability, reasons=likeness.reasons
            )
            for likeness, activity in file.candidates
        ],
        question=case.question,
        decisions=[_to_decision(each, file.named) for each in file.decisions],
        activity=_activity_name(case.stands_on, file.named),
        awaits_confirmation=case.awaits_confirmation,
        evidence=[_to_evidence(each) for each in file.evidence],
        create_time=to_timestamp(case.create_time),
        update_time=to_timestamp(case.update_time),
    )


def _activity_name(key: ActivityKey | None, named: dict[ActivityKey, ActivityId]) -> str:
    return "" if key is None else f"activities/{named[key]}"


def _to_registration(project: ProjectRegistration) -> pb2.ReviewedRegistration:
    return pb2.ReviewedRegistration(
        native_project=activity_pb2.NativeProjectRef(
            registry=project.registry, native_project_id=project.native_project_id
        ),
        country=project.country,
        activity_type=project.activity_type,
        display_name=project.display_name,
        time_zone=project.time_zone,
        identifiers=[types_pb2.Identifier(scheme=scheme, value=value) for scheme, value in project.identifiers],
    )


def _to_evidence(evidence: ReviewEvidence) -> pb2.ReviewedRegistration:
    message = _to_registration(evidence.registration)
    message.create_time.CopyFrom(to_timestamp(evidence.create_time))
    return message


def _to_decision(decision: DecisionTaken, named: dict[ActivityKey, ActivityId]) -> pb2.ReviewDecision:
    return pb2.ReviewDecision(
        kind=decision.kind.value,  # type: ignore[arg-type]  # the domain's numbers are the API's
        activity=_activity_name(decision.activity_key, named),
        question=decision.question,
        reason=decision.reason,
        decider=decision.decider,
        proposed=decision.proposed,
        create_time=to_timestamp(decision.create_time),
    )
