"""Tables of settlements: which certificates moved with which power. Contracts: ``lookup.ports``.

``settlement_block`` holds what a line moves. Where ``live``, it counts as moved by that line: on PostgreSQL a
constraint keeps two live ranges from sharing a certificate, on SQLite there is one writer.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from soleclaim.core.activity_id import make_activity_id
from soleclaim.core.serials import UnitBlock, first_overlap
from soleclaim.lookup.domain import EventKind, Settlement, SettlementLine, SettlementState, SettlementTold
from soleclaim.lookup.store.rows import series_key, to_instant, to_period, to_us
from soleclaim.lookup.store.unit_of_work import UnitOfWork

LOOKED_AGAIN: Final = 100
"""Lines that do not count and are looked at again with each batch, those first that were looked at longest ago.

Few, since other exchanges wait meanwhile.
"""
MAX_TOLD: Final = 20
"""Contradictions of one line that are told."""

_SETTLEMENT: Final = (
    "SELECT s.number, s.registry, s.settlement_id, s.corrects, s.native_project_id, s.contract, s.start_us, s.end_us, "
    "s.energy_kwh, s.buyer_code, s.create_us, t.state, p.activity_key, p.country FROM settlement_line s "
    "JOIN settlement_standing t ON t.number = s.number "
    "LEFT JOIN native_project p ON p.registry = s.registry AND p.native_project_id = s.native_project_id"
)
_SHARES: Final = "o.series_key = b.series_key AND o.start_serial <= b.end_serial AND b.start_serial <= o.end_serial"
_OPEN: Final = f"state IN ({SettlementState.CONTRADICTS:d}, {SettlementState.UNKNOWN_CERTIFICATES:d})"

_LINE_COLUMNS: Final = (
    ("number", "int"), ("registry", "text"), ("settlement_id", "text"), ("corrects", "text"),
    ("native_project_id", "text"), ("contract", "text"), ("start_us", "int"), ("end_us", "int"), ("energy_kwh", "int"),
    ("buyer_code", "text"),
)  # fmt: skip
_BLOCK_COLUMNS: Final = (
    ("number", "int"), ("series", "text"), ("series_key", "int"), ("start_serial", "int"), ("end_serial", "int"),
)  # fmt: skip
_NUMBER: Final = (("number", "int"),)


class _Link(NamedTuple):
    """A line as far as corrections are concerned. ``chain``: shared by all that are linked by correction."""

    chain: str
    number: int
    settlement_id: str
    corrects: str
    state: int


class SettlementTables(UnitOfWork):
    """The part of a transaction that knows which certificates moved with power."""

    @abstractmethod
    async def bar_settlements(self) -> None:
        """See ``Transaction``."""

    async def settlement(self, number: int) -> Settlement | None:
        """See ``Reader``."""
        found = await self._settlements(await self._run(f"{_SETTLEMENT} WHERE s.number = :number", number=number))
        return found[0] if found else None

    async def settlements_stated(self, registry: str, settlement_ids: Collection[str]) -> dict[str, Settlement]:
        """See ``Reader``."""
        items, values = self.relation((("id", "text"),), ((each,) for each in settlement_ids))
        rows = await self._run(
            f"{_SETTLEMENT} WHERE s.registry = :registry AND s.settlement_id IN (SELECT item.id FROM {items})",
            registry=registry,
            **values,
        )
        return {each.line.settlement_id: each for each in await self._settlements(rows)}

    async def list_settlements(
        self, *, registries: Collection[str] | None, state: SettlementState | None, after: int, limit: int
    ) -> list[Settlement]:
        """See ``Reader``."""
        values: dict[str, Any] = {}
        conditions = ["s.number > :after"]
        if registries is not None:
            items, values = self.relation((("code", "text"),), ((each,) for each in sorted(registries)))
            conditions.append(f"s.registry IN (SELECT item.code FROM {items})")
        if state is not None:
            conditions.append(f"t.state = {state:d}")
        rows = await self._run(
            f"{_SETTLEMENT} WHERE {' AND '.join(conditions)} ORDER BY s.number LIMIT :limit",
            after=after,
            limit=limit,
            **values,
        )
        return await self._settlements(rows)

    async def _settlements(self, rows: Sequence[Any]) -> list[Settlement]:
        numbers = [row.number for row in rows]
        blocks, told = await self._blocks_of(numbers), await self._contradictions_of(numbers)
        return [_settlement(row, blocks[row.number], told[row.number]) for row in rows]

    async def _blocks_of(self, numbers: Collection[int]) -> Mapping[int, list[UnitBlock]]:
        found: dict[int, list[UnitBlock]] = defaultdict(list)
        items, values = self.relation(_NUMBER, ((each,) for each in numbers))
        for row in await self._run(
            f"SELECT b.number, b.series, b.start_serial, b.end_serial FROM {items} "
            "JOIN settlement_block b ON b.number = item.number",
            **values,
        ):
            found[row[0]].append(UnitBlock(*row[1:]))
        return found

    async def _contradictions_of(self, numbers: Collection[int]) -> Mapping[int, list[SettlementTold]]:
        """Told to both: to the line whose certificates moved already, and to the one by which they moved."""
        found: dict[int, list[SettlementTold]] = defaultdict(list)
        items, values = self.relation(_NUMBER, ((each,) for each in numbers))
        for row in await self._run(
            f"SELECT DISTINCT b.number, l.number, l.registry, l.settlement_id FROM {items} "
            "JOIN settlement_standing s ON s.number = item.number JOIN settlement_block b ON b.number = s.number "
            f"JOIN settlement_block o ON {_SHARES} JOIN settlement_standing t ON t.number = o.number "
            "JOIN settlement_line l ON l.number = o.number "
            f"WHERE (s.state = {SettlementState.SETTLED:d} AND t.state = {SettlementState.CONTRADICTS:d}) "
            f"OR (s.state = {SettlementState.CONTRADICTS:d} AND t.state = {SettlementState.SETTLED:d}) "
            "ORDER BY b.number, l.number",
            **values,
        ):
            found[row[0]].append(SettlementTold(*row[1:]))
        return found

    async def record_settlements(self, lines: Sequence[SettlementLine], issuer: str) -> None:
        """See ``Transaction``."""
        numbers = await self.draw("settlement_number", len(lines))
        numbered = list(zip(numbers, lines, strict=True))
        items, values = self.relation(_LINE_COLUMNS, (_row(*each) for each in numbered))
        names = ", ".join(name for name, _ in _LINE_COLUMNS)
        await self._run(
            f"INSERT INTO settlement_line ({names}, create_us) SELECT {names}, :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        items, values = self.relation(
            _BLOCK_COLUMNS,
            (
                (number, block.series, series_key(issuer, block.series), block.start, block.end)
                for number, line in numbered
                for block in line.blocks
            ),
        )
        names = ", ".join(name for name, _ in _BLOCK_COLUMNS)
        await self._run(f"INSERT INTO settlement_block ({names}, live) SELECT {names}, FALSE FROM {items}", **values)
        await self._link(numbered)
        await self._note(
            [
                (EventKind.SETTLEMENT_RECORDED, None, "CN", line.registry, None, 0, f"settlements/{number}")
                for number, line in numbered
            ]
        )

    async def _link(self, numbered: Sequence[tuple[int, SettlementLine]]) -> None:
        """Give each line its chain. A line that others corrected before it was known brings them along."""
        registry = numbered[0][1].registry
        chains = await self._chains(registry, {line.corrects for _, line in numbered if line.corrects})
        rows: dict[int, str] = {}
        renamed: dict[str, str] = {}
        for number, line in numbered:
            chain = chains.get(line.corrects, line.corrects) or line.settlement_id
            if line.corrects and chain != line.settlement_id:
                renamed[line.settlement_id] = chain
                rows |= {each: chain for each, named in rows.items() if named == line.settlement_id}
                chains |= {each: chain for each, named in chains.items() if named == line.settlement_id}
            rows[number] = chains[line.settlement_id] = chain
        for old, new in renamed.items():
            await self._run(
                "UPDATE settlement_standing SET chain = :new WHERE registry = :registry AND chain = :old",
                registry=registry,
                old=old,
                new=new,
            )
        items, values = self.relation((("number", "int"), ("chain", "text")), rows.items())
        await self._run(
            "INSERT INTO settlement_standing (number, registry, chain, state, look_us) "
            f"SELECT number, :registry, chain, {SettlementState.UNKNOWN_CERTIFICATES:d}, 0 FROM {items}",
            registry=registry,
            **values,
        )

    async def _chains(self, registry: str, settlement_ids: Collection[str]) -> dict[str, str]:
        items, values = self.relation((("id", "text"),), ((each,) for each in settlement_ids))
        rows = await self._run(
            "SELECT l.settlement_id, t.chain FROM settlement_line l JOIN settlement_standing t ON t.number = l.number "
            f"WHERE l.registry = :registry AND l.settlement_id IN (SELECT item.id FROM {items})",
            registry=registry,
            **values,
        )
        return dict(rows)

    async def settle(self, registry: str, settlement_ids: Collection[str]) -> None:
        """See ``Transaction``."""
        links = await self._of_chains(registry, settlement_ids)
        current = current_of(links)
        corrected = {each.number for each in links if each.number not in current}
        candidates = {each.number for each in links} & current
        candidates -= {each.number for each in links if each.state == SettlementState.SETTLED}
        freed = await self._waiting_for(corrected)
        await self._stand(dict.fromkeys(corrected, SettlementState.CORRECTED))
        # Those first that take the place of a line that counted: what they keep was never free.
        left = {each.chain for each in links if each.number in corrected and each.state == SettlementState.SETTLED}
        heirs = {each.number for each in links if each.number in current and each.chain in left}
        await self._stand(await self._judged(heirs))
        again = await self._run(
            f"SELECT number FROM settlement_standing WHERE {_OPEN} ORDER BY look_us, number LIMIT :limit",
            limit=LOOKED_AGAIN,
        )
        candidates |= freed | {row[0] for row in again}
        await self._stand(await self._judged(candidates - heirs - corrected))

    async def _of_chains(self, registry: str, settlement_ids: Collection[str]) -> list[_Link]:
        """These lines and all that are linked with them by correction."""
        chains = set((await self._chains(registry, settlement_ids)).values())
        items, values = self.relation((("chain", "text"),), ((each,) for each in sorted(chains)))
        rows = await self._run(
            "SELECT t.chain, t.number, l.settlement_id, l.corrects, t.state FROM settlement_standing t "
            "JOIN settlement_line l ON l.number = t.number "
            f"WHERE t.registry = :registry AND t.chain IN (SELECT item.chain FROM {items})",
            registry=registry,
            **values,
        )
        return [_Link(*row) for row in rows]

    async def _waiting_for(self, numbers: Collection[int]) -> set[int]:
        """Lines that contradict one of these: what they move may be free now."""
        items, values = self.relation(_NUMBER, ((each,) for each in numbers))
        rows = await self._run(
            f"SELECT DISTINCT o.number FROM {items} JOIN settlement_block b ON b.number = item.number AND b.live "
            f"JOIN settlement_block o ON {_SHARES} JOIN settlement_standing t ON t.number = o.number "
            f"WHERE t.state = {SettlementState.CONTRADICTS:d}",
            **values,
        )
        return {row[0] for row in rows}

    async def _judged(self, numbers: Collection[int]) -> dict[int, SettlementState]:
        """How each line stands; where two move one certificate, the one that was recorded first counts."""
        blocks = await self._blocks_of(numbers)
        moved, known = await self._moved_elsewhere(numbers), await self._known(numbers)
        taken: dict[str, list[UnitBlock]] = defaultdict(list)
        states: dict[int, SettlementState] = {}
        for number in sorted(numbers):
            own = blocks[number]
            if number in moved:
                states[number] = SettlementState.CONTRADICTS
            elif known.get(number, 0) < sum(each.count for each in own):
                states[number] = SettlementState.UNKNOWN_CERTIFICATES
            elif first_overlap([*own, *(each for block in own for each in taken[block.series])]) is not None:
                states[number] = SettlementState.CONTRADICTS
            else:
                states[number] = SettlementState.SETTLED
                for each in own:
                    taken[each.series].append(each)
        return states

    async def _moved_elsewhere(self, numbers: Collection[int]) -> set[int]:
        """Those with a certificate that moved by another line."""
        items, values = self.relation(_NUMBER, ((each,) for each in numbers))
        rows = await self._run(
            f"SELECT DISTINCT b.number FROM {items} JOIN settlement_block b ON b.number = item.number "
            f"JOIN settlement_block o ON o.live AND o.number <> b.number AND {_SHARES}",
            **values,
        )
        return {row[0] for row in rows}

    async def _known(self, numbers: Collection[int]) -> dict[int, int]:
        """How many of a line's certificates stand in the ledger as issued; blocks of a series never overlap there."""
        items, values = self.relation(_NUMBER, ((each,) for each in numbers))
        rows = await self._run(
            "SELECT b.number, CAST(sum(CASE WHEN o.end_serial < b.end_serial THEN o.end_serial ELSE b.end_serial END "
            "- CASE WHEN o.start_serial > b.start_serial THEN o.start_serial ELSE b.start_serial END + 1) AS BIGINT) "
            f"FROM {items} JOIN settlement_block b ON b.number = item.number "
            f"JOIN unit_block o ON o.series = b.series AND {_SHARES} GROUP BY b.number",
            **values,
        )
        return dict(rows)

    async def _stand(self, states: Mapping[int, SettlementState]) -> None:
        """Write how lines stand; what ends to count is freed before anything begins to."""
        items, values = self.relation((("number", "int"), ("state", "int")), states.items())
        now = await self.now_us()
        await self._run(
            f"UPDATE settlement_standing SET state = item.state, look_us = :now FROM {items} "
            "WHERE settlement_standing.number = item.number",
            now=now,
            **values,
        )
        for value, is_live in (("FALSE", False), ("TRUE", True)):
            matching = [each for each, state in states.items() if (state is SettlementState.SETTLED) is is_live]
            items, values = self.relation(_NUMBER, ((each,) for each in matching))
            await self._run(
                f"UPDATE settlement_block SET live = {value} FROM {items} "
                f"WHERE settlement_block.number = item.number AND settlement_block.live <> {value}",
                **values,
            )


def current_of(links: Iterable[_Link]) -> set[int]:
    """Numbers of the lines that count: of each chain the newest that nobody corrects.

    Corrections that go round in a circle leave none uncorrected: then the newest of them counts.
    """
    chains: dict[str, list[_Link]] = defaultdict(list)
    for each in links:
        chains[each.chain].append(each)
    current = set()
    for chain in chains.values():
        corrected = {each.corrects for each in chain}
        ends = [each for each in chain if each.settlement_id not in corrected] or chain
        current.add(max(each.number for each in ends))
    return current


def _row(number: int, line: SettlementLine) -> tuple[Any, ...]:
    """As ``_LINE_COLUMNS``."""
    return (
        number, line.registry, line.settlement_id, line.corrects, line.native_project_id, line.contract,
        to_us(line.period.start), to_us(line.period.end), line.energy_kwh, line.buyer_code,
    )  # fmt: skip


def _settlement(row: Any, blocks: Iterable[UnitBlock], told: Sequence[SettlementTold]) -> Settlement:  # noqa: ANN401  a row of ``_SETTLEMENT``
    return Settlement(
        number=row.number,
        line=SettlementLine(
            registry=row.registry,
            settlement_id=row.settlement_id,
            corrects=row.corrects,
            native_project_id=row.native_project_id,
            contract=row.contract,
            period=to_period(row.start_us, row.end_us),
            energy_kwh=row.energy_kwh,
            buyer_code=row.buyer_code,
            blocks=tuple(sorted(blocks)),
        ),
        state=SettlementState(row.state),
        contradictions=tuple(told[:MAX_TOLD]),
        activity_id=None if row.activity_key is None else make_activity_id(row.country, row.activity_key),
        create_time=to_instant(row.create_us),
    )
