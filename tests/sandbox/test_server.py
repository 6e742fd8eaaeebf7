"""The stand-in as a program: start, end, and what survives a kill."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from soleclaim.sandbox.server import KINDS, running

PROGRAM = """
import pathlib, sys
from soleclaim.sandbox.server import serve
from soleclaim.sandbox.stand_in import StandIn
serve(sys.argv[1], StandIn(pathlib.Path(sys.argv[2])), "127.0.0.1", 0)
"""


@contextlib.contextmanager
def program(kind: str, database: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, kind, str(database)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), line
            url = line.removeprefix("listening on ").strip()
            with httpx.Client(base_url=url, trust_env=False, verify=False) as http:  # noqa: S501  plain HTTP
                yield process, http
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_ends_cleanly_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    with program("gec", tmp_path / "native.db") as (process, http):
        assert http.get("/health").json() == {"status": "ok"}
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


def test_call_kept_hanging_does_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    with program("gec", tmp_path / "native.db") as (process, http):
        http.post("/_faults", json={"fault": "timeout_before_work"}).raise_for_status()
        with socket.create_connection((http.base_url.host, http.base_url.port or 0)) as connection:
            connection.sendall(b"GET /api/v1/issuances HTTP/1.1\r\nhost: native\r\n\r\n")
            while not http.get("/_faults").json()["faults"][0]["hits"]:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def test_acknowledged_writes_survive_a_kill(tmp_path: Path) -> None:
    with program("gec", tmp_path / "native.db") as (process, http):
        for n in range(20):
            http.post("/api/v1/references/void", json={"externalReference": f"r{n}"}).raise_for_status()
        process.kill()
        process.wait(10)
    assert process.returncode == -signal.SIGKILL
    with program("gec", tmp_path / "native.db") as (_, http):
        for n in range(20):
            assert http.get("/api/v1/references", params={"externalReference": f"r{n}"}).json()["status"] == "VOIDED"


def test_two_hundred_projects_with_a_year_of_months_load_in_two_calls(tmp_path: Path) -> None:
    codes = [f"LOAD{n:013d}" for n in range(200)]
    filing = {"projectName": "风电场", "owner": "业主", "energyType": "风电", "province": "甘肃省"}
    months = [f"2025-{month:02d}" for month in range(1, 13)]
    readings = [{"filingCode": code, "month": month, "kwh": 1_234_567} for code in codes for month in months]
    with running("gec", tmp_path / "native.db") as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        filings = [{**filing, "filingCode": code} for code in codes]
        assert http.post("/api/v1/filings", json={"filings": filings}).json() == {"accepted": 200}
        assert http.post("/api/v1/readings", json={"readings": readings}).json() == {"accepted": 2_400}


def test_unknown_kind_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=f"kind must be one of {', '.join(sorted(KINDS))}, not 'tigr'"),
        running("tigr", tmp_path / "native.db"),
    ):
        pass


def test_stand_in_knows_nothing_of_the_gateway() -> None:
    script = (
        "import sys, soleclaim.sandbox.server\n"
        "print([m for m in sys.modules if m.startswith('soleclaim.') and not m.startswith('soleclaim.sandbox')])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
