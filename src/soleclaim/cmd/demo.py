"""``soleclaim demo``: six acts on real records, then the check."""

import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import click

from soleclaim.cmd.asking import run_in_order
from soleclaim.cmd.output import Failed, explain, json_option, lang_option, language, print_json, say, tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from soleclaim.check.findings import Findings
    from soleclaim.demo.everything import Shown
    from soleclaim.demo.stage import Report
    from soleclaim.parts.process import Part

TITLES: Final = {
    "start": ("starting lookup, two adapters, two native stand-ins", "启动查询中心、两个适配器、两个原系统沙箱"),
    "register": ("1 register: one identifier per plant", "1 登记：一座电站一个标识"),
    "issue": ("2 issue: the second registry is refused", "2 签发：第二个登记簿被拒"),
    "race": ("3 race: both ask at the same moment", "3 竞争：双方同时申请"),
    "crash": ("4 crash: an adapter is killed mid-issue", "4 崩溃：适配器在签发中被杀"),
    "replay": ("5 replay: California 2013 to 2024", "5 重放：加州 2013 至 2024 年"),
    "identify": ("6 identify: three lists that share no key", "6 识别：三份无共同标识的名录"),
    "check": ("check: proving the invariants", "检查：验证不变量"),
    "start-all": ("starting the lookup", "启动查询中心"),
    "everything": ("every instrument, once", "每种权益各一次"),
}

EXCHANGES: Final = {
    "json": ("JSON over HTTP", "JSON 接口"),
    "signed": ("signed JSON", "签名 JSON"),
    "csv": ("CSV files", "CSV 文件"),
    "workbook": ("Excel workbook", "Excel 工作簿"),
    "tables": ("published tables", "已公布的表格"),
}
"""How a native system is spoken to."""


class _Breakable(Protocol):
    """Parts that run."""

    def broken(self) -> "list[Part]":
        """Those that broke."""


@click.command()
@json_option
@lang_option
@click.option(
    "--all", "everything", is_flag=True, help="Instead of the acts: every instrument there is, each issued once."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Leave stores, logs and certificates in this new folder.",
)
@click.option(
    "--database-url",
    metavar="URL",
    help="PostgreSQL instead of SQLite: makes three databases beside this one, and drops them unless --keep is given.",
)
def demo(*, as_json: bool, everything: bool, keep: Path | None, database_url: str | None) -> None:
    """Two registries, one lookup, real records: see that nothing is issued twice.

    Everything runs on this machine, on loopback, with certificates made for the run.
    """
    if everything and database_url is not None:
        raise click.UsageError("--all keeps its stores in SQLite; leave --database-url out")
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise click.BadParameter(f"{keep} is there already; name a folder that does not exist", param_hint="--keep")
    began = time.monotonic()
    with _folder(keep) as folder:
        if everything:
            shown, findings = run_in_order(_run_all(folder))
        else:
            reports, findings = run_in_order(_run(folder, database_url, keep=keep is not None))
        elapsed_s = round(time.monotonic() - began, 1)
        if as_json:
            told = {"instruments": _instruments(shown)} if everything else {"acts": _acts(reports)}
            print_json({**told, "check": findings.as_json(language()), "elapsed_s": elapsed_s})
        else:
            _print(_shown_table(shown) if everything else _acts_table(reports), findings, elapsed_s)
        if findings.violation_count or findings.not_looked:
            raise Failed(
                say(
                    f"the check found {findings.violation_count} violations and could not look at"
                    f" {len(findings.not_looked)} things",
                    f"检查发现 {findings.violation_count} 项违反，{len(findings.not_looked)} 项未能检查",
                )
            )


async def _run(folder: Path, database_url: str | None, *, keep: bool) -> "tuple[list[Report], Findings]":
    from soleclaim.check.natives import NativeTarget
    from soleclaim.check.run import Targets, run_check
    from soleclaim.demo import acts
    from soleclaim.demo.databases import open_databases
    from soleclaim.demo.plants import load_plants
    from soleclaim.demo.stage import Report, Stage
    from soleclaim.demo.world import open_world

    reports: list[Report] = []
    with open_databases(folder, database_url, keep=keep) as databases, _progress() as bars:
        bars.begin("start")
        async with open_world(folder, databases) as world, AsyncExitStack() as clients:
            with _telling(world):
                stage = await world.stage(clients, load_plants(), bars.tell)
                plays: dict[str, Callable[[Stage], Awaitable[Report]]] = {
                    "register": acts.register,
                    "issue": acts.issue,
                    "race": acts.race,
                    "crash": partial(acts.crash, victim=world),
                    "replay": acts.replay,
                    "identify": acts.identify,
                }
                for name, play in plays.items():
                    bars.begin(name)
                    reports.append(await play(stage))
                bars.begin("check")
                natives = {registry: NativeTarget(registry, url) for registry, url in world.natives.items()}
                findings = await run_check(Targets(databases.lookup, databases.journals, natives))
                bars.end()
    return reports, findings


async def _run_all(folder: Path) -> "tuple[list[Shown], Findings]":
    from soleclaim.check.natives import NativeTarget
    from soleclaim.check.run import Targets, run_check
    from soleclaim.cmd.adapter import serve_adapter
    from soleclaim.demo.everything import open_everything

    with _progress() as bars:
        bars.begin("start-all")
        async with open_everything(folder, serve_adapter) as world:
            # Adapters that end raise what went wrong with them.
            with _telling(world):
                async with AsyncExitStack() as adapters:
                    bars.begin("everything")
                    shown = await world.play(adapters, lambda done, total: bars.tell("everything", done, total))
                    bars.begin("check")
                    natives = {
                        code: NativeTarget(native.example.family, native.url, native.key_id, native.secret_file)
                        for code, native in world.natives.items()
                    }
                    findings = await run_check(Targets(world.lookup_url, world.journals, natives))
                    bars.end()
    return shown, findings


@contextmanager
def _telling(world: _Breakable) -> Iterator[None]:
    """Turn what went wrong into one sentence, with the end of the log of the part that broke."""
    from soleclaim.client import RemoteRefusal, RemoteUnavailable
    from soleclaim.demo.stage import ActFailed
    from soleclaim.parts.process import ProcessFailed

    kinds = (ActFailed, ProcessFailed, RemoteRefusal, RemoteUnavailable)
    try:
        yield
    except Exception as error:
        # Acts that do many things at once raise groups.
        first = error
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        if not isinstance(first, kinds):
            if isinstance(error, ExceptionGroup) and explain(first) is not None:
                raise first from error
            raise
        sentence = say(*first.line) if isinstance(first, ActFailed) else str(first)
        tails = [f"--- {part.log.name} ({part.ended or 'running'})\n{part.tail()}" for part in world.broken()]
        raise Failed("\n".join([sentence, *tails])) from error


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The given folder, or a temporary one that stays only when the demo failed: its logs are what is needed then."""
    folder = keep or Path(tempfile.mkdtemp(prefix="soleclaim-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder.resolve()
    except Failed:
        tell(say(f"stores and logs are left in {folder}", f"存储与日志保留在 {folder}"))
        raise
    except BaseException:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)


class _Bars:
    """A progress bar per act."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._current: TaskID | None = None

    def begin(self, act: str) -> None:
        """End the bar before and begin this act's."""
        self.end()
        self._current = self._progress.add_task(say(*TITLES[act]), total=None)

    def tell(self, _act: str, done: int, total: int) -> None:
        """Move the current bar."""
        if self._current is not None:
            self._progress.update(self._current, completed=done, total=total)

    def end(self) -> None:
        """The current act is done."""
        if self._current is not None:
            self._progress.update(self._current, completed=1, total=1)
            self._progress.stop_task(self._current)


@contextmanager
def _progress() -> Iterator[_Bars]:
    """Bars on standard error, so that standard output holds the result alone."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress)


def _acts(reports: "list[Report]") -> list[dict[str, object]]:
    return [{"name": report.name, **report.figures} for report in reports]


def _instruments(shown: "list[Shown]") -> list[dict[str, object]]:
    return [
        {
            "instrument": each.instrument,
            "registry": each.example.registry,
            "family": each.example.family,
            "exchange": each.example.exchange,
            "project": each.project,
            "units": each.units,
            "serials": each.serials,
            "result": say(*each.result),
        }
        for each in shown
    ]


def _acts_table(reports: "list[Report]") -> "Table":
    from rich.table import Table

    table = Table(say("act", "幕"), say("what happened", "结果"), show_lines=True, title=say("Summary", "汇总"))
    for report in reports:
        table.add_row(say(*TITLES[report.name]), "\n".join(say(*line) for line in report.lines))
    return table


def _shown_table(shown: "list[Shown]") -> "Table":
    from rich.table import Table

    headings = [
        say("instrument", "权益"), say("family", "类别"), say("native form", "原系统形式"), say("serials", "编号"),
        say("units", "数量"), say("result", "结果"),
    ]  # fmt: skip
    table = Table(title=say("Every instrument", "每种权益"))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for each in shown:
        exchange = say(*EXCHANGES[each.example.exchange])
        units = f"{each.units:,}" if each.units else ""
        table.add_row(each.instrument, each.example.family, exchange, each.serials, units, say(*each.result))
    return table


def _print(table: "Table", findings: "Findings", elapsed_s: float) -> None:
    from rich.console import Console

    from soleclaim.cmd.check import print_findings

    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False)
    console.print(table)
    print_findings(findings)
    click.echo(say(f"{elapsed_s} s", f"用时 {elapsed_s} 秒"))
