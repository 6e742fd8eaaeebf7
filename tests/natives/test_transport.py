"""What the transport refuses to believe or to do, whichever registry it speaks to."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from soleclaim.natives import transport
from soleclaim.natives.answers import Unclear
from soleclaim.natives.transport import Fields, JsonTransport


class Handler(BaseHTTPRequestHandler):
    """``/moved`` redirects, ``/long`` is long, ``/drip`` never ends, anything else is a small object."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("location", "/")
        self.send_header("content-type", "application/json")
        self.end_headers()
        if self.path == "/drip":
            ended = self.server.ended  # type: ignore[attr-defined]
            while not ended.wait(0.05):
                self.wfile.write(b" ")
        self.wfile.write(b'{"a": 1}' + b" " * (5_000 if self.path == "/long" else 0))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited name
        pass


class Server(ThreadingHTTPServer):
    """Says nothing about callers that hang up."""

    ended: threading.Event

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "native")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = tmp_path / "native.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture(params=["http"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    secure = request.param == "https"
    served = Server(("127.0.0.1", 0), Handler)
    served.ended = threading.Event()
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(request.getfixturevalue("certificate"))
        served.socket = context.wrap_socket(served.socket, server_side=True)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"{request.param}://127.0.0.1:{served.server_port}"
    served.ended.set()
    served.shutdown()
    thread.join()
    served.server_close()


async def ask(url: str, path: str, *, timeout_s: float = 5, ca_file: Path | None = None) -> object:
    native = JsonTransport(url, timeout_s=timeout_s, ca_file=ca_file)
    try:
        _, answer = await native.ask("GET", path)
    finally:
        await native.close()
    return answer.values


async def test_redirect_is_not_followed(server: str) -> None:
    with pytest.raises(Unclear, match="HTTP status 302"):
        await ask(server, "/moved")


async def test_answer_that_drips_is_given_up_after_the_whole_limit(server: str) -> None:
    with pytest.raises(Unclear, match=r"no answer within 0\.3 s"):
        await ask(server, "/drip", timeout_s=0.3)


async def test_answer_that_is_too_long_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await ask(server, "/long") == {"a": 1}
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1_000)
    with pytest.raises(Unclear, match="longer than 1000 bytes"):
        await ask(server, "/long")


@pytest.mark.parametrize("server", ["https"], indirect=True)
async def test_only_a_certificate_of_the_given_authority_is_trusted(server: str, certificate: Path) -> None:
    assert await ask(server, "/", ca_file=certificate) == {"a": 1}
    with pytest.raises(Unclear, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(server, "/")


async def test_proxy_of_the_environment_is_ignored(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert await ask(server, "/") == {"a": 1}


@pytest.mark.parametrize(
    ("written", "kilowatts"),
    [("500", 500_000), ("49.5", 49_500), (500, 500_000), (49.5, 49_500), ("0.001", 1), ("000500", 500_000)]
    + [(other, 0) for other in (None, "", "500 MW", "1,000", "-5", "+5", "1e3", "5.", ".5", "49.5004", "5000000", "nan",
                                "５００", True, [500], {"mw": 500}, float("inf"), 1e20)],
)  # fmt: skip
def test_a_capacity_that_cannot_be_read_exactly_is_not_known(written: object, kilowatts: int) -> None:
    assert Fields({"capacityMw": written}).told_kilowatts("capacityMw") == kilowatts


@pytest.mark.parametrize(
    ("written", "told"), [(" 某公司 ", "某公司"), ("00000", "00000"), (5, ""), (None, ""), (["某公司"], "")]
)
def test_a_describing_text_that_is_none_is_not_known(written: object, told: str) -> None:
    assert Fields({"owner": written}).told_text("owner") == told


@pytest.mark.parametrize(
    ("value", "amount"), [(1234, 1234), ("1234", 1234), ("1,234", 1234), ("1234.00", 1234), ("007", 7), (0, 0)]
)
def test_a_whole_amount_is_read_exactly(value: object, amount: int) -> None:
    assert Fields({"amount": value}).whole("amount") == amount


@pytest.mark.parametrize(
    "value", [1234.0, 1234.5, -1, True, None, "", "-1", "12,34", "1,2345", "1234,567", "1234.5", "1 234", "0x10", [1]]
)
def test_what_is_no_whole_amount_is_unclear(value: object) -> None:
    with pytest.raises(Unclear, match="amount: "):
        Fields({"amount": value}).whole("amount")


@pytest.mark.parametrize(("value", "kilograms"), [("804.345", 804_345), ("1,804.3", 1_804_300), (7, 7_000)])
def test_tonnes_become_kilograms_without_loss(value: object, kilograms: int) -> None:
    assert Fields({"tonnes": value}).thousandths("tonnes") == kilograms


@pytest.mark.parametrize("value", ["804.3456", 804.345, "-1.5", "1.804,3"])
def test_tonnes_that_are_no_whole_kilograms_are_unclear(value: object) -> None:
    with pytest.raises(Unclear, match="tonnes: "):
        Fields({"tonnes": value}).thousandths("tonnes")


@pytest.mark.parametrize("value", [20240301, 45352.0, "01/03/2024", "2024-02-30", None, ""])
def test_a_day_that_is_no_text_or_could_be_another_is_unclear(value: object) -> None:
    with pytest.raises(Unclear, match="day"):
        Fields({"day": value}).day("day")


def test_a_text_that_would_fill_a_whole_message_is_unclear() -> None:
    for read in (Fields({"boundary": "全" * 10_001}).text, Fields({"boundary": "全" * 10_001}).optional_text):
        with pytest.raises(Unclear, match="has 10001 characters"):
            read("boundary")
    assert Fields({"owner": "全" * 10_001}).told_text("owner") == ""


@pytest.mark.parametrize("value", [12, "12", "0012 ", "00012", "００12"])
def test_an_identifier_gets_back_no_zeros_that_it_lost(value: object) -> None:
    assert Fields({"id": "0012"}).matching("id", "[0-9]{4}") == "0012"
    with pytest.raises(Unclear, match="id is not"):
        Fields({"id": value}).matching("id", "[0-9]{4}")
