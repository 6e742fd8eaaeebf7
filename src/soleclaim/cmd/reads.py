"""Reading verbs for people: ``lock``, ``issue``, ``registry``; the same with ``--json`` for programs."""

from typing import TYPE_CHECKING, Final

import click

from soleclaim.cmd.asking import ask_lookup, ask_registry, list_lookup, read_pages
from soleclaim.cmd.options import Dialling, activity_name, limit_option, name_in, reading_options
from soleclaim.cmd.output import print_list, print_message, say, tell_interval

if TYPE_CHECKING:
    from soleclaim.api.registry.v1.registry_service_pb2 import Issuance

_LOCK_STATES: Final = ("HELD", "ISSUING", "ISSUED", "RELEASED", "EXPIRED", "ABORTED")
_ISSUANCE_STATES: Final = ("PENDING", "UNDER_REVIEW", "IN_DOUBT", "ISSUED", "REFUSED")


@click.group()
def lock() -> None:
    """Issuance locks. A registry sees its own; operators and regulators see all."""


@lock.command("get")
@click.argument("number")
@reading_options
def get_lock(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one lock with its issuances."""
    from soleclaim.api.lookup.v1.issuance_lock_service_pb2 import GetIssuanceLockRequest

    request = GetIssuanceLockRequest(name=name_in("issuanceLocks", number))
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.locks.GetIssuanceLock, request))
    print_message(found, as_json=as_json)


@lock.command("list")
@click.option("--activity", "activity_id", metavar="ID", help="Only locks on this activity.")
@click.option("--registry", default="", metavar="CODE", help="Only locks of this registry.")
@click.option("--state", type=click.Choice(_LOCK_STATES, case_sensitive=False), help="Only locks in this state.")
@limit_option
@reading_options
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
        activity=activity_name(activity_id) if activity_id else "",
        registry=registry,
        state=lock_pb.IssuanceLockState.Value(f"ISSUANCE_LOCK_STATE_{state or 'UNSPECIFIED'}"),
    )

    print_list(
        "issuance_locks",
        list_lookup(lookup_target, dialling, limit, request, lambda to: to.locks.ListIssuanceLocks, "issuance_locks"),
        (
            say("lock", "签发锁"),
            say("registry", "登记簿"),
            say("instrument", "权益种类"),
            say("state", "状态"),
            say("period", "期间"),
            say("activity", "减排活动"),
            say("changed last", "最近变化"),
        ),
        lambda each: (
            each.name,
            each.registry,
            each.instrument,
            lock_pb.IssuanceLockState.Name(each.state).removeprefix("ISSUANCE_LOCK_STATE_"),
            tell_interval(each.period),
            each.activity,
            each.update_time.ToJsonString(),
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
@reading_options
def get_issuance(*, issuance_id: str, registry: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one issuance."""
    from soleclaim.api.registry.v1.registry_service_pb2 import GetIssuanceRequest

    request = GetIssuanceRequest(name=name_in("issuances", issuance_id))
    found = ask_registry(lookup_target, registry, dialling, lambda to: to.call(to.registry.GetIssuance, request))
    print_message(found, as_json=as_json)


@issue.command("list")
@_registry
@click.option("--activity", "activity_id", metavar="ID", help="Only issuances of this activity.")
@click.option(
    "--state", type=click.Choice(_ISSUANCE_STATES, case_sensitive=False), help="Only issuances in this state."
)
@limit_option
@reading_options
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
        activity=activity_name(activity_id) if activity_id else "",
        state=registry_pb.IssuanceState.Value(f"ISSUANCE_STATE_{state or 'UNSPECIFIED'}"),
    )

    print_list(
        "issuances",
        ask_registry(
            lookup_target,
            registry,
            dialling,
            lambda to: read_pages(to, limit, request, lambda each: each.registry.ListIssuances, "issuances"),
        ),
        (
            say("issuance", "签发"),
            say("project", "项目"),
            say("state", "状态"),
            say("units", "单位数"),
            say("period", "期间"),
            say("native id", "原登记簿编号"),
            say("accepted", "受理时间"),
            say("why", "原因"),
        ),
        lambda each: (
            each.name,
            each.native_project_id,
            registry_pb.IssuanceState.Name(each.state).removeprefix("ISSUANCE_STATE_"),
            f"{each.units:,}",
            tell_interval(each.period),
            each.native_issuance_id,
            each.create_time.ToJsonString(),
            _why(each),
        ),
        as_json=as_json,
    )


def _why(issuance: "Issuance") -> str:
    """Why it was refused, or what it waits for."""
    from soleclaim.api.registry.v1.registry_service_pb2 import ISSUANCE_STATE_IN_DOUBT
    from soleclaim.rpc.status import from_status

    if issuance.state == ISSUANCE_STATE_IN_DOUBT:
        return say(
            f"whether the native registry issued is not known; the adapter asks it by {issuance.reference}, its log"
            " tells the answers; do not issue by hand",
            f"尚不知原登记簿是否已签发；适配器正以 {issuance.reference} 查询，结果见其日志；请勿手工签发",
        )
    if not issuance.HasField("error"):
        return ""
    refusal = from_status(issuance.error)
    return say(refusal.message_en, refusal.message_zh)


@click.group()
def registry() -> None:
    """The directory: which registries exist, what they issue, where they answer."""


@registry.command("list")
@reading_options
def list_registries(*, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """List every registry of the policy bundle."""
    from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb

    request = directory_pb.ListRegistriesRequest()
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.directory.ListRegistries, request))
    print_list(
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
