"""What the younger stand-ins remember: projects, results, issuances, who is inside a market, and what became of units.

A family gives its records their native form; the rules of the book are the same: a reference stands for one order for
ever, a result is never issued beyond its amount, an older token is refused after a newer one. The rules do not know
which registry they serve: ``fields`` holds what is particular to a family, as it came.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from soleclaim.sandbox.database import Database
from soleclaim.sandbox.fields import Refused, Row

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS project (
    code TEXT PRIMARY KEY,
    fields TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS result (
    project TEXT NOT NULL REFERENCES project (code),
    first_day TEXT NOT NULL,
    last_day TEXT NOT NULL,
    amount INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (project, first_day, last_day)
);
CREATE TABLE IF NOT EXISTS issuance (
    id INTEGER PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    token INTEGER NOT NULL,
    project TEXT NOT NULL,
    first_day TEXT NOT NULL,
    last_day TEXT NOT NULL,
    units INTEGER NOT NULL,
    series TEXT NOT NULL,
    first_serial INTEGER NOT NULL,
    last_serial INTEGER NOT NULL,
    create_time TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS issuance_of_result ON issuance (project, first_day, last_day);
CREATE INDEX IF NOT EXISTS issuance_of_series ON issuance (series, last_serial);
-- Who is inside the market, and since when: facts, corrected by later facts, never edited.
CREATE TABLE IF NOT EXISTS membership (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    corrects TEXT,
    fields TEXT NOT NULL,
    create_time TEXT NOT NULL
);
-- What became of units: trades, retirements, surrenders, settlements.
CREATE TABLE IF NOT EXISTS movement (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    fields TEXT NOT NULL,
    create_time TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class NewResult:
    """What a project achieved from ``first_day`` to ``last_day`` (``YYYY-MM-DD``, inclusive).

    ``amount``: whole units that may be issued for it.
    """

    project: str
    first_day: str
    last_day: str
    amount: int
    fields: Row


@dataclass(frozen=True, slots=True)
class Order:
    """Issue ``units`` of one result."""

    project: str
    first_day: str
    last_day: str
    units: int
    reference: str
    token: int


@dataclass(frozen=True, slots=True)
class Issued:
    """An issuance in the book."""

    id: int
    reference: str
    token: int
    project: str
    first_day: str
    last_day: str
    units: int
    series: str
    first_serial: int
    last_serial: int
    create_time: str

    def answers(self, order: Order) -> bool:
        """Whether it is what ``order`` asks."""
        return order == Order(self.project, self.first_day, self.last_day, self.units, self.reference, self.token)


class Ledger:
    """One registry's book in one SQLite file.

    ``series``: how the series is named that a project's units run in, with ``{project}`` and ``{year}``; of a registry
    that issues nothing it does not matter.
    """

    def __init__(self, path: Path, series: str = "") -> None:
        self._db = Database(path, _SCHEMA)
        self._series = series

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- Projects and results --------------------------------------------------------------------------------------

    def add_projects(self, projects: Sequence[tuple[str, Row]]) -> None:
        """Add all or none; a project that is there already is replaced by what is told now."""
        with self._db.transaction():
            for code, fields in projects:
                self._db.run(
                    "INSERT INTO project VALUES (?, ?) ON CONFLICT DO UPDATE SET fields = excluded.fields",
                    code,
                    _told(fields),
                )

    def project(self, code: str) -> Row | None:
        """A project's own fields."""
        row = self._db.row("SELECT fields FROM project WHERE code = ?", code)
        return None if row is None else _read(row["fields"])

    def projects(self) -> list[tuple[str, Row]]:
        """(code, fields) of all, by code."""
        return [(row["code"], _read(row["fields"])) for row in self._db.rows("SELECT * FROM project ORDER BY code")]

    def add_results(self, results: Sequence[NewResult]) -> None:
        """Add all or none. A result may be corrected until something is issued on it."""
        with self._db.transaction():
            for new in results:
                if self.project(new.project) is None:
                    raise Refused("PROJECT_NOT_FOUND", f"there is no project {new.project}")
                if self._issued_of(new.project, new.first_day, new.last_day):
                    raise Refused("RESULT_SETTLED", f"{new.project} {new.first_day} to {new.last_day} is issued on")
                self._db.run(
                    "INSERT INTO result VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = excluded.amount,"
                    " fields = excluded.fields",
                    new.project,
                    new.first_day,
                    new.last_day,
                    new.amount,
                    _told(new.fields),
                )

    def result(self, project: str, first_day: str, last_day: str) -> NewResult | None:
        """The result of exactly these days."""
        row = self._db.row(
            "SELECT * FROM result WHERE project = ? AND first_day = ? AND last_day = ?", project, first_day, last_day
        )
        return None if row is None else _result(row)

    def results(self) -> list[NewResult]:
        """All, by project and day."""
        return [_result(row) for row in self._db.rows("SELECT * FROM result ORDER BY project, first_day, last_day")]

    # -- Issuances -------------------------------------------------------------------------------------------------

    def issue(self, order: Order) -> Issued:
        """Issue, or answer with the first issuance when this very order comes again; durable on return.

        Every check comes before the one write, so that a refusal leaves nothing behind.
        """
        with self._db.transaction():
            first = self.find(order.reference)
            if first is not None:
                if not first.answers(order):
                    raise Refused("REFERENCE_REUSED", f"{order.reference} stands for another order")
                return first
            if self.project(order.project) is None:
                raise Refused("PROJECT_NOT_FOUND", f"there is no project {order.project}")
            result = self.result(order.project, order.first_day, order.last_day)
            if result is None:
                raise Refused("NOT_MEASURED", f"nothing is verified from {order.first_day} to {order.last_day}")
            newest = self._db.number(
                "SELECT MAX(token) FROM issuance WHERE project = ? AND first_day = ? AND last_day = ?",
                order.project,
                order.first_day,
                order.last_day,
            )
            if newest > order.token:
                raise Refused("STALE_TOKEN", f"token {order.token} is older than {newest}, seen for this result")
            issued = self._issued_of(order.project, order.first_day, order.last_day)
            if issued + order.units > result.amount:
                raise Refused("EXCEEDS_RESULT", f"{result.amount} at most, {issued} issued, {order.units} asked")
            self._write(order, self._series.format(project=order.project, year=order.first_day[:4]))
            written = self.find(order.reference)
            if written is None:
                raise LookupError("a row just written is not there")
            return written

    def _write(self, order: Order, series: str) -> None:
        last = self._db.number("SELECT MAX(last_serial) FROM issuance WHERE series = ?", series)
        self._db.run(
            "INSERT INTO issuance (reference, token, project, first_day, last_day, units, series, first_serial,"
            " last_serial, create_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            order.reference,
            order.token,
            order.project,
            order.first_day,
            order.last_day,
            order.units,
            series,
            last + 1,
            last + order.units,
            _now(),
        )

    def _issued_of(self, project: str, first_day: str, last_day: str) -> int:
        return self._db.number(
            "SELECT SUM(units) FROM issuance WHERE project = ? AND first_day = ? AND last_day = ?",
            project,
            first_day,
            last_day,
        )

    def find(self, reference: str) -> Issued | None:
        """The issuance with that reference."""
        row = self._db.row("SELECT * FROM issuance WHERE reference = ?", reference)
        return None if row is None else _issued(row)

    def issuances(self, *, after: int = 0, limit: int = 1_000_000) -> list[Issued]:
        """Issuances with an id above ``after``, oldest first."""
        return [
            _issued(row)
            for row in self._db.rows("SELECT * FROM issuance WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        ]

    def issuance_count(self) -> int:
        """How many there are."""
        return self._db.number("SELECT COUNT(*) FROM issuance")

    # -- Members and movements -------------------------------------------------------------------------------------

    def add_membership(self, code: str, fields: Row, corrects: str | None) -> None:
        """State that somebody is inside; the very same statement again changes nothing."""
        with self._db.transaction():
            known = self._db.row("SELECT fields, corrects FROM membership WHERE code = ?", code)
            if known is not None:
                if (known["fields"], known["corrects"]) != (_told(fields), corrects):
                    raise Refused("ENTRY_EXISTS", f"{code} says something else already; correct it by a new entry")
                return
            self._db.run(
                "INSERT INTO membership (code, corrects, fields, create_time) VALUES (?, ?, ?, ?)",
                code,
                corrects,
                _told(fields),
                _now(),
            )

    def memberships(self, *, after: int = 0, limit: int = 1_000_000) -> list[tuple[int, str, str | None, Row]]:
        """(id, code, code of what it corrects, fields) with an id above ``after``, oldest first."""
        return [
            (row["id"], row["code"], row["corrects"], _read(row["fields"]))
            for row in self._db.rows("SELECT * FROM membership WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        ]

    def membership_count(self) -> int:
        """How many there are."""
        return self._db.number("SELECT COUNT(*) FROM membership")

    def add_movement(self, kind: str, fields: Row) -> int:
        """Note what became of units; its number."""
        with self._db.transaction():
            self._db.run(
                "INSERT INTO movement (kind, fields, create_time) VALUES (?, ?, ?)", kind, _told(fields), _now()
            )
            return self._db.number("SELECT MAX(id) FROM movement")

    def movements(self, kind: str, *, after: int = 0, limit: int = 1_000_000) -> list[tuple[int, Row]]:
        """(number, fields) of one kind with a number above ``after``, oldest first."""
        return [
            (row["id"], _read(row["fields"]))
            for row in self._db.rows(
                "SELECT * FROM movement WHERE kind = ? AND id > ? ORDER BY id LIMIT ?", kind, after, limit
            )
        ]

    def movement_count(self, kind: str) -> int:
        """How many there are of one kind."""
        return self._db.number("SELECT COUNT(*) FROM movement WHERE kind = ?", kind)


def _issued(row: sqlite3.Row) -> Issued:
    return Issued(**{key: row[key] for key in row.keys()})  # noqa: SIM118  a sqlite3.Row iterates over values


def _result(row: sqlite3.Row) -> NewResult:
    return NewResult(row["project"], row["first_day"], row["last_day"], row["amount"], _read(row["fields"]))


def _told(fields: Row) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True)


def _read(text: str) -> Row:
    fields: Row = json.loads(text)
    return fields


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
