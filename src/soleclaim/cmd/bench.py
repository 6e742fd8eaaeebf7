"""``soleclaim bench``: measure speed."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from soleclaim.bench.locks import Figures, Plan


@click.group()
def bench() -> None:
    """Measure speed, as a ratio against a named baseline in the same run."""


@bench.command()
@click.option("--database-url", required=True, help="A PostgreSQL server; a scratch database is made and dropped.")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="Length of each kind of load."
)
@click.option(
    "--existing", type=click.IntRange(1, 50_000_000), multiple=True, default=(10_000,), show_default=True,
    help="Locks already in the store; may be given several times.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 1000), default=1000, show_default=True, help="Items of a batch.")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=8, show_default=True,
    help="Database connections, for the baseline and for the lookup alike; 8 is the lookup's own default.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 16), default=1, show_default=True, help="Processes of the lookup.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def locks(
    database_url: str,
    seconds: float,
    existing: tuple[int, ...],
    batch: int,
    connections: int,
    workers: int,
    as_json: bool,
) -> None:
    """Grants, issuances and single calls against the bare insert they rest on."""
    from soleclaim.bench.locks import Plan

    plan = Plan(seconds, batch, connections, workers)
    figures = asyncio.run(_measure_all(database_url, existing, plan))
    if as_json:
        click.echo(json.dumps(_document(figures, plan), indent=2))
    else:
        _print(figures)


@bench.command()
@click.option("--database-url", required=True, help="A PostgreSQL server; a scratch database is made and dropped.")
@click.option(
    "--activities", type=click.IntRange(1000, 5_000_000), multiple=True, default=(100_000,), show_default=True,
    help="Described activities in the store; may be given several times.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def identity(database_url: str, activities: tuple[int, ...], as_json: bool) -> None:
    """Finding a described project among very many, against a plain trigram search."""
    from soleclaim.bench.identity import measure

    found = {}
    for each in activities:
        found[str(each)] = asdict(asyncio.run(measure(database_url, each, lambda line: click.echo(line, err=True))))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for number, figures in found.items():
        click.echo(f"{int(number):,} activities")
        for name, value in figures.items():
            click.echo(f"  {name:<16} {value:10.3f}")


@bench.command("import")
@click.option("--database-url", required=True, help="A PostgreSQL server; a scratch database is made and dropped.")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="Length of each kind of load."
)
@click.option(
    "--existing", type=click.IntRange(1, 50_000_000), default=10_000, show_default=True, help="Locks already there."
)
@click.option("--batch", type=click.IntRange(1, 1000), default=1000, show_default=True, help="Rows of a batch.")
@click.option("--connections", type=click.IntRange(1, 64), default=8, show_default=True, help="On both sides.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def imports(*, database_url: str, seconds: float, existing: int, batch: int, connections: int, as_json: bool) -> None:
    """Taking over history against the bare inserts it rests on."""
    from soleclaim.bench.imports import measure
    from soleclaim.bench.locks import Plan

    plan = Plan(seconds, batch, connections, 1)
    figures = asyncio.run(measure(database_url, existing, plan, lambda line: click.echo(line, err=True)))
    if as_json:
        click.echo(json.dumps({**asdict(figures), "plan": asdict(plan)}, indent=2))
        return
    click.echo(f"  raw inserts           {figures.raw_rows_per_s:10,.0f} rows/s   (baseline)")
    click.echo(f"  imports through gRPC  {figures.imported_rows_per_s:10,.0f} rows/s   ratio {figures.ratio:.3f}")
    for phase, sides in figures.limited_by.items():
        told = ", ".join(f"{side} {cores:.2f}" for side, cores in sides.items())
        click.echo(f"  {phase}: cores busy: {told}")


async def _measure_all(url: str, existing: tuple[int, ...], plan: "Plan") -> "dict[int, Figures]":
    from soleclaim.bench.locks import measure

    return {each: await measure(url, each, plan, lambda line: click.echo(line, err=True)) for each in existing}


def _document(figures: "dict[int, Figures]", plan: "Plan") -> dict[str, object]:
    """Each key by number of existing locks."""
    rows = {str(existing): asdict(each) for existing, each in figures.items()}
    names = next(iter(rows.values())).keys()
    by_key: dict[str, object] = {name: {existing: row[name] for existing, row in rows.items()} for name in names}
    return {**by_key, "plan": asdict(plan)}


def _print(figures: "dict[int, Figures]") -> None:
    for existing, each in figures.items():
        click.echo(f"{existing:,} existing locks")
        click.echo(f"  raw inserts          {each.raw_grants_per_s:10,.0f} /s   (baseline)")
        click.echo(f"  grants through gRPC  {each.grpc_grants_per_s:10,.0f} /s   ratio {each.ratio:.3f}")
        click.echo(f"  issuances            {each.issuances_per_s:10,.0f} /s   ratio {each.cycle_ratio:.3f}")
        click.echo(
            f"  single grants        {each.unary_per_s:10,.0f} /s   at half of that: p50 {each.unary_p50_ms:.1f} ms"
        )
        click.echo(f"                                      p99 {each.unary_p99_ms:.1f} ms")
        for phase, sides in each.limited_by.items():
            busiest = max(sides, key=lambda side: sides[side])
            told = ", ".join(f"{side} {cores:.2f}" for side, cores in sides.items())
            click.echo(f"  {phase}: cores busy: {told}; limited by the {busiest}")
