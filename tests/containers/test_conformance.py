"""The conformance kit, run as an operator runs it, against adapters of the deployed stack, all stores PostgreSQL."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from soleclaim.conformance.families import filings, fixture_of
from soleclaim.conformance.fixture import Adapter, Fixture, Lookup, Peer
from soleclaim.parts.examples import EXAMPLES
from soleclaim.parts.process import SOLECLAIM

from .stack import Stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

PEERS: Final = {"ccer": Peer(registry="rego", instrument="REGO"), "gec": Peer(registry="arb", instrument="ARBOC")}
"""The kit plays a registry that has no adapter here: what it issues stands at the lookup alone."""
OF_SILENT_REGISTRIES: Final = {"6.7", "12.4"}
"""Not for registries that issue; all else must be played."""
# Between the time-outs of the stack (``NATIVE_TIMES``).
SLOW_S: Final = 2
LATE_S: Final = 4


@pytest.mark.parametrize("registry", sorted(PEERS))
async def test_adapter_in_a_container_passes_every_case_that_applies(
    stack: Stack, registry: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    await stack.native(registry).fill(filings(EXAMPLES[registry]))
    (tmp_path / "fixture.json").write_text(fixture(stack, registry).model_dump_json(exclude_none=True))
    shutil.copytree(stack.folder / "secrets" / "authority", tmp_path / "pki")
    report = play(stack, registry, tmp_path)
    skipped = numbers(report, "skipped")
    record_property(
        f"conformance of {registry} in containers",
        f"{len(report['cases'])} cases, {report['counts']['passed']} passed, skipped {', '.join(skipped)}",
    )
    assert {each["number"]: each["came_back"] for each in report["cases"] if each["verdict"] == "failed"} == {}
    assert set(skipped) == OF_SILENT_REGISTRIES


def test_kit_left_nothing_wrong(stack: Stack) -> None:
    report: Any = stack.check()
    assert (report["complete"], report["violations"]) == (True, 0), report


def fixture(stack: Stack, registry: str) -> Fixture:
    """The registry's stand-in and its container, and the lookup's."""
    adapter, lookup = stack.container(f"{registry}-adapter"), stack.container("lookup")
    found = fixture_of(stack.native(registry), ())
    faults = found.native.faults
    assert faults is not None
    slow, late = {**(faults.slow or {}), "delay_s": SLOW_S}, {**(faults.done_late or {}), "delay_s": LATE_S}
    faults = faults.model_copy(update={"slow": slow, "done_late": late})
    return found.model_copy(
        update={
            "native": found.native.model_copy(update={"faults": faults}),
            "peer": PEERS[registry],
            "adapter": Adapter(kill=("docker", "kill", adapter), restart=("docker", "start", adapter)),
            "lookup": Lookup(kill=("docker", "kill", lookup), restart=("docker", "start", lookup)),
        }
    )


def play(stack: Stack, registry: str, folder: Path) -> dict[str, Any]:
    """The kit's report."""
    options = (
        "--target", stack.address(registry), "--lookup", stack.address("lookup"),
        "--fixture", "fixture.json", "--pki", "pki", "--json",
    )  # fmt: skip
    ended = subprocess.run(
        [*SOLECLAIM, "conformance", *options], cwd=folder, capture_output=True, text=True, timeout=800, check=False
    )
    assert ended.stdout, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def numbers(report: dict[str, Any], verdict: str) -> list[str]:
    return [each["number"] for each in report["cases"] if each["verdict"] == verdict]
