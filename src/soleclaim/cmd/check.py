"""``soleclaim check``: prove the invariants over the stores and the native registries."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from soleclaim.cmd.output import OUT_OF_REACH, REFUSED, json_option, lang_option, language, print_json, print_table, say

if TYPE_CHECKING:
    from soleclaim.check.findings import Findings


class _ByRegistry(click.ParamType[tuple[str, str]]):
    """``CODE=URL``."""

    name = "CODE=URL"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The pair, or a sentence saying what is wrong."""
        code, separator, url = str(value).partition("=")
        if not separator or not code or "://" not in url:
            self.fail(f"{code} is not CODE=URL, for example gec=http://127.0.0.1:7501", param, ctx)
        return code, url


@click.command()
@click.option("--lookup-database-url", required=True, metavar="URL", help="The lookup's store.")
@click.option("--journal", "journals", type=_ByRegistry(), multiple=True, help="A registry's journal; repeat for each.")
@click.option(
    "--native",
    "natives",
    type=_ByRegistry(),
    multiple=True,
    help="A native registry; repeat for each. CODE:KIND=URL where its client is not named like the registry.",
)
@click.option(
    "--adapter",
    "adapters",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="An adapter's configuration file, in place of its --journal and --native.",
)
@click.option(
    "--policy",
    "policies",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A policy bundle that decided locks, besides the one that comes with the program.",
)
@json_option
@lang_option
def check(
    *,
    lookup_database_url: str,
    journals: tuple[tuple[str, str], ...],
    natives: tuple[tuple[str, str], ...],
    adapters: tuple[Path, ...],
    policies: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Read everything, change nothing. Exit code: 0 all holds, 1 a violation, 3 something could not be looked at."""
    from soleclaim.check.natives import NativeTarget
    from soleclaim.check.run import Targets, run_check
    from soleclaim.natives import KINDS
    from soleclaim.policy.bundle import read_bundle
    from soleclaim.registry.config import load_config

    targets = {}
    for code, url in natives:
        registry, _, kind = code.partition(":")
        targets[registry] = NativeTarget(kind or registry, url)
        if targets[registry].kind not in KINDS:
            raise click.BadParameter(
                f"there is no native client {kind or registry}, only {', '.join(sorted(KINDS))}; write CODE:KIND=URL",
                param_hint="--native",
            )
    urls = dict(journals)
    for config in map(load_config, adapters):
        native = config.native
        urls[config.registry.code] = config.journal.url
        targets[config.registry.code] = NativeTarget(native.kind, native.url, native.key_id, native.secret_file)
    bundles = tuple(read_bundle(path.read_bytes()) for path in policies)
    findings = asyncio.run(run_check(Targets(lookup_database_url, urls, targets, bundles)))
    if as_json:
        print_json(findings.as_json(language()))
    else:
        print_findings(findings)
    sys.exit(exit_code(findings))


def exit_code(findings: "Findings") -> int:
    """A violation outweighs what could not be looked at; neither is success."""
    if findings.violation_count:
        return REFUSED
    return OUT_OF_REACH if findings.not_looked else 0


def print_findings(findings: "Findings") -> None:
    """The result for people: a row per invariant, then every violation, then what was not looked at."""
    from soleclaim.check.findings import INVARIANTS, NOUNS_ZH

    rows = [
        (
            name,
            say(*texts),
            ", ".join(
                f"{count:,} {say(what, NOUNS_ZH.get(what, what))}" for what, count in findings.looked_at[name].items()
            )
            or "0",
            str(findings.counts[name]),
        )
        for name, texts in INVARIANTS.items()
    ]
    headings = [say("invariant", "不变量"), "", say("looked at", "已检查"), say("violations", "违反")]
    print_table(headings, rows)
    for violation in findings.violations:
        click.echo(f"{violation.invariant} {violation.kind}: {violation.told(language())}")
    if findings.violation_count > len(findings.violations):
        rest = findings.violation_count - len(findings.violations)
        click.echo(say(f"and {rest:,} more violations", f"另有 {rest:,} 项违反"))
    for fact in findings.facts:
        click.echo(say(f"to settle: {fact.told('en')}", f"待裁定：{fact.told('zh')}"))
    if findings.fact_count > len(findings.facts):
        rest = findings.fact_count - len(findings.facts)
        click.echo(say(f"and {rest:,} more to settle", f"另有 {rest:,} 项待裁定"))
    for note in findings.notes:
        click.echo(say(f"note: {note[0]}", f"说明：{note[1]}"))
    for what in findings.not_looked:
        click.echo(say(f"NOT LOOKED AT: {what}", f"未能检查：{what}"))
    click.echo(_verdict(findings))


def _verdict(findings: "Findings") -> str:
    if findings.violation_count:
        return say(f"{findings.violation_count:,} violations", f"{findings.violation_count:,} 项违反")
    if findings.not_looked:
        return say(
            "no verdict: something could not be looked at; nothing wrong in the rest",
            "无结论：部分对象未能检查；其余未见违反",
        )
    if findings.notes:
        return say(
            "0 violations in what was looked at; the notes name what was not compared",
            "已检查部分 0 项违反；说明列出未比对的部分",
        )
    return say("0 violations: all of it holds", "0 项违反：全部成立")
