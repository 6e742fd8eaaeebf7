"""``soleclaim settlement``: which certificates moved with which power: list, show."""

from typing import TYPE_CHECKING, Final

import click

from soleclaim.cmd.asking import ask_lookup, list_lookup
from soleclaim.cmd.options import Dialling, limit_option, name_in, reading_options
from soleclaim.cmd.output import print_list, print_message, say, tell_interval

if TYPE_CHECKING:
    from soleclaim.api.lookup.v1.settlement_service_pb2 import Settlement

_STATES: Final = {
    "SETTLED": ("settled", "已结算"),
    "CONTRADICTS": ("contradicts", "冲突"),
    "UNKNOWN_CERTIFICATES": ("certificates not known", "绿证不在台账"),
    "CORRECTED": ("corrected", "已更正"),
}


@click.group()
def settlement() -> None:
    """Settlements of green power: which certificates moved with which power to whom, on an exchange's word."""


@settlement.command("list")
@click.option("--registry", default="", metavar="CODE", help="Only lines of this power exchange.")
@click.option("--state", type=click.Choice(tuple(_STATES), case_sensitive=False), help="Only lines that stand so now.")
@limit_option
@reading_options
def list_settlements(
    *, registry: str, state: str | None, limit: int, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """List lines in the order in which they were recorded."""
    from soleclaim.api.lookup.v1 import settlement_service_pb2 as settlement_pb

    request = settlement_pb.ListSettlementsRequest(
        registry=registry, state=settlement_pb.SettlementState.Value(f"SETTLEMENT_STATE_{state or 'UNSPECIFIED'}")
    )

    print_list(
        "settlements",
        list_lookup(lookup_target, dialling, limit, request, lambda to: to.settlements.ListSettlements, "settlements"),
        (
            say("settlement", "结算记录"),
            say("registry", "登记簿"),
            say("line", "编号"),
            say("state", "状态"),
            say("period", "期间"),
            say("energy (kWh)", "电量（千瓦时）"),
            say("certificates", "绿证"),
            say("note", "说明"),
        ),
        lambda each: (
            each.name,
            each.registry,
            each.settlement_id,
            _state(each),
            tell_interval(each.period),
            f"{each.energy_kwh:,}",
            f"{each.certificates:,}",
            _note(each),
        ),
        as_json=as_json,
    )


@settlement.command("show")
@click.argument("number")
@reading_options
def show_settlement(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one line."""
    from soleclaim.api.lookup.v1.settlement_service_pb2 import GetSettlementRequest

    request = GetSettlementRequest(name=name_in("settlements", number))
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.settlements.GetSettlement, request))
    print_message(found, as_json=as_json)


def _state(each: "Settlement") -> str:
    from soleclaim.api.lookup.v1.settlement_service_pb2 import SettlementState

    return say(*_STATES[SettlementState.Name(each.state).removeprefix("SETTLEMENT_STATE_")])


def _note(each: "Settlement") -> str:
    others = ", ".join(f"{other.registry} {other.settlement_id}" for other in each.contradictions)
    notes = [
        say(f"same certificates: {others}", f"绿证相同：{others}") if others else "",
        say("count differs from energy", "绿证数与电量不符") if each.count_differs else "",
    ]
    return "; ".join(filter(None, notes))
