"""``soleclaim sandbox``: run the stand-in of a native registry."""

from pathlib import Path

import click

from soleclaim.cmd.options import HostPort


@click.group()
def sandbox() -> None:
    """Stand-ins of native registries, to try an integration against. They know nothing of the gateway."""


@sandbox.command()
@click.argument("kind")
@click.option("--database", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Its SQLite file.")
@click.option("--listen", type=HostPort(), required=True, help="HOST:PORT; port 0 takes a free one.")
@click.option("--registry", default="", metavar="CODE", help="Which registry of a family of several it stands for.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where files are exchanged, for a registry that does so.",
)
@click.option(
    "--secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What requests are signed with, for a registry that asks for it.",
)
def serve(
    kind: str, database: Path, listen: tuple[str, int], registry: str, folder: Path | None, secret_file: Path | None
) -> None:
    """Serve the stand-in KIND until it is told to stop."""
    from soleclaim.sandbox.server import KINDS
    from soleclaim.sandbox.server import serve as serve_stand_in
    from soleclaim.sandbox.stand_in import StandIn

    host, port = listen
    if kind not in KINDS:
        raise click.BadParameter(f"must be one of {', '.join(sorted(KINDS))}, not {kind!r}", param_hint="KIND")
    if not database.parent.is_dir():
        raise click.BadParameter(f"the folder {database.parent} does not exist; make it first", param_hint="--database")
    secret = secret_file.read_bytes().rstrip() if secret_file else b""
    try:
        serve_stand_in(kind, StandIn(database, registry, folder, secret), host, port)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        message = f"{host}:{port} cannot be bound: {error.strerror}; end the process that uses it or take another port"
        raise click.UsageError(message) from error
