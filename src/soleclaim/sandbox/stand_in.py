"""What a stand-in must be told, the same for every family."""

from dataclasses import dataclass
from pathlib import Path


class StandInFault(ValueError):
    """What a stand-in is told of its registry cannot be used; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """``database``: its SQLite file. ``registry``: which of the family's registries it stands for, by its code; a
    family of one needs none. ``folder``: where files are exchanged; ``secret``: what requests are signed with; both
    only where the registry does so.
    """

    database: Path
    registry: str = ""
    folder: Path | None = None
    secret: bytes = b""
