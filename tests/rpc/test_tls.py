import stat
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from soleclaim.cmd.certs import certs
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.caller import IdentityError, parse_identity
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.tls import TlsFault, TlsFiles, load

GEC = Caller(Role.REGISTRY, "gec")


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    make_authority(tmp_path)
    return issue_certificate(tmp_path, GEC, hosts=("gec.example", "192.0.2.7", "::1"))


def test_certificates_name_their_caller_and_hosts_for_both_uses(files: TlsFiles) -> None:
    assert load(files).caller == GEC
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://soleclaim.local/registry/gec"]
    assert names.get_values_for_type(x509.DNSName) == ["gec.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_keys_are_readable_by_their_owner_only(files: TlsFiles) -> None:
    for key in (files.key, files.authority.with_suffix(".key")):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_an_authority_is_never_overwritten(files: TlsFiles) -> None:
    before = files.authority.read_bytes()
    with pytest.raises(FileExistsError):
        make_authority(files.authority.parent)
    files.authority.with_suffix(".key").unlink()
    with pytest.raises(FileExistsError):
        make_authority(files.authority.parent)
    assert files.authority.read_bytes() == before


def test_a_certificate_is_renewed_in_place(files: TlsFiles) -> None:
    before = files.certificate.read_bytes()
    assert issue_certificate(files.authority.parent, GEC) == files
    assert files.certificate.read_bytes() != before
    assert load(files).caller == GEC


@pytest.mark.parametrize("code", ["", "a b", "a/b", "国", "x" * 33, "../up"])
def test_callers_that_no_server_would_accept_get_no_certificate(files: TlsFiles, code: str) -> None:
    with pytest.raises(IdentityError):
        issue_certificate(files.authority.parent, Caller(Role.REGISTRY, code))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://d/registry",
        "spiffe://d/registry/gec/more",
        "spiffe://d/admin/gec",
        "spiffe:///registry/gec",
        "https://d/registry/gec",
        "spiffe://d/registry/gec\n",
        "spiffe://d/registry/gec?x",
        "spiffe://D/REGISTRY/gec",
    ],
)
def test_identities_out_of_shape_name_nobody(uri: str) -> None:
    with pytest.raises(IdentityError):
        parse_identity(uri)


@pytest.mark.parametrize("part", ["authority", "certificate", "key"])
def test_missing_and_malformed_files_are_named(files: TlsFiles, part: str) -> None:
    path: Path = getattr(files, part)
    path.write_bytes(b"-----BEGIN NOTHING-----\n")
    with pytest.raises(TlsFault, match=f"{path.name} cannot be parsed; it must hold"):
        load(files)
    path.unlink()
    with pytest.raises(TlsFault, match=f"{path.name} cannot be read .*check the path"):
        load(files)


def test_a_key_of_another_certificate_is_told(files: TlsFiles) -> None:
    other = issue_certificate(files.authority.parent, Caller(Role.REGISTRY, "ccer"))
    with pytest.raises(TlsFault, match=r"registry-ccer\.key is not the key of .*registry-gec\.crt"):
        load(TlsFiles(files.authority, files.certificate, other.key))


def test_a_certificate_of_another_authority_is_told(files: TlsFiles, tmp_path: Path) -> None:
    make_authority(tmp_path / "other")
    with pytest.raises(TlsFault, match=r"registry-gec\.crt is not signed by .*other"):
        load(TlsFiles(tmp_path / "other" / "authority.crt", files.certificate, files.key))


def test_a_certificate_out_of_force_is_told(files: TlsFiles) -> None:
    expired = issue_certificate(files.authority.parent, GEC, valid_for=timedelta(seconds=1))
    with pytest.raises(TlsFault, match="issue a new one"):
        load(expired)


def test_a_certificate_that_names_no_caller_is_told(files: TlsFiles) -> None:
    authority = TlsFiles(files.authority, files.authority, files.authority.with_suffix(".key"))
    with pytest.raises(TlsFault, match=r"authority\.crt names no caller"):
        load(authority)


def test_the_commands_make_what_a_server_accepts(tmp_path: Path) -> None:
    run, directory = CliRunner().invoke, str(tmp_path / "pki")
    assert "run `certs authority`" in run(certs, ["issue", directory, "registry", "gec"]).output
    assert run(certs, ["authority", directory, "--domain", "example.org"]).exit_code == 0
    assert "exists" in run(certs, ["authority", directory]).output
    result = run(certs, ["issue", directory, "operator", "lookup", "--host", "lookup", "--days", "7"])
    assert result.exit_code == 0
    certificate, key = map(Path, result.output.split())
    assert load(TlsFiles(tmp_path / "pki" / "authority.crt", certificate, key)).caller == Caller(
        Role.OPERATOR, "lookup"
    )
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert loaded.not_valid_after_utc - loaded.not_valid_before_utc == timedelta(days=7)
    public = loaded.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for wrong in (["issue", directory, "king", "x"], ["issue", directory, "registry", "a b"]):
        assert run(certs, wrong).exit_code == 2
