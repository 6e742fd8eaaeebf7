"""``soleclaim sandbox``: run the stand-in of a native registry."""

from pathlib import Path

import click

from soleclaim.cmd.options import HostPort


@click.group()
def sandbox() -> None:
    """Stand-ins of native registries, to try an integration against. They know nothing of the gateway."""


@sandbox.command()
@click.argument("kind", type=click.Choice(["ccer", "gec"]))
@click.option("--database", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Its SQLite file.")
@click.option("--listen", type=HostPort(), required=True, help="HOST:PORT; port 0 takes a free one.")
def serve(kind: str, database: Path, listen: tuple[str, int]) -> None:
    """Serve the stand-in KIND until it is told to stop."""
    from soleclaim.sandbox.server import serve as serve_stand_in

    host, port = listen
    if not database.parent.is_dir():
        raise click.BadParameter(f"the folder {database.parent} does not exist; make it first", param_hint="--database")
    try:
        serve_stand_in(kind, database, host, port)
    except OSError as error:
        message = f"{host}:{port} cannot be bound: {error.strerror}; end the process that uses it or take another port"
        raise click.UsageError(message) from error
