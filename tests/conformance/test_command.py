"""The command as an operator of another registry uses it: a fixture file, a target, certificates of the run."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from soleclaim.cmd.output import MISTAKE, OUT_OF_REACH
from soleclaim.conformance.families import FAMILIES, filings, fixture_of
from soleclaim.conformance.world import adapter_sections
from soleclaim.parts.configuration import migrate_store, write_toml
from soleclaim.parts.examples import EXAMPLES
from soleclaim.parts.process import SOLECLAIM, free_port
from soleclaim.parts.stand_ins import NativeSystem, stand_in
from soleclaim.rpc.tls import TlsFiles

GEC = EXAMPLES["gec"]
NOWHERE = NativeSystem(GEC, "http://127.0.0.1:1", "http://127.0.0.1:1")


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SOLECLAIM, "conformance", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        # What a failed run leaves behind for people belongs to the test.
        env={**os.environ, "TMPDIR": str(cwd)},
    )


def _verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {each["number"]: each["verdict"] for each in document["cases"]}


def _adapter(folder: Path, native: NativeSystem, target: str, lookup: str) -> tuple[str, ...]:
    """The command that starts an adapter; its certificate is what the kit will make in ``pki``."""
    pki, journal = folder / "pki", f"sqlite+aiosqlite:///{folder / 'journal.db'}"
    migrate_store("journal", journal)
    tls = TlsFiles(pki / "authority.crt", pki / "registry-gec.crt", pki / "registry-gec.key")
    write_toml(folder / "gec.toml", adapter_sections(native, target, lookup, journal, tls))
    return (*SOLECLAIM, "adapter", "serve", "--registry", "gec", "--config", str(folder / "gec.toml"))


def test_target_without_native_hooks_is_played_and_what_lacks_says_why(tmp_path: Path) -> None:
    target, lookup = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with stand_in(GEC, tmp_path / "native") as native:
        asyncio.run(native.fill(filings(GEC)))
        start = _adapter(tmp_path, native, target, lookup)
        fixture = fixture_of(native, start).model_dump(mode="json", exclude_none=True, exclude={"native"})
        (tmp_path / "gec.json").write_text(json.dumps(fixture), encoding="utf-8")
        options = ["--target", target, "--fixture", "gec.json", "--lookup-listen", lookup, "--pki", "pki"]
        result = _run(*options, "--junit", "junit.xml", "--json", "--lang", "zh", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(result.stdout)
    verdicts = _verdicts(document)
    assert "failed" not in verdicts.values()
    assert {verdicts[number] for number in ("4.1", "8.3", "12.1", "12.2")} == {"passed"}
    assert {verdicts[number] for number in ("4.4", "7.1", "7.3", "8.1")} == {"skipped"}
    (lost,) = (each for each in document["cases"] if each["number"] == "7.1")
    assert "answer_lost" in lost["came_back"]
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  our own document
    assert root.get("failures") == "0"


def test_family_that_is_not_there_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    result = _run("--kind", "etz", cwd=tmp_path)
    assert result.returncode == MISTAKE
    assert f"must be one of {', '.join(sorted(FAMILIES))}, not 'etz'" in result.stderr


def test_target_that_is_not_there_is_out_of_reach(tmp_path: Path) -> None:
    fixture = fixture_of(NOWHERE, []).model_copy(update={"patience_s": 0.5})
    (tmp_path / "gec.json").write_text(fixture.model_dump_json(exclude_none=True), encoding="utf-8")
    target, lookup = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    result = _run("--target", target, "--fixture", "gec.json", "--lookup-listen", lookup, cwd=tmp_path)
    assert result.returncode == OUT_OF_REACH
    assert f"no adapter answers at {target}" in result.stderr


def test_registry_of_another_family_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    result = _run("--kind", "ets", "--registry", "phcer", cwd=tmp_path)
    assert result.returncode == MISTAKE
    assert "must be one of cea, szea" in result.stderr
    assert "phcer is of local" in result.stderr


@pytest.mark.parametrize("options", [[], ["--kind", "gec", "--target", "127.0.0.1:1"], ["--target", "127.0.0.1:1"]])
def test_kind_or_target_with_fixture_must_be_given(tmp_path: Path, options: list[str]) -> None:
    result = _run(*options, cwd=tmp_path)
    assert result.returncode == MISTAKE
    assert "--kind alone, or --target with --fixture" in result.stderr


def test_table_for_people_names_every_case_and_what_failed(tmp_path: Path) -> None:
    """Printed by the command's own function: the run itself is not what is looked at."""
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "…" not in printed, "a text is cut"
    assert all(word in printed for word in ("未通过 1.1", "发送: ", "预期: ", "实际: no answer", "依据: design 8"))


_PRINT = """
from soleclaim.cmd import conformance, output
from soleclaim.conformance.cases import CASES
from soleclaim.conformance.model import Result, Text, Verdict
from soleclaim.conformance.report import Report
output._language.set("zh")
results = [Result(case, Verdict.PASSED, Text("", "")) for case in CASES[1:]]
conformance._print(Report("ccer", "-", (Result(CASES[0], Verdict.FAILED, Text("-", "no answer")), *results)))
"""
