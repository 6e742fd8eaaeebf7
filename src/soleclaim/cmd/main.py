"""``soleclaim``: one command line for all parts. Sub-commands are loaded only when they are used."""

import importlib
import sys
from dataclasses import dataclass
from typing import Final

import click

from soleclaim.cmd.output import MISTAKE, explain, lang_option, say, tell


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a sub-command lives, and one line about it."""

    module: str
    attribute: str
    english: str
    chinese: str


COMMANDS: Final = {
    "demo": Entry(
        "demo",
        "demo",
        "See it work: two registries, one lookup, real records.",
        "演示：两个登记簿、一个查询中心、真实记录",
    ),
    "lookup": Entry("lookup", "lookup", "The central lookup: serve.", "查询中心：serve"),
    "adapter": Entry("adapter", "adapter", "A registry's adapter: serve.", "登记簿适配器：serve"),
    "sandbox": Entry("sandbox", "sandbox", "Stand-ins of native registries: serve.", "登记簿原系统的沙箱：serve"),
    "migrate": Entry("migrate", "migrate", "Bring a store's schema up to date.", "升级存储结构"),
    "check": Entry("check", "check", "Prove the invariants over stores and registries.", "在存储与登记簿上验证不变量"),
    "conformance": Entry(
        "conformance",
        "conformance",
        "Prove that an adapter, in whatever language, does what it must.",
        "一致性测试：验证任意语言实现的适配器",
    ),
    "bench": Entry("bench", "bench", "Measure speed.", "性能测试"),
    "certs": Entry("certs", "certs", "Development authority and certificates.", "开发用证书"),
    "health": Entry("health", "health", "Ask a server whether it serves.", "查询服务状态"),
    "activity": Entry(
        "activity",
        "activity",
        "Activities: show, label, find, list, get, resolve.",
        "减排活动：show、label、find、list、get、resolve",
    ),
    "identity": Entry(
        "identity",
        "identity",
        "Which records of two lists are one plant: match, evaluate.",
        "名录比对：match、evaluate",
    ),
    "lock": Entry("reads", "lock", "Issuance locks: get, list.", "签发锁：get、list"),
    "review": Entry(
        "review", "review", "Review cases: list, show, decide, confirm.", "身份审查：list、show、decide、confirm"
    ),
    "coverage": Entry(
        "coverage", "coverage", "Who is inside which cap or energy-use market: list, show.", "纳管：list、show"
    ),
    "settlement": Entry(
        "settlement",
        "settlement",
        "Which certificates moved with which green power: list, show.",
        "绿电结算：list、show",
    ),
    "import": Entry(
        "history", "take_over", "Take over what a registry issued before, from a file.", "从文件导入登记簿的历史签发"
    ),
    "dispute": Entry("history", "dispute", "Disputes: list, show, settle, reopen.", "争议：list、show、settle、reopen"),
    "issue": Entry("reads", "issue", "Issuances of a registry: get, list.", "登记簿的签发：get、list"),
    "registry": Entry("reads", "registry", "The directory of registries: list.", "登记簿目录：list"),
}


class LazyGroup(click.Group):
    """Knows its sub-commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"soleclaim.cmd.{entry.module}")
        command: click.Command = getattr(module, entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list for ``--help``, from the table alone."""
        with formatter.section(say("Commands", "命令")):
            formatter.write_dl([(name, say(entry.english, entry.chinese)) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="soleclaim", message="%(prog)s %(version)s")
@lang_option
def soleclaim() -> None:
    """One mitigation outcome, one claim: interoperability between environmental-attribute registries."""


def main() -> None:
    """Run the command line. A mistake is told in a sentence; only a bug shows a traceback."""
    try:
        sys.exit(soleclaim.main(prog_name="soleclaim", standalone_mode=False))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        tell(say("stopped", "已中止"))
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(MISTAKE)
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        tell(told[0])
        sys.exit(told[1])


if __name__ == "__main__":
    main()
