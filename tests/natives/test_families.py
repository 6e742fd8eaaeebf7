"""A family of several registries: what is particular to one is data, and adding one is data only."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

import soleclaim
from soleclaim.natives import KINDS, NativeSettings, open_native
from soleclaim.parts.examples import DESKS, EXAMPLES, Result
from soleclaim.parts.stand_ins import stand_in
from soleclaim.policy.bundle import default_bundle
from soleclaim.sandbox import server

PACKAGE: Final = Path(soleclaim.__file__).parent

NEW_SYSTEM: Final = {
    "natives": '[newea]\nname = "新试点"\nunit_pattern = "N[0-9]{3}"\n',
    "sandbox": (
        '[newea]\nunit_pattern = "N[0-9]{3}"\nseries = "NEW-{year}-{project}"\noffset_max = "0.01"\n'
        'offset_basis = "emissions"\noffset_credits = []\n'
    ),
}
TRY_IT: Final = """
import asyncio, pathlib, sys
import httpx
from soleclaim.natives import NativeSettings, open_native
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

folder = pathlib.Path(sys.argv[1])
(folder / "secret").write_bytes(b"secret")

async def project(url):
    settings = NativeSettings(registry="newea", url=url, timeout_s=5, longest_under_way_s=1, key_id="newea",
                              secret_file=folder / "secret")
    native = open_native("ets", settings)
    print((await native.get_project("N007")).name)
    await native.close()

with running("ets", StandIn(folder / "native.db", "newea", secret=b"secret")) as url:
    unit = {"unitId": "N007", "unitName": "new unit", "uscc": "91440000MA4UQ0001X", "sector": "x", "province": "y"}
    httpx.post(f"{url}/office/units", json={"units": [unit]}, trust_env=False).raise_for_status()
    asyncio.run(project(url))
"""


NEW_EXCHANGE: Final = {
    "natives": (
        '[eur-new]\nname = "新试点"\nregion = "某省"\nproject_pattern = "N[0-9]{3}"\nentity_pattern = "E[0-9]{3}"\n'
        'kgce_per_unit = { "吨标准煤" = "1000" }\n'
    ),
    "sandbox": (
        '[eur-new]\nproject_pattern = "N[0-9]{3}"\nentity_pattern = "E[0-9]{3}"\nseries = "NEW-{year}-{project}"\n'
        'tce_per_unit = { "吨标准煤" = "1" }\n'
    ),
}
TRY_EXCHANGE: Final = """
import asyncio, pathlib, sys
import httpx
from soleclaim.natives import NativeSettings, open_native
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

folder = pathlib.Path(sys.argv[1])

async def project():
    native = open_native(
        "energyuse", NativeSettings(registry="eur-new", url=folder.as_uri(), timeout_s=5, longest_under_way_s=1)
    )
    print((await native.get_project("N007")).name)
    await native.close()

with running("energyuse", StandIn(folder / "native.db", "eur-new", folder=folder)) as url:
    new = {"projectNo": "N007", "name": "new project", "owner": "x", "uscc": "91440000MA4UQ0001X", "kind": "y"}
    for path, body in (("/office/projects", {"projects": [new]}), ("/night", {})):
        httpx.post(url + path, json=body, trust_env=False).raise_for_status()
    asyncio.run(project())
"""


def table(side: str, family: str) -> dict[str, Any]:
    return tomllib.loads((PACKAGE / side / family / "registries.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("family", "rows", "script", "printed"),
    [("ets", NEW_SYSTEM, TRY_IT, "new unit\n"), ("energyuse", NEW_EXCHANGE, TRY_EXCHANGE, "new project\n")],
)
def test_a_registry_is_added_by_data_only(
    tmp_path: Path, family: str, rows: dict[str, str], script: str, printed: str
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "soleclaim", ignore=shutil.ignore_patterns("__pycache__"))
    for side, added in rows.items():
        with (tmp_path / "soleclaim" / side / family / "registries.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n{added}")
    tried = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (tried.stdout, tried.returncode) == (printed, 0), tried.stderr


@pytest.mark.parametrize("family", ["energyuse", "ets", "greenpower", "local"])
def test_no_code_of_a_family_names_a_registry_of_it(family: str) -> None:
    codes = re.compile(rf"\b({'|'.join(map(re.escape, table('natives', family)))})\b", re.IGNORECASE)
    for side in ("natives", "sandbox"):
        for path in (PACKAGE / side / family).glob("*.py"):
            assert codes.findall(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize("family", ["energyuse", "ets", "greenpower", "local"])
def test_both_sides_of_a_family_know_the_same_registries_and_so_does_the_policy(family: str) -> None:
    assert set(table("natives", family)) == set(table("sandbox", family))
    assert set(table("natives", family)) <= set(default_bundle().registries)


def test_every_family_has_a_stand_in_a_desk_and_an_example() -> None:
    assert set(server.KINDS) == set(KINDS) - {"archive"}, "KINDS in src/soleclaim/sandbox/server.py"
    assert set(DESKS) == set(KINDS), "DESKS in src/soleclaim/parts/examples.py"
    assert {each.family for each in EXAMPLES.values()} == set(KINDS), "src/soleclaim/parts/registries.toml"


@pytest.mark.parametrize("family", ["archive", "energyuse", "ets", "greenpower", "local"])
def test_every_registry_of_a_family_has_an_example(family: str) -> None:
    examples = {code for code, example in EXAMPLES.items() if example.family == family}
    assert examples == set(table("natives", family)), "src/soleclaim/parts/registries.toml"


@pytest.mark.parametrize("code", [code for code, example in EXAMPLES.items() if example.exchange != "tables"])
async def test_example_is_taken_by_the_stand_in_and_read_by_the_client(tmp_path: Path, code: str) -> None:
    example = EXAMPLES[code]
    [first, second] = [example.filing(number, [Result(example.desk.measured[0], 6)]) for number in (1, 2)]
    with stand_in(example, tmp_path) as system:
        await system.fill([first, second])
        native = open_native(
            example.family,
            NativeSettings(
                registry=example.registry, url=system.url, timeout_s=5, longest_under_way_s=1,
                key_id=system.key_id, secret_file=system.secret_file,
            ),
        )  # fmt: skip
        try:
            for each in (first, second):
                found = await native.get_project(each.id)
                assert found is not None
                assert found.native_project_id == each.id
        finally:
            await native.close()


NEW_CREDIT: Final = {
    "policy/bundles/2026-11.toml": """
[registries.newlc]
zh = "某省减排量登记"
en = "credits of a province"
basis = "made up"

[instruments.NEWLC]
registry = "newlc"
base_unit = "kgCO2e"
base_units_per_unit = 1000
attributes = ["REDUCTION", "CAP"]
basis = "made up"
""",
    "natives/local/registries.toml": """
[newlc]
name = "某省减排量"
authority = "某省生态环境厅"
area = "CN-HA"
division = "41"
filing_pattern = "NEW(?P<division>[0-9]{6})-[0-9]{4}"
form = "json"
""",
    "sandbox/local/registries.toml": """
[newlc]
division = "41"
filing_pattern = "NEW(?P<division>[0-9]{6})-[0-9]{4}"
series = "{project}.{year}"
form = "json"
""",
    "parts/registries.toml": """
[newlc]
family = "local"
exchange = "json"
project = "NEW410102-{n:04d}"
name = "中原绿色出行"
owner = "中原出行科技有限公司"
region = "河南省"
words = { divisionCode = "410102", category = "绿色出行" }
""",
}
"""What is written to add a registry to the family ``local``, by file."""
TRY_CREDIT: Final = """
import asyncio, pathlib, sys
from soleclaim.cmd.output import explain

async def tried():
    from soleclaim.natives import NativeSettings, open_native
    from soleclaim.parts.examples import EXAMPLES, Result
    from soleclaim.parts.stand_ins import stand_in

    example = EXAMPLES["newlc"]
    filing = example.filing(1, [Result(example.desk.measured[0], 6)])
    with stand_in(example, pathlib.Path(sys.argv[1])) as system:
        await system.fill([filing])
        native = open_native("local", NativeSettings(registry="newlc", url=system.url, timeout_s=5,
                                                     longest_under_way_s=1))
        print((await native.get_project(filing.id)).name)
        await native.close()

try:
    asyncio.run(tried())
except Exception as error:
    told = explain(error)
    if told is None:
        raise
    print(told[0])
"""
BUNDLE, CLIENT, STAND_IN, EXAMPLE = NEW_CREDIT


def tried(folder: Path, *changes: tuple[str, str, str]) -> str:
    """What is printed with the new credit's tables, where in a file a text is changed into another."""
    shutil.copytree(PACKAGE, folder / "soleclaim", ignore=shutil.ignore_patterns("__pycache__"))
    for file, added in NEW_CREDIT.items():
        told = added
        for changed, old, new in changes:
            if changed == file:
                assert old in told
                told = told.replace(old, new)
        with (folder / "soleclaim" / file).open("a", encoding="utf-8") as opened:
            opened.write(told)
    ended = subprocess.run(
        [sys.executable, "-c", TRY_CREDIT, str(folder / "native")],
        env={**os.environ, "PYTHONPATH": str(folder)}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_credit_is_added_by_four_tables(tmp_path: Path) -> None:
    assert tried(tmp_path) == "中原绿色出行\n"


PATTERN: Final = "(?P<division>[0-9]{6})"
FORGOTTEN: Final = {
    "registry": (BUNDLE, NEW_CREDIT[BUNDLE].partition("\n\n")[0], "", "2026-11.toml: instruments.NEWLC"),
    "instrument": (
        BUNDLE, NEW_CREDIT[BUNDLE].partition("\n\n")[2], "", "parts/registries.toml, [newlc]: the policy does not know"
    ),
    "client's table": (CLIENT, NEW_CREDIT[CLIENT], "", "a table [newlc] in soleclaim/natives/local/regis"),
    "stand-in's table": (STAND_IN, NEW_CREDIT[STAND_IN], "", "a table [newlc] in soleclaim/sandbox/local/regis"),
    "example's family": (EXAMPLE, 'family = "local"', 'family = "locl"', "[newlc]: family: must be one of archive"),
    "example's key": (EXAMPLE, "owner", "ownr", "[newlc]: owner: Field required; ownr: Extra inputs"),
    "example's number": (EXAMPLE, "{n:04d}", "0001", "[newlc]: project: must hold {n}"),
    "example's form": (EXAMPLE, '"json"', '"workbook"', "does not take POST /night: HTTP 404"),
    "example's county": (EXAMPLE, "NEW410102", "NEW410103", "is not of division 410102"),
    "example's words": (EXAMPLE, "divisionCode", "division", "divisionCode"),
    "example's text": (EXAMPLE, '"河南省"', "河南省", "parts/registries.toml is no TOML"),
    "client's pattern": (CLIENT, PATTERN, "[0-9]{6}", "[newlc]: filing_pattern: must have the group division"),
    "client's brackets": (CLIENT, PATTERN, "(?P<division", "[newlc]: filing_pattern: is no regular expression"),
    "stand-in's pattern": (STAND_IN, PATTERN, "[0-9]{6}", "[newlc]: filing_pattern: must have the group division"),
    "stand-in's series": (STAND_IN, "{project}", "{projekt}", "[newlc]: series: may hold {project}, {year} and"),
    "stand-in's key": (STAND_IN, "series =", "serie =", "[newlc]: series: Field required"),
    "stand-in's form": (STAND_IN, '"json"', '"workbook"', "exchanges files; give the folder (--folder); its ex"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGOTTEN)
def test_what_is_forgotten_or_misspelt_is_told_with_its_table(tmp_path: Path, what: str) -> None:
    *change, told = FORGOTTEN[what]
    file, old, new = change
    assert told in tried(tmp_path, (file, old, new))
