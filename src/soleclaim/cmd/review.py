"""``soleclaim review``: cases that wait for a person, and taking back what persons decided: reopening, splitting."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from soleclaim.cmd.asking import ask_lookup, list_lookup
from soleclaim.cmd.options import Dialling, activity_name, limit_option, name_in, reading_options
from soleclaim.cmd.output import as_dict, print_json, print_list, print_table, say, tell

if TYPE_CHECKING:
    from soleclaim.api.lookup.v1.activity_service_pb2 import Activity, PlantDescription
    from soleclaim.api.lookup.v1.review_service_pb2 import (
        ActivitySplit,
        ConfirmActivitySplitRequest,
        ConfirmReviewDecisionRequest,
        DecideReviewCaseRequest,
        DescribedProject,
        ReopenReviewCaseRequest,
        ReviewCase,
        ReviewedRegistration,
        SplitActivityRequest,
    )

    Request = (
        DecideReviewCaseRequest
        | ConfirmReviewDecisionRequest
        | ReopenReviewCaseRequest
        | SplitActivityRequest
        | ConfirmActivitySplitRequest
    )

_STATES: Final = ("OPEN", "DECIDED")


@click.group()
def review() -> None:
    """Review cases: records that may be one activity. Operators decide, regulators read, a registry reads its own."""


@review.command("list")
@click.option("--state", type=click.Choice(_STATES, case_sensitive=False), help="Only cases in this state.")
@click.option("--registry", default="", metavar="CODE", help="Only cases of this registry.")
@limit_option
@reading_options
def list_cases(
    *, state: str | None, registry: str, limit: int, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """List cases in the order of their opening."""
    from soleclaim.api.lookup.v1 import review_service_pb2 as pb

    request = pb.ListReviewCasesRequest(
        registry=registry, state=pb.ReviewCaseState.Value(f"REVIEW_CASE_STATE_{state or 'UNSPECIFIED'}")
    )

    print_list(
        "review_cases",
        list_lookup(lookup_target, dialling, limit, request, lambda to: to.reviews.ListReviewCases, "review_cases"),
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
@reading_options
def show_case(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one case: the registration that waits beside each activity that it may belong to."""
    from soleclaim.api.lookup.v1.review_service_pb2 import GetReviewCaseRequest

    request = GetReviewCaseRequest(name=name_in("reviewCases", number))
    _show(ask_lookup(lookup_target, dialling, lambda to: to.call(to.reviews.GetReviewCase, request)), as_json=as_json)


def _verdicts(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of which exactly one says what is decided."""
    for option in (
        click.option(
            "--seen", metavar="TIME", help="When the case had changed last, as `show` tells it; a newer one is refused."
        ),
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
@reading_options
def decide_case(
    *,
    number: str,
    same: str | None,
    different: bool,
    part_of: str | None,
    ask: str | None,
    seen: str | None,
    reason: str,
    request_id: str | None,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Decide a case, or ask. Give exactly one of --same, --different, --part-of, --ask."""
    request = _decision(name_in("reviewCases", number), same=same, different=different, part_of=part_of, ask=ask)
    if seen is not None:
        try:
            request.seen_update_time.FromJsonString(seen)
        except ValueError as error:
            raise click.BadParameter(
                f"{seen!r} is no time as `show` prints it: {error}", param_hint="--seen"
            ) from error
    _show(_send("DecideReviewCase", request, reason, request_id, lookup_target, dialling), as_json=as_json)


@review.command("confirm")
@click.argument("number")
@_why
@reading_options
def confirm_case(
    *, number: str, reason: str, request_id: str | None, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """Confirm, as a second operator, the merge that a case waits with."""
    from soleclaim.api.lookup.v1.review_service_pb2 import ConfirmReviewDecisionRequest

    request = ConfirmReviewDecisionRequest(name=name_in("reviewCases", number))
    _show(_send("ConfirmReviewDecision", request, reason, request_id, lookup_target, dialling), as_json=as_json)


@review.command("reopen")
@click.argument("number")
@_why
@reading_options
def reopen_case(
    *, number: str, reason: str, request_id: str | None, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """Take back the decision on a case: it is open again. A merge is taken back by a split first."""
    from soleclaim.api.lookup.v1.review_service_pb2 import ReopenReviewCaseRequest

    request = ReopenReviewCaseRequest(name=name_in("reviewCases", number))
    _show(_send("ReopenReviewCase", request, reason, request_id, lookup_target, dialling), as_json=as_json)


@review.command("split")
@click.argument("activity_id")
@click.option("--project", "projects", multiple=True, metavar="REGISTRY:ID", help="A project to take off it.")
@click.option("--identifier", "identifiers", multiple=True, metavar="SCHEME:VALUE", help="To take along.")
@click.option("--lock", "locks", multiple=True, metavar="NUMBER", help="Of a registry with projects on both sides.")
@click.option("--restore", metavar="ID", help="Undo the merge of this alias; its own projects go by themselves.")
@_why
@reading_options
def split_activity(
    *,
    activity_id: str,
    projects: tuple[str, ...],
    identifiers: tuple[str, ...],
    locks: tuple[str, ...],
    restore: str | None,
    reason: str,
    request_id: str | None,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Take projects off an activity, or undo a merge. Over issuances a second operator has to confirm it."""
    from soleclaim.api.common.v1.types_pb2 import Identifier
    from soleclaim.api.lookup.v1.activity_service_pb2 import NativeProjectRef
    from soleclaim.api.lookup.v1.review_service_pb2 import SplitActivityRequest

    if not projects and restore is None:
        raise click.UsageError("give --project REGISTRY:ID, once or more, or --restore ID")
    request = SplitActivityRequest(
        activity=activity_name(activity_id),
        native_projects=[
            NativeProjectRef(registry=registry, native_project_id=project)
            for registry, project in (_pair("--project", each) for each in projects)
        ],
        identifiers=[
            Identifier(scheme=scheme, value=value)
            for scheme, value in (_pair("--identifier", each) for each in identifiers)
        ],
        issuance_locks=[name_in("issuanceLocks", each) for each in locks],
        restore="" if restore is None else activity_name(restore),
    )
    _show_split(_send("SplitActivity", request, reason, request_id, lookup_target, dialling), as_json=as_json)


@review.command("confirm-split")
@click.argument("number")
@_why
@reading_options
def confirm_split(
    *, number: str, reason: str, request_id: str | None, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """Confirm, as a second operator, a split that waits."""
    from soleclaim.api.lookup.v1.review_service_pb2 import ConfirmActivitySplitRequest

    request = ConfirmActivitySplitRequest(name=name_in("activitySplits", number))
    _show_split(_send("ConfirmActivitySplit", request, reason, request_id, lookup_target, dialling), as_json=as_json)


@review.command("splits")
@click.option("--activity", "activity_id", metavar="ID", help="Only splits that took from this activity.")
@limit_option
@reading_options
def list_splits(*, activity_id: str | None, limit: int, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """List splits in the order in which they were asked for."""
    from soleclaim.api.lookup.v1.review_service_pb2 import ListActivitySplitsRequest

    request = ListActivitySplitsRequest(activity="" if activity_id is None else activity_name(activity_id))

    print_list(
        "activity_splits",
        list_lookup(
            lookup_target, dialling, limit, request, lambda to: to.reviews.ListActivitySplits, "activity_splits"
        ),
        (
            say("split", "拆分"),
            say("state", "状态"),
            say("activity", "活动"),
            say("to", "拆至"),
            say("projects", "项目"),
            say("locks", "签发锁"),
            say("proposer", "提出人"),
            say("confirmer", "确认人"),
            say("why", "理由"),
        ),
        lambda each: (
            each.name,
            _split_state(each),
            each.activity,
            each.new_activity or each.restore or "-",
            _projects(each),
            str(len(each.issuance_locks)),
            each.proposer,
            each.confirmer or "-",
            each.reason,
        ),
        as_json=as_json,
    )


def _pair(option: str, text: str) -> tuple[str, str]:
    """What stands before and after the first colon."""
    first, colon, second = text.partition(":")
    if not (first and colon and second):
        raise click.UsageError(f"{option} {text}: give two words with a colon between them")
    return first, second


def _split_state(split: "ActivitySplit") -> str:
    from soleclaim.api.lookup.v1.review_service_pb2 import ActivitySplitState

    return ActivitySplitState.Name(split.state).removeprefix("ACTIVITY_SPLIT_STATE_")


def _projects(split: "ActivitySplit") -> str:
    return "\n".join(f"{each.registry}:{each.native_project_id}" for each in split.native_projects)


def _show_split(split: "ActivitySplit", *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(split))
        return
    print_table(
        (say("field", "字段"), say("value", "值")),
        [
            (say("split", "拆分"), split.name),
            (say("state", "状态"), _split_state(split)),
            (say("activity", "活动"), split.activity),
            (say("to", "拆至"), split.new_activity or split.restore or "-"),
            (say("projects", "项目"), _projects(split)),
            (say("identifiers", "标识"), _identifiers(split) or "-"),
            (say("locks", "签发锁"), "\n".join(split.issuance_locks) or "-"),
            (say("proposer", "提出人"), split.proposer),
            (say("why", "理由"), split.reason),
            (say("confirmer", "确认人"), split.confirmer or "-"),
            (say("why confirmed", "确认理由"), split.confirm_reason or "-"),
        ],
    )


def _send(
    method: str,
    request: "Request",
    reason: str,
    request_id: str | None,
    lookup_target: str,
    dialling: Dialling,
) -> Any:  # noqa: ANN401  a case or a split, as the method answers
    """Send a mutation; where the answer is lost, tell how to repeat it."""
    from secrets import token_hex

    from soleclaim.client import RemoteUnavailable

    request.reason = reason
    request.request_id = request_id or f"review-{token_hex(8)}"
    try:
        return ask_lookup(lookup_target, dialling, lambda to: to.call(getattr(to.reviews, method), request))
    except RemoteUnavailable:
        tell(
            say(
                f"whether it took effect is not known; run it again with --request-id {request.request_id}",
                f"是否已生效尚不可知；请加上 --request-id {request.request_id} 重新执行",
            )
        )
        raise


def _decision(
    name: str, *, same: str | None, different: bool, part_of: str | None, ask: str | None
) -> "DecideReviewCaseRequest":
    from soleclaim.api.lookup.v1 import review_service_pb2 as pb

    if sum((same is not None, different, part_of is not None, ask is not None)) != 1:
        raise click.UsageError("give exactly one of --same ID, --different, --part-of ID, --ask QUESTION")
    if same is not None:
        return pb.DecideReviewCaseRequest(name=name, kind=pb.REVIEW_DECISION_KIND_SAME, activity=activity_name(same))
    if part_of is not None:
        return pb.DecideReviewCaseRequest(
            name=name, kind=pb.REVIEW_DECISION_KIND_PART_OF, activity=activity_name(part_of)
        )
    if ask is not None:
        return pb.DecideReviewCaseRequest(name=name, kind=pb.REVIEW_DECISION_KIND_ASK, question=ask)
    return pb.DecideReviewCaseRequest(name=name, kind=pb.REVIEW_DECISION_KIND_DIFFERENT)


def _state(case: "ReviewCase") -> str:
    from soleclaim.api.lookup.v1.review_service_pb2 import ReviewCaseState

    return ReviewCaseState.Name(case.state).removeprefix("REVIEW_CASE_STATE_")


def _show(case: "ReviewCase", *, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(case))
        return
    print_table(
        (say("field", "字段"), say("value", "值")),
        [
            (say("case", "审查案"), case.name),
            (say("state", "状态"), _state(case)),
            (say("changed last", "最近变化"), case.update_time.ToJsonString()),
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
    _maps(case)
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
            *_described(case),
            (say("likeness", "相似度"), *likeness),
            (say("reasons", "依据"), *reasons),
        ],
    )


def _described(case: "ReviewCase") -> list[tuple[str, ...]]:
    """Rows of what the registries say of the plant: of the registration, then of each candidate's projects."""
    records: list[Sequence[ReviewedRegistration | DescribedProject]] = [
        [case.registration] if case.registration.HasField("description") else [],
        *(each.projects for each in case.candidates),
    ]
    traits: list[tuple[str, Callable[[Any], str]]] = [
        (say("name told", "申报名称"), lambda each: each.display_name),
        (say("local name", "本地名称"), lambda each: each.description.name_local),
        (say("owner", "业主"), lambda each: each.description.owner),
        (say("local owner", "业主（本地）"), lambda each: each.description.owner_local),
        (say("capacity", "装机容量"), lambda each: _capacity(each.description.capacity_kw)),
        (say("year", "投产年份"), lambda each: str(each.description.commissioning_year or "")),
        (say("region", "地区"), lambda each: each.description.region),
        (say("position", "位置"), lambda each: _position(each.description)),
    ]
    distances = [_told(list(each.projects), _distance) for each in case.candidates]
    return [
        *((name, *(_told(one, tell_trait) for one in records)) for name, tell_trait in traits),
        (say("distance", "距离"), "", *distances),
    ]


def _maps(case: "ReviewCase") -> None:
    """Where each record stands on a map, a line each: a link that a table folds leads nowhere. Nothing is opened."""
    records: list[ReviewedRegistration | DescribedProject] = [case.registration]
    records += [project for each in case.candidates for project in each.projects]
    for record in records:
        if record.map_uri:
            told = record.native_project
            click.echo(f"{say('map', '地图')} {told.registry}:{told.native_project_id} {record.map_uri}")


def _told(records: "Sequence[ReviewedRegistration | DescribedProject]", tell_trait: Callable[[Any], str]) -> str:
    """What each record says; of several, whose word it is stands before it."""
    if len(records) == 1:
        return tell_trait(records[0]) or "-"
    return "\n".join(f"{each.native_project.registry}: {tell_trait(each) or '-'}" for each in records) or "-"


def _capacity(capacity_kw: int) -> str:
    return f"{capacity_kw / 1000:,.10g} MW" if capacity_kw else ""


def _position(description: "PlantDescription") -> str:
    at = description.position
    return f"{at.latitude:.6f} {at.longitude:.6f}" if description.HasField("position") else ""


def _distance(project: "DescribedProject") -> str:
    """From where the registration says that it stands."""
    return f"{project.distance_km:,.3f} km" if project.HasField("distance_km") else ""


def _identifiers(record: "ReviewedRegistration | Activity | ActivitySplit") -> str:
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
