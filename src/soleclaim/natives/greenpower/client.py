"""Client of the power exchanges: stations, and the lines of the monthly settlement of green power."""

from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal
from urllib.parse import quote

from soleclaim.core.serials import first_overlap
from soleclaim.natives.answers import Unclear, readable, told
from soleclaim.natives.civil import CHINA, period_of_month
from soleclaim.natives.gec.codes import ACTIVITY_TYPES, FILING_CODE, certificate_block
from soleclaim.natives.paging import read_rows, reconciled_by
from soleclaim.natives.plants import description_of, project_codes
from soleclaim.natives.registries import Pattern, RegistryRow, registry_row
from soleclaim.natives.settings import NativeSettings
from soleclaim.natives.silent import SilentNative
from soleclaim.natives.transport import Fields, JsonTransport
from soleclaim.registry.native import NativeProject, NativeSettlement

BASE: Final = "/trade/v1"
PAGE_SIZE: Final = 100
"""The most that an exchange serves in a page."""

_MONTH: Final = "[0-9]{4}-[0-9]{2}"
_USCC: Final = "[0-9A-HJ-NPQRTUWXY]{18}"
"""GB 32100: no I, O, S, V and Z."""


class ExchangeRow(RegistryRow):
    """See ``registries.toml``."""

    name: str
    settlement_pattern: Pattern
    contract_pattern: Pattern
    energy_unit: Literal["kWh", "MWh"]


class GreenPowerNative(SilentNative):
    """``NativeRegistry`` that issues nothing, and ``SettlementSource``. ``native_project_id`` is the filing code."""

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings)
        self._row = registry_row(__package__, settings.registry, ExchangeRow)
        self._http = JsonTransport(settings.url, timeout_s=settings.timeout_s, ca_file=settings.ca_file)

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """A station that trades here; ``None`` when the exchange says that it knows none."""
        return await told(self._station(native_project_id), f"station {native_project_id}")

    async def _station(self, filing_code: str) -> NativeProject | None:
        answer = await self._ask(f"/stations/{quote(filing_code, safe='')}")
        station = answer.record("station", filingCode=filing_code)
        if station is None:
            return None
        return NativeProject(
            native_project_id=station.matching("filingCode", FILING_CODE),
            name=station.text("stationName"),
            country="CN",
            activity_type=ACTIVITY_TYPES.get(station.text("energyType"), "other"),
            time_zone=str(CHINA),
            identifiers=(("gec_filing_code", filing_code), *project_codes(station)),
            description=description_of(station, owner="owner", region="province"),
        )

    def list_settlements(self) -> AsyncIterator[NativeSettlement]:
        """All lines of all months, reconciled with the announced total, in the order made."""
        return reconciled_by(self._page, lambda line: line.settlement_id, "settlement line")

    async def _page(self, page: int) -> tuple[int, Sequence[NativeSettlement | Unclear]]:
        return await told(self._lines(page), f"page {page} of the settlements")

    async def _lines(self, page: int) -> tuple[int, Sequence[NativeSettlement | Unclear]]:
        answer = await self._ask("/settlements", page=str(page), size=str(PAGE_SIZE))
        return answer.count("total"), read_rows(answer.objects("lines"), self._line)

    def _line(self, row: Fields) -> NativeSettlement:
        number = row.matching("settlementNo", self._row.settlement_pattern)
        try:
            return self._settlement(row, number)
        except Unclear as error:
            raise Unclear(f"line {number}: {error}") from error

    def _settlement(self, row: Fields, number: str) -> NativeSettlement:
        filing_code, month = row.matching("filingCode", FILING_CODE), row.matching("month", _MONTH)
        read_energy = row.whole if self._row.energy_unit == "kWh" else row.thousandths
        blocks = tuple(certificate_block(block, filing_code=filing_code) for block in row.objects("certificates"))
        if first_overlap(blocks) is not None:
            raise Unclear("two of its ranges share a certificate")
        line = NativeSettlement(
            settlement_id=number,
            corrects=None if row.is_null("corrects") else row.matching("corrects", self._row.settlement_pattern),
            native_project_id=filing_code,
            contract=row.matching("contractNo", self._row.contract_pattern),
            period=readable(lambda: period_of_month(month, CHINA)),
            energy_kwh=read_energy("energy"),
            buyer_code=row.matching("buyerCode", _USCC),
            blocks=blocks,
        )
        if line.corrects is None and not line.energy_kwh:
            raise Unclear("it moves no energy and corrects nothing")
        if bool(line.energy_kwh) is not bool(blocks):
            raise Unclear(f"{line.energy_kwh} kWh with {len(blocks)} ranges of certificates; both or neither are due")
        return line

    async def _ask(self, path: str, **query: str) -> Fields:
        _, answer = await self._http.ask("GET", f"{BASE}{path}", query=query or None)
        if answer.count("status") != 0:
            raise Unclear(f"refused: {answer.count('status')}: {answer.optional_text('message')}")
        return answer

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()
