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
from soleclaim.natives.transport import JsonTransport, Unclear


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
