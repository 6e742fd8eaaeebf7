"""``soleclaim certs``: certificates for development and the demo."""

from datetime import timedelta
from pathlib import Path

import click

from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.caller import IdentityError
from soleclaim.rpc.certs import issue_certificate, make_authority

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group()
def certs() -> None:
    """Make a development authority and certificates signed by it."""


@certs.command()
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option("--domain", default="soleclaim.local", show_default=True, help="Trust domain in every URI SAN.")
def authority(directory: Path, domain: str) -> None:
    """Make authority.crt and authority.key in DIR; refuses to overwrite."""
    try:
        make_authority(directory, domain=domain)
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename} exists; take another directory or remove it first") from error
    click.echo(directory / "authority.crt")


@certs.command()
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.argument("code")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="DNS name or IP address the holder answers at; may be repeated.",
)
@click.option("--days", type=click.IntRange(1, 825), default=30, show_default=True, help="How long it is in force.")
def issue(directory: Path, role: str, code: str, hosts: tuple[str, ...], days: int) -> None:
    """Issue DIR/ROLE-CODE.crt and .key, for server and client use; an older pair is replaced.

    The lookup's own certificate is ROLE operator, CODE lookup.
    """
    try:
        files = issue_certificate(directory, Caller(Role(role), code), hosts=hosts, valid_for=timedelta(days=days))
    except FileNotFoundError as error:
        raise click.ClickException(f"{error.filename} is missing; run `certs authority` for it first") from error
    except IdentityError as error:
        raise click.BadParameter(str(error), param_hint="CODE") from error
    click.echo(files.certificate)
    click.echo(files.key)
