"""The acts on a small world of real processes, then everything that reads it: the check and the reading verbs."""

import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from soleclaim.check.natives import NativeTarget
from soleclaim.check.run import Targets, run_check
from soleclaim.demo import acts
from soleclaim.demo.databases import Databases, open_databases
from soleclaim.demo.plants import load_plants
from soleclaim.demo.stage import Report
from soleclaim.demo.world import World, open_world

PLANTS = load_plants(6)
PROGRAM = Path(sys.executable).with_name("soleclaim")


@pytest.mark.timeout(300)
async def test_small_world_plays_its_acts_and_nothing_is_wrong(
    store_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    given = None
    if store_kind == "postgres":
        given = request.getfixturevalue("postgres_server").url.render_as_string(hide_password=False)
    seen: list[str] = []
    with open_databases(tmp_path, given, keep=False) as databases:
        async with open_world(tmp_path, databases) as world, AsyncExitStack() as stack:
            stage = await world.stage(stack, PLANTS, lambda act, done, total: seen.append(f"{act} {done}/{total}"))
            reports = [await play(stage) for play in (acts.register, acts.issue, acts.race)]
            reports += [await acts.crash(stage, world), await acts.identify(stage)]
            _saw_what_must_be_seen({report.name: report for report in reports})
            natives = {registry: NativeTarget(registry, url) for registry, url in world.natives.items()}
            findings = await run_check(Targets(databases.lookup, databases.journals, natives))
            assert findings.violations == []
            assert findings.not_looked == []
            # 6 plants: 6 months of GEC, the raced month, 2 free months and the crashed one of CCER; one of act 6.
            assert findings.looked_at["I2"]["native issuances"] == 36 + 6 + 6 + 1 + 1
            _read_it_all(world, databases)
    assert "crash 5/5" in seen


def _saw_what_must_be_seen(reports: dict[str, Report]) -> None:
    assert reports["register"].figures["activities"] == 6
    assert reports["register"].figures["native_projects"] == 12
    issue = reports["issue"].figures
    assert (issue["gec_issuances"], issue["ccer_refused"], issue["ccer_issued"]) == (36, 6, 6)
    assert "registry gec has issued GEC" in str(issue["refusal"])
    assert reports["race"].figures["issued"] == 6
    crash = reports["crash"].figures
    assert crash["ended"] == "SIGKILL"
    assert (crash["native_issuances_after_kill"], crash["native_issuances_after_restart"]) == (1, 1)
    identify = reports["identify"].figures
    assert identify["wrongly_joined"] == 0
    assert int(str(identify["joined"])) >= 15
    assert int(str(identify["to_review"])) >= 1
    assert "registry gec has issued GEC" in str(identify["example"])
    for report in reports.values():
        json.dumps(report.figures)
        assert all(line.english and line.chinese for line in report.lines)


def _read_it_all(world: World, databases: Databases) -> None:
    """The verbs of the command line against the same world, as a person would type them."""
    pki = world.folder / "certificates"
    environment = {
        "SOLECLAIM_LOOKUP": world.parts["lookup"].address,
        "SOLECLAIM_AUTHORITY": str(pki / "authority.crt"),
        "SOLECLAIM_CERTIFICATE": str(pki / "operator-demo.crt"),
        "SOLECLAIM_KEY": str(pki / "operator-demo.key"),
    }

    def run(*arguments: str, expect: int = 0) -> str:
        result = subprocess.run(
            [PROGRAM, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        assert result.returncode == expect, (arguments, result.stdout, result.stderr)
        assert "Traceback" not in result.stderr
        return result.stdout + (result.stderr if expect else "")

    activities = json.loads(run("activity", "list", "--json", "--limit", "4"))["activities"]
    assert len(activities) == 4
    name = activities[0]["name"].removeprefix("activities/")
    assert name in run("activity", "get", name.lower())
    urn = f"urn:soleclaim:activity:{name}"
    shown = run("activity", "show", name)
    assert urn in shown
    assert " MWh" in shown
    outcome = json.loads(run("activity", "show", name, "--json"))["outcomes"][0]["name"]
    assert outcome.replace("activities/", "urn:soleclaim:outcome:").replace("/outcomes/", ":") in run(
        "activity", "label", outcome
    )
    assert urn in run("activity", "label", name.lower())
    drawn = world.folder / "label.svg"
    assert urn in run("activity", "label", name, "--out", str(drawn))
    assert "<svg" in drawn.read_text(encoding="utf-8")
    assert "check digits" in run("activity", "label", f"{name[:-2]}{(int(name[-2:]) + 1) % 98:02d}", expect=2)
    found = run(
        "activity", "find", "木星土水电站", "--country", "CN", "--type", "hydro", "--capacity-mw", "120", "--json"
    )
    assert json.loads(found)["candidates"][0]["same"]
    cases = json.loads(run("review", "list", "--json"))["review_cases"]
    assert cases
    assert "Hydropower" in run("review", "show", cases[0]["name"].rpartition("/")[2])
    assert name in run("activity", "resolve", "--scheme", "cdm", "--value", PLANTS[0].cdm_ref)
    assert name in run("activity", "resolve", "--registry", "gec", "--project", PLANTS[0].filing_code)
    locks = json.loads(run("lock", "list", "--registry", "gec", "--activity", name, "--state", "ISSUED", "--json"))
    assert len(locks["issuance_locks"]) >= 6
    number = locks["issuance_locks"][0]["name"].rpartition("/")[2]
    assert "CCER" not in run("lock", "get", number)
    issuances = json.loads(run("issue", "list", "--registry", "ccer", "--state", "REFUSED", "--json"))["issuances"]
    assert len(issuances) >= 6
    assert "REFUSED" in run("issue", "get", issuances[0]["name"].rpartition("/")[2], "--registry", "ccer")
    assert "REACHABLE" in run("registry", "list")
    assert "SERVING" in run("health", "--target", world.parts["adapter-gec"].address)
    assert "LOCK_UNKNOWN" in run("lock", "get", "999999", expect=1)
    assert "不存在" in run("--lang", "zh", "lock", "get", "999999", expect=1)
    assert "REGISTRY_UNKNOWN" in run("issue", "list", "--registry", "nobody", expect=1)
    assert "unavailable" in run("activity", "list", "--lookup", "127.0.0.1:1", expect=3).lower()
    natives = [f"--native={registry}={url}" for registry, url in world.natives.items()]
    journals = [f"--journal={registry}={url}" for registry, url in databases.journals.items()]
    checked = run("check", "--lookup-database-url", databases.lookup, *natives, *journals, "--json")
    assert json.loads(checked)["violations"] == 0
    assert "未能检查" in run(
        "check", "--lookup-database-url", databases.lookup, "--native=gec=http://127.0.0.1:1", "--lang=zh", expect=3
    )
