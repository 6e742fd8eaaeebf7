"""Reading verbs for people: ``activity``, ``lock``, ``issue``, ``registry``; the same with ``--json`` for programs."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from soleclaim.cmd.options import Dialling, dialling_options, lookup_option
from soleclaim.cmd.output import json_option, lang_option, print_json, print_table, say

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from soleclaim.client import LookupClient, RegistryClient

PAGE: Final = 1_000
"""Largest page that the servers give."""

_LOCK_STATES: Final = ("HELD", "ISSUING", "ISSUED", "RELEASED", "EXPIRED", "ABORTED")
_ISSUANCE_STATES: Final = ("PENDING", "IN_DOUBT", "ISSUED", "REFUSED")


def _reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every reading verb has."""
    return lookup_option(dialling_options(json_option(lang_option(command))))


_limit = click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Most rows.")


@click.group()
def activity() -> None:
    """Activities: one identifier each, in every mechanism."""


@activity.command("get")
@click.argument("activity_id")
@_reading
def get_activity(*, activity_id: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one activity by its id; blanks and lower case are fine."""
    from soleclaim.api.lookup.v1.activity_service_pb2 import GetActivityRequest

    request = GetActivityRequest(name=_activity_name(activity_id))
    _show(
        _with_lookup(lookup_target, dialling, lambda to: to.call(to.activities.GetActivity, request)), as_json=as_json
    )


@activity.command("resolve")
@click.option("--registry", metavar="CODE", help="With --project: the registry that knows it.")
@click.option("--project", metavar="ID", help="The project's id in that registry.")
@click.option("--scheme", metavar="SCHEME", help="With --value: a strong identifier's scheme.")
@click.option("--value", metavar="VALUE", help="The identifier's value.")
@_reading
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
    found = _with_lookup(lookup_target, dialling, lambda to: to.call(to.activities.ResolveActivity, request))
    _show(found, as_json=as_json)


@activity.command("label")
@click.argument("activity_id")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the QR code to this SVG, PNG or PDF file."
)
@lang_option
def label_activity(*, activity_id: str, out: Path | None) -> None:
    """Print an activity's id as text, URN and QR code; its check digits are verified, nobody is asked."""
    import segno

    from soleclaim.core.activity_id import ActivityId, activity_urn, print_in_fours

    checked = ActivityId(_activity_name(activity_id).removeprefix("activities/"))
    code = segno.make(activity_urn(checked), error="q", micro=False)
    click.echo(print_in_fours(checked))
    click.echo(activity_urn(checked))
    if out is None:
        code.terminal(compact=True)
        return
    try:
        code.save(str(out), scale=8)
    except ValueError as error:
        raise click.UsageError(f"--out {out}: {error}") from error
    click.echo(str(out))


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
@_reading
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
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Ask before you apply: which activities a described project could be, how likely, and why."""
    from google.type.latlng_pb2 import LatLng

    from soleclaim.api.lookup.v1.activity_service_pb2 import FindActivitiesRequest, PlantDescription

    request = FindActivitiesRequest(
        country=country,
        activity_type=activity_type,
        display_name=name,
        description=PlantDescription(
            name_local=name_local,
            owner=owner,
            capacity_kw=round(capacity_mw * 1000),
            position=LatLng(latitude=at[0], longitude=at[1]) if at else None,
            commissioning_year=year,
            region=region,
        ),
    )
    found = _with_lookup(lookup_target, dialling, lambda to: to.call(to.activities.FindActivities, request))
    _list(
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
@_limit
@_reading
def list_activities(*, registry: str, limit: int, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """List activities in the order of their registration."""
    from soleclaim.api.lookup.v1.activity_service_pb2 import ListActivitiesRequest

    async def read(client: "LookupClient") -> "list[Any]":
        request = ListActivitiesRequest(registry=registry)
        return await _pages(
            limit, request, lambda: client.call(client.activities.ListActivities, request), lambda page: page.activities
        )

    rows = _with_lookup(lookup_target, dialling, read)
    _list(
        "activities",
        rows,
        (say("activity", "减排活动"), say("type", "类型"), say("name", "名称"), say("native projects", "登记簿项目")),
        lambda each: (
            each.name,
            each.activity_type,
            each.display_name,
            " ".join(f"{project.registry}:{project.native_project_id}" for project in each.native_projects),
        ),
        as_json=as_json,
    )


@click.group()
def lock() -> None:
    """Issuance locks. A registry sees its own; operators and regulators see all."""


@lock.command("get")
@click.argument("number")
@_reading
def get_lock(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one lock with its issuances."""
    from soleclaim.api.lookup.v1.issuance_lock_service_pb2 import GetIssuanceLockRequest

    request = GetIssuanceLockRequest(name=f"issuanceLocks/{number.removeprefix('issuanceLocks/')}")
    found = _with_lookup(lookup_target, dialling, lambda to: to.call(to.locks.GetIssuanceLock, request))
    _show(found, as_json=as_json)


@lock.command("list")
@click.option("--activity", "activity_id", metavar="ID", help="Only locks on this activity.")
@click.option("--registry", default="", metavar="CODE", help="Only locks of this registry.")
@click.option("--state", type=click.Choice(_LOCK_STATES), help="Only locks in this state.")
@_limit
@_reading
def list_locks(
    *,
    activity_id: str | None,
    registry: str,
    state: str | None,
    limit: int,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """List locks in the order of their creation."""
    from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb

    request = lock_pb.ListIssuanceLocksRequest(
        activity=_activity_name(activity_id) if activity_id else "",
        registry=registry,
        state=lock_pb.IssuanceLockState.Value(f"ISSUANCE_LOCK_STATE_{state or 'UNSPECIFIED'}"),
    )

    async def read(client: "LookupClient") -> "list[Any]":
        return await _pages(
            limit,
            request,
            lambda: client.call(client.locks.ListIssuanceLocks, request),
            lambda page: page.issuance_locks,
        )

    _list(
        "issuance_locks",
        _with_lookup(lookup_target, dialling, read),
        (
            say("lock", "签发锁"),
            say("registry", "登记簿"),
            say("instrument", "权益种类"),
            say("state", "状态"),
            say("period", "期间"),
            say("activity", "减排活动"),
        ),
        lambda each: (
            each.name,
            each.registry,
            each.instrument,
            lock_pb.IssuanceLockState.Name(each.state).removeprefix("ISSUANCE_LOCK_STATE_"),
            _interval(each.period),
            each.activity,
        ),
        as_json=as_json,
    )


@click.group()
def issue() -> None:
    """Issuances as a registry's adapter knows them; the adapter is found through the directory."""


_registry = click.option("--registry", required=True, metavar="CODE", help="The registry to ask.")


@issue.command("get")
@click.argument("issuance_id")
@_registry
@_reading
def get_issuance(*, issuance_id: str, registry: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one issuance."""
    from soleclaim.api.registry.v1.registry_service_pb2 import GetIssuanceRequest

    request = GetIssuanceRequest(name=f"issuances/{issuance_id.removeprefix('issuances/')}")
    found = _with_registry(lookup_target, registry, dialling, lambda to: to.call(to.registry.GetIssuance, request))
    _show(found, as_json=as_json)


@issue.command("list")
@_registry
@click.option("--activity", "activity_id", metavar="ID", help="Only issuances of this activity.")
@click.option("--state", type=click.Choice(_ISSUANCE_STATES), help="Only issuances in this state.")
@_limit
@_reading
def list_issuances(
    *,
    registry: str,
    activity_id: str | None,
    state: str | None,
    limit: int,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """List issuances in the order of their acceptance."""
    from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb

    request = registry_pb.ListIssuancesRequest(
        activity=_activity_name(activity_id) if activity_id else "",
        state=registry_pb.IssuanceState.Value(f"ISSUANCE_STATE_{state or 'UNSPECIFIED'}"),
    )

    async def read(client: "RegistryClient") -> "list[Any]":
        return await _pages(
            limit, request, lambda: client.call(client.registry.ListIssuances, request), lambda page: page.issuances
        )

    _list(
        "issuances",
        _with_registry(lookup_target, registry, dialling, read),
        (
            say("issuance", "签发"),
            say("project", "项目"),
            say("state", "状态"),
            say("units", "单位数"),
            say("period", "期间"),
            say("native id", "原登记簿编号"),
        ),
        lambda each: (
            each.name,
            each.native_project_id,
            registry_pb.IssuanceState.Name(each.state).removeprefix("ISSUANCE_STATE_"),
            f"{each.units:,}",
            _interval(each.period),
            each.native_issuance_id,
        ),
        as_json=as_json,
    )


@click.group()
def registry() -> None:
    """The directory: which registries exist, what they issue, where they answer."""


@registry.command("list")
@_reading
def list_registries(*, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """List every registry of the policy bundle."""
    from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb

    request = directory_pb.ListRegistriesRequest()
    found = _with_lookup(lookup_target, dialling, lambda to: to.call(to.directory.ListRegistries, request))
    _list(
        "registries",
        list(found.registries),
        (say("registry", "登记簿"), say("instruments", "权益种类"), say("endpoint", "地址"), say("reachable", "可达")),
        lambda each: (
            each.name,
            " ".join(each.instruments),
            each.endpoint or "-",
            directory_pb.Reachability.Name(each.reachability).removeprefix("REACHABILITY_"),
        ),
        as_json=as_json,
    )


def _with_lookup(target: str, dialling: Dialling, ask: "Callable[[LookupClient], Awaitable[Any]]") -> Any:  # noqa: ANN401
    from soleclaim.client import LookupClient

    async def run() -> object:
        async with LookupClient(target, dialling.tls()) as client:
            return await ask(client)

    return asyncio.run(run())


def _with_registry(
    target: str, code: str, dialling: Dialling, ask: "Callable[[RegistryClient], Awaitable[Any]]"
) -> Any:  # noqa: ANN401
    from soleclaim.client import LookupClient, RegistryClient

    async def run() -> object:
        tls = dialling.tls()
        async with LookupClient(target, tls) as lookup, await RegistryClient.resolve(lookup, code, tls) as client:
            return await ask(client)

    return asyncio.run(run())


async def _pages(
    limit: int,
    request: Any,  # noqa: ANN401  any List request
    call: Callable[[], Awaitable[Any]],
    rows_of: Callable[[Any], "list[Any]"],
) -> "list[Any]":
    """Rows of page after page, at most ``limit``."""
    rows: list[Any] = []
    while len(rows) < limit:
        # The size is part of what a page token is valid for.
        request.page_size = min(limit, PAGE)
        page = await call()
        rows += rows_of(page)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    return rows[:limit]


def _activity_name(text: str) -> str:
    """``activities/{id}`` of an id as people write it; a usage error when the check digits do not fit."""
    from soleclaim.core.activity_id import ActivityIdError, parse_activity_id

    try:
        return f"activities/{parse_activity_id(text.removeprefix('activities/'))}"
    except ActivityIdError as error:
        raise click.BadParameter(str(error), param_hint="ACTIVITY_ID") from error


def _as_dict(message: "Message") -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def _show(message: "Message", *, as_json: bool) -> None:
    document = _as_dict(message)
    if as_json:
        print_json(document)
        return
    print_table((say("field", "字段"), say("value", "值")), [(key, _told(value)) for key, value in document.items()])


def _told(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(_told(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    return str(value)


def _list(
    key: str,
    rows: "list[Any]",
    columns: tuple[str, ...],
    cells: Callable[[Any], tuple[str, ...]],
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json({key: [_as_dict(row) for row in rows]})
    else:
        print_table(columns, [cells(row) for row in rows])


def _interval(interval: Any) -> str:  # noqa: ANN401  google.type.Interval
    return f"{interval.start_time.ToJsonString()}/{interval.end_time.ToJsonString()}"
