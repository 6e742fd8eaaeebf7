"""Mutual TLS from files, checked at start (design section 8)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from soleclaim.core.identity import Caller
from soleclaim.rpc.caller import IdentityError, parse_identity

_T = TypeVar("_T")


class TlsFault(Exception):
    """The TLS files cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the authority both sides trust, one's own certificate (with its chain) and key."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """Checked contents of ``TlsFiles``, and whom the certificate names."""

    authority: bytes
    certificate: bytes
    key: bytes
    caller: Caller


def load(files: TlsFiles) -> TlsMaterial:
    """Read and check the files; ``TlsFault`` at the first fault.

    Checked: readable, well formed, the certificate belongs to the key, is in force, is signed by the authority
    (directly or through its own file's chain) and names a caller in its URI SAN.
    """
    authority, certificate, key = (_read(path) for path in (files.authority, files.certificate, files.key))
    authorities = _parsed(files.authority, x509.load_pem_x509_certificates, authority, "hold PEM certificates")
    own, *chain = _parsed(files.certificate, x509.load_pem_x509_certificates, certificate, "hold PEM certificates")
    private_key = _parsed(
        files.key, lambda data: load_pem_private_key(data, password=None), key, "hold one PEM key without password"
    )
    if private_key.public_key() != own.public_key():
        raise TlsFault(f"{files.key} is not the key of {files.certificate}; give the pair that was issued together")
    now = datetime.now(UTC)
    if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
        raise TlsFault(
            f"{files.certificate} is in force from {own.not_valid_before_utc:%Y-%m-%dT%H:%MZ} "
            f"to {own.not_valid_after_utc:%Y-%m-%dT%H:%MZ}, not now; issue a new one or set the clock right"
        )
    if not any(_issued_by(own, issuer) for issuer in (*authorities, *chain)):
        raise TlsFault(f"{files.certificate} is not signed by {files.authority}; give the authority that issued it")
    return TlsMaterial(authority, certificate, key, _identity(own, files.certificate))


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials of a server that requires a client certificate (``TlsFault`` as ``load``)."""
    material = load(files)
    return grpc.ssl_server_credentials(
        [(material.key, material.certificate)], root_certificates=material.authority, require_client_auth=True
    )


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Credentials of a client that shows its certificate (``TlsFault`` as ``load``)."""
    material = load(files)
    return grpc.ssl_channel_credentials(material.authority, material.key, material.certificate)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFault(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error


def _parsed(path: Path, parse: Callable[[bytes], _T], data: bytes, must: str) -> _T:
    try:
        return parse(data)
    except (ValueError, TypeError) as error:
        raise TlsFault(f"{path} cannot be parsed; it must {must}") from error


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _identity(certificate: x509.Certificate, path: Path) -> Caller:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        return parse_identity(uri)
    except (x509.ExtensionNotFound, IdentityError, ValueError) as error:
        raise TlsFault(
            f"{path} names no caller; it needs exactly one URI SAN of the form spiffe://<domain>/<role>/<code>"
        ) from error
