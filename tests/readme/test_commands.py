"""What the READMEs print can be typed: commands and options exist, scripts are there, the demo runs."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest

from soleclaim.cmd.main import soleclaim

TOP: Final = Path(__file__).parents[2]
PAGES: Final = (
    TOP / "README.md",
    TOP / "deploy" / "README.md",
    TOP / "src/soleclaim/identity/README.md",
    TOP / "src/soleclaim/conformance/README.md",
    TOP / "src/soleclaim/natives/README.md",
    TOP / "src/soleclaim/natives/energyuse/README.md",
    TOP / "src/soleclaim/history/README.md",
    TOP / "src/soleclaim/natives/ets/README.md",
    TOP / "src/soleclaim/natives/local/README.md",
    TOP / "src/soleclaim/natives/archive/README.md",
    TOP / "src/soleclaim/natives/greenpower/README.md",
)
PROGRAM: Final = Path(sys.executable).with_name("soleclaim")
SHELLS: Final = {"", "bash", "console", "sh", "shell"}

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS: Final = {"soleclaim", "desk"}
"""``desk`` is the service of ``deploy/compose.yaml`` that runs the program for the operator."""

_SCRIPT: Final = re.compile(r"^(?:\./|deploy/|protos/|\.ci/)[\w./-]+$")


class Command(NamedTuple):
    """One command line of a page, without prompt, comment and environment."""

    page: str
    words: tuple[str, ...]

    @property
    def ours(self) -> tuple[str, ...] | None:
        """What follows ``soleclaim`` where that is the program, at the front or inside a container."""
        for place, word in enumerate(self.words):
            following = self.words[place + 1 :]
            if word.rpartition("/")[2] in PROGRAMS and (place == 0 or following[:1] in KNOWN):
                return following
        return None


NOBODY: Final = click.Context(soleclaim)
KNOWN: Final = {(name,) for name in soleclaim.list_commands(NOBODY)}


def _commands() -> Iterator[Command]:
    for page in PAGES:
        for language, block in _FENCE.findall(page.read_text(encoding="utf-8")):
            if language not in SHELLS:
                continue
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|(?!\|)", line.removeprefix("$ ")):
                    words = shlex.split(part, comments=True)
                    while words and re.fullmatch(r"\w+=.*", words[0]):
                        words.pop(0)
                    if words:
                        yield Command(page.relative_to(TOP).as_posix(), tuple(words))


COMMANDS: Final = tuple(_commands())
OURS: Final = [command for command in COMMANDS if command.ours is not None]


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.page}: {' '.join(command.words)}")
def test_printed_command_and_its_options_exist(command: Command) -> None:
    words = list(command.ours or ())
    found: click.Command = soleclaim
    options = _options(found)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        inner = found.get_command(NOBODY, name)
        assert inner is not None, f"there is no command {name!r}; there are {found.list_commands(NOBODY)}"
        found = inner
        options |= _options(found)
    printed = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert printed <= options | {"--help", "-h"}, f"not options of {found.name}: {sorted(printed - options)}"


def _options(command: click.Command) -> set[str]:
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


def test_printed_scripts_exist_and_run() -> None:
    scripts = {
        (TOP / command.page).parent / command.words[0] for command in COMMANDS if _SCRIPT.match(command.words[0])
    }
    assert [script for script in scripts if not script.stat().st_mode & 0o111] == []


def test_readme_prints_commands_of_ours() -> None:
    assert {command.page for command in OURS} == {page.relative_to(TOP).as_posix() for page in PAGES}


def test_printed_grpcurl_calls_reach_grpcurl_whole(tmp_path: Path) -> None:
    page = (TOP / "protos" / "README.md").read_text(encoding="utf-8")
    blocks = [block for language, block in _FENCE.findall(page) if language == "bash" and re.search(r"\bg\b", block)]
    stub = tmp_path / "grpcurl"
    stub.write_text("#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" | tr '\\n' ' '; echo\n")
    stub.chmod(0o755)
    script = "shopt -s expand_aliases\n" + "\n".join(blocks)
    result = subprocess.run(
        ["bash", "-e"],
        input=script,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    calls = result.stdout.splitlines()
    assert len(calls) == 2
    for call, method in zip(calls, ("CheckIssuance", "RequestIssuance"), strict=True):
        assert "-proto soleclaim/api/registry/v1/registry_service.proto -d {" in call
        assert call.strip().endswith(f"127.0.0.1:7410 soleclaim.api.registry.v1.RegistryService/{method}")


@pytest.mark.timeout(300)
def test_demo_as_printed_ends_well_and_reports_json(tmp_path: Path) -> None:
    printed = [command.ours for command in OURS if command.page == "README.md" and "demo" in (command.ours or ())]
    assert printed, "README.md does not print the demo"
    result = subprocess.run(
        [PROGRAM, *(printed[0] or ()), *(() if "--json" in (printed[0] or ()) else ("--json",))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
