"""A registry of which only tables are left: their folder, read as its client does (``natives.archive``)."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from soleclaim.history.rows import Issued, Line, Project, Read
from soleclaim.natives.archive.tables import ArchiveRow, read_archive
from soleclaim.natives.cells import RowFault, TableFault
from soleclaim.natives.registries import registry_row
from soleclaim.registry.instruments import INSTRUMENTS
from soleclaim.registry.native import NativeHistory, NativeProject, PlantDescription


def read(path: Path, registry: str) -> Iterator[Read]:
    """See ``rows.Reader``: all issuances, then every row that cannot be read. Also raises ``SettingsFault``.

    Rows are counted through all tables; a fault names its file and the line there.
    """
    row = registry_row("soleclaim.natives.archive", registry, ArchiveRow)
    if not any(path.iterdir()):
        raise TableFault(f"{path} is empty; put the tables of {row.name} there")
    archive, zone, numbers = read_archive(path, row), ZoneInfo(row.time_zone), itertools.count(1)
    for each in archive.history.values():
        yield Line(next(numbers), _project(each.project), _issued(each, INSTRUMENTS[registry].code, zone))
    for unread in (*archive.unread_projects, *archive.unread_history):
        why = f"column {unread.column}: {unread.why}" if unread.column else unread.why
        yield RowFault(next(numbers), unread.source, why)


def _project(project: NativeProject) -> Project:
    described = project.description or PlantDescription()
    return Project(
        native_project_id=project.native_project_id,
        country=project.country,
        activity_type=project.activity_type,
        display_name=project.name,
        time_zone=project.time_zone,
        identifiers=project.identifiers,
        owner=described.owner,
        region=described.region,
        described=bool(described.owner or described.region),
    )


def _issued(each: NativeHistory, instrument: str, zone: ZoneInfo) -> Issued:
    return Issued(
        instrument=instrument,
        period=each.period,
        units=each.units,
        native_issuance_id=each.native_issuance_id,
        blocks=each.blocks,
        issue_day=None if each.issued_on is None else each.issued_on.astimezone(zone).date(),
    )
