"""What a part is told when it is started: options, a configuration file, a store with its tables."""

import json
import threading
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from soleclaim.db.migrate import upgrade
from soleclaim.rpc.tls import TlsFiles

_PACKAGES: Final = {"lookup": "soleclaim.lookup", "journal": "soleclaim.registry"}
_MIGRATING: Final = threading.Lock()
"""Alembic keeps what it works on in the module itself: one at a time."""


def migrate_store(kind: Literal["lookup", "journal"], url: str) -> None:
    """Make or renew the tables of a store. May be called from several threads."""
    with _MIGRATING:
        upgrade(url, Path(str(resources.files(_PACKAGES[kind]))) / "migrations")


def tls_options(tls: TlsFiles) -> tuple[str, ...]:
    """The command line's options for these files."""
    return (
        "--authority", str(tls.authority), "--certificate", str(tls.certificate), "--key", str(tls.key),
    )  # fmt: skip


def write_toml(path: Path, sections: Mapping[str, Mapping[str, str | float]]) -> None:
    """Write a configuration file: tables of texts and numbers."""
    # A JSON string is a TOML string.
    text = "\n\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())])
        for name, section in sections.items()
    )
    path.write_text(f"{text}\n", encoding="utf-8")
