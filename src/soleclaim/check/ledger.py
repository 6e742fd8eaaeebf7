"""I3 and I4: the ledger of native serials."""

from collections import defaultdict
from typing import Final

from soleclaim.check.activities import ISSUED, ISSUING, STATES
from soleclaim.check.findings import Findings
from soleclaim.check.source import Snapshot, in_step

SERIALS_TWICE: Final = 3
"""Kind of a dispute by its number in the store (protos: DisputeKind)."""

_ORPHANS: Final = (
    "SELECT b.registry, b.series, b.start_serial, b.end_serial, b.lock_id, b.token FROM unit_block b"
    " LEFT JOIN issuance i ON i.lock_id = b.lock_id AND i.token = b.token AND i.registry = b.registry"
    " WHERE i.lock_id IS NULL"
)
_STRAYS: Final = (
    "SELECT i.registry, i.native_issuance_id, i.lock_id, l.state, l.registry FROM issuance i"  # noqa: S608  constants
    " LEFT JOIN issuance_lock l ON l.lock_id = i.lock_id"
    f" WHERE l.lock_id IS NULL OR l.registry <> i.registry OR l.state NOT IN ({ISSUING}, {ISSUED})"
)
_ISSUANCES: Final = (
    "SELECT i.lock_id, i.token, i.registry, i.native_issuance_id, i.units, m.lock_id FROM issuance i"
    " LEFT JOIN imported_issuance m ON m.registry = i.registry AND m.native_issuance_id = i.native_issuance_id"
    " ORDER BY i.lock_id"
)
_UNTOLD: Final = (
    "SELECT b.registry, b.series, b.start_serial, b.end_serial, b.lock_id FROM disputed_block b"  # noqa: S608  constants
    f" WHERE NOT EXISTS (SELECT 1 FROM dispute d WHERE d.late_lock_id = b.lock_id AND d.kind = {SERIALS_TWICE})"
)


def check_ledger(lookup: Snapshot, findings: Findings) -> None:
    """Sweep every series; add up every issuance; find what hangs in the air."""
    _series(lookup, findings)
    _sums(lookup, findings)
    for registry, series, start, end, lock_id, token in lookup.rows(_ORPHANS):
        findings.violated(
            "BLOCK_WITHOUT_ISSUANCE",
            registry=registry,
            series=series,
            start=start,
            end=end,
            lock=lock_id,
            token=token,
        )
    for registry, native_id, lock_id, state, other in lookup.rows(_STRAYS):
        findings.violated(
            "ISSUANCE_WITHOUT_LOCK",
            registry=registry,
            native=native_id,
            lock=lock_id,
            state=STATES[state] if state is not None else "missing",
            other=other or "none",
        )
    for registry, series, start, end, lock_id in lookup.rows(_UNTOLD):
        findings.saw("I3", "disputed blocks")
        findings.violated(
            "SERIALS_NOT_IN_DISPUTE", registry=registry, series=series, start=start, end=end, lock=lock_id
        )
    findings.notes.append(
        (
            "I4: this release records no holder or status of a block; proven is that each stands under one issuance",
            "I4：本版本尚不记录区段的持有人与状态；所证明的是每个区段只属于一笔签发",
        )
    )


def _series(lookup: Snapshot, findings: Findings) -> None:
    """I3: blocks of one series in order of their start; each must begin after all before it ended."""
    sql = (
        "SELECT registry, series, start_serial, end_serial, lock_id FROM unit_block ORDER BY "  # noqa: S608  constants
        f"{lookup.binary('registry')}, {lookup.binary('series')}, start_serial"
    )
    series, reached, holder = ("", ""), -1, 0
    for registry, name, start, end, lock_id in lookup.rows(sql):
        findings.saw("I3", "blocks")
        findings.saw("I4", "blocks")
        if end < start:
            findings.violated("BLOCK_REVERSED", registry=registry, series=name, start=start, end=end, lock=lock_id)
        if (registry, name) != series:
            findings.saw("I3", "series")
            series, reached = (registry, name), -1
        if start <= reached:
            findings.violated(
                "BLOCKS_OVERLAP",
                registry=registry,
                series=name,
                start=start,
                end=end,
                lock=lock_id,
                other=holder,
                before=reached,
            )
        if end > reached:
            reached, holder = end, lock_id


def _sums(lookup: Snapshot, findings: Findings) -> None:
    """I3: the blocks of an issuance hold exactly its units, those in dispute included.

    An issuance of the past may have no serials at all: then they are not known.
    """
    issuances = lookup.rows(_ISSUANCES)
    blocks = lookup.rows(
        "SELECT lock_id, token, start_serial, end_serial FROM unit_block"
        " UNION ALL SELECT lock_id, token, start_serial, end_serial FROM disputed_block ORDER BY lock_id"
    )
    for lock_id, (issued, held) in in_step(issuances, blocks):
        counted: dict[int, int] = defaultdict(int)
        for _, token, start, end in held:
            counted[token] += end - start + 1
        for _, token, registry, native_id, units, imported in issued:
            findings.saw("I3", "issuances")
            findings.saw("I4", "issuances")
            if imported:
                findings.saw("I3", "imported issuances")
            if imported and not counted[token]:
                findings.saw("I3", "issuances without known serials")
            elif counted[token] != units:
                findings.violated(
                    "BLOCKS_COUNT_WRONG",
                    registry=registry,
                    native=native_id,
                    lock=lock_id,
                    units=units,
                    counted=counted[token],
                )
