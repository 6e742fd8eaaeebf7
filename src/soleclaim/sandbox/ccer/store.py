"""What the CCER stand-in remembers: projects, certified reductions and issuances."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from soleclaim.sandbox.database import Database
from soleclaim.sandbox.fields import Refused

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS project (
    id INTEGER PRIMARY KEY,
    project_info_id TEXT NOT NULL UNIQUE,
    apply_id TEXT NOT NULL UNIQUE,
    project_code TEXT,
    name TEXT NOT NULL,
    organisation TEXT NOT NULL,
    uscc TEXT,
    project_type TEXT NOT NULL,
    project_type_name TEXT NOT NULL,
    methodology TEXT NOT NULL,
    methodology_name TEXT NOT NULL,
    province TEXT NOT NULL,
    capacity_mw TEXT,
    expected_per_year INTEGER NOT NULL,
    public_start TEXT,
    registered INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reduction (
    id INTEGER PRIMARY KEY,
    certification_id TEXT NOT NULL UNIQUE,
    apply_id TEXT NOT NULL UNIQUE,
    project_info_id TEXT NOT NULL REFERENCES project (project_info_id),
    start_date TEXT NOT NULL,
    end_date TEXT NOT NULL,
    certified INTEGER NOT NULL,
    public_start TEXT,
    registered INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS reduction_of_project ON reduction (project_info_id, start_date);
CREATE TABLE IF NOT EXISTS issuance (
    id INTEGER PRIMARY KEY,
    ccer_id TEXT NOT NULL UNIQUE,
    certification_id TEXT NOT NULL REFERENCES reduction (certification_id),
    external_reference TEXT NOT NULL,
    fencing_token INTEGER NOT NULL,
    issued INTEGER NOT NULL,
    series TEXT NOT NULL,
    first_number INTEGER NOT NULL,
    last_number INTEGER NOT NULL,
    create_time TEXT NOT NULL
);
-- Not unique, on purpose: this registry can be searched by reference but does not guard it.
CREATE INDEX IF NOT EXISTS issuance_by_reference ON issuance (external_reference);
CREATE INDEX IF NOT EXISTS issuance_of_reduction ON issuance (certification_id);
CREATE INDEX IF NOT EXISTS issuance_series ON issuance (series, last_number);
"""

# 19 digits like the real ones; a number space for each, so that a mixed-up id never fits by accident.
_PROJECT_IDS: Final = 1_500_000_000_000_000_000
_PROJECT_APPLY_IDS: Final = 1_510_000_000_000_000_000
_REDUCTION_APPLY_IDS: Final = 1_515_000_000_000_000_000
_CERTIFICATION_IDS: Final = 1_520_000_000_000_000_000
_CCER_IDS: Final = 1_530_000_000_000_000_000

_PROJECTS: Final = "SELECT id, apply_id, project_info_id, NULL AS certification_id, NULL AS ccer_id FROM project"
_REDUCTIONS: Final = (
    "SELECT id, apply_id, project_info_id, certification_id, NULL AS ccer_id FROM reduction WHERE registered = "
)
_LISTS: Final = {
    "1": f"{_PROJECTS} WHERE registered = 0",
    "2": f"{_PROJECTS} WHERE registered = 1",
    "3": f"{_REDUCTIONS} 0",
    "4": f"{_REDUCTIONS} 1",
    "5": "SELECT i.id, r.apply_id, r.project_info_id, r.certification_id, i.ccer_id"
    " FROM issuance i JOIN reduction r USING (certification_id)",
}
"""The public lists by ``dataType``; 6 and 7 exist and are empty."""

SECOND_ID: Final = {"2": "project_info_id", "4": "certification_id", "5": "ccer_id"}
"""The id that a list shows besides ``applyId``, and without which it shows no detail."""

ISSUANCE: Final = (
    "SELECT i.*, r.project_info_id, r.start_date, r.end_date FROM issuance i JOIN reduction r USING (certification_id)"
)


@dataclass(frozen=True, slots=True)
class NewProject:
    """A project to register. ``project_info_id`` may be chosen by the caller (19 digits)."""

    project_info_id: str | None
    project_code: str | None
    name: str
    organisation: str
    uscc: str | None
    project_type: str
    project_type_name: str
    methodology: str
    methodology_name: str
    province: str
    capacity_mw: str | None
    expected_per_year: int
    public_start: str | None
    registered: bool


@dataclass(frozen=True, slots=True)
class NewReduction:
    """A certified reduction; dates ``YYYYMMDD``, both inclusive, in UTC+8; ``certified`` in tCO2e."""

    project_info_id: str
    start_date: str
    end_date: str
    certified: int
    public_start: str | None
    registered: bool


@dataclass(frozen=True, slots=True)
class IssueOrder:
    """Issue ``number`` tonnes of the reduction of exactly these dates."""

    project_info_id: str
    start_date: str
    end_date: str
    number: int
    external_reference: str
    fencing_token: int


class CcerStore:
    """Rules and storage of the stand-in."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add_projects(self, projects: list[NewProject]) -> list[sqlite3.Row]:
        """Register all or none."""
        with self._db.transaction():
            return [self._add_project(project) for project in projects]

    def _add_project(self, new: NewProject) -> sqlite3.Row:
        number = self._next_id("project")
        project_info_id = new.project_info_id or str(_PROJECT_IDS + number)
        if self.project(project_info_id) is not None:
            raise Refused("PROJECT_EXISTS", f"项目 {project_info_id} 已存在")
        self._db.run(
            "INSERT INTO project VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            number,
            project_info_id,
            str(_PROJECT_APPLY_IDS + number),
            new.project_code,
            new.name,
            new.organisation,
            new.uscc,
            new.project_type,
            new.project_type_name,
            new.methodology,
            new.methodology_name,
            new.province,
            new.capacity_mw,
            new.expected_per_year,
            new.public_start,
            new.registered,
        )
        return self._must(self.project(project_info_id))

    def add_reductions(self, reductions: list[NewReduction]) -> list[sqlite3.Row]:
        """Record all or none. Reductions of one project never overlap."""
        with self._db.transaction():
            return [self._add_reduction(reduction) for reduction in reductions]

    def _add_reduction(self, new: NewReduction) -> sqlite3.Row:
        if self.project(new.project_info_id) is None:
            raise Refused("PROJECT_NOT_FOUND", f"项目 {new.project_info_id} 不存在")
        if new.start_date > new.end_date:
            raise Refused("PERIOD_REVERSED", f"核算期 {new.start_date}-{new.end_date} 起止颠倒")
        overlap = self._db.row(
            "SELECT 1 FROM reduction WHERE project_info_id = ? AND start_date <= ? AND end_date >= ?",
            new.project_info_id,
            new.end_date,
            new.start_date,
        )
        if overlap is not None:
            raise Refused("REDUCTION_OVERLAPS", f"核算期 {new.start_date}-{new.end_date} 与已有减排量重叠")
        number = self._next_id("reduction")
        self._db.run(
            "INSERT INTO reduction VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            number,
            str(_CERTIFICATION_IDS + number),
            str(_REDUCTION_APPLY_IDS + number),
            new.project_info_id,
            new.start_date,
            new.end_date,
            new.certified,
            new.public_start,
            new.registered,
        )
        return self._must(self.reduction(new.project_info_id, new.start_date, new.end_date))

    def register(self, apply_ids: list[str]) -> None:
        """End the publicity of these applications: from 公示中 to 已登记, all or none."""
        with self._db.transaction():
            for apply_id in apply_ids:
                table = "project" if self._db.row("SELECT 1 FROM project WHERE apply_id = ?", apply_id) else "reduction"
                if not self._db.row(f"SELECT 1 FROM {table} WHERE apply_id = ?", apply_id):  # noqa: S608
                    raise Refused("APPLICATION_NOT_FOUND", f"申请 {apply_id} 不存在")
                self._db.run(f"UPDATE {table} SET registered = 1 WHERE apply_id = ?", apply_id)  # noqa: S608

    def project(self, project_info_id: str) -> sqlite3.Row | None:
        """One project."""
        return self._db.row("SELECT * FROM project WHERE project_info_id = ?", project_info_id)

    def reduction(self, project_info_id: str, start_date: str, end_date: str) -> sqlite3.Row | None:
        """The reduction of exactly these dates."""
        return self._db.row(
            "SELECT * FROM reduction WHERE project_info_id = ? AND start_date = ? AND end_date = ?",
            project_info_id,
            start_date,
            end_date,
        )

    def issue(self, order: IssueOrder) -> sqlite3.Row:
        """Issue, whether or not the reference was used before; durable on return."""
        with self._db.transaction():
            reduction = self.reduction(order.project_info_id, order.start_date, order.end_date)
            if self.project(order.project_info_id) is None:
                raise Refused("PROJECT_NOT_FOUND", f"项目 {order.project_info_id} 不存在")
            if reduction is None or not reduction["registered"]:
                raise Refused("REDUCTION_NOT_REGISTERED", "该核算期没有已登记减排量")
            certification_id = reduction["certification_id"]
            newest = self._db.number(
                "SELECT MAX(fencing_token) FROM issuance WHERE certification_id = ?", certification_id
            )
            if newest > order.fencing_token:
                raise Refused("STALE_TOKEN", f"令牌 {order.fencing_token} 低于已使用的 {newest}")
            issued = self._db.number("SELECT SUM(issued) FROM issuance WHERE certification_id = ?", certification_id)
            if issued + order.number > reduction["certified"]:
                raise Refused(
                    "EXCEEDS_CERTIFIED",
                    f"核证量 {reduction['certified']}，已签发 {issued}，不能再签发 {order.number}",
                )
            project = self._must(self.project(order.project_info_id))
            series = f"{project['project_type']}-{order.end_date[:4]}"
            first = 1 + self._db.number("SELECT MAX(last_number) FROM issuance WHERE series = ?", series)
            number = self._next_id("issuance")
            self._db.run(
                "INSERT INTO issuance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                number,
                str(_CCER_IDS + number),
                certification_id,
                order.external_reference,
                order.fencing_token,
                order.number,
                series,
                first,
                first + order.number - 1,
                datetime.now(UTC).isoformat(timespec="seconds"),
            )
            return self._must(self._db.row(f"{ISSUANCE} WHERE i.id = ?", number))

    def issuances_by_reference(self, external_reference: str) -> list[sqlite3.Row]:
        """All issuances with that reference, oldest first."""
        return self._db.rows(f"{ISSUANCE} WHERE i.external_reference = ? ORDER BY i.id", external_reference)

    def issuances(self, page: int, size: int) -> tuple[int, list[sqlite3.Row]]:
        """How many there are, and one page of them, oldest first."""
        total = self._db.number("SELECT COUNT(*) FROM issuance")
        return total, self._db.rows(f"{ISSUANCE} ORDER BY i.id LIMIT ? OFFSET ?", size, (page - 1) * size)

    def public_list(self, data_type: str, page: int, size: int) -> tuple[int, list[sqlite3.Row]]:
        """One page of a public list: ids with the project's public fields."""
        chosen = _LISTS.get(data_type)
        if chosen is None:
            return 0, []
        total = self._db.number(f"SELECT COUNT(*) FROM ({chosen})")  # noqa: S608  one of our own texts
        rows = self._db.rows(
            "SELECT l.apply_id, l.project_info_id, l.certification_id, l.ccer_id,"  # noqa: S608
            " p.name, p.organisation, p.project_type, p.project_type_name"
            f" FROM ({chosen}) l JOIN project p USING (project_info_id) ORDER BY l.id LIMIT ? OFFSET ?",
            size,
            (page - 1) * size,
        )
        return total, rows

    def public_detail(self, data_type: str, apply_id: str, second_id: str | None) -> sqlite3.Row | None:
        """The project's public fields, with ``certified`` when the application is for a reduction."""
        chosen = _LISTS.get(data_type)
        if chosen is None:
            return None
        column = SECOND_ID.get(data_type)
        condition, values = (f" AND l.{column} = ?", (apply_id, second_id)) if column else ("", (apply_id,))
        return self._db.row(
            "SELECT p.methodology, p.methodology_name, p.province, p.expected_per_year,"  # noqa: S608
            " COALESCE(r.public_start, p.public_start) AS public_start, r.certified"
            f" FROM ({chosen}) l JOIN project p USING (project_info_id)"
            f" LEFT JOIN reduction r ON r.apply_id = l.apply_id WHERE l.apply_id = ?{condition}",
            *values,
        )

    def _next_id(self, table: str) -> int:
        return 1 + self._db.number(f"SELECT MAX(id) FROM {table}")  # noqa: S608  one of our own names

    @staticmethod
    def _must(row: sqlite3.Row | None) -> sqlite3.Row:
        if row is None:
            raise LookupError("a row just written is not there")
        return row
