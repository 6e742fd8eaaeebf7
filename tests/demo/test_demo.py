"""The demo's own conduct: what it refuses, what it leaves behind, and that failure is told and counted as failure."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from soleclaim.check.findings import Findings
from soleclaim.cmd.main import main
from soleclaim.demo import acts
from soleclaim.demo.databases import DatabaseFault, open_databases
from soleclaim.demo.stage import ActFailed, Line, Report
from soleclaim.parts.process import SOLECLAIM, Part, ProcessFailed

ACTS = ("register", "issue", "race", "crash", "replay", "identify")


def _run(*arguments: str) -> int:
    """Exit code of the command line, in this process."""
    before, sys.argv = sys.argv, ["soleclaim", *arguments]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def fake_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """No process, every act a report, a check without findings."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    part = SimpleNamespace(log=Path("adapter-ccer.log"), ended="SIGKILL", tail=lambda: "its last words")

    async def stage(*_: object) -> None:
        return None

    fake = SimpleNamespace(stage=stage, broken=lambda: [part], natives={}, findings=Findings(), told=None)

    @asynccontextmanager
    async def open_world(*_: object) -> AsyncIterator[SimpleNamespace]:
        yield fake

    async def run_check(_: object) -> object:
        return fake.findings

    def act(name: str) -> Any:
        async def play(_stage: object, **_: object) -> Report:
            if fake.told == name:
                raise ActFailed(name, "it was not so", "并非如此")
            return Report(name, {"seen": 1}, (Line("seen", "已见"),))

        return play

    monkeypatch.setattr("soleclaim.demo.world.open_world", open_world)
    monkeypatch.setattr("soleclaim.check.run.run_check", run_check)
    for name in ACTS:
        monkeypatch.setattr(acts, name, act(name))
    return fake


def test_json_is_one_document_on_standard_output(
    fake_world: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fake_world.told is None
    assert _run("demo", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [act["name"] for act in document["acts"]] == list(ACTS)
    assert document["check"]["violations"] == 0
    assert document["elapsed_s"] >= 0


def test_failing_act_is_told_with_the_log_of_what_broke(
    fake_world: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_world.told = "race"
    assert _run("demo", "--lang", "zh") == 1
    told = capsys.readouterr().err
    assert "并非如此" in told
    assert "adapter-ccer.log (SIGKILL)\nits last words" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("what", ["violation", "out of reach"])
def test_check_that_is_not_clean_makes_the_demo_fail(
    fake_world: SimpleNamespace, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if what == "violation":
        fake_world.findings.violated("ANSWER_MISSING", request="r", caller="c", method="m")
    else:
        fake_world.findings.not_looked.append("the store")
    assert _run("demo", "--lang", "en", "--json") == 1
    assert "the check found" in capsys.readouterr().err


def test_folder_to_keep_must_be_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").write_text("of somebody")
    assert _run("demo", "--keep", str(tmp_path)) == 2
    assert "name a folder that does not exist" in capsys.readouterr().err
    assert (tmp_path / "something").read_text() == "of somebody"


async def test_part_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    part = Part("sandbox", (*SOLECLAIM, "sandbox", "serve", "gec"), tmp_path / "log")
    with pytest.raises(ProcessFailed, match=r"(?s)exit code 2.*Missing option"):
        await part.start()


def test_sqlite_needs_no_database_url(tmp_path: Path) -> None:
    with open_databases(tmp_path, None, keep=False) as databases:
        assert set(databases.journals) == {"ccer", "gec"}
    with (
        pytest.raises(DatabaseFault, match="for PostgreSQL"),
        open_databases(tmp_path, "sqlite+aiosqlite:///x.db", keep=False),
    ):
        pass


@pytest.mark.postgres
class TestPostgres:
    @pytest.fixture
    def url(self, database_url: Any) -> str:
        return str(database_url("postgres"))

    @staticmethod
    def _names(url: str) -> set[str]:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}

    def test_databases_are_made_and_dropped(self, url: str, tmp_path: Path) -> None:
        before = self._names(url)
        with open_databases(tmp_path, url, keep=False) as databases:
            assert len(self._names(url) - before) == 3
            assert set(databases.urls) == {"lookup", "ccer", "gec"}
        assert self._names(url) == before

    def test_databases_are_left_when_kept_and_never_used_again(self, url: str, tmp_path: Path) -> None:
        with open_databases(tmp_path, url, keep=True):
            pass
        with pytest.raises(DatabaseFault, match="already"), open_databases(tmp_path, url, keep=False):
            pass
        made = url.rpartition("/")[2]
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            for store in ("lookup", "ccer", "gec"):
                connection.execute(f'DROP DATABASE "{made}_{store}"'.encode())

    def test_database_that_holds_our_tables_is_refused(self, url: str, tmp_path: Path) -> None:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE issuance_lock (lock_id bigint)")
        with pytest.raises(DatabaseFault, match="holds soleclaim's tables"), open_databases(tmp_path, url, keep=False):
            pass
