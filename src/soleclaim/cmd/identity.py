"""``soleclaim identity``: which records of two lists are one plant, and how well that is told."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table

from soleclaim.cmd.options import picture_option

if TYPE_CHECKING:
    from soleclaim.identity.evaluation import Evaluation, Share
    from soleclaim.identity.lists import PlantList
    from soleclaim.identity.matching import Decision

MAX_REMARKS: Final = 20
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_MAP: Final = click.option(
    "--map", "mapping", multiple=True, metavar="COLUMN=THEIRS",
    help="Our column and the name it has in both files, for example capacity_mw=mw; left:… or right:… for one file; "
    "without a name (latitude=) the column is left out.",
)  # fmt: skip


@click.group()
def identity() -> None:
    """Which records are one plant: the code that the lookup uses, on anyone's lists."""


@identity.command()
@click.argument("left", type=_FILE)
@click.argument("right", type=_FILE)
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), required=True, help="CSV file.")
@_MAP
def match(left: Path, right: Path, out: Path, mapping: tuple[str, ...]) -> None:
    """Write pairs that are the same, or need a person, to a CSV file; what is not listed is different.

    Columns of both lists, any of them empty but id: id, name, name_local, owner, owner_local, technology,
    capacity_mw, latitude, longitude, commissioning_year, region, country, identifiers (scheme:value;scheme:value).

    Ids are written as they are: one that starts with = + - or @ runs as a formula where a spreadsheet opens the file
    as such; import its columns as text.
    """
    from soleclaim.identity.lists import write_decisions

    _refuse_to_overwrite(out, (left, right))
    decisions, _ = _match(left, right, mapping)
    write_decisions(out, decisions)
    same = sum(each.decision == "same" for each in decisions)
    click.echo(f"{same} the same, {len(decisions) - same} to review: {out}")


@identity.command()
@click.argument("left", type=_FILE)
@click.argument("right", type=_FILE)
@click.option("--labels", type=_FILE, required=True, help="CSV: left_id, right_id, label (same, different, unclear).")
@picture_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option(
    "--kept-apart",
    is_flag=True,
    help="Count only the half of the left list, by the hash of its ids, that no weight was learnt from, "
    "where the weights come from these lists.",
)
@_MAP
def evaluate(
    left: Path,
    right: Path,
    labels: Path,
    picture: Path | None,
    as_json: bool,
    kept_apart: bool,
    mapping: tuple[str, ...],
) -> None:
    """Decide, and compare with labelled pairs: precision, recall, review rate, false merges."""
    from soleclaim.identity import evaluation
    from soleclaim.identity.fitting import is_kept_apart
    from soleclaim.identity.lists import ListFault, read_labels

    if picture is not None:
        _refuse_to_overwrite(picture, (left, right, labels))
    try:
        known = read_labels(labels)
    except ListFault as error:
        raise click.ClickException(str(error)) from error
    decisions, lists = _match(left, right, mapping)
    left_ids, right_ids = ([each.id for each in one.rows] for one in lists)
    if kept_apart:
        decisions = [each for each in decisions if is_kept_apart(each.left_id)]
        known = {pair: label for pair, label in known.items() if is_kept_apart(pair[0])}
        left_ids = [each for each in left_ids if is_kept_apart(each)]
    result = evaluation.evaluate(decisions, known, left_ids=left_ids, right_ids=right_ids)
    if result.strangers:
        told = "name a record that its list does not have; they are not counted"
        click.echo(f"{labels}: {result.strangers} of {len(known)} labels {told}", err=True)
    if picture is not None:
        try:
            evaluation.draw(picture, decisions, known)
        except ImportError as error:
            raise click.ClickException("drawing needs matplotlib: pip install 'soleclaim[pictures]'") from error
    if as_json:
        click.echo(json.dumps(result.as_document(), indent=2))
    else:
        _print(result)


def _refuse_to_overwrite(out: Path, inputs: Sequence[Path]) -> None:
    for each in inputs:
        if out.exists() and out.samefile(each):
            raise click.UsageError(f"{out} is a file that is read; write to another one")


def _match(left: Path, right: Path, mapping: Sequence[str]) -> "tuple[list[Decision], tuple[PlantList, PlantList]]":
    from soleclaim.identity.lists import ListFault, read_list
    from soleclaim.identity.matching import match as decide

    try:
        lists = read_list(left, _columns(mapping, "left")), read_list(right, _columns(mapping, "right"))
    except ListFault as error:
        raise click.ClickException(str(error)) from error
    for path, one in zip((left, right), lists, strict=True):
        for remark in one.remarks[:MAX_REMARKS]:
            click.echo(f"{path}: {remark}", err=True)
        if len(one.remarks) > MAX_REMARKS:
            click.echo(f"{path}: and {len(one.remarks) - MAX_REMARKS} more", err=True)
    return decide(lists[0].rows, lists[1].rows), lists


def _columns(mapping: Sequence[str], side: str) -> dict[str, str]:
    from soleclaim.identity.lists import COLUMNS

    found = {}
    for each in mapping:
        column, equals, theirs = each.partition("=")
        of_side, _, name = column.rpartition(":")
        if name not in COLUMNS or not equals or of_side not in ("", "left", "right"):
            raise click.UsageError(f"--map {each}: write COLUMN=THEIRS with a column of {', '.join(COLUMNS)}")
        if name == "id" and not theirs:
            raise click.UsageError(f"--map {each}: every row needs an id; name the column that holds it")
        if of_side in ("", side):
            found[name] = theirs
    return found


def _print(result: "Evaluation") -> None:
    table = Table("figure", "value", "95 % interval", "count")
    rows: list[tuple[str, Share]] = [
        ("precision of pairs joined", result.precision), ("recall of pairs joined", result.recall),
        ("recall with review", result.recall_with_review), ("records to review", result.review),
        ("false merges", result.false_merges),
    ]  # fmt: skip
    for name, share in rows:
        value, interval = share.value, share.interval
        table.add_row(
            name,
            "-" if value is None else f"{value:.4f}",
            "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
            f"{share.hits} of {share.of}",
        )
    table.add_row("F1", "-" if result.f1 is None else f"{result.f1:.4f}", "", "")
    table.add_row("joined, no label speaks of them", "", "", str(result.not_judged))
    table.add_row("labels of unknown records", "", "", str(result.strangers))
    Console().print(table)
