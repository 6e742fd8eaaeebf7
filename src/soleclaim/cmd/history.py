"""``soleclaim import``: take over what a registry issued before; ``soleclaim dispute``: what conflicts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from soleclaim.cmd.asking import ask_lookup, check_registry, list_lookup
from soleclaim.cmd.options import Dialling, activity_name, limit_option, name_in, picture_option, reading_options
from soleclaim.cmd.output import REFUSED, print_json, print_list, print_message, print_table, say, tell_interval

if TYPE_CHECKING:
    from soleclaim.api.lookup.v1.dispute_service_pb2 import Dispute, DisputeSide
    from soleclaim.client import LookupClient
    from soleclaim.history.run import Report

FORMATS: Final = ("arb", "rego", "cdm", "gppd", "csv", "archive")
_OUTCOMES: Final = ("standing", "late", "both", "neither")
_STATES: Final = ("OPEN", "SETTLED")
_MAX_FAULTS: Final = 20
_OUT: Final = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--registry", required=True, metavar="CODE", help="Whose history it is.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True, help="How the file is written."
)
@click.option("--csv", "csv_path", type=_OUT, help="Write a line for each row of the file.")
@picture_option
@reading_options
def take_over(
    *,
    file: Path,
    registry: str,
    form: str,
    csv_path: Path | None,
    picture: Path | None,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Take over a registry's history from FILE. Nothing true is refused; what conflicts becomes a dispute.

    Format archive reads a folder of tables. Ended anywhere, start it again: what was done stays as it is. Exit code 1
    when rows could not be read, or were refused.
    """
    if file.is_dir() is not (form == "archive"):
        raise click.UsageError("--format archive reads a folder, every other format a file")
    from rich.console import Console
    from rich.progress import Progress

    from soleclaim.history.report import draw, write_csv
    from soleclaim.history.run import count_rows
    from soleclaim.history.run import take_over as run

    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(say("rows", "行"), total=count_rows(file))

        async def send(to: "LookupClient") -> "Report":
            # Else each of its rows would be refused for it.
            await check_registry(to, registry)
            return await run(to, file, registry, form, progress=lambda done: progress.update(bar, completed=done))

        report: Report = ask_lookup(lookup_target, dialling, send)
        progress.update(bar, total=len(report.fates))
    if csv_path:
        write_csv(csv_path, report)
    if picture:
        draw(picture, report, f"{registry}: {file.name}")
    if as_json:
        print_json(report.as_document())
    else:
        _print(report)
    if report.count("FAULTY"):
        sys.exit(REFUSED)


def _print(report: "Report") -> None:
    names = {
        "FITTED": say("fitted", "已纳入"),
        "REPEATED": say("repeated", "重复"),
        "IN_REVIEW": say("in review", "待身份审查"),
        "DISPUTED": say("disputed", "有争议"),
        "SKIPPED": say("skipped", "跳过"),
        "FAULTY": say("unreadable or refused", "无法读取或被拒绝"),
    }
    rows = [(say("rows", "行"), f"{len(report.fates):,}", "")]
    for state, name in names.items():
        why = ", ".join(f"{count:,} {reason}" for reason, count in report.reasons.get(state, {}).items())
        rows.append((name, f"{report.count(state):,}", why))
    activities = len({each.activity for each in report.fates if each.activity})
    rows += [
        (say("joined", "与其他登记簿同一活动"), f"{report.joined:,}", ""),
        (say("activities", "减排活动"), f"{activities:,}", ""),
        (say("disputes", "争议"), f"{len(report.disputes):,}", ""),
    ]
    print_table(("", say("number", "数量"), say("why", "原因")), rows)
    faulty = [each for each in report.fates if each.state == "FAULTY"]
    for each in faulty[:_MAX_FAULTS]:
        click.echo(say(f"line {each.line}: {each.detail}", f"第 {each.line} 行：{each.detail}"))
    if len(faulty) > _MAX_FAULTS:
        click.echo(say(f"and {len(faulty) - _MAX_FAULTS:,} more; --csv lists all", "更多见 --csv"))


@click.group()
def dispute() -> None:
    """Disputes: what history shows twice. Operators settle, regulators read all, a registry reads its own."""


@dispute.command("list")
@click.option("--state", type=click.Choice(_STATES, case_sensitive=False), help="Only disputes in this state.")
@click.option("--registry", default="", metavar="CODE", help="Only disputes that this registry is a side of.")
@click.option("--activity", "activity_id", metavar="ID", help="Only disputes over this activity.")
@limit_option
@reading_options
def list_disputes(
    *,
    state: str | None,
    registry: str,
    activity_id: str | None,
    limit: int,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """List disputes in the order of their opening."""
    from soleclaim.api.lookup.v1 import dispute_service_pb2 as pb

    request = pb.ListDisputesRequest(
        registry=registry,
        state=pb.DisputeState.Value(f"DISPUTE_STATE_{state or 'UNSPECIFIED'}"),
        activity=activity_name(activity_id) if activity_id else "",
    )

    print_list(
        "disputes",
        list_lookup(lookup_target, dialling, limit, request, lambda to: to.disputes.ListDisputes, "disputes"),
        (
            say("dispute", "争议"),
            say("kind", "类别"),
            say("state", "状态"),
            say("activity", "减排活动"),
            say("period", "期间"),
            say("standing", "在先"),
            say("late", "后到"),
            say("detail", "缘由"),
        ),
        lambda each: (
            each.name,
            pb.DisputeKind.Name(each.kind).removeprefix("DISPUTE_KIND_"),
            pb.DisputeState.Name(each.state).removeprefix("DISPUTE_STATE_"),
            each.activity,
            tell_interval(each.period),
            _side(each.standing) if each.HasField("standing") else "",
            _side(each.late),
            each.detail,
        ),
        as_json=as_json,
    )


def _side(side: "DisputeSide") -> str:
    return f"{side.registry} {side.instrument} {side.issued_units:,}"


@dispute.command("show")
@click.argument("number")
@reading_options
def show_dispute(*, number: str, lookup_target: str, dialling: Dialling, as_json: bool) -> None:
    """Show one dispute with every decision."""
    from soleclaim.api.lookup.v1.dispute_service_pb2 import GetDisputeRequest

    request = GetDisputeRequest(name=name_in("disputes", number))
    found: Dispute = ask_lookup(lookup_target, dialling, lambda to: to.call(to.disputes.GetDispute, request))
    print_message(found, as_json=as_json)


@dispute.command("settle")
@click.argument("number")
@click.option("--outcome", type=click.Choice(_OUTCOMES), required=True, help="Which side stands.")
@click.option(
    "--boundary", type=click.IntRange(min=1), help="With both: where the late side's slice begins, in base units."
)
@click.option("--evidence", required=True, metavar="TEXT", help="What proves it, for those who come after.")
@click.option("--evidence-uri", default="", metavar="URI", help="Where the evidence is kept.")
@reading_options
def settle_dispute(
    *,
    number: str,
    outcome: str,
    boundary: int | None,
    evidence: str,
    evidence_uri: str,
    lookup_target: str,
    dialling: Dialling,
    as_json: bool,
) -> None:
    """Settle a dispute. It can be opened again."""
    import secrets

    from soleclaim.api.lookup.v1 import dispute_service_pb2 as pb

    request = pb.SettleDisputeRequest(
        request_id=secrets.token_hex(16),
        name=name_in("disputes", number),
        outcome=pb.DisputeOutcome.Value(f"DISPUTE_OUTCOME_{outcome.upper()}"),
        boundary=boundary or 0,
        evidence=evidence,
        evidence_uri=evidence_uri,
    )
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.disputes.SettleDispute, request))
    print_message(found, as_json=as_json)


@dispute.command("reopen")
@click.argument("number")
@click.option("--evidence", required=True, metavar="TEXT", help="Why, for those who come after.")
@click.option("--evidence-uri", default="", metavar="URI", help="Where the evidence is kept.")
@reading_options
def reopen_dispute(
    *, number: str, evidence: str, evidence_uri: str, lookup_target: str, dialling: Dialling, as_json: bool
) -> None:
    """Open a settled dispute again: it blocks as before until it is settled anew."""
    import secrets

    from soleclaim.api.lookup.v1 import dispute_service_pb2 as pb

    request = pb.ReopenDisputeRequest(
        request_id=secrets.token_hex(16), name=name_in("disputes", number), evidence=evidence, evidence_uri=evidence_uri
    )
    found = ask_lookup(lookup_target, dialling, lambda to: to.call(to.disputes.ReopenDispute, request))
    print_message(found, as_json=as_json)
