"""Clients of native registries: each speaks one registry's own protocol behind the port ``NativeRegistry``."""

from pathlib import Path
from typing import Final

from soleclaim.natives.ccer.client import CcerNative
from soleclaim.natives.gec.client import GecNative
from soleclaim.registry.native import NativeRegistry

KINDS: Final[dict[str, type[CcerNative] | type[GecNative]]] = {"ccer": CcerNative, "gec": GecNative}
"""The registries there is a client for, by the name used in configuration."""


def open_native(
    kind: str,
    base_url: str,
    *,
    timeout_s: float,
    longest_under_way_s: float,
    ca_file: Path | None = None,
) -> NativeRegistry:
    """The client for ``kind`` (``ValueError`` when there is none); connects on first use.

    ``timeout_s`` limits one whole call. ``longest_under_way_s`` is the longest time a call may still take
    effect after it was given up: a property of the registry and the way to it, stated by its operator.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, not {kind!r}")
    return KINDS[kind](base_url, timeout_s=timeout_s, longest_under_way_s=longest_under_way_s, ca_file=ca_file)
