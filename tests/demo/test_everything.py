"""``soleclaim demo --all``: every registry there is an example of, on real parts."""

import json
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from soleclaim.cmd.demo import EXCHANGES
from soleclaim.cmd.demo import _telling as telling
from soleclaim.natives import KINDS
from soleclaim.parts.examples import DESKS, EXAMPLES
from soleclaim.parts.process import SOLECLAIM
from soleclaim.policy.bundle import default_bundle
from soleclaim.registry.instruments import INSTRUMENTS
from soleclaim.sandbox.stand_in import StandInFault


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one run prints."""
    folder = tmp_path_factory.mktemp("everything") / "kept"
    ended = subprocess.run(
        [*SOLECLAIM, "demo", "--all", "--json", "--keep", str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def _known() -> set[str]:
    """Registries that there is a client for."""
    known: set[str] = set()
    for family in KINDS:
        file = resources.files("soleclaim.natives") / family / "registries.toml"
        # A family of one registry has no table, only an example.
        alone = (code for code, example in EXAMPLES.items() if example.family == family)
        known |= set(tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else alone)
    return known


@pytest.mark.timeout(300)
def test_instrument_of_every_registry_that_there_is_a_client_for_is_shown_once(document: dict[str, Any]) -> None:
    shown = [each["instrument"] for each in document["instruments"]]
    assert sorted(shown) == sorted(INSTRUMENTS[code].code for code in _known())


def test_whoever_issues_has_serials_and_whoever_does_not_reports(document: dict[str, Any]) -> None:
    for each in document["instruments"]:
        assert each["serials"], each
        issued, reported = each["result"] == "issued", each["result"].startswith("issues nothing; ")
        assert (issued, reported) == (bool(each["units"]), not each["units"]), each


def test_certificates_that_a_power_exchange_settles_are_counted_once(document: dict[str, Any]) -> None:
    settled = [each for each in document["instruments"] if "settled 1,234 certificates" in each["result"]]
    exchanges = {code for code, row in default_bundle().registries.items() if row.settles}
    assert {each["registry"] for each in settled} == exchanges
    assert not any(each["units"] for each in settled)


def test_check_of_lookup_journals_and_all_natives_finds_nothing(document: dict[str, Any]) -> None:
    assert document["check"]["violations"] == 0
    assert document["check"]["complete"] is True


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_fits_its_family_and_the_bundle(code: str) -> None:
    example = EXAMPLES[code]
    assert example.family in DESKS
    assert example.family in KINDS
    assert example.exchange in EXCHANGES
    assert code in INSTRUMENTS
    assert example.project.format(n=1) != example.project.format(n=2)


def test_table_that_is_missing_is_told_without_the_group_it_was_raised_in() -> None:
    def show() -> None:
        with telling(SimpleNamespace(broken=list)):
            raise ExceptionGroup("registries", [ExceptionGroup("one", [StandInFault("a new one needs a table")])])

    with pytest.raises(StandInFault, match="a new one needs a table"):
        show()


def test_all_keeps_its_stores_in_sqlite(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*SOLECLAIM, "demo", "--all", "--database-url", "postgresql+psycopg://nobody@nowhere/none"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "leave --database-url out" in ended.stderr
