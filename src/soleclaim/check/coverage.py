"""What was issued inside a boundary: no broken invariant, since coverage may come later, but a person must know."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from soleclaim.check.activities import instant
from soleclaim.check.findings import Findings
from soleclaim.check.source import Snapshot
from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.policy.bundle import Bundle

_STATEMENTS: Final = (
    "SELECT p.activity_key, s.registry, s.start_us, s.end_us, s.boundary, s.create_us FROM coverage_statement s"
    " JOIN coverage_in_force f ON f.number = s.number"
    " JOIN native_project p ON p.registry = s.registry AND p.native_project_id = s.native_project_id ORDER BY s.number"
)
_PARTS: Final = (
    "SELECT child_key, parent_key FROM activity_part UNION SELECT p.activity_key, w.activity_key"
    " FROM coverage_statement s JOIN coverage_in_force f ON f.number = s.number"
    " JOIN native_project p ON p.registry = s.registry AND p.native_project_id = s.native_project_id"
    " JOIN native_project w ON w.registry = s.registry AND w.native_project_id = s.inside"
)
_LOCKS: Final = (
    "SELECT l.activity_key, l.lock_id, l.country, l.registry, l.instrument, l.period_start_us, l.period_end_us, b.hash"
    " FROM issuance_lock l LEFT JOIN policy_bundle b ON b.bundle_id = l.bundle_id WHERE l.state IN (2, 3)"
    " ORDER BY l.lock_id"
)


class _Statement(NamedTuple):
    registry: str
    start: int
    end: int | None
    boundary: str
    create: int


def check_coverage(lookup: Snapshot, bundles: Mapping[str, Bundle], findings: Findings) -> None:
    """Compare every lock that issues or has issued with the statements in force, by the rules of its own bundle."""
    statements: defaultdict[int, list[_Statement]] = defaultdict(list)
    for key, *rest in lookup.rows(_STATEMENTS):
        statements[key].append(_Statement._make(rest))
    if not statements:
        return
    wholes: defaultdict[int, set[int]] = defaultdict(set)
    for part, whole in lookup.rows(_PARTS):
        wholes[part].add(whole)
    for key, lock_id, country, registry, instrument, start, end, policy_hash in lookup.rows(_LOCKS):
        bundle = bundles.get(policy_hash or "")
        covering = [
            each
            for one in _with_wholes(key, wholes)
            for each in statements[one]
            if each.start < end and (each.end is None or each.end > start)
        ]
        if (
            bundle is None
            or instrument not in bundle.instruments
            or any(each.registry == registry for each in covering)
        ):
            continue
        for rule, each in _applying(bundle, instrument, covering).items():
            findings.told_fact(
                "ISSUED_INSIDE_BOUNDARY",
                activity=f"activities/{make_activity_id(country, ActivityKey(key))}",
                lock=lock_id,
                registry=registry,
                instrument=instrument,
                period=f"{instant(start)}/{instant(end)}",
                covering=each.registry,
                covered=f"{instant(each.start)}/{'..' if each.end is None else instant(each.end)}",
                boundary=each.boundary,
                stated=instant(each.create),
                rule=rule,
            )


def _with_wholes(key: int, wholes: Mapping[int, set[int]]) -> Iterable[int]:
    """The activity and all that it is part of."""
    found, level = {key}, {key}
    while level:
        level = {whole for part in level for whole in wholes.get(part, ())} - found
        found |= level
    return sorted(found)


def _applying(bundle: Bundle, instrument: str, covering: Iterable[_Statement]) -> dict[str, _Statement]:
    """The first statement under each rule that concerns the instrument."""
    found: dict[str, _Statement] = {}
    for each in covering:
        rule = bundle.boundary_of.get(each.registry)
        if rule is not None and bundle.boundaries[rule].attribute in bundle.instruments[instrument].attributes:
            found.setdefault(rule, each)
    return found
