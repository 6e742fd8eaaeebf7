"""``soleclaim activity``: activities for people, and their labels; the same with ``--json`` for programs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from soleclaim.cmd.asking import ask_lookup, list_lookup, read_pages
from soleclaim.cmd.options import Dialling, activity_name, limit_option, reading_options
from soleclaim.cmd.output import (
    as_dict,
    lang_option,
    print_json,
    print_list,
    print_message,
    print_table,
    say,
    tell_interval,
)
from soleclaim.core.activity_id import ActivityId, activity_urn, print_in_fours
from soleclaim.core.outcome_id import OutcomeIdError, make_outcome, outcome_urn, parse_outcome_id

if TYPE_CHECKING:
    from soleclaim.api.common.v1.types_pb2 import BaseUnit
    from soleclaim.api.lookup.v1.activity_service_pb2 import Activity
    from soleclaim.api.lookup.v1.outcome_service_pb2 import Outcome
    from soleclaim.client import LookupClient


def _printed_in_fours(name: str, metavar: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An argument that may be typed as it is printed, with blanks and without quotes."""
    return click.argument(
        name, nargs=-1, required=True, metavar=metavar, callback=lambda _context, _argument, words: " ".join(words)
    )


@click.group()
def activity() -> None:
    """Activities: one identifier each, in every mechanism."""


@activity.command("get")
@_printed_in_fours("activity_id", "ACTIVITY_ID")
@reading_options
def get_activity(*, activity_id: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one activity by its id; blanks and lower case are fine."""
    from soleclaim.api.lookup.v1.activity_service_pb2 import GetActivityRequest

    request = GetActivityRequest(name=activity_name(activity_id))
    print_message(
        ask_lookup(lookup_target, dialling, lambda to: to.call(to.activities.GetActivity, request)), as_json=as_json
    )


@activity.command("resolve")
@click.option("--registry", metavar="CODE", help="With --project: the registry that knows it.")
@click.option("--project", metavar="ID", help="The project's id in that registry.")
@click.option("--scheme", metavar="SCHEME", help="With --value: a strong identifier's scheme.")
@click.option("--value", metavar="VALUE", help="The identifier's value.")
@reading_options
def resolve_activity(
    *,
    registry: str | None,
    project: str | None,
    scheme: str | None,
    value: str | None,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Find the activity behind a native project or a strong identifier."""
    from soleclaim.api.common.v1.types_pb2 import Identifier
    from soleclaim.api.lookup.v1.activity_service_pb2 import NativeProjectRef, ResolveActivityRequest

    if registry and project and not (scheme or value):
        reference = NativeProjectRef(registry=registry, native_project_id=project)
        request = ResolveActivityRequest(native_project=reference)
    elif scheme and value and not (registry or project):
        request = ResolveActivityRequest(identifier=Identifier(scheme=scheme, value=value))
    else:
        raise click.UsageError("give --registry and --project, or --scheme and --value")
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.activities.ResolveActivity, request))
    print_message(found, as_json=as_json)


@activity.command("show")
@_printed_in_fours("activity_id", "ACTIVITY_ID")
@limit_option
@reading_options
def show_activity(*, activity_id: str, limit: int, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show what an activity is, what it produced and what was issued for it; --limit bounds the outcomes listed."""
    from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
    from soleclaim.api.lookup.v1.outcome_service_pb2 import ListOutcomesRequest

    name = activity_name(activity_id)

    async def read(client: "LookupClient") -> "tuple[Activity, list[Outcome]]":
        request = activity_pb.GetActivityRequest(name=name, view=activity_pb.ACTIVITY_VIEW_FULL)
        found: Activity = await client.call(client.activities.GetActivity, request)
        listing = ListOutcomesRequest(activity=found.name)
        outcomes = await read_pages(client, limit, listing, lambda to: to.outcomes.ListOutcomes, "outcomes")
        return found, outcomes

    found, outcomes = ask_lookup(lookup_target, dialling, read)
    if as_json:
        print_json(
            {
                "activity_id_in_fours": print_in_fours(_id_of(found.name)),
                "urn": activity_urn(_id_of(found.name)),
                "activity": as_dict(found),
                "outcomes": [as_dict(each) for each in outcomes],
            }
        )
        return
    _print_what_it_is(found, name)
    _print_totals(found)
    if outcomes:
        click.echo()
        print_table(
            (say("outcome", "减排成果"), say("quantity", "数量"), say("registry", "登记簿")),
            [(each.name, tell_quantity(each.base_unit, each.quantity), each.registry) for each in outcomes],
        )


def _id_of(name: str) -> ActivityId:
    return ActivityId(name.removeprefix("activities/"))


def _print_what_it_is(found: "Activity", asked: str) -> None:
    rows = [
        (say("activity", "减排活动"), print_in_fours(_id_of(found.name))),
        (say("URN", "URN"), activity_urn(_id_of(found.name))),
        (say("name", "名称"), found.display_name),
        (say("type", "类型"), found.activity_type),
        (say("country", "国家"), f"{found.country}, {found.time_zone}"),
        (say("registered", "登记时间"), found.create_time.ToJsonString()),
        (say("projects", "登记簿项目"), _lines(f"{p.registry}:{p.native_project_id}" for p in found.native_projects)),
        (say("identifiers", "标识"), _lines(f"{each.scheme}:{each.value}" for each in found.identifiers)),
        (say("part of", "所属整体"), _lines(found.wholes)),
        (say("parts", "组成部分"), _lines(found.parts)),
        (say("aliases", "别名"), _lines(found.aliases)),
    ]
    if asked != found.name:
        rows.append(
            (
                say("note", "说明"),
                say(f"{asked} was merged into this activity", f"{asked} 已并入本减排活动"),
            )
        )
    print_table((say("field", "字段"), say("value", "值")), rows)


def _lines(values: Iterable[str]) -> str:
    return "\n".join(values) or "-"


def _print_totals(found: "Activity") -> None:
    if found.measured_totals:
        click.echo()
        print_table(
            (say("measured", "计量"), say("period", "期间"), say("outcomes", "成果数"), say("overlapping", "重叠未计")),
            [
                (
                    tell_quantity(each.base_unit, each.quantity),
                    tell_interval(each.span),
                    str(each.outcome_count),
                    str(each.overlapping_count),
                )
                for each in found.measured_totals
            ],
        )
    if found.issued_totals:
        click.echo()
        print_table(
            (say("issued", "已签发"), say("units", "单位数"), say("period", "期间"), say("registry", "登记簿")),
            [
                (
                    each.instrument,
                    f"{each.units:,}" if each.HasField("units") else say("not shown to you", "对您不可见"),
                    tell_interval(each.span),
                    each.registry,
                )
                for each in found.issued_totals
            ],
        )


def tell_quantity(base_unit: "BaseUnit.ValueType", quantity: int) -> str:
    """Whole base units in the unit that people trade, exact: 1,234,567 kWh are 1,234.567 MWh."""
    from soleclaim.api.common.v1 import types_pb2

    units = {
        types_pb2.BASE_UNIT_KWH: "MWh",
        types_pb2.BASE_UNIT_KGCO2E: "tCO2e",
        types_pb2.BASE_UNIT_KGCE: "tce",
    }
    return f"{quantity // 1000:,}.{quantity % 1000:03d} {units[base_unit]}"


@activity.command("label")
@_printed_in_fours("label_of", "ID")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the QR code to this SVG, PNG or PDF file."
)
@lang_option
def label_activity(*, label_of: str, out: Path | None) -> None:
    """Print the id of an activity, or of an outcome, as text, URN and QR code; checked, and nobody is asked.

    An outcome is ACTIVITY_ID/outcomes/kWh.20240101T000000Z-20240201T000000Z, or its URN.
    """
    import segno

    text, urn = _label(label_of)
    code = segno.make(urn, error="q", micro=False)
    click.echo(text)
    click.echo(urn)
    if out is None:
        code.terminal(compact=True)
        return
    try:
        code.save(str(out), scale=8)
    except ValueError as error:
        raise click.UsageError(f"--out {out}: {error}") from error
    click.echo(str(out))


def _label(label_of: str) -> tuple[str, str]:
    """The text and the URN of an activity or outcome."""
    if "/outcomes/" not in label_of and not label_of.startswith("urn:soleclaim:outcome:"):
        activity_id = _id_of(activity_name(label_of.removeprefix("urn:soleclaim:activity:")))
        return print_in_fours(activity_id), activity_urn(activity_id)
    try:
        outcome = parse_outcome_id(label_of)
    except OutcomeIdError as error:
        raise click.BadParameter(str(error), param_hint="ID") from error
    text = f"{print_in_fours(outcome.activity_id)} {make_outcome(outcome.base_unit, outcome.period)}"
    return text, outcome_urn(outcome)


@activity.command("find")
@click.argument("name")
@click.option("--country", required=True, metavar="CC", help="Two capital letters.")
@click.option("--type", "activity_type", default="", metavar="WORD", help="wind, solar, hydro, biomass …")
@click.option("--name-local", default="", help="The name in the local script.")
@click.option("--owner", default="", help="Who owns it.")
@click.option("--capacity-mw", type=click.FloatRange(0, 1_000_000), default=0.0, help="Installed capacity.")
@click.option("--at", type=(float, float), metavar="LATITUDE LONGITUDE", help="Degrees north and east.")
@click.option("--year", type=int, default=0, help="The year it began to run.")
@click.option("--region", default="", help="Province or state.")
@click.option("--identifier", "identifiers", multiple=True, metavar="SCHEME:VALUE", help="A strong identifier of it.")
@reading_options
def find_activities(
    *,
    name: str,
    country: str,
    activity_type: str,
    name_local: str,
    owner: str,
    capacity_mw: float,
    at: tuple[float, float] | None,
    year: int,
    region: str,
    identifiers: tuple[str, ...],
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Ask before you apply: which activities a described project could be, how likely, and why."""
    from google.type.latlng_pb2 import LatLng

    from soleclaim.api.common.v1.types_pb2 import Identifier
    from soleclaim.api.lookup.v1.activity_service_pb2 import FindActivitiesRequest, PlantDescription

    parted = [each.partition(":") for each in identifiers]
    request = FindActivitiesRequest(
        country=country,
        activity_type=activity_type,
        display_name=name,
        identifiers=[Identifier(scheme=scheme, value=value) for scheme, _, value in parted],
        description=PlantDescription(
            name_local=name_local,
            owner=owner,
            capacity_kw=round(capacity_mw * 1000),
            position=LatLng(latitude=at[0], longitude=at[1]) if at else None,
            commissioning_year=year,
            region=region,
        ),
    )
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.activities.FindActivities, request))
    print_list(
        "candidates",
        list(found.candidates),
        (say("activity", "减排活动"), say("probability", "概率"), say("the same", "相同"), say("reasons", "理由")),
        lambda each: (
            each.activity,
            f"{each.probability:.3f}",
            say("yes", "是") if each.same else say("a person has to tell", "待人工判定"),
            "; ".join(each.reasons),
        ),
        as_json=as_json,
    )


@activity.command("list")
@click.option("--registry", default="", metavar="CODE", help="Only activities that this registry knows.")
@limit_option
@reading_options
def list_activities(*, registry: str, limit: int, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """List activities in the order of their registration."""
    from soleclaim.api.lookup.v1.activity_service_pb2 import ListActivitiesRequest

    request = ListActivitiesRequest(registry=registry)
    print_list(
        "activities",
        list_lookup(lookup_target, dialling, limit, request, lambda to: to.activities.ListActivities, "activities"),
        (say("activity", "减排活动"), say("type", "类型"), say("name", "名称"), say("native projects", "登记簿项目")),
        lambda each: (
            each.name,
            each.activity_type,
            each.display_name,
            " ".join(f"{project.registry}:{project.native_project_id}" for project in each.native_projects),
        ),
        as_json=as_json,
    )
