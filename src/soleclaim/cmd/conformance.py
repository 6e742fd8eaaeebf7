"""``soleclaim conformance``: prove that an adapter does what it must."""

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from soleclaim.cmd.asking import run_in_order
from soleclaim.cmd.options import HostPort
from soleclaim.cmd.output import OUT_OF_REACH, REFUSED, json_option, lang_option, language, print_json, say, tell

if TYPE_CHECKING:
    from soleclaim.conformance.model import Result
    from soleclaim.conformance.report import Report
    from soleclaim.conformance.stand import Stand

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--kind", metavar="FAMILY", help="Our own adapter of this family; everything is started here.")
@click.option("--registry", metavar="CODE", help="Which registry of the kind; without it the first.")
@click.option("--target", type=HostPort(), help="HOST:PORT where the adapter under test answers; needs --fixture.")
@click.option("--fixture", "fixture_file", type=_FILE, help="TOML or JSON about the native side; see the README.")
@click.option("--lookup", type=HostPort(), help="A lookup that runs; without it the kit starts one of its own.")
@click.option(
    "--lookup-listen",
    type=HostPort(),
    default="127.0.0.1:7400",
    show_default=True,
    help="Where the kit's own lookup answers.",
)
@click.option("--pki", type=_FOLDER, help="Folder of the authority to issue certificates from; made when it is empty.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML to this file too.")
@json_option
@lang_option
def conformance(
    *,
    kind: str | None,
    registry: str | None,
    target: tuple[str, int] | None,
    fixture_file: Path | None,
    lookup: tuple[str, int] | None,
    lookup_listen: tuple[str, int],
    pki: Path | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Play the scenarios against an adapter. Exit code: 0 nothing failed, 1 a case failed, 3 the target is away.

    The categories are played in order, each only when the one before has passed.
    """
    if (kind is None) == (target is None) or (target is None) != (fixture_file is None):
        raise click.UsageError("give --kind alone, or --target with --fixture")
    if registry is not None and kind is None:
        raise click.UsageError("--registry goes with --kind; a target's code stands in its fixture")
    with _folder() as folder:
        if kind is not None:
            opened = _open_kind(folder, kind, registry)
        else:
            opened = _open_target(folder, target, fixture_file, lookup, lookup_listen, pki)
        report = run_in_order(_run(opened))
        if junit is not None:
            junit.write_bytes(report.as_junit(language()))
        if as_json:
            print_json(report.as_json(language()))
        else:
            _print(report)
        if any(each.verdict.name == "FAILED" for each in report.results):
            sys.exit(REFUSED)


def _open_kind(folder: Path, kind: str, registry: str | None) -> "AbstractAsyncContextManager[Stand]":
    from soleclaim.conformance.families import FAMILIES
    from soleclaim.conformance.world import open_kind
    from soleclaim.parts.examples import EXAMPLES

    if kind not in FAMILIES:
        raise click.BadParameter(
            f"must be one of {', '.join(sorted(FAMILIES))}, not {kind!r}; a new one needs an example, a table in"
            " soleclaim/parts/registries.toml",
            param_hint="--kind",
        )
    codes = [code for code, example in EXAMPLES.items() if example.family == kind]
    if registry is not None and registry not in codes:
        remedy = (
            f"{registry} is of {EXAMPLES[registry].family}"
            if registry in EXAMPLES
            else f"a new one needs an example, a table [{registry}] in soleclaim/parts/registries.toml"
        )
        raise click.BadParameter(f"must be one of {', '.join(codes)} for {kind}; {remedy}", param_hint="--registry")
    return open_kind(folder, EXAMPLES[registry] if registry else FAMILIES[kind])


def _open_target(
    folder: Path,
    target: tuple[str, int] | None,
    fixture_file: Path | None,
    lookup: tuple[str, int] | None,
    lookup_listen: tuple[str, int],
    pki: Path | None,
) -> "AbstractAsyncContextManager[Stand]":
    from soleclaim.conformance.fixture import load_fixture
    from soleclaim.conformance.world import open_target

    if target is None or fixture_file is None:
        raise click.UsageError("give --target with --fixture")
    fixture = load_fixture(fixture_file)
    return open_target(
        folder,
        fixture,
        _address(target),
        pki=pki,
        lookup=_address(lookup) if lookup else None,
        lookup_listen=_address(lookup_listen),
    )


def _address(pair: tuple[str, int]) -> str:
    host, port = pair
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _run(opened: "AbstractAsyncContextManager[Stand]") -> "Report":
    from soleclaim.conformance.play import play
    from soleclaim.conformance.report import Report

    async with _reached(opened) as stand:
        results = await play(stand, tell=_progress)
        return Report(stand.fixture.registry, stand.target, tuple(results))


@asynccontextmanager
async def _reached(opened: "AbstractAsyncContextManager[Stand]") -> "AsyncIterator[Stand]":
    """The stand; a part that does not start or answer is told in a sentence, with the end of its log."""
    from soleclaim.parts.process import ProcessFailed

    try:
        async with opened as stand:
            yield stand
    except ProcessFailed as error:
        tell(str(error))
        raise SystemExit(OUT_OF_REACH) from error


def _progress(result: "Result") -> None:
    """A line on standard error for each case, so that standard output holds the report alone."""
    verdict = result.verdict.value.told(language())
    click.echo(f"{result.case.number:>5}  {verdict}  {result.case.title.told(language())}", err=True)


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder for stores, certificates and logs; it stays when something failed."""
    folder = Path(tempfile.mkdtemp(prefix="soleclaim-conformance-")).resolve()
    try:
        yield folder
    except SystemExit:
        tell(say(f"stores and logs are left in {folder}", f"存储与日志保留在 {folder}"))
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _print(report: "Report") -> None:
    """A table of all cases, then everything about those that failed."""
    from rich.console import Console
    from rich.table import Table

    from soleclaim.conformance.model import CATEGORIES, Verdict
    from soleclaim.conformance.report import details

    chosen = language()
    headings = [
        say("no.", "序号"), say("case", "用例"), say("sent", "发送"), say("came back", "实际"), say("rule", "依据"),
        say("result", "结果"),
    ]  # fmt: skip
    table = Table(show_lines=True, title=say("Conformance", "一致性测试"))
    for heading in headings:
        # Chinese has no spaces to break at; without this its end would be left out.
        table.add_column(heading, overflow="fold")
    for category, title in CATEGORIES.items():
        table.add_row(str(category), title.told(chosen), "", "", "", "", style="bold")
        for each in report.in_category(category):
            case = each.case
            texts = [text.told(chosen) for text in (case.title, case.sent, each.came_back)]
            table.add_row(case.number, *texts, case.rule, each.verdict.value.told(chosen))
    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)
    for each in report.results:
        if each.verdict is Verdict.FAILED:
            heading = f"{each.case.number} {each.case.title.told(chosen)}"
            click.echo(f"\n{say('FAILED', '未通过')} {heading}\n{details(each, chosen)}")
    click.echo(report.summary().told(chosen))
