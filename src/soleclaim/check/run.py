"""The whole check, in the order that makes its conclusions sound while everything goes on working."""

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from soleclaim.check.activities import check_activities
from soleclaim.check.coverage import check_coverage
from soleclaim.check.findings import CannotLook, Findings
from soleclaim.check.ledger import check_ledger
from soleclaim.check.matching import Parties, check_registry
from soleclaim.check.natives import NativeCopy, NativeTarget
from soleclaim.check.requests import check_journal_requests, check_lookup_requests
from soleclaim.check.settlements import check_settlements
from soleclaim.check.source import Snapshot, open_snapshot
from soleclaim.policy.bundle import Bundle, default_bundle

LOOKUP_TABLES: Final = (
    "activity",
    "issuance_lock",
    "segment",
    "issuance",
    "unit_block",
    "outcome",
    "history_entry",
    "request",
    "policy_bundle",
    "coverage_statement",
    "coverage_in_force",
    "native_project",
    "activity_part",
    "settlement_line",
    "settlement_standing",
    "settlement_block",
    "imported_issuance",
    "dispute",
    "disputed_block",
)
JOURNAL_TABLES: Final = ("batch", "issuance", "issuance_history")


@dataclass(frozen=True, slots=True)
class Targets:
    """What to look at. ``journals``: database URL by registry; ``natives``: the native system by registry."""

    lookup_url: str
    journals: Mapping[str, str] = field(default_factory=dict)
    natives: Mapping[str, NativeTarget] = field(default_factory=dict)
    bundles: tuple[Bundle, ...] = ()
    """Policy bundles besides the one that comes with the program."""


async def run_check(targets: Targets) -> Findings:
    """Look at everything; what is out of reach is noted in ``not_looked`` and the rest is looked at all the same."""
    findings = Findings()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soleclaim-check-")))
        # Natives first, then journals, then the lookup: see ``matching``.
        natives = {}
        for registry, target in targets.natives.items():
            with _noted(findings):
                copy = NativeCopy(registry, target, directory)
                stack.callback(copy.close)
                await copy.read()
                natives[registry] = copy
        journals = {}
        for registry, url in targets.journals.items():
            with _noted(findings):
                opened = open_snapshot(_journal_name(registry), url, tables=JOURNAL_TABLES)
                journals[registry] = stack.enter_context(opened)
        with _noted(findings):
            lookup = stack.enter_context(open_snapshot("lookup store", targets.lookup_url, tables=LOOKUP_TABLES))
            await _look(targets, findings, lookup, journals, natives)
    return findings


async def _look(
    targets: Targets,
    findings: Findings,
    lookup: Snapshot,
    journals: Mapping[str, Snapshot],
    natives: Mapping[str, NativeCopy],
) -> None:
    """Every part by itself, so that one that cannot be read does not hide the others."""
    bundles = {bundle.hash: bundle for bundle in (default_bundle(), *targets.bundles)}
    with _noted(findings):
        check_activities(lookup, bundles, findings)
    with _noted(findings):
        check_coverage(lookup, bundles, findings)
    with _noted(findings):
        check_ledger(lookup, findings)
    with _noted(findings):
        check_settlements(lookup, findings)
    with _noted(findings):
        check_lookup_requests(lookup, findings)
    for registry in sorted({*natives, *journals}):
        parties = Parties(
            registry=registry,
            lookup=lookup,
            native=natives.get(registry),
            journal=journals.get(registry),
            in_journal_now=_in_journal_now(registry, targets.journals.get(registry)),
        )
        with _noted(findings):
            await check_registry(parties, findings)
    for registry, journal in journals.items():
        with _noted(findings):
            check_journal_requests(registry, journal, findings)
    with _noted(findings):
        _tell_unmatched(targets, lookup, findings)


def _tell_unmatched(targets: Targets, lookup: Snapshot, findings: Findings) -> None:
    """Registries whose issuances stand in the ledger but whose own side was not given: say so, do not imply."""
    for registry, count in lookup.rows("SELECT registry, COUNT(*) FROM issuance GROUP BY registry ORDER BY registry"):
        missing = [
            option
            for option, given in (("--native", targets.natives), ("--journal", targets.journals))
            if registry not in given
        ]
        if missing:
            options = " / ".join(missing)
            findings.notes.append(
                (
                    f"registry {registry}: {count} issuances not compared with its own side (no {options} given)",
                    f"登记簿 {registry}：{count} 笔签发未与其自身数据比对（未给出 {options}）",
                )
            )


def _journal_name(registry: str) -> str:
    return f"journal of {registry}"


def _in_journal_now(registry: str, url: str | None) -> Callable[[str], Awaitable[bool]]:
    async def look(reference: str) -> bool:
        if url is None:
            return False
        with open_snapshot(_journal_name(registry), url, tables=JOURNAL_TABLES) as journal:
            return any(journal.rows("SELECT 1 FROM issuance WHERE reference = ?", reference))

    return look


@contextmanager
def _noted(findings: Findings) -> Iterator[None]:
    """What cannot be looked at is noted, and the check goes on."""
    try:
        yield
    except CannotLook as reason:
        findings.not_looked.append(str(reason))
