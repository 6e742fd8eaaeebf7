"""The client of a local registry, by the form in which it is spoken to."""

from collections.abc import Callable, Mapping
from typing import Final

from soleclaim.natives.local.area import LocalRow
from soleclaim.natives.local.json_client import LocalJsonNative
from soleclaim.natives.local.workbook import LocalWorkbookNative
from soleclaim.natives.registries import registry_row
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry.native import NativeRegistry

FORMS: Final[Mapping[str, Callable[[NativeSettings, LocalRow], NativeRegistry]]] = {
    "json": LocalJsonNative,
    "workbook": LocalWorkbookNative,
}


def open_local(settings: NativeSettings) -> NativeRegistry:
    """The client that ``registries.toml`` chooses; ``SettingsFault`` when there is no such registry."""
    row = registry_row(__package__, settings.registry, LocalRow)
    return FORMS[row.form](settings, row)
