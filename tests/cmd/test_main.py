"""The command line: quick to help, in two languages, and without a traceback for a mistake of its user."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.cmd import output
from soleclaim.cmd.main import COMMANDS, main, soleclaim
from soleclaim.cmd.options import HostPort
from soleclaim.core.errors import DomainError, Reason

HEAVY = {"alembic", "grpc", "httpx", "pydantic", "rich", "sqlalchemy", "starlette", "uvicorn"}

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code and everything printed."""
    for name in ("LOOKUP", "AUTHORITY", "CERTIFICATE", "KEY", "DATABASE_URL", "LANG"):
        monkeypatch.delenv(f"SOLECLAIM_{name}", raising=False)

    def run_it(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["soleclaim", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out + printed.err

    return run_it


@pytest.mark.parametrize(
    "arguments", [("--help",), ("demo", "--help"), ("check", "--help"), ("lock", "list", "--help")]
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    program = (
        "import sys\nfrom soleclaim.cmd.main import soleclaim\n"
        f"soleclaim.main({list(arguments)!r}, standalone_mode=False)\n"
        f"loaded = {HEAVY!r} & set(sys.modules)\nassert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_of_the_table_is_there_and_has_help(name: str) -> None:
    command = soleclaim.get_command(click.Context(soleclaim), name)
    assert command is not None
    assert command.help
    assert COMMANDS[name].english.isascii()
    assert not COMMANDS[name].chinese.isascii()


def test_help_speaks_chinese(run: Run) -> None:
    code, printed = run("--lang", "zh", "--help")
    assert code == 0
    assert "查询服务状态" in printed


class TestMistakes:
    def test_unknown_command(self, run: Run) -> None:
        assert run("demoo")[0] == output.MISTAKE

    def test_wrong_port(self, run: Run, certificates: tuple[str, ...]) -> None:
        code, printed = run("activity", "list", "--lookup", "127.0.0.1:1", *certificates)
        assert code == output.OUT_OF_REACH
        assert "check the address" in printed

    def test_no_certificate(self, run: Run) -> None:
        code, printed = run("activity", "list", "--lookup", "127.0.0.1:1")
        assert code == output.MISTAKE
        assert "--authority, --certificate and --key" in printed

    def test_key_of_another_certificate(self, run: Run, certificates: tuple[str, ...], tmp_path: Path) -> None:
        run("certs", "issue", str(tmp_path / "pki"), "registry", "gec")
        others = (*certificates[:-1], str(tmp_path / "pki" / "registry-gec.key"))
        code, printed = run("activity", "list", "--lookup", "127.0.0.1:1", *others)
        assert code == output.MISTAKE
        assert "is not the key of" in printed

    def test_missing_file(self, run: Run, tmp_path: Path) -> None:
        code, printed = run("adapter", "serve", "--registry", "gec", "--config", str(tmp_path / "none.toml"))
        assert code == output.MISTAKE
        assert "does not exist" in printed

    def test_typo_in_a_config_key(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gec.toml").write_text('[registry]\nkode = "gec"\n', encoding="utf-8")
        code, printed = run("adapter", "serve", "--registry", "gec", "--config", str(tmp_path / "gec.toml"))
        assert code == output.MISTAKE
        assert "registry.kode" in printed

    def test_config_in_another_encoding(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "gec.toml").write_text('[registry]\ncode = "登记簿"\n', encoding="gb18030")
        code, printed = run("adapter", "serve", "--registry", "gec", "--config", str(tmp_path / "gec.toml"))
        assert code == output.MISTAKE
        assert "UTF-8" in printed

    @pytest.mark.parametrize("store", ["lookup", "journal"])
    def test_database_is_down(self, run: Run, store: str) -> None:
        url = "postgresql+psycopg://somebody:secret@127.0.0.1:1/soleclaim"
        code, printed = run("migrate", "--store", store, "--database-url", url)
        assert code == output.OUT_OF_REACH
        assert "does not answer" in printed
        assert "secret" not in printed

    def test_database_url_of_no_known_kind(self, run: Run) -> None:
        code, printed = run("migrate", "--store", "lookup", "--database-url", "mysql://root:secret@host/db")
        assert code == output.MISTAKE
        assert "postgresql+psycopg" in printed
        assert "secret" not in printed

    def test_folder_of_a_sandbox_does_not_exist(self, run: Run, tmp_path: Path) -> None:
        database = str(tmp_path / "none" / "gec.db")
        code, printed = run("sandbox", "serve", "gec", "--database", database, "--listen", "127.0.0.1:0")
        assert code == output.MISTAKE
        assert "does not exist" in printed

    def test_port_of_a_sandbox_is_taken(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            options = ["--database", str(tmp_path / "gec.db"), "--listen", address]
            result = subprocess.run(
                [sys.executable, "-m", "soleclaim.cmd.main", "sandbox", "serve", "gec", *options],
                capture_output=True,
                text=True,
                check=False,
            )
        assert result.returncode == output.MISTAKE
        assert f"{address} cannot be bound" in result.stderr
        assert "Traceback" not in result.stderr

    def test_activity_id_in_fours_without_quotes_is_none(self, run: Run) -> None:
        code, printed = run("activity", "label", "cn7k", "3m9q", "2x4t", "8a21")
        assert code == 0
        assert printed.startswith("CN7K 3M9Q 2X4T 8A21\nurn:soleclaim:activity:CN7K3M9Q2X4T8A21\n")

    def test_activity_id_with_a_wrong_digit(self, run: Run, certificates: tuple[str, ...]) -> None:
        wrong = "CN7K3M9Q2X4T8A22"
        code, printed = run("activity", "get", wrong, "--lookup", "127.0.0.1:1", *certificates)
        assert code == output.MISTAKE
        assert "check digits" in printed

    @pytest.mark.parametrize("value", ["gec", "gec=nowhere", "=http://127.0.0.1:1", "arb=http://127.0.0.1:1"])
    def test_native_registry_that_cannot_be_meant(self, run: Run, value: str) -> None:
        code, _ = run("check", "--lookup-database-url", "sqlite+aiosqlite:///none.db", "--native", value)
        assert code == output.MISTAKE


@pytest.fixture
def certificates(run: Run, tmp_path: Path) -> tuple[str, ...]:
    """Options that name an operator."""
    pki = tmp_path / "pki"
    assert run("certs", "authority", str(pki))[0] == 0
    assert run("certs", "issue", str(pki), "operator", "me")[0] == 0
    return (
        "--authority",
        str(pki / "authority.crt"),
        "--certificate",
        str(pki / "operator-me.crt"),
        "--key",
        str(pki / "operator-me.key"),
    )


class TestExplain:
    """What a person reads of an exception, and the exit code."""

    def test_refusal_has_reason_and_remedy_in_the_language_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusal = RemoteRefusal(
            "NOT_FOUND", reason=Reason.LOCK_UNKNOWN, message_en="it is not there; look", message_zh="不存在；请查"
        )
        assert output.explain(refusal) == ("LOCK_UNKNOWN: it is not there; look", output.REFUSED)
        monkeypatch.setattr(output, "language", lambda: "zh")
        assert output.explain(refusal) == ("LOCK_UNKNOWN: 不存在；请查", output.REFUSED)

    def test_silence_is_not_a_refusal(self) -> None:
        told = output.explain(RemoteUnavailable("UNAVAILABLE", "connection refused"))
        assert told is not None
        assert told[1] == output.OUT_OF_REACH

    def test_own_store_out_of_reach(self) -> None:
        told = output.explain(DomainError(Reason.STORE_BUSY))
        assert told is not None
        assert told[1] == output.OUT_OF_REACH

    def test_wrong_encoding(self) -> None:
        with pytest.raises(UnicodeDecodeError) as raised:
            "文件".encode("utf-16").decode("utf-8")
        told = output.explain(raised.value)
        assert told is not None
        assert "UTF-8" in told[0]

    def test_bug_keeps_its_traceback(self) -> None:
        assert output.explain(KeyError("a bug")) is None
        assert output.explain(AssertionError()) is None


@pytest.mark.parametrize("text", ["7401", "host:", ":7401", "host:70000", "host:٣", "host:-1"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not HOST:PORT"):
        HostPort().convert(text, None, None)


def test_address_of_ipv6_stands_in_brackets() -> None:
    assert HostPort().convert("[::1]:7401", None, None) == ("::1", 7401)
