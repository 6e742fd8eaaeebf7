"""Clients of native registries: each speaks one registry's own protocol behind the port ``NativeRegistry``."""

from collections.abc import Callable
from typing import Final

from soleclaim.natives.archive.client import ArchiveNative
from soleclaim.natives.ccer.client import CcerNative
from soleclaim.natives.energyuse.client import EnergyUseNative
from soleclaim.natives.ets.client import EtsNative
from soleclaim.natives.gec.client import GecNative
from soleclaim.natives.greenpower.client import GreenPowerNative
from soleclaim.natives.local.forms import open_local
from soleclaim.natives.settings import NativeSettings, SettingsFault
from soleclaim.registry.native import NativeRegistry

__all__ = ["KINDS", "NativeSettings", "SettingsFault", "open_native"]

KINDS: Final[dict[str, Callable[[NativeSettings], NativeRegistry]]] = {
    "archive": ArchiveNative,
    "ccer": CcerNative,
    "energyuse": EnergyUseNative,
    "ets": EtsNative,
    "gec": GecNative,
    "greenpower": GreenPowerNative,
    "local": open_local,
}
"""The families there is a client for, by the name used in configuration."""


def open_native(kind: str, settings: NativeSettings) -> NativeRegistry:
    """The client for ``kind``; ``SettingsFault`` when there is none or it misses a setting. Connects on first use."""
    if kind not in KINDS:
        raise SettingsFault(f"kind must be one of {', '.join(sorted(KINDS))}, not {kind!r}")
    return KINDS[kind](settings)
