"""Tables of coverage: what registries state of their caps and markets, and what it covers. Contracts: ``lookup.ports``.

A statement names its unit, and the unit it lies inside, by the registry's own ids. Their activities are found through
``native_project`` when somebody asks: a decided review, a merge or a split needs no change here.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from soleclaim.core.activity_id import ActivityKey, activity_key, make_activity_id
from soleclaim.core.period import Period
from soleclaim.lookup.domain import Coverage, CoverageStatement, Covering, EventKind, ReviewState
from soleclaim.lookup.store.reviews import read_registration, tell_registration
from soleclaim.lookup.store.rows import to_instant, to_us
from soleclaim.lookup.store.unit_of_work import UnitOfWork

_COVERAGE: Final = (
    "SELECT s.number, s.registry, s.statement_id, s.corrects, s.native_project_id, s.registration, s.inside, "
    "s.boundary, s.sector, s.start_us, s.end_us, s.withdrawn, s.create_us, p.activity_key, p.country, r.case_id, "
    "f.number IS NOT NULL AS in_force, s.corrects <> '' AND NOT EXISTS (SELECT 1 FROM coverage_statement x "
    "WHERE x.registry = s.registry AND x.statement_id = s.corrects) AS corrects_unknown FROM coverage_statement s "
    "LEFT JOIN coverage_in_force f ON f.number = s.number "
    "LEFT JOIN native_project p ON p.registry = s.registry AND p.native_project_id = s.native_project_id "
    "LEFT JOIN review_case r ON r.registry = s.registry AND r.native_project_id = s.native_project_id "
    f"AND r.state = {ReviewState.OPEN:d}"
)
_OF_ITEM: Final = (
    "JOIN native_project p ON p.activity_key = item.activity_key "
    "JOIN coverage_statement s ON s.registry = p.registry AND s.native_project_id = p.native_project_id "
    "JOIN coverage_in_force f ON f.number = s.number"
)
"""The statements in force on an activity."""

_COLUMNS: Final = (
    ("number", "int"), ("registry", "text"), ("statement_id", "text"), ("corrects", "text"),
    ("native_project_id", "text"), ("registration", "text"), ("inside", "text"), ("boundary", "text"),
    ("sector", "text"), ("start_us", "int"), ("end_us", "int"), ("withdrawn", "int"),
)  # fmt: skip


class _Link(NamedTuple):
    """A statement as far as corrections are concerned."""

    number: int
    statement_id: str
    corrects: str
    withdrawn: bool


class CoverageTables(UnitOfWork):
    """The part of a transaction that knows who is inside a cap or market."""

    async def coverage(self, number: int) -> Coverage | None:
        """See ``Reader``."""
        rows = await self._run(f"{_COVERAGE} WHERE s.number = :number", number=number)
        return _coverage(rows[0]) if rows else None

    async def coverage_stated(self, registry: str, statement_ids: Collection[str]) -> dict[str, Coverage]:
        """See ``Reader``."""
        items, values = self.relation((("id", "text"),), ((each,) for each in statement_ids))
        rows = await self._run(
            f"{_COVERAGE} WHERE s.registry = :registry AND s.statement_id IN (SELECT item.id FROM {items})",
            registry=registry,
            **values,
        )
        return {row.statement_id: _coverage(row) for row in rows}

    async def list_coverage(
        self,
        *,
        registry: str | None,
        keys: Collection[ActivityKey] | None,
        at: datetime | None,
        history: bool,
        seen_by: str | None,
        after: int,
        limit: int,
    ) -> list[Coverage]:
        """See ``Reader``."""
        conditions = ["s.number > :after"]
        values: dict[str, object] = {"after": after, "limit": limit}
        if not history:
            conditions.append("f.number IS NOT NULL")
        if registry is not None:
            conditions.append("s.registry = :registry")
            values["registry"] = registry
        if keys is not None:
            items, more = self.relation((("activity_key", "int"),), ((key,) for key in keys))
            conditions.append(f"p.activity_key IN (SELECT item.activity_key FROM {items})")
            values |= more
        if at is not None:
            conditions.append("s.start_us <= :at AND (s.end_us IS NULL OR s.end_us > :at)")
            values["at"] = to_us(at)
        if seen_by is not None:
            own = "SELECT 1 FROM native_project o WHERE o.activity_key = p.activity_key AND o.registry = :seer"
            conditions.append(f"(s.registry = :seer OR EXISTS ({own}))")
            values["seer"] = seen_by
        where = " AND ".join(conditions)
        rows = await self._run(f"{_COVERAGE} WHERE {where} ORDER BY s.number LIMIT :limit", **values)
        return [_coverage(row) for row in rows]

    async def parts_of_wholes(self, keys: Collection[ActivityKey]) -> list[tuple[ActivityKey, ActivityKey]]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in keys))
        rows = await self._run(
            f"SELECT t.child_key, t.parent_key FROM {items} JOIN activity_part t ON t.child_key = item.activity_key "
            f"UNION SELECT p.activity_key, w.activity_key FROM {items} {_OF_ITEM} AND s.inside <> '' "
            "JOIN native_project w ON w.registry = s.registry AND w.native_project_id = s.inside",
            **values,
        )
        return [(ActivityKey(part), ActivityKey(whole)) for part, whole in rows]

    async def covering(self, spots: Sequence[tuple[Collection[ActivityKey], Period]]) -> list[list[Covering]]:
        """See ``Reader``."""
        columns = (("place", "int"), ("activity_key", "int"), ("start_us", "int"), ("end_us", "int"))
        items, values = self.relation(
            columns,
            (
                (place, key, to_us(period.start), to_us(period.end))
                for place, (keys, period) in enumerate(spots)
                for key in keys
            ),
        )
        rows = await self._run(
            f"SELECT item.place, s.registry, s.start_us, s.end_us, s.boundary FROM {items} {_OF_ITEM} "
            "WHERE s.start_us < item.end_us AND (s.end_us IS NULL OR s.end_us > item.start_us) ORDER BY s.number",
            **values,
        )
        found: list[list[Covering]] = [[] for _ in spots]
        for place, registry, start_us, end_us, boundary in rows:
            end = None if end_us is None else to_instant(end_us)
            found[place].append(Covering(registry, to_instant(start_us), end, boundary))
        return found

    async def record_coverage(self, statements: Sequence[CoverageStatement]) -> None:
        """See ``Transaction``."""
        numbers = await self.draw("coverage_statement_number", len(statements))
        items, values = self.relation(
            _COLUMNS, [_row(number, each) for number, each in zip(numbers, statements, strict=True)]
        )
        names = ", ".join(name for name, _ in _COLUMNS if name != "withdrawn")
        await self._run(
            f"INSERT INTO coverage_statement ({names}, withdrawn, create_us) "
            f"SELECT {names}, withdrawn <> 0, :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        registry = statements[0].registry
        await self._settle(registry, {each.statement_id for each in statements})
        stated = await self.coverage_stated(registry, [each.statement_id for each in statements])
        await self._note([_entry(stated[each.statement_id]) for each in statements])

    async def _settle(self, registry: str, statement_ids: set[str]) -> None:
        """Make those count that do, of all statements that these are linked with by correction."""
        links = await self._linked(registry, statement_ids)
        current = current_of(links)
        items, values = self.relation((("number", "int"),), ((each.number,) for each in links))
        await self._run(f"DELETE FROM coverage_in_force WHERE number IN (SELECT item.number FROM {items})", **values)
        items, values = self.relation((("number", "int"),), ((each,) for each in sorted(current)))
        await self._run(f"INSERT INTO coverage_in_force (number) SELECT item.number FROM {items}", **values)

    async def _linked(self, registry: str, statement_ids: set[str]) -> list[_Link]:
        """These statements, those that they correct, those that correct them, and so on."""
        items, values = self.relation((("id", "text"),), ((each,) for each in sorted(statement_ids)))
        beside = "CASE WHEN s.statement_id = linked.id THEN s.corrects ELSE s.statement_id END"
        rows = await self._run(
            f"WITH RECURSIVE linked (id) AS (SELECT item.id FROM {items} UNION SELECT {beside} FROM linked "
            "JOIN coverage_statement s ON (s.registry = :registry AND s.statement_id = linked.id) "
            f"OR (s.registry = :registry AND s.corrects = linked.id) WHERE {beside} <> '') "
            "SELECT s.number, s.statement_id, s.corrects, s.withdrawn FROM linked JOIN coverage_statement s "
            "ON s.registry = :registry AND s.statement_id = linked.id",
            registry=registry,
            **values,
        )
        return [_Link(row[0], row[1], row[2], bool(row[3])) for row in rows]


def _row(number: int, statement: CoverageStatement) -> tuple[Any, ...]:
    """As ``_COLUMNS``."""
    return (
        number, statement.registry, statement.statement_id, statement.corrects, statement.unit.native_project_id,
        tell_registration(statement.unit), statement.inside, statement.boundary, statement.sector,
        to_us(statement.start), None if statement.end is None else to_us(statement.end), int(statement.withdrawn),
    )  # fmt: skip


def _coverage(row: Any) -> Coverage:  # noqa: ANN401  a row of ``_COVERAGE``
    return Coverage(
        number=row.number,
        statement=CoverageStatement(
            registry=row.registry,
            statement_id=row.statement_id,
            corrects=row.corrects,
            unit=read_registration(row.registry, row.native_project_id, row.registration),
            inside=row.inside,
            boundary=row.boundary,
            sector=row.sector,
            start=to_instant(row.start_us),
            end=None if row.end_us is None else to_instant(row.end_us),
            withdrawn=bool(row.withdrawn),
        ),
        activity_id=None if row.activity_key is None else make_activity_id(row.country, row.activity_key),
        review_case=row.case_id,
        in_force=bool(row.in_force),
        corrects_unknown=bool(row.corrects_unknown),
        create_time=to_instant(row.create_us),
    )


def _entry(coverage: Coverage) -> tuple[Any, ...]:
    """Its history entry."""
    unit, activity_id = coverage.statement.unit, coverage.activity_id
    key = None if activity_id is None else activity_key(activity_id)
    country = unit.country if activity_id is None else activity_id[:2]
    return (EventKind.COVERAGE_RECORDED, key, country, unit.registry, None, 0, f"coverages/{coverage.number}")


def current_of(links: Collection[_Link]) -> set[int]:
    """Numbers of the statements that count: of each chain of corrections the newest that nobody corrects.

    Corrections that go round in a circle leave none uncorrected: then the newest of them counts.
    """
    corrected = {each.corrects for each in links if each.corrects}
    current: set[int] = set()
    for chain in _chains(links):
        ends = [each for each in chain if each.statement_id not in corrected] or chain
        newest = max(ends)
        if not newest.withdrawn:
            current.add(newest.number)
    return current


def _chains(links: Iterable[_Link]) -> list[list[_Link]]:
    """Statements that are linked by correction, also by way of one that is not known."""
    chain_of: dict[str, list[str]] = {}
    for each in links:
        mine = chain_of.setdefault(each.statement_id, [each.statement_id])
        if each.corrects:
            theirs = chain_of.setdefault(each.corrects, [each.corrects])
            if theirs is not mine:
                mine += theirs
                chain_of.update(dict.fromkeys(theirs, mine))
    chains: dict[int, list[_Link]] = defaultdict(list)
    for each in links:
        chains[id(chain_of[each.statement_id])].append(each)
    return list(chains.values())
