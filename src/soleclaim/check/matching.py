"""I2 and I10 between the three who know of an issuance: native registry, lookup and journal, matched by reference.

The native registries are read first, then the journals, then the lookup. So what the first knows and the last does
not is a violation; the other way round it may have happened meanwhile, and is asked again before it counts.
"""

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from soleclaim.check.activities import ISSUED, ISSUING, STATES, instant
from soleclaim.check.findings import Findings
from soleclaim.check.natives import BY_NATIVE_ID, NativeCopy, blocks_text
from soleclaim.check.source import Row, Snapshot, in_step

JOURNAL_FINAL_NO: Final = "REFUSED"
JOURNAL_FINAL_YES: Final = "ISSUED"
JOURNAL_WAITS: Final = "UNDER_REVIEW"
"""Not final, so the lookup, which is read later, may know more; but nothing has been sent natively."""

_REFERENCE: Final = f"CASE WHEN i.reference = '' THEN '{BY_NATIVE_ID}' || i.native_issuance_id ELSE i.reference END"
"""An issuance that was taken over from history has no reference: its native id tells it."""

_MAX_HINTS: Final = 100
"""Violations for which the lookup is searched once more, to say what became of the reference."""


class Native(NamedTuple):
    """A native record."""

    reference: str
    native_id: str
    token: int
    start_us: int
    end_us: int
    units: int
    blocks: str


class Grant(NamedTuple):
    """A committed issuance, or a grant that is being issued (``native_id`` None)."""

    reference: str
    native_id: str | None
    token: int
    start_us: int
    end_us: int
    units: int
    lock_id: int


class Entry(NamedTuple):
    """An entry of a registry's journal."""

    reference: str
    stage: str
    native_id: str
    token: int
    units: int
    blocks: str


@dataclass(frozen=True, slots=True)
class Known:
    """All that the parties know of one reference. ``serials`` per (lock, token), as the lookup's ledger has them."""

    reference: str
    natives: list[Native]
    grants: list[Grant]
    entries: list[Entry]
    serials: dict[tuple[int, int], str]

    @property
    def committed(self) -> list[Grant]:
        """Grants under which something was issued."""
        return [grant for grant in self.grants if grant.native_id is not None]


@dataclass(frozen=True, slots=True)
class Parties:
    """Who knows of a registry's issuances. What was not given is ``None``, and then not compared."""

    registry: str
    lookup: Snapshot
    native: NativeCopy | None
    journal: Snapshot | None
    in_journal_now: Callable[[str], Awaitable[bool]]
    """Whether a reference is in the journal at this moment."""


async def check_registry(parties: Parties, findings: Findings) -> None:
    """Match every issuance of one registry."""
    lookup, journal = parties.lookup, parties.journal
    streams = (
        parties.native.rows() if parties.native else iter(()),
        lookup.rows(_grants_sql(lookup), parties.registry, parties.registry),
        lookup.rows(_blocks_sql(lookup), parties.registry),
        journal.rows(_journal_sql(journal)) if journal else iter(()),
    )
    hints = 0
    for reference, (native_rows, grant_rows, block_rows, entry_rows) in in_step(*streams):
        known = Known(
            reference=reference,
            natives=[Native(*row) for row in native_rows],
            grants=[Grant(*row) for row in grant_rows],
            entries=[Entry._make((*row[:5], _journal_blocks(row[5]))) for row in entry_rows],
            serials=_by_token(block_rows),
        )
        if parties.native is not None:
            findings.saw("I2", "native issuances", len(known.natives))
            if known.natives and not known.grants:
                hints += 1
                hint = _hint(parties, reference) if hints <= _MAX_HINTS else "see the lookup's history"
                _without_lock(parties.registry, known.natives, hint, findings)
            await _compare(parties, known, findings)
        findings.saw("I2", "committed issuances", len(known.committed))
        findings.saw("I2", "grants being issued", len(known.grants) - len(known.committed))
        if journal is not None:
            await _answers(parties, known, findings)


def _without_lock(registry: str, natives: Sequence[Native], hint: str, findings: Findings) -> None:
    for native in natives:
        findings.violated(
            "ISSUED_WITHOUT_LOCK",
            registry=registry,
            native=native.native_id,
            reference=native.reference or "none",
            units=native.units,
            period=f"{instant(native.start_us)}/{instant(native.end_us)}",
            hint=hint,
        )


def _hint(parties: Parties, reference: str) -> str:
    """What the lookup knows of a reference, whatever its state."""
    sql = "SELECT lock_id, state FROM issuance_lock WHERE registry = ? AND reference = ?"
    known = [f"lock {row[0]} is {STATES[row[1]]}" for row in parties.lookup.rows(sql, parties.registry, reference)]
    return "; ".join(known) or "the lookup never heard of this reference"


async def _compare(parties: Parties, known: Known, findings: Findings) -> None:
    """One native issuance, one grant, and both say the same."""
    registry, natives, grants = parties.registry, known.natives, known.grants
    if len(natives) > 1 and grants:
        findings.violated(
            "ISSUED_TWICE",
            registry=registry,
            reference=known.reference,
            count=len(natives),
            native=", ".join(native.native_id for native in natives),
        )
    if len(grants) > 1:
        findings.violated(
            "REFERENCE_ON_TWO_LOCKS",
            registry=registry,
            reference=known.reference,
            lock=", ".join(str(grant.lock_id) for grant in grants),
        )
    for grant in grants:
        if natives:
            _same(registry, _nearest(natives, grant), grant, known.serials.get((grant.lock_id, grant.token)), findings)
        elif grant.native_id is not None and parties.native and not await _stands_now(parties.native, grant):
            findings.violated(
                "NOT_IN_NATIVE_REGISTRY",
                registry=registry,
                lock=grant.lock_id,
                native=grant.native_id,
                reference=grant.reference,
            )


async def _stands_now(native: NativeCopy, grant: Grant) -> bool:
    """What was committed after the native registry was read is there now; what is older was there then."""
    return not grant.reference.startswith(BY_NATIVE_ID) and await native.stands_now(grant.reference)


def _nearest(natives: Sequence[Native], grant: Grant) -> Native:
    return next((native for native in natives if native.native_id == grant.native_id), natives[0])


def _same(registry: str, native: Native, grant: Grant, blocks: str | None, findings: Findings) -> None:
    """Period, units, token, native id and serials; the last two once the issuance is committed."""
    compared: list[tuple[str, object, object]] = [
        ("period start", instant(grant.start_us), instant(native.start_us)),
        ("period end", instant(grant.end_us), instant(native.end_us)),
        ("units", grant.units, native.units),
    ]
    if grant.native_id is not None:
        compared += [
            ("native issuance id", grant.native_id, native.native_id),
            ("serials", blocks or "[]", native.blocks),
        ]
    imported = grant.reference.startswith(BY_NATIVE_ID)
    if imported and blocks is None:
        compared.pop()  # its serials were not known when it was taken over
    for field, ours, theirs in compared:
        if ours != theirs:
            findings.violated(
                "DIFFERS_FROM_NATIVE",
                registry=registry,
                lock=grant.lock_id,
                reference=grant.reference,
                field=field,
                ours=ours,
                theirs=theirs,
            )
    findings.saw("I7", "native records")
    if grant.token != native.token and not imported:
        findings.violated(
            "TOKEN_DIFFERS_NATIVELY",
            registry=registry,
            lock=grant.lock_id,
            reference=grant.reference,
            ours=grant.token,
            theirs=native.token,
        )


async def _answers(parties: Parties, known: Known, findings: Findings) -> None:
    """What the adapter answers for a reference, now and on every repeat, is what happened."""
    findings.saw("I10", "journal entries", len(known.entries))
    for entry in known.entries:
        fact = _fact_against(entry, known)
        if fact:
            findings.violated(
                "ANSWERED_OTHERWISE",
                registry=parties.registry,
                reference=known.reference,
                stage=entry.stage,
                fact=fact,
            )
    if known.reference.startswith(BY_NATIVE_ID):
        return  # It was issued before the adapter was there.
    if known.entries or not known.grants or await parties.in_journal_now(known.reference):
        return
    for grant in known.grants:
        findings.violated(
            "NOT_IN_JOURNAL",
            registry=parties.registry,
            reference=known.reference,
            lock=grant.lock_id,
            native=grant.native_id or "none",
        )


def _fact_against(entry: Entry, known: Known) -> str | None:
    """The fact that the entry's final answer denies, if any."""
    natives, committed = known.natives, known.committed
    if entry.stage in (JOURNAL_FINAL_NO, JOURNAL_WAITS) and natives:
        return f"native issuance {natives[0].native_id} exists"
    if entry.stage == JOURNAL_FINAL_NO and committed:
        return f"lock {committed[0].lock_id} carries a committed issuance"
    if entry.stage == JOURNAL_FINAL_YES:
        return _difference(entry, natives, committed[0]) if committed else "the lookup has committed nothing for it"
    return None


def _difference(entry: Entry, natives: Sequence[Native], grant: Grant) -> str | None:
    answered = (entry.native_id, entry.token, entry.units)
    happened = (grant.native_id, grant.token, grant.units)
    if answered != happened:
        return f"it answered {answered} and the lookup has {happened}"
    if natives and all(entry.blocks != native.blocks for native in natives):
        return f"it answered serials {entry.blocks} and the native registry has {natives[0].blocks}"
    return None


def _by_token(rows: Sequence[Row]) -> dict[tuple[int, int], str]:
    """Serials per (lock, token)."""
    found: dict[tuple[int, int], list[tuple[str, int, int]]] = defaultdict(list)
    for _, lock_id, token, series, start, end in rows:
        found[lock_id, token].append((series, start, end))
    return {key: blocks_text(blocks) for key, blocks in found.items()}


def _journal_blocks(text: str) -> str:
    """The journal's JSON list of [series, start, end]."""
    return blocks_text([(series, start, end) for series, start, end in json.loads(text)])


def _grants_sql(lookup: Snapshot) -> str:
    return (
        "SELECT reference, native_id, token, start_us, end_us, units, lock_id FROM ("  # noqa: S608  constants
        f"SELECT {_REFERENCE} AS reference, i.native_issuance_id AS native_id, i.token, l.period_start_us AS start_us,"
        " l.period_end_us AS end_us, i.units, i.lock_id FROM issuance i JOIN issuance_lock l ON l.lock_id = i.lock_id"
        f" WHERE i.registry = ? AND l.state IN ({ISSUING}, {ISSUED})"
        " UNION ALL SELECT reference, NULL, token, period_start_us, period_end_us, units, lock_id FROM issuance_lock"
        f" WHERE registry = ? AND state = {ISSUING}) AS granted ORDER BY {lookup.binary('reference')}"
    )


def _blocks_sql(lookup: Snapshot) -> str:
    return (
        "SELECT reference, lock_id, token, series, start_serial, end_serial FROM ("  # noqa: S608  constants
        f"SELECT {_REFERENCE} AS reference, i.registry, b.* FROM issuance i JOIN ("
        "SELECT lock_id, token, series, start_serial, end_serial FROM unit_block UNION ALL "
        "SELECT lock_id, token, series, start_serial, end_serial FROM disputed_block"
        ") AS b ON b.lock_id = i.lock_id AND b.token = i.token WHERE i.registry = ?"
        f") AS held ORDER BY {lookup.binary('reference')}"
    )


def _journal_sql(journal: Snapshot) -> str:
    return (
        "SELECT reference, stage, native_issuance_id, fencing_token, units, blocks FROM issuance"  # noqa: S608
        f" ORDER BY {journal.binary('reference')}"
    )
