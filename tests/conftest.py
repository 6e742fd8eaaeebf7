"""What many tests need of the machine: a PostgreSQL server, empty databases, and a word on what was found.

``SOLECLAIM_REQUIRE`` (e.g. ``postgres,containers``) lists what a machine must have: a test that lacks it fails
there instead of being skipped. ``SOLECLAIM_TEST_POSTGRES_URL`` names a server to use
(``postgresql+psycopg://user:password@host/database``; its user must be allowed to create databases).
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import psycopg
import pytest
from sqlalchemy import URL, make_url
from xdist.scheduler import LoadScopeScheduling

REQUIRED: Final = frozenset(filter(None, os.environ.get("SOLECLAIM_REQUIRE", "").replace(" ", "").split(",")))
KNOWN: Final = frozenset({"postgres", "containers"})
SERVER_URL: Final = os.environ.get("SOLECLAIM_TEST_POSTGRES_URL", "")
IMAGES: Final = ("soleclaim-base/postgres:15-bookworm", "postgres:15-bookworm")
"""The first is made by ``deploy/make-base-images``. Nothing is pulled."""
START_S: Final = 60
SETTINGS: Final = ("max_connections=200", "fsync=on", "synchronous_commit=on", "full_page_writes=on")

Kind = Literal["sqlite", "postgres"]
NewDatabase = Callable[[Kind], str]
"""Gives the URL of a new, empty database."""
Missing = Callable[[str, str], NoReturn]
"""(what, why): skips the test, or fails it where ``SOLECLAIM_REQUIRE`` lists ``what``."""

_found: dict[str, str] = {}
"""What was found or not found of the machine, for the summary."""
_workers: dict[str, str] = {}
"""Which process ran each unit of tests."""


def _missing(what: str, why: str) -> NoReturn:
    _found.setdefault(what, f"not found: {why}")
    if what in REQUIRED:
        pytest.fail(f"SOLECLAIM_REQUIRE lists {what}, but: {why}", pytrace=False)
    pytest.skip(f"{what}: {why}")


def pytest_configure(config: pytest.Config) -> None:  # noqa: ARG001  pytest calls by name
    if unknown := REQUIRED - KNOWN:
        raise pytest.UsageError(
            f"SOLECLAIM_REQUIRE: {', '.join(sorted(unknown))}; known are {', '.join(sorted(KNOWN))}"
        )


def pytest_report_header() -> str:
    return f"soleclaim: required {', '.join(sorted(REQUIRED)) or 'nothing'} (SOLECLAIM_REQUIRE)"


def _unit(nodeid: str) -> str:
    """What runs in one process: a file; and all that kills processes by the dozen, so that it meets no other such."""
    path = nodeid.partition("::")[0]
    return "apart" if {"robustness", "conformance", "containers"}.intersection(path.split("/")) else path


class Scheduling(LoadScopeScheduling):
    """Spreads units of tests over the processes."""

    def _split_scope(self, nodeid: str) -> str:
        return _unit(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notice what was used, and a unit that was torn apart: its tests may count on one another's process."""
    if report.when == "call" and report.passed:
        for what in KNOWN.intersection(report.keywords):
            _found.setdefault(what, "its tests ran")
    if worker := getattr(report, "worker_id", ""):
        unit = _unit(report.nodeid)
        if _workers.setdefault(unit, worker) != worker:
            pytest.exit(f"tests of {unit} ran in two processes", returncode=pytest.ExitCode.INTERNAL_ERROR)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of several tells what it found to the process that sums up."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["found"] = _found


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _found.update(getattr(node, "workeroutput", {}).get("found", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what in sorted(REQUIRED | _found.keys()):
        required = "required" if what in REQUIRED else "not required"
        terminalreporter.write_line(f"soleclaim: {what} ({required}): {_found.get(what, 'no test asked for it')}")
    for report in terminalreporter.getreports("passed"):
        for name, figures in report.user_properties:
            terminalreporter.write_line(f"soleclaim: {name}: {figures}")


@pytest.fixture(scope="session")
def missing() -> Missing:
    """For fixtures that look for something a machine may lack."""
    return _missing


@dataclass(frozen=True)
class PostgresServer:
    """A running server; ``url`` leads to its maintenance database as a user who may create databases."""

    url: URL
    how: str

    def run(self, statement: str) -> None:
        """Outside any transaction, as CREATE DATABASE wants it."""
        dsn = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new copy of ``template``, to which nobody may be connected; dropped at the end."""
        name = f"soleclaim_test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server given by URL, else a local one, else a container. Local first: it starts in a third of the time."""
    with contextlib.ExitStack() as stack:
        if SERVER_URL:
            server = PostgresServer(make_url(SERVER_URL), "SOLECLAIM_TEST_POSTGRES_URL")
        elif binaries := _local_binaries():
            server = stack.enter_context(_local_server(binaries))
        elif image := _local_image():
            server = stack.enter_context(_container(image))
        else:
            _missing("postgres", "no SOLECLAIM_TEST_POSTGRES_URL, no /usr/lib/postgresql/*/bin, no container image")
        _found["postgres"] = server.how
        yield server


def _local_binaries() -> Path | None:
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    return newest.parent if newest else None


@contextlib.contextmanager
def _local_server(binaries: Path) -> Iterator[PostgresServer]:
    # The server refuses to run as root. Not under pytest's own folder, which no other user may enter.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    run_as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="soleclaim-postgres-"))
    data, log, secret = home / "data", home / "log", home / "password"
    password = secrets.token_urlsafe(16)
    secret.write_text(password)
    for path in (home, secret):
        shutil.chown(path, user)
    try:
        subprocess.run(  # type: ignore[call-overload]
            [binaries / "initdb", "--pgdata", data, "--username=soleclaim", f"--pwfile={secret}", "--no-sync",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"],
            check=True, stdout=subprocess.DEVNULL, cwd=home, **run_as,
        )  # fmt: skip
        port = _free_port()
        options = [f"--{name}" for name in (*SETTINGS, f"port={port}", "listen_addresses=127.0.0.1")]
        with log.open("wb") as output:
            server = subprocess.Popen(  # type: ignore[call-overload]
                [binaries / "postgres", "-D", data, "-k", home, *options],
                stdout=output, stderr=subprocess.STDOUT, cwd=home, start_new_session=True, **run_as,
            )  # fmt: skip
        try:
            url = URL.create("postgresql+psycopg", "soleclaim", password, "127.0.0.1", port, "postgres")
            found = PostgresServer(url, f"local server from {binaries}")
            _wait_until_ready(found, lambda: server.poll() is None, log.read_text)
            yield found
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: sessions are cut
            server.wait(START_S)
    finally:
        shutil.rmtree(home)


def _wait_until_ready(server: PostgresServer, alive: Callable[[], bool], log: Callable[[], str]) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            return server.run("SELECT 1")
        except psycopg.OperationalError as error:
            if not alive() or time.monotonic() > end:
                raise RuntimeError(f"the PostgreSQL server does not answer; its log:\n{log()}") from error
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _local_image() -> str | None:
    if shutil.which("docker") is None:
        return None
    for image in IMAGES:
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0:
            return image
    return None


@contextlib.contextmanager
def _container(image: str) -> Iterator[PostgresServer]:
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415  slow, and seldom wanted
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    testcontainers_config.ryuk_disabled = True  # its image would have to be pulled
    password = secrets.token_urlsafe(16)
    container = (
        DockerContainer(image)
        .with_env("POSTGRES_USER", "soleclaim")
        .with_env("POSTGRES_PASSWORD", password)
        .with_env("POSTGRES_DB", "postgres")
        .with_command("postgres " + " ".join(f"-c {setting}" for setting in SETTINGS))
        .with_exposed_ports(5432)
    )
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        url = URL.create("postgresql+psycopg", "soleclaim", password, host, int(port), "postgres")
        server = PostgresServer(url, f"container of {image}")
        _wait_until_ready(server, lambda: True, lambda: "\n".join(part.decode() for part in container.get_logs()))
        yield server


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Each call gives the URL of a new, empty database of that kind; it is gone after the test."""
    with contextlib.ExitStack() as stack:

        def new(kind: Kind) -> str:
            if kind == "sqlite":
                return f"sqlite+aiosqlite:///{tmp_path / f'{secrets.token_hex(6)}.db'}"
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return stack.enter_context(server.database())

        yield new


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_kind(request: pytest.FixtureRequest) -> Kind:
    """Runs a test once on each database."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def store_url(store_kind: Kind, database_url: NewDatabase) -> str:
    """A new, empty database of each kind."""
    return database_url(store_kind)
