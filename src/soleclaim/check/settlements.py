"""Certificates that moved with power: each once (R8), by a line that counts, and only issued ones."""

from typing import Final

from soleclaim.check.findings import Findings
from soleclaim.check.source import Snapshot

_SETTLED: Final = 1
"""The state of a line that counts; 2 is that of one that contradicts another."""

_LIVE: Final = (
    "SELECT b.series_key, b.series, b.start_serial, b.end_serial, l.registry, l.settlement_id, t.state"
    " FROM settlement_block b JOIN settlement_line l ON l.number = b.number"
    " JOIN settlement_standing t ON t.number = b.number WHERE b.live ORDER BY b.series_key, b.start_serial, b.number"
)
_NOT_LIVE: Final = (
    "SELECT DISTINCT l.number, l.registry, l.settlement_id FROM settlement_standing t"
    " JOIN settlement_line l ON l.number = t.number JOIN settlement_block b ON b.number = t.number"
    " WHERE t.state = 1 AND NOT b.live ORDER BY l.number"
)
_ISSUED: Final = (
    "SELECT b.series, b.start_serial, b.end_serial, l.registry, l.settlement_id,"
    " COALESCE(SUM(CASE WHEN u.end_serial < b.end_serial THEN u.end_serial ELSE b.end_serial END"
    " - CASE WHEN u.start_serial > b.start_serial THEN u.start_serial ELSE b.start_serial END + 1), 0)"
    " FROM settlement_block b JOIN settlement_line l ON l.number = b.number"
    " LEFT JOIN unit_block u ON u.series_key = b.series_key AND u.series = b.series"
    " AND u.start_serial <= b.end_serial AND b.start_serial <= u.end_serial WHERE b.live"
    " GROUP BY b.series, b.start_serial, b.end_serial, l.registry, l.settlement_id, b.number ORDER BY b.number"
)
_CONTRADICTIONS: Final = (
    "SELECT DISTINCT l.number, l.registry, l.settlement_id, o.registry, o.settlement_id, o.number"
    " FROM settlement_standing t JOIN settlement_line l ON l.number = t.number"
    " JOIN settlement_block b ON b.number = t.number JOIN settlement_block c ON c.live AND c.series_key = b.series_key"
    " AND c.start_serial <= b.end_serial AND b.start_serial <= c.end_serial"
    " JOIN settlement_line o ON o.number = c.number WHERE t.state = 2 ORDER BY l.number, o.number"
)


def check_settlements(lookup: Snapshot, findings: Findings) -> None:
    """I3 for what moved, and what a person must settle: two lines that move one certificate."""
    key, reached, holder = None, -1, ""
    for series_key, series, start, end, registry, line, state in lookup.rows(_LIVE):
        findings.saw("I3", "certificates moved")
        if series_key != key:
            key, reached = series_key, -1
        if start <= reached:
            findings.violated("MOVED_TWICE", registry=registry, line=line, series=series, start=start, other=holder)
        if end > reached:
            reached, holder = end, f"{registry} {line}"
        if state != _SETTLED:
            findings.violated("MOVED_WRONGLY", registry=registry, line=line)
    for _, registry, line in lookup.rows(_NOT_LIVE):
        findings.violated("MOVED_WRONGLY", registry=registry, line=line)
    for series, start, end, registry, line, issued in lookup.rows(_ISSUED):
        if issued != end - start + 1:
            findings.violated("MOVED_UNISSUED", registry=registry, line=line, series=series, start=start, end=end)
    for _, registry, line, other_registry, other, _ in lookup.rows(_CONTRADICTIONS):
        findings.told_fact(
            "SETTLEMENTS_CONTRADICT", registry=registry, line=line, other_registry=other_registry, other=other
        )
