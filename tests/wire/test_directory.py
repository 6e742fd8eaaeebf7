"""The directory of registries, and a lookup that cannot start says what to do."""

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb2
from soleclaim.cmd.main import main
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.lookup.store import MIGRATIONS
from soleclaim.policy.bundle import default_bundle
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.tls import TlsFiles
from tests.wire.conftest import (
    CCER,
    GEC,
    LOOKUP,
    REGULATOR,
    Party,
    Wire,
    lookup_process,
    refused,
    run_command,
    violations,
)

if TYPE_CHECKING:
    from tests.conftest import PostgresServer

REACHABLE, UNREACHABLE, UNKNOWN = (
    directory_pb2.REACHABILITY_REACHABLE,
    directory_pb2.REACHABILITY_UNREACHABLE,
    directory_pb2.REACHABILITY_UNKNOWN,
)

NEWEST = "lookup_" + max(path.name[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def announcement(registry: str, endpoint: str = "localhost:7401", **changed: Any) -> Any:
    fields: dict[str, Any] = {"registry": registry, "endpoint": endpoint, "api_version": "v1"}
    return directory_pb2.AnnounceRegistryRequest(**fields | changed)


async def entry(party: Party, code: str) -> directory_pb2.Registry:
    found: directory_pb2.Registry = await party(
        "GetRegistryEntry", directory_pb2.GetRegistryEntryRequest(name=f"registries/{code}")
    )
    return found


async def test_reachability_is_never_guessed(own_wire: Wire) -> None:
    ccer, gec = await own_wire.party(CCER), await own_wire.party(GEC)
    assert (await entry(ccer, "gec")).reachability == UNKNOWN
    assert (await entry(ccer, "gec")).endpoint == ""
    answer = await gec("AnnounceRegistry", announcement("gec", "gec.example:7402"))
    assert (answer.name, answer.reachability, list(answer.instruments)) == ("registries/gec", REACHABLE, ["GEC"])
    seen = await entry(ccer, "gec")
    assert (seen.endpoint, seen.api_version, seen.reachability) == ("gec.example:7402", "v1", REACHABLE)
    # By the database's clock: thirty seconds and not more.
    own_wire.sql("UPDATE registry_entry SET announce_us = announce_us - 31000000 WHERE code = 'gec'")
    assert (await entry(ccer, "gec")).reachability == UNREACHABLE
    assert (await entry(ccer, "gec")).endpoint == "gec.example:7402"
    # The last word counts, and it is a sign of life again.
    await gec("AnnounceRegistry", announcement("gec", "[2001:db8::1]:7402", api_version="v2"))
    seen = await entry(await own_wire.party(REGULATOR), "gec")
    assert (seen.endpoint, seen.api_version, seen.reachability) == ("[2001:db8::1]:7402", "v2", REACHABLE)


async def test_the_list_has_every_registry_of_the_bundle(own_wire: Wire) -> None:
    gec = await own_wire.party(GEC)
    await gec("AnnounceRegistry", announcement("gec"))
    listed = (await gec("ListRegistries", directory_pb2.ListRegistriesRequest())).registries
    assert {each.name: each.reachability for each in listed} == {
        f"registries/{code}": REACHABLE if code == "gec" else UNKNOWN for code in default_bundle().registries
    }


async def test_a_registry_announces_only_itself(wire: Wire, ccer: Party) -> None:
    await refused(ccer("AnnounceRegistry", announcement("gec")), Reason.REGISTRY_NOT_YOURS)
    await refused((await wire.party(REGULATOR))("AnnounceRegistry", announcement("gec")), Reason.ROLE_NOT_ALLOWED)


ENDPOINT = "must be HOST:PORT, for example adapter.example:7401; an IPv6 address stands in brackets"


@pytest.mark.parametrize("store_kind", ["sqlite"])
async def test_an_endpoint_is_an_address_that_others_can_dial(ccer: Party) -> None:
    for endpoint in (
        "localhost", ":7401", "localhost:", "localhost:0", "localhost:65536", "localhost:７401", "unix:/run/a.sock",
        "dns://192.0.2.1/adapter.example:7401", "https://adapter.example:7401", "2001:db8::1:7401", "a b:7401", "a:1:2",
        "-evil:7401", "adapter.example:7401,other.example:7401",
    ):  # fmt: skip
        refusal = await refused(ccer("AnnounceRegistry", announcement("ccer", endpoint)), Reason.INVALID_REQUEST)
        assert violations(refusal) == [("endpoint", ENDPOINT)], endpoint
    for endpoint in ("", "x" * 256):
        refusal = await refused(ccer("AnnounceRegistry", announcement("ccer", endpoint)), Reason.INVALID_REQUEST)
        assert [field for field, _ in violations(refusal)] == ["endpoint"]
    for endpoint in ("localhost:1", "10.0.0.1:65535", "adapter-ccer_1.example.:7401", "[::1]:7401"):
        assert (await ccer("AnnounceRegistry", announcement("ccer", endpoint))).endpoint == endpoint


@pytest.mark.parametrize("store_kind", ["sqlite"])
async def test_unknown_and_malformed_names_are_told_apart(ccer: Party) -> None:
    refusal = await refused(entry(ccer, "verra"), Reason.REGISTRY_UNKNOWN)
    assert refusal.code == "NOT_FOUND"
    call = ccer("GetRegistryEntry", directory_pb2.GetRegistryEntryRequest(name="verra"))
    assert violations(await refused(call, Reason.INVALID_REQUEST)) == [("name", "must be registries/{code}")]


# A lookup that cannot start


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> str:
    copy = tmp_path / "lookup.db"
    copy.write_bytes(sqlite_template.read_bytes())
    return f"sqlite+aiosqlite:///{copy}"


Told = tuple[int, str]
"""Exit code and standard error."""
Serve = Callable[..., Told]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Serve:
    """Run `soleclaim lookup serve` in this process to its end, which must come."""

    def run(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["soleclaim", "lookup", "serve", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert printed.out == ""
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.err

    return run


def serve_apart(*arguments: object) -> Told:
    """The same as a process of its own."""
    command = [sys.executable, "-m", "soleclaim.cmd.main", "lookup", "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def tls_options(files: TlsFiles) -> list[object]:
    return ["--authority", files.authority, "--certificate", files.certificate, "--key", files.key]


def assert_told(done: Told, *parts: str) -> None:
    """A failure in words, for people: no traceback."""
    code, error = done
    assert code > 0, done
    assert "Traceback" not in error, error
    said = " ".join(error.split())
    for part in parts:
        assert part in said, error


FREE = ("--listen", "127.0.0.1:0")


@pytest.fixture(scope="session")
def lookup_files(certificates: Path) -> TlsFiles:
    stem = certificates / f"{LOOKUP.role.value}-{LOOKUP.code}"
    return TlsFiles(certificates / "authority.crt", stem.with_suffix(".crt"), stem.with_suffix(".key"))


def test_a_schema_it_does_not_know_names_the_command_to_run(
    serve: Serve, lookup_files: TlsFiles, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    common = ("--database-url", url, *FREE, *tls_options(lookup_files))
    told = f"the database's schema stands at nothing, this program needs {NEWEST}"
    # Once as a process of its own: it also has to come to its end.
    for done in (serve(*common), serve(*common, "--workers", 2), serve_apart(*common)):
        assert_told(done, told, "run: soleclaim migrate --store lookup --database-url")


def test_a_schema_of_a_newer_release_is_not_touched(serve: Serve, lookup_files: TlsFiles, database: str) -> None:
    path = make_url(database).database
    assert path is not None
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    done = serve("--database-url", database, *FREE, *tls_options(lookup_files))
    assert_told(done, f"the database's schema stands at 0999, this program needs {NEWEST}")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("mysql://u:hunter2@h/d", ["the database URL must start with sqlite+aiosqlite:///path/to/file or postgresql"]),
        ("not a url", ["the database URL must start with"]),
        ("sqlite+aiosqlite://", ["an SQLite store needs a file", "memory is not durable"]),
        ("postgresql+psycopg://u:hunter2@127.0.0.1:1/d", ["the database does not answer", "check that it runs"]),
        ("sqlite+aiosqlite:////nowhere/at/all.db", ["the folder /nowhere/at of the SQLite store does not exist"]),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    serve: Serve, lookup_files: TlsFiles, url: str, parts: list[str]
) -> None:
    done = serve("--database-url", url, *FREE, *tls_options(lookup_files))
    assert_told(done, *parts)
    assert "hunter2" not in done[1]


def test_missing_certificates_are_asked_for(
    serve: Serve, lookup_files: TlsFiles, database: str, tmp_path: Path
) -> None:
    url = ("--database-url", database, *FREE)
    need = "give --authority, --certificate and --key, or --insecure-loopback without them"
    assert_told(serve(*url), need)
    assert_told(serve(*url, "--authority", lookup_files.authority), need)
    assert_told(serve(*url, *tls_options(lookup_files), "--insecure-loopback"), need)
    gone = TlsFiles(lookup_files.authority, tmp_path / "gone.crt", lookup_files.key)
    assert_told(serve(*url, *tls_options(gone)), f"'{gone.certificate}' does not exist")
    assert_told(
        serve(*url[:2], "--listen", "0.0.0.0:0", "--insecure-loopback"), "plaintext is allowed on loopback only"
    )


def test_certificates_that_do_not_fit_are_told_with_file_and_remedy(
    serve: Serve, lookup_files: TlsFiles, database: str, tmp_path: Path, certificates: Path
) -> None:
    common = ("--database-url", database, *FREE)
    past = datetime.now(UTC) - timedelta(days=9)
    old = issue_certificate(
        certificates, Caller(Role.OPERATOR, "outdated"), not_before=past, valid_for=timedelta(days=1)
    )
    for workers in (1, 2):
        done = serve(*common, *tls_options(old), "--workers", workers)
        assert_told(done, f"{old.certificate} is in force from", "issue a new one or set the clock right")
    make_authority(tmp_path / "other")
    foreign = issue_certificate(tmp_path / "other", LOOKUP)
    mixed = TlsFiles(lookup_files.authority, foreign.certificate, foreign.key)
    assert_told(serve(*common, *tls_options(mixed)), "is not signed by", "give the authority that issued it")
    swapped = TlsFiles(lookup_files.authority, lookup_files.certificate, foreign.key)
    assert_told(serve(*common, *tls_options(swapped)), "is not the key of", "give the pair that was issued together")


async def test_a_port_in_use_is_told_whatever_the_number_of_workers(lookup_files: TlsFiles, database: str) -> None:
    async with lookup_process(database, lookup_files, "--workers", "2") as shared:
        common = ("--database-url", database, "--listen", shared.address, *tls_options(lookup_files))
        for workers in (1, 2):
            done = await asyncio.to_thread(serve_apart, *common, "--workers", workers)
            assert_told(done, f"{shared.address} cannot be bound")


def test_a_port_of_another_program_is_told(serve: Serve, database: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for workers in (1, 2):
            done = serve("--database-url", database, "--listen", address, "--insecure-loopback", "--workers", workers)
            assert_told(done, f"{address} cannot be bound")


def test_a_configuration_file_is_held_to_its_keys(serve: Serve, database: str, tmp_path: Path) -> None:
    config = tmp_path / "lookup.toml"
    config.write_text('databse_url = "x"\nport = 1\nworkers = 2\n', encoding="utf-8")
    assert_told(serve("--config", config), "unknown key(s) databse_url, port; known are", "database_url, key")
    config.write_text("workers = \n", encoding="utf-8")
    assert_told(serve("--config", config), "cannot be read as TOML in UTF-8")
    for line, told in (
        ('workers = "many"', "Invalid value for '--workers': 'many' is not a valid integer"),
        ("workers = 0", "0 is not in the range 1<=x<=64"),
        ('listen = "7400"', "7400 is not HOST:PORT, for example 127.0.0.1:7401"),
        ('certificate = "/nowhere.crt"', "/nowhere.crt"),
    ):
        config.write_text(f'database_url = "{database}"\n{line}\n', encoding="utf-8")
        assert_told(serve("--config", config), told)
    bundle = tmp_path / "bundle.toml"
    bundle.write_text('version = "1"\n', encoding="utf-8")
    done = serve("--database-url", database, *FREE, "--insecure-loopback", "--policy-bundle", bundle)
    assert_told(done, f"{bundle}: effective_from: Field required; attributes: Field required")


@pytest.mark.postgres
async def test_a_configuration_file_serves_with_workers_on_postgresql(
    lookup_files: TlsFiles, store_url_of: Any, tmp_path: Path, postgres_server: "PostgresServer"
) -> None:
    assert postgres_server.how
    config = tmp_path / "lookup.toml"
    config.write_text(f'database_url = "{store_url_of("postgres")}"\nworkers = 2\npool_size = 2\n', encoding="utf-8")
    async with lookup_process("", lookup_files, "--config", str(config)) as command:
        assert command.process.returncode is None
    assert command.process.returncode == 0


@pytest.mark.parametrize("noun", ["activity", "coverage", "dispute", "lock", "review", "settlement"])
async def test_an_empty_list_under_a_code_that_no_registry_has_is_a_mistake(wire: Wire, noun: str) -> None:
    code, told = await run_command(wire, noun, "list", "--registry", "gce")
    assert code == 2
    assert "no registry has this code" in told


async def test_an_empty_list_says_that_nothing_was_found(wire: Wire) -> None:
    code, told = await run_command(wire, "lock", "list", "--registry", "szea")
    assert code == 0
    assert "nothing found" in told
