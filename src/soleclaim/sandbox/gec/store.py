"""What the green certificate stand-in remembers: filings, meter readings, issuances and tombstones."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from soleclaim.sandbox.database import Database
from soleclaim.sandbox.fields import Refused

KWH_PER_CERTIFICATE: Final = 1_000
MAX_SEQUENCE: Final = 9_999_999
"""Seven digits of the certificate code (the width is our assumption)."""
QUANTITY_CLASS: Final = "1"
"""One certificate stands for 1,000 kWh; the only class this stand-in issues."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS filing (
    filing_code TEXT PRIMARY KEY,
    project_name TEXT NOT NULL,
    owner TEXT NOT NULL,
    uscc TEXT,
    project_code TEXT,
    energy_type TEXT NOT NULL,
    province TEXT NOT NULL,
    capacity_mw TEXT,
    tradable INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reading (
    filing_code TEXT NOT NULL REFERENCES filing (filing_code),
    month TEXT NOT NULL,
    kwh INTEGER NOT NULL,
    PRIMARY KEY (filing_code, month)
);
CREATE TABLE IF NOT EXISTS issuance (
    id INTEGER PRIMARY KEY,
    external_reference TEXT NOT NULL UNIQUE,
    fencing_token INTEGER NOT NULL,
    filing_code TEXT NOT NULL REFERENCES filing (filing_code),
    month TEXT NOT NULL,
    certificates INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL,
    trade_class TEXT NOT NULL,
    create_time TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS issuance_of_month ON issuance (filing_code, month);
CREATE TABLE IF NOT EXISTS voided_reference (
    external_reference TEXT PRIMARY KEY,
    create_time TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class NewFiling:
    """A project to file (建档立卡). ``tradable`` is false for self-use and legacy hydro."""

    filing_code: str
    project_name: str
    owner: str
    uscc: str | None
    project_code: str | None
    energy_type: str
    province: str
    capacity_mw: str | None
    tradable: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Settled generation of one month ``YYYY-MM`` in UTC+8."""

    filing_code: str
    month: str
    kwh: int


@dataclass(frozen=True, slots=True)
class IssueOrder:
    """Issue ``certificates`` of one month's generation."""

    filing_code: str
    month: str
    certificates: int
    external_reference: str
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a month yields: certificates for ``kwh`` + ``carried_in_kwh``, the rest goes to the next month."""

    kwh: int
    carried_in_kwh: int
    issued: int

    @property
    def issuable(self) -> int:
        """Certificates that may be issued for the month in all."""
        return (self.kwh + self.carried_in_kwh) // KWH_PER_CERTIFICATE


class GecStore:
    """Rules and storage of the stand-in."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add_filings(self, filings: list[NewFiling]) -> None:
        """File all or none."""
        with self._db.transaction():
            for new in filings:
                if self.filing(new.filing_code) is not None:
                    raise Refused("FILING_EXISTS", f"{new.filing_code} is filed already")
                self._db.run(
                    "INSERT INTO filing VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    new.filing_code,
                    new.project_name,
                    new.owner,
                    new.uscc,
                    new.project_code,
                    new.energy_type,
                    new.province,
                    new.capacity_mw,
                    new.tradable,
                )

    def add_readings(self, readings: list[Reading]) -> None:
        """Record all or none. A reading may be corrected until certificates rest on it."""
        with self._db.transaction():
            for reading in readings:
                if self.filing(reading.filing_code) is None:
                    raise Refused("FILING_NOT_FOUND", f"{reading.filing_code} is not filed")
                # A change here would change what is carried into every later month as well.
                settled = self._db.row(
                    "SELECT 1 FROM issuance WHERE filing_code = ? AND month >= ?", reading.filing_code, reading.month
                )
                if settled is not None:
                    raise Refused("MONTH_SETTLED", f"{reading.month} or a later month is issued already")
                self._db.run(
                    "INSERT INTO reading VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET kwh = excluded.kwh",
                    reading.filing_code,
                    reading.month,
                    reading.kwh,
                )

    def filing(self, filing_code: str) -> sqlite3.Row | None:
        """One filing."""
        return self._db.row("SELECT * FROM filing WHERE filing_code = ?", filing_code)

    def outcome(self, filing_code: str, month: str) -> Outcome | None:
        """What the month yields; ``None`` while it, or a month before it since the first, is not measured."""
        reading = self._db.row("SELECT kwh FROM reading WHERE filing_code = ? AND month = ?", filing_code, month)
        if reading is None:
            return None
        earlier = self._db.row(
            "SELECT COUNT(*) AS months, MIN(month) AS first, SUM(kwh) AS kwh FROM reading"
            " WHERE filing_code = ? AND month < ?",
            filing_code,
            month,
        )
        carried_in_kwh = 0
        if earlier is not None and earlier["months"]:
            if _months_between(earlier["first"], month) != earlier["months"]:
                return None
            carried_in_kwh = earlier["kwh"] % KWH_PER_CERTIFICATE
        issued = self._db.number(
            "SELECT SUM(certificates) FROM issuance WHERE filing_code = ? AND month = ?", filing_code, month
        )
        return Outcome(reading["kwh"], carried_in_kwh, issued)

    def issue(self, orders: list[IssueOrder]) -> list[sqlite3.Row | Refused]:
        """An issuance or a refusal for each order, in order; durable on return."""
        results: list[sqlite3.Row | Refused] = []
        with self._db.transaction():
            for order in orders:
                try:
                    results.append(self._issue(order))
                except Refused as refused:
                    results.append(refused)
        return results

    def _issue(self, order: IssueOrder) -> sqlite3.Row:
        """Every check comes before the one write, so that a refusal leaves nothing behind."""
        first = self.issuance(order.external_reference)
        if first is not None:
            if _content(first) != order:
                raise Refused("REFERENCE_REUSED", f"{order.external_reference} stands for another order")
            return first
        if self.is_voided(order.external_reference):
            raise Refused("REFERENCE_VOIDED", f"{order.external_reference} is voided for ever")
        filing = self.filing(order.filing_code)
        if filing is None:
            raise Refused("FILING_NOT_FOUND", f"{order.filing_code} is not filed")
        newest = self._db.number(
            "SELECT MAX(fencing_token) FROM issuance WHERE filing_code = ? AND month = ?",
            order.filing_code,
            order.month,
        )
        if newest > order.fencing_token:
            raise Refused("STALE_TOKEN", f"token {order.fencing_token} is older than {newest}, seen for this month")
        outcome = self.outcome(order.filing_code, order.month)
        if outcome is None:
            raise Refused("NOT_MEASURED", f"{order.month} has no settled reading")
        if outcome.issued + order.certificates > min(outcome.issuable, MAX_SEQUENCE):
            raise Refused(
                "EXCEEDS_READING",
                f"{outcome.issuable} certificates at most, {outcome.issued} issued, {order.certificates} asked",
            )
        self._db.run(
            "INSERT INTO issuance (external_reference, fencing_token, filing_code, month, certificates,"
            " first_sequence, trade_class, create_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            order.external_reference,
            order.fencing_token,
            order.filing_code,
            order.month,
            order.certificates,
            outcome.issued + 1,
            "T" if filing["tradable"] else "N",
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        issued = self.issuance(order.external_reference)
        if issued is None:
            raise LookupError("a row just written is not there")
        return issued

    def issuance(self, external_reference: str) -> sqlite3.Row | None:
        """The issuance with that reference."""
        return self._db.row("SELECT * FROM issuance WHERE external_reference = ?", external_reference)

    def is_voided(self, external_reference: str) -> bool:
        """Whether the reference has a tombstone."""
        found = self._db.row("SELECT 1 FROM voided_reference WHERE external_reference = ?", external_reference)
        return found is not None

    def void(self, external_reference: str) -> sqlite3.Row | None:
        """Set a tombstone unless the reference is used: then return the issuance and change nothing."""
        with self._db.transaction():
            issued = self.issuance(external_reference)
            if issued is None:
                self._db.run(
                    "INSERT INTO voided_reference VALUES (?, ?) ON CONFLICT DO NOTHING",
                    external_reference,
                    datetime.now(UTC).isoformat(timespec="seconds"),
                )
            return issued

    def issuances(self, page: int, size: int) -> tuple[int, list[sqlite3.Row]]:
        """How many there are, and one page of them, oldest first."""
        total = self._db.number("SELECT COUNT(*) FROM issuance")
        return total, self._db.rows("SELECT * FROM issuance ORDER BY id LIMIT ? OFFSET ?", size, (page - 1) * size)


def _content(row: sqlite3.Row) -> IssueOrder:
    return IssueOrder(
        filing_code=row["filing_code"],
        month=row["month"],
        certificates=row["certificates"],
        external_reference=row["external_reference"],
        fencing_token=row["fencing_token"],
    )


def _months_between(earlier: str, later: str) -> int:
    (year, month), (to_year, to_month) = (map(int, text.split("-")) for text in (earlier, later))
    return (to_year - year) * 12 + to_month - month
