"""ReviewService."""

from collections.abc import Sequence
from typing import Final

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
from soleclaim.lookup.grpc.convert import parse_numbered_name, to_activity, to_plant
from soleclaim.lookup.grpc.described import fill_projects, map_uri
from soleclaim.lookup.grpc.mutation import Mutation, run_single
from soleclaim.lookup.grpc.splits import SplitMethods
from soleclaim.lookup.grpc.words import MAX_TEXT, Word, parse_word
from soleclaim.lookup.ports import LookupStore, Transaction
from soleclaim.lookup.service import reviews
from soleclaim.lookup.service.reviews import ReviewFile
from soleclaim.policy.bundle import Bundle
from soleclaim.rpc.caller import Context, caller_of, own_registry
from soleclaim.rpc.pages import page_asked
from soleclaim.rpc.parse import Faults, to_timestamp

SERVICE: Final = "soleclaim.api.lookup.v1.ReviewService"
PREFIX: Final = "reviewCases/"
MAX_EVIDENCE: Final = 100
"""Registrations shown with a case: a registry may send any number, and a message has its limit."""

_BY_OTHER_METHODS: Final = {
    pb2.REVIEW_DECISION_KIND_CONFIRM: "must not be CONFIRM; call ConfirmReviewDecision to confirm a proposal",
    pb2.REVIEW_DECISION_KIND_REOPEN: "must not be REOPEN; call ReopenReviewCase to take a decision back",
}
_NAMES_ACTIVITY: Final = (pb2.REVIEW_DECISION_KIND_SAME, pb2.REVIEW_DECISION_KIND_PART_OF)


class ReviewServicer(SplitMethods, pb2_grpc.ReviewServiceServicer):
    """Review cases, and splits of activities, on the wire."""

    def __init__(self, store: LookupStore, bundle: Bundle) -> None:
        super().__init__(store, bundle)
        self._store = store

        async def decide(transaction: Transaction, decisions: list[Decision]) -> Sequence[ReviewFile | DomainError]:
            return [await reviews.decide(transaction, bundle, each) for each in decisions]

        async def confirm(transaction: Transaction, words: list[Word]) -> Sequence[ReviewFile | DomainError]:
            return [
                await reviews.confirm(transaction, bundle, case_id, reason=reason, decider=speaker)
                for case_id, reason, speaker in words
            ]

        async def reopen(transaction: Transaction, words: list[Word]) -> Sequence[ReviewFile | DomainError]:
            return [
                await reviews.reopen(transaction, case_id, reason=reason, decider=speaker)
                for case_id, reason, speaker in words
            ]

        def fill(result: pb2.ReviewCaseResult, file: ReviewFile) -> None:
            result.review_case.CopyFrom(to_review_case(file))

        self._decide: Mutation[Decision, ReviewFile] = Mutation(
            "DecideReviewCase", parse_decision, decide, fill, pb2.ReviewCaseResults
        )
        self._confirm: Mutation[Word, ReviewFile] = Mutation(
            "ConfirmReviewDecision", parse_word(PREFIX), confirm, fill, pb2.ReviewCaseResults
        )
        self._reopen: Mutation[Word, ReviewFile] = Mutation(
            "ReopenReviewCase", parse_word(PREFIX), reopen, fill, pb2.ReviewCaseResults
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

    async def ReopenReviewCase(self, request: pb2.ReopenReviewCaseRequest, context: Context) -> pb2.ReviewCase:
        """See the proto."""
        result: pb2.ReviewCaseResult = await run_single(self._store, self._reopen, request, context)
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
            described = await reader.descriptions_of([likeness.key for likeness, _ in file.candidates])
        message = to_review_case(file)
        fill_projects(message, file, described)
        return as_seen_by(caller, message)

    async def ListReviewCases(
        self, request: pb2.ListReviewCasesRequest, context: Context
    ) -> pb2.ListReviewCasesResponse:
        """See the proto."""
        caller, faults = caller_of(context), Faults()
        asked = page_asked(request, faults)
        faults.enum("state", request.state, pb2.ReviewCaseState, required=False)
        if request.registry:
            faults.code("registry", request.registry)
        faults.raise_if_any()
        registry = own_registry(caller, request.registry)
        async with self._store.reading() as reader:
            cases = await reader.list_review_cases(
                registry=registry,
                state=ReviewState(request.state) if request.state else None,
                after=asked.after,
                limit=asked.limit,
            )
            files = await reviews.read_all(reader, cases)
        messages = [as_seen_by(caller, to_review_case(each)) for each in files]
        page, next_page_token = asked.cut(messages, cases, lambda each: each.case_id)
        return pb2.ListReviewCasesResponse(review_cases=page, next_page_token=next_page_token)


def parse_case_name(field: str, name: str, faults: Faults) -> int:
    """``reviewCases/{number}``."""
    return parse_numbered_name(field, name, PREFIX, faults)


def parse_decision(message: pb2.DecideReviewCaseRequest, caller: Caller, faults: Faults) -> Decision:
    """A decision of the caller."""
    case_id = parse_case_name("name", message.name, faults)
    kind = faults.enum("kind", message.kind, pb2.ReviewDecisionKind)
    if kind in _BY_OTHER_METHODS:
        faults.add("kind", _BY_OTHER_METHODS[kind])
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
        seen=faults.instant("seen_update_time", message.seen_update_time)
        if message.HasField("seen_update_time")
        else None,
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
        evidence=[_to_evidence(each) for each in file.evidence[-MAX_EVIDENCE:]],
        create_time=to_timestamp(case.create_time),
        update_time=to_timestamp(case.update_time),
    )


def _activity_name(key: ActivityKey | None, named: dict[ActivityKey, ActivityId]) -> str:
    return "" if key is None else f"activities/{named[key]}"


def _to_registration(project: ProjectRegistration) -> pb2.ReviewedRegistration:
    description = project.description
    return pb2.ReviewedRegistration(
        native_project=activity_pb2.NativeProjectRef(
            registry=project.registry, native_project_id=project.native_project_id
        ),
        country=project.country,
        activity_type=project.activity_type,
        display_name=project.display_name,
        time_zone=project.time_zone,
        identifiers=[types_pb2.Identifier(scheme=scheme, value=value) for scheme, value in project.identifiers],
        description=to_plant(description) if description else None,
        map_uri=map_uri(description) if description else "",
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
