"""A development certificate authority. Production certificates come from the operator's own authority."""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from soleclaim.core.identity import Caller
from soleclaim.rpc.caller import parse_identity
from soleclaim.rpc.tls import TlsFiles

AUTHORITY_VALID_FOR: Final = timedelta(days=3650)
# Machines that start together may differ by some minutes.
_CLOCK_SKEW: Final = timedelta(minutes=5)


def make_authority(directory: Path, *, domain: str = "soleclaim.local") -> None:
    """Make ``authority.crt`` and ``authority.key`` in ``directory``; ``FileExistsError`` when there is one.

    The domain stands in the authority's URI SAN and in every certificate it issues.
    """
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"soleclaim development authority {domain}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    _write(directory / "authority.key", _pem(key), secret=True, replace=False)
    _write(directory / "authority.crt", certificate.public_bytes(Encoding.PEM), secret=False, replace=False)


def issue_certificate(
    directory: Path,
    caller: Caller,
    *,
    hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    valid_for: timedelta = timedelta(days=30),
    not_before: datetime | None = None,
) -> TlsFiles:
    """Issue ``<role>-<code>.crt`` and ``.key`` for server and client use; an older pair is replaced.

    The lookup's own certificate names the caller ``operator/lookup``. Raises ``FileNotFoundError`` when
    ``directory`` has no authority, ``IdentityError`` when the caller's code is malformed.
    """
    authority = x509.load_pem_x509_certificate((directory / "authority.crt").read_bytes())
    authority_key = load_pem_private_key((directory / "authority.key").read_bytes(), password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)  # noqa: S101  made by make_authority
    names = authority.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (trust_domain,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    uri = f"{trust_domain}/{caller}"
    parse_identity(uri)
    key = ec.generate_private_key(ec.SECP256R1())
    start = not_before or datetime.now(UTC) - _CLOCK_SKEW
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(caller))]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + valid_for)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *map(_host, hosts)]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    stem = directory / f"{caller.role.value}-{caller.code}"
    files = TlsFiles(directory / "authority.crt", stem.with_suffix(".crt"), stem.with_suffix(".key"))
    _write(files.key, _pem(key), secret=True, replace=True)
    _write(files.certificate, certificate.public_bytes(Encoding.PEM), secret=False, replace=True)
    return files


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, *, secret: bool, replace: bool) -> None:
    """Write a file whose mode is right from its first byte on."""
    if replace:
        path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
