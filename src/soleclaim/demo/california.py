"""California's offset credits as published: one more registry, replayed in the order of its issuance dates."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from importlib import resources
from itertools import groupby
from typing import Final
from zoneinfo import ZoneInfo

from soleclaim.core.period import Period

REGISTRY: Final = "arb"
INSTRUMENT: Final = "ARBOC"
ZONE: Final = ZoneInfo("America/Los_Angeles")
"""The published civil days are read in California's own time."""

ACTIVITY_TYPES: Final = {"FR": "forest", "LS": "livestock", "MM": "mine-methane", "OD": "ozone-depleting", "RC": "rice"}
"""By the third and fourth letter of the project id."""

_WITHOUT_CREDITS: Final = {
    "zero_reporting_period": "reporting period without credits",
    "reversal": "reversal",
    "first": "reforestation deferral",
}
"""Why a row of this kind may carry no credits."""

SKIPPED_ZH: Final = {
    "reporting period without credits": "无签发量的报告期",
    "reversal": "逆转",
    "reforestation deferral": "再造林延期",
}


@dataclass(frozen=True, slots=True)
class Issuance:
    """One row that carries credits, in tCO2e; both days inclusive."""

    issuance_id: str
    project_id: str
    first_day: date
    last_day: date
    credits_t: int
    issuance_date: str

    @property
    def period(self) -> Period:
        """From the midnight of the first day to the midnight after the last."""
        after = self.last_day + timedelta(days=1)
        return Period.of(datetime.combine(self.first_day, time(), ZONE), datetime.combine(after, time(), ZONE))

    @property
    def activity_type(self) -> str:
        """What the project id says the project is."""
        return ACTIVITY_TYPES.get(self.project_id[2:4], "other")


@dataclass(frozen=True, slots=True)
class Table:
    """The whole table: what can be issued, and how many rows cannot, by reason."""

    issuances: tuple[Issuance, ...]
    skipped: dict[str, int]


def load_table() -> Table:
    """Every row of the extract, in the order of the file."""
    path = resources.files("soleclaim.demo").joinpath("data", "california_issuances", "issuances.csv")
    issuances, skipped = [], Counter[str]()
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        if not row["credits"]:
            skipped[_WITHOUT_CREDITS.get(row["kind"], row["kind"])] += 1
            continue
        issuances.append(
            Issuance(
                issuance_id=row["carb_issuance_id"],
                project_id=row["carb_project_id"],
                first_day=date.fromisoformat(row["period_start"]),
                last_day=date.fromisoformat(row["period_end"]),
                credits_t=int(row["credits"]),
                issuance_date=row["issuance_date"],
            )
        )
    return Table(tuple(issuances), dict(skipped))


def batches(rows: Sequence[Issuance], *, limit: int = 500) -> Iterator[list[Issuance]]:
    """The rows in the order of issuance dates, cut so that no batch holds a project twice.

    Within a day the order is by id, except that a project's second issuance comes after the first of all others.
    """
    batch: list[Issuance] = []
    held: set[str] = set()
    ordered = sorted(rows, key=lambda row: (row.issuance_date, row.issuance_id))
    for _, day in groupby(ordered, key=lambda row: row.issuance_date):
        for layer in _layers(day):
            projects = {row.project_id for row in layer}
            if projects & held or len(batch) + len(layer) > limit:
                yield batch
                batch, held = [], set()
            batch += layer
            held |= projects
    if batch:
        yield batch


def _layers(day: Iterator[Issuance]) -> list[list[Issuance]]:
    layers: list[list[Issuance]] = []
    seen: Counter[str] = Counter()
    for row in day:
        if seen[row.project_id] == len(layers):
            layers.append([])
        layers[seen[row.project_id]].append(row)
        seen[row.project_id] += 1
    return layers
