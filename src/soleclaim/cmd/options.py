"""Options that several commands share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from soleclaim.cmd.output import json_option, lang_option

if TYPE_CHECKING:
    from soleclaim.rpc.tls import TlsFiles


class HostPort(click.ParamType[tuple[str, int]]):
    """``HOST:PORT`` as a pair; an IPv6 host stands in brackets."""

    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The pair, or a sentence saying what is wrong."""
        host, separator, port = str(value).rpartition(":")
        if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value} is not HOST:PORT, for example 127.0.0.1:7401", param, ctx)
        return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Dialling:
    """How to reach servers: certificate files, or an identity to claim in plaintext on loopback."""

    authority: Path | None
    certificate: Path | None
    key: Path | None

    def tls(self) -> "TlsFiles":
        """The three files; a usage error when one is missing."""
        from soleclaim.rpc.tls import TlsFiles

        if self.authority is None or self.certificate is None or self.key is None:
            raise click.UsageError(
                "give --authority, --certificate and --key (or SOLECLAIM_AUTHORITY, SOLECLAIM_CERTIFICATE,"
                " SOLECLAIM_KEY); `soleclaim certs` makes them for development"
            )
        return TlsFiles(authority=self.authority, certificate=self.certificate, key=self.key)


def dialling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--authority --certificate --key``, given to the command as ``dialling``."""

    @wraps(command)
    def with_dialling(
        *args: object, authority: Path | None, certificate: Path | None, key: Path | None, **kwargs: object
    ) -> object:
        return command(*args, dialling=Dialling(authority, certificate, key), **kwargs)

    result: Callable[..., Any] = with_dialling
    for name, text in (
        ("key", "Private key of the certificate (PEM)."),
        ("certificate", "Certificate that says who you are (PEM)."),
        ("authority", "Certificate of the authority that signed both sides (PEM)."),
    ):
        option = click.option(
            f"--{name}",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar=f"SOLECLAIM_{name.upper()}",
            help=text,
        )
        result = option(result)
    return result


def lookup_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--lookup HOST:PORT``."""
    return click.option(
        "--lookup",
        "lookup_target",
        required=True,
        envvar="SOLECLAIM_LOOKUP",
        metavar="HOST:PORT",
        help="Where the lookup answers.",
    )(command)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every reading verb has."""
    return lookup_option(dialling_options(json_option(lang_option(command))))


def picture_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--picture``: what to draw; an ending that is none is told before the work."""
    return click.option(
        "--picture",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        callback=_check_picture,
        help="PNG, SVG or PDF to draw (needs the extra `pictures`).",
    )(command)


def _check_picture(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise click.BadParameter(f"{path} must end in .png, .svg or .pdf")
    return path


def limit_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--limit``: how many rows at most."""
    return click.option(
        "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Most rows."
    )(command)


def activity_name(text: str) -> str:
    """``activities/{id}`` of an id as people write it; a usage error when the check digits do not fit."""
    from soleclaim.core.activity_id import ActivityIdError, parse_activity_id

    try:
        return f"activities/{parse_activity_id(text.removeprefix('activities/'))}"
    except ActivityIdError as error:
        raise click.BadParameter(str(error), param_hint="ACTIVITY_ID") from error


def name_in(collection: str, number: str) -> str:
    """``{collection}/{number}`` of a number or of the whole name, as people write it."""
    return f"{collection}/{number.removeprefix(f'{collection}/')}"
