"""A report of what became of a file: as CSV, and as a picture."""

import csv
from pathlib import Path
from typing import Final

from soleclaim.history.run import STATES, Report

COLUMNS: Final = ("line", "project", "issuance", "state", "joined", "activity", "detail")


def write_csv(path: Path, report: Report) -> None:
    """A row per row of the file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in report.fates:
            writer.writerow(
                (each.line, each.project, each.issuance, each.state, str(each.joined).lower(), each.activity,
                 each.detail)
            )  # fmt: skip


def draw(path: Path, report: Report, title: str) -> None:
    """Rows by what became of them, and why. PNG, SVG or PDF."""
    from matplotlib.figure import Figure  # noqa: PLC0415  of the extra `pictures`

    states = (*STATES, "SKIPPED", "FAULTY")
    figure = Figure(figsize=(10, 4), layout="constrained")
    fates, why = figure.subplots(1, 2)
    bars = fates.barh(states, [report.count(each) for each in states])
    fates.bar_label(bars)
    fates.invert_yaxis()
    fates.set(xlabel="rows", title=title)
    reasons = [(f"{state.lower()}: {reason}", count) for state, found in report.reasons.items()
               for reason, count in found.most_common()]  # fmt: skip
    bars = why.barh([name for name, _ in reasons], [count for _, count in reasons])
    why.bar_label(bars)
    why.invert_yaxis()
    why.set(xlabel="rows", title="Why")
    figure.savefig(path)
