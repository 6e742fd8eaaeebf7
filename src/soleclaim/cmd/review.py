"""``soleclaim review``: the queue of cases that wait for a person: list, show, decide, confirm."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from soleclaim.cmd.options import Dialling
from soleclaim.cmd.output import print_json, print_table, say, tell
from soleclaim.cmd.reads import _activity_name, _as_dict, _limit, _list, _pages, _reading, _with_lookup

if TYPE_CHECKING:
    from soleclaim.api.lookup.v1.activity_service_pb2 import Activity
    from soleclaim.api.lookup.v1.review_service_pb2 import (
        ConfirmReviewDecisionRequest,
        DecideReviewCaseRequest,
        ReviewCase,
        ReviewedRegistration,
    )
    from soleclaim.client import LookupClient

_STATES: Final = ("OPEN", "DECIDED")


@click.group()
def review() -> None:
    """Review cases: records that may be one activity. Operators decide, regulators read, a registry reads its own."""


@review.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only cases in this state.")
@click.option("--registry", default="", metavar="CODE", help="Only cases of this registry.")
@_limit
@_reading
def list_cases(
    *, state: str | None, registry: str, limit: int, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """List cases in the order of their opening."""
    from soleclaim.api.lookup.v1 import review_service_pb2 as pb

    request = pb.ListReviewCasesRequest(
        registry=registry, state=pb.ReviewCaseState.Value(f"REVIEW_CASE_STATE_{state or 'UNSPECIFIED'}")
    )

    async def read(client: "LookupClient") -> "list[Any]":
        return await _pages(
            limit, request, lambda: client.call(client.reviews.ListReviewCases, request), lambda page: page.review_cases
        )

    _list(
        "review_cases",
        _with_lookup(lookup_target, dialling, read),
        (
            say("case", "审查案"),
            say("state", "状态"),
            say("registry", "登记簿"),
            say("project", "项目"),
            say("name", "名称"),
            say("candidates", "候选"),
            say("detail", "缘由"),
        ),
        lambda each: (
            each.name,
            _state(each),
            each.registration.native_project.registry,
            each.registration.native_project.native_project_id,
            each.registration.display_name,
            str(len(each.candidates)),
            each.detail,
        ),
        as_json=as_json,
    )


@review.command("show")
@click.argument("number")
@_reading
def show_case(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one case: the registration that waits beside each activity that it may belong to."""
    from soleclaim.api.lookup.v1.review_service_pb2 import GetReviewCaseRequest

    request = GetReviewCaseRequest(name=_case_name(number))
    _show(_with_lookup(lookup_target, dialling, lambda to: to.call(to.reviews.GetReviewCase, request)), as_json=as_json)


def _verdicts(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of which exactly one says what is decided."""
    for option in (
        click.option("--ask", metavar="QUESTION", help="Put a question to the registry; the case stays open."),
        click.option("--part-of", metavar="ID", help="A part (phase, unit) of this candidate, an activity of its own."),
        click.option("--different", is_flag=True, help="None of the candidates: an activity of its own."),
        click.option("--same", metavar="ID", help="The same as this candidate."),
    ):
        command = option(command)
    return command


def _why(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every decision has."""
    reason = click.option("--reason", required=True, metavar="TEXT", help="Why, for those who come after.")
    request_id = click.option(
        "--request-id", metavar="ID", help="To repeat a request whose answer was lost; else a new one is made."
    )
    return reason(request_id(command))


@review.command("decide")
@click.argument("number")
@_verdicts
@_why
@_reading
def decide_case(
    *,
    number: str,
    same: str | None,
    different: bool,
    part_of: str | None,
    ask: str | None,
    reason: str,
    request_id: str | None,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Decide a case, or ask. Give exactly one of --same, --different, --part-of, --ask."""
    request = _decision(_case_name(number), same=same, different=different, part_of=part_of, ask=ask)
    _send("DecideReviewCase", request, reason, request_id, lookup_target, dialling, as_json=as_json)


@review.command("confirm")
@click.argument("number")
@_why
@_reading
def confirm_case(
    *, number: str, reason: str, request_id: str | None, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """Confirm, as a second operator, the merge that a case waits with."""
    from soleclaim.api.lookup.v1.review_service_pb2 import ConfirmReviewDecisionRequest

    request = ConfirmReviewDecisionRequest(name=_case_name(number))
    _send("ConfirmReviewDecision", request, reason, request_id, lookup_target, dialling, as_json=as_json)


def _send(
    method: str,
    request: "DecideReviewCaseRequest | ConfirmReviewDecisionRequest",
    reason: str,
    request_id: str | None,
    lookup_target: str,
    dialling: Dialling,
    *,
    as_json: bool,
) -> None:
    """Send a mutation and show the case; where the answer is lost, tell how to repeat it."""
    from secrets import token_hex

    from soleclaim.client import RemoteUnavailable

    request.reason = reason
    request.request_id = request_id or f"review-{token_hex(8)}"
    try:
        case = _with_lookup(lookup_target, dialling, lambda to: to.call(getattr(to.reviews, method), request))
    except RemoteUnavailable:
        tell(
            say(
                f"whether it took effect is not known; run it again with --request-id {request.request_id}",
                f"是否已生效尚不可知；请加上 --request-id {request.request_id} 重新执行",
            )
        )
        raise
    _show(case, as_json=as_json)


def _decision(
    name: str, *, same: str | None, different: bool, part_of: str | None, ask: str | None
) -> "DecideReviewCaseRequest":
    from soleclaim.api.lookup.v1 import review_service_pb2 as pb

    if sum((same is not None, different, part_of is not None, ask is not None)) != 1:
        raise click.UsageError("give exactly one of --same ID, --different, --part-of ID, --ask QUESTION")
    if same is not None:
        return pb.DecideReviewCaseRequest(name=name, kind=pb.REVIEW_DECISION_KIND_SAME, activity=_activity_name(same))
    if part_of is not None:
        return pb.DecideReviewCaseRequest(
            name=name, kind=pb.REVIEW_DECISION_KIND_PART_OF, activity=_activity_name(part_of)
        )
    if ask is not None:
        return pb.DecideReviewCaseRequest(name=name, kind=pb.REVIEW_DECISION_KIND_ASK, question=ask)
    return pb.DecideReviewCaseRequest(name=name, kind=pb.REVIEW_DECISION_KIND_DIFFERENT)


def _case_name(number: str) -> str:
    return f"reviewCases/{number.removeprefix('reviewCases/')}"


def _state(case: "ReviewCase") -> str:
    from soleclaim.api.lookup.v1.review_service_pb2 import ReviewCaseState

    return ReviewCaseState.Name(case.state).removeprefix("REVIEW_CASE_STATE_")


def _show(case: "ReviewCase", *, as_json: bool) -> None:
    if as_json:
        print_json(_as_dict(case))
        return
    print_table(
        (say("field", "字段"), say("value", "值")),
        [
            (say("case", "审查案"), case.name),
            (say("state", "状态"), _state(case)),
            (say("detail", "缘由"), case.detail),
            (say("question", "问题"), case.question or "-"),
            (say("stands on", "登记于"), case.activity or "-"),
            (
                say("awaits confirmation", "待第二人确认"),
                say("yes", "是") if case.awaits_confirmation else say("no", "否"),
            ),
        ],
    )
    click.echo()
    _side_by_side(case)
    if case.decisions:
        click.echo()
        _decisions(case)


def _side_by_side(case: "ReviewCase") -> None:
    """A row per trait, a column per record."""
    waiting = case.registration
    columns = [case.name, *(each.activity.name for each in case.candidates)]
    records: list[ReviewedRegistration | Activity] = [waiting, *(each.activity for each in case.candidates)]
    projects = [[waiting.native_project], *(list(each.activity.native_projects) for each in case.candidates)]
    likeness = ["", *(f"{each.probability:.3f}" if each.HasField("probability") else "-" for each in case.candidates)]
    reasons = ["", *("\n".join(each.reasons) or "-" for each in case.candidates)]
    print_table(
        ("", *columns),
        [
            (say("name", "名称"), *(each.display_name for each in records)),
            (say("type", "类型"), *(each.activity_type for each in records)),
            (say("country", "国家"), *(each.country for each in records)),
            (
                say("projects", "项目"),
                *("\n".join(f"{p.registry}:{p.native_project_id}" for p in one) for one in projects),
            ),
            (say("identifiers", "标识"), *(_identifiers(each) for each in records)),
            (say("likeness", "相似度"), *likeness),
            (say("reasons", "依据"), *reasons),
        ],
    )


def _identifiers(record: "ReviewedRegistration | Activity") -> str:
    return "\n".join(f"{each.scheme}:{each.value}" for each in record.identifiers)


def _decisions(case: "ReviewCase") -> None:
    from soleclaim.api.lookup.v1.review_service_pb2 import ReviewDecisionKind

    print_table(
        (
            say("when", "时间"),
            say("who", "裁定人"),
            say("decision", "裁定"),
            say("activity", "活动"),
            say("why", "理由"),
        ),
        [
            (
                each.create_time.ToJsonString(),
                each.decider or "-",
                ReviewDecisionKind.Name(each.kind).removeprefix("REVIEW_DECISION_KIND_"),
                each.activity or each.question or "-",
                each.reason or "-",
            )
            for each in case.decisions
        ],
    )
