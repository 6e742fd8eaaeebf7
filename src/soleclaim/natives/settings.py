"""What a client of a native registry must be told, the same for every family."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


class SettingsFault(ValueError):
    """The settings do not fit the registry; the message names the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSettings:
    """Where a native registry is and how to speak to it.

    ``registry``: its code; a family finds by it what is particular to this registry. ``url``: ``http://…``,
    ``https://…``, or ``file:///folder`` for a registry that exchanges files. ``timeout_s`` limits one whole call.
    ``longest_under_way_s`` is the longest time a call may still take effect after it was given up: a property of the
    registry and the way to it, stated by its operator.
    """

    registry: str
    url: str
    timeout_s: float
    longest_under_way_s: float
    ca_file: Path | None = None
    key_id: str | None = None
    """By which the registry knows who signs; only where requests are signed."""
    secret_file: Path | None = None
    """Holds the signing secret, and white space at its end at most."""

    @property
    def folder(self) -> Path:
        """The folder of ``file:///folder``; ``SettingsFault`` for any other URL."""
        url = urlsplit(self.url)
        folder = Path(url2pathname(url.path))
        if url.scheme != "file" or url.netloc not in ("", "localhost") or not url.path or not folder.is_absolute():
            raise SettingsFault(
                f"url must be file:///folder, the folder where the files of {self.registry} lie, not {self.url!r}"
            )
        return folder
