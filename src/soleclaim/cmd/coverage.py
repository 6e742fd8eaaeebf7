"""``soleclaim coverage``: who is inside which cap or energy-use market: list, show."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from soleclaim.cmd.asking import ask_lookup, list_lookup
from soleclaim.cmd.options import Dialling, activity_name, limit_option, name_in, reading_options
from soleclaim.cmd.output import print_list, print_message, say, tell_interval

if TYPE_CHECKING:
    from soleclaim.api.lookup.v1.coverage_service_pb2 import Coverage


@click.group()
def coverage() -> None:
    """Coverage: which unit is inside which cap or energy-use market, from when to when, on whose word."""


@coverage.command("list")
@click.option("--activity", "activity_id", metavar="ID", help="Only what covers this activity, or what it is part of.")
@click.option("--registry", default="", metavar="CODE", help="Only statements of this registry.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="Only at this instant, in UTC.")
@click.option("--history", is_flag=True, help="Also statements that were corrected or withdrawn.")
@limit_option
@reading_options
def list_coverage(
    *,
    activity_id: str | None,
    registry: str,
    at: datetime | None,
    history: bool,
    limit: int,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """List statements in the order in which they were recorded."""
    from soleclaim.api.lookup.v1.coverage_service_pb2 import ListCoverageRequest

    request = ListCoverageRequest(
        activity=activity_name(activity_id) if activity_id else "", registry=registry, show_history=history
    )
    if at is not None:
        request.at.FromDatetime(at.replace(tzinfo=UTC))

    print_list(
        "coverages",
        list_lookup(lookup_target, dialling, limit, request, lambda to: to.coverage.ListCoverage, "coverages"),
        (
            say("coverage", "纳管"),
            say("registry", "登记簿"),
            say("period", "期间"),
            say("state", "状态"),
            say("unit", "单位"),
            say("boundary", "边界"),
            say("activity", "减排活动"),
            say("recorded", "记录时间"),
        ),
        lambda each: (
            each.name,
            each.registry,
            tell_interval(each.period),
            _state(each),
            each.display_name,
            each.boundary,
            each.activity or each.review_case,
            each.create_time.ToJsonString(),
        ),
        as_json=as_json,
    )


@coverage.command("show")
@click.argument("number")
@reading_options
def show_coverage(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one statement."""
    from soleclaim.api.lookup.v1.coverage_service_pb2 import GetCoverageRequest

    request = GetCoverageRequest(name=name_in("coverages", number))
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.coverage.GetCoverage, request))
    print_message(found, as_json=as_json)


def _state(each: "Coverage") -> str:
    if each.in_force:
        return say("in force", "有效")
    return say("withdrawn", "已撤回") if each.withdrawn else say("corrected", "已更正")
