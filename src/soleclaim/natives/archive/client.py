"""Client of registries that no longer run: what they issued, from the tables that they published."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from soleclaim.natives.archive.tables import Archive, ArchiveRow, read_archive
from soleclaim.natives.registries import registry_row
from soleclaim.natives.settings import NativeSettings, SettingsFault
from soleclaim.natives.silent import SilentNative
from soleclaim.registry.native import NativeHistory, NativeIssuance, NativeProject, NativeUnavailable, UnreadRow

_State = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of change of the files in the folder."""

_SHOWN = 3
"""Rows that could not be read, in one message."""


class ArchiveNative(SilentNative):
    """``NativeRegistry`` that issues nothing, and ``HistorySource``. Tables are read anew when a file changed.

    External references are the registry's own ids of issuances: it had no others.
    """

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings)
        self._row = registry_row(__package__, settings.registry, ArchiveRow)
        self._folder = settings.folder
        if not self._folder.is_dir():
            raise SettingsFault(f"url must be file:///folder of a folder that is there, not {settings.url!r}")
        self._lock = asyncio.Lock()
        self._read: tuple[_State, Archive] | None = None

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """``None`` only where every row of every table of projects could be read."""
        archive = await self._archive()
        found = archive.projects.get(native_project_id)
        if found is None:
            _must_be_whole(archive.unread_projects, f"project {native_project_id}")
        return found

    async def find(self, external_reference: str) -> NativeIssuance | None:
        """By the registry's own id; ``None`` only where every row of every table could be read."""
        archive = await self._archive()
        found = archive.history.get(external_reference)
        if found is None:
            _must_be_whole([*archive.unread_projects, *archive.unread_history], f"issuance {external_reference}")
        return None if found is None else _issuance(found)

    async def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """All issuances; ``NativeUnavailable`` after them when a row could not be read."""
        archive = await self._archive()
        for each in archive.history.values():
            yield _issuance(each)
        _must_be_whole([*archive.unread_projects, *archive.unread_history], "the list of issuances")

    async def list_history(self) -> AsyncIterator[NativeHistory | UnreadRow]:
        """See ``HistorySource``; in the order of the files and their rows."""
        archive = await self._archive()
        for each in archive.history.values():
            yield each
        for unread in (*archive.unread_projects, *archive.unread_history):
            yield unread

    async def _archive(self) -> Archive:
        async with self._lock:
            try:
                state = await asyncio.to_thread(self._state)
                if self._read is None or self._read[0] != state:
                    self._read = state, await asyncio.to_thread(read_archive, self._folder, self._row)
            except OSError as error:
                raise NativeUnavailable(f"{self._folder}: {error.strerror}") from error
            return self._read[1]

    def _state(self) -> _State:
        files = sorted(self._folder.iterdir())
        if not files:
            raise NativeUnavailable(f"{self._folder} is empty; put the tables of {self._row.name} there")
        return tuple((path.name, (told := path.stat()).st_size, told.st_mtime_ns) for path in files)

    async def close(self) -> None:
        """Nothing is held open."""


def _must_be_whole(unread: Sequence[UnreadRow], about: str) -> None:
    if unread:
        first = "; ".join(map(str, unread[:_SHOWN]))
        raise NativeUnavailable(f"{about}: {len(unread)} rows or files cannot be read, first: {first}")


def _issuance(row: NativeHistory) -> NativeIssuance:
    return NativeIssuance(
        native_issuance_id=row.native_issuance_id,
        external_reference=row.native_issuance_id,
        fencing_token=0,
        native_project_id=row.project.native_project_id,
        period=row.period,
        units=row.units,
        blocks=row.blocks,
    )
