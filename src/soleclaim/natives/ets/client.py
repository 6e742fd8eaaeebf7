"""Client of the emission trading systems: allowances, and the list of who is inside the cap."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.natives.answers import Unclear, check_serials, not_civil, readable, refusal, told
from soleclaim.natives.civil import CHINA, open_period_of_days, period_of_year, year_of_period
from soleclaim.natives.guarded import LASTING, PAGE_SIZE, GuardedNative
from soleclaim.natives.paging import read_rows, reconciled_by
from soleclaim.natives.plants import description_of, project_codes
from soleclaim.natives.registries import Pattern, RegistryRow, registry_row
from soleclaim.natives.settings import NativeSettings
from soleclaim.natives.signing import clock_fault, signature_of
from soleclaim.natives.transport import Fields
from soleclaim.registry.native import (
    KG_PER_TONNE,
    MeasuredOutcome,
    NativeCoverage,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
)

DONE: Final = "0000"
BASE: Final = "/openapi/v1"
_SERIAL: Final = "[0-9]{10}"

ACTIVITY_TYPES: Final[Mapping[str, str]] = {
    "发电": "thermal_power",
    "钢铁": "steel",
    "水泥": "cement",
    "铝冶炼": "aluminium",
    "石化": "petrochemical",
    "化工": "chemicals",
    "建筑": "buildings",
}
"""By sector, in the systems' own words."""


class EtsRow(RegistryRow):
    """See ``registries.toml``."""

    name: str
    unit_pattern: Pattern


class EtsNative(GuardedNative):
    """``NativeRegistry`` by signed requests, and ``CoverageSource``. ``native_project_id`` is the unit's number."""

    def __init__(self, settings: NativeSettings) -> None:
        self._row = registry_row(__package__, settings.registry, EtsRow)
        super().__init__(settings, auth=signature_of(settings))

    async def _project(self, native_project_id: str) -> NativeProject | None:
        unit = await self._record(f"/units/{quote(native_project_id, safe='')}", {"unitId": native_project_id})
        return None if unit is None else self._unit(unit)

    def _unit(self, unit: Fields) -> NativeProject:
        return NativeProject(
            native_project_id=unit.matching("unitId", self._row.unit_pattern),
            name=unit.text("unitName"),
            country="CN",
            activity_type=ACTIVITY_TYPES.get(unit.text("sector"), "other"),
            time_zone=str(CHINA),
            identifiers=project_codes(unit),
            # A covered unit is a legal person: its name is its owner's.
            description=description_of(unit, owner="unitName", capacity_mw="installedMw", region="province"),
        )

    async def _outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """The approved allocation of exactly this compliance year."""
        year = year_of_period(period, CHINA)
        if year is None:
            return None
        allocation = await self._record(
            f"/units/{quote(native_project_id, safe='')}/allocations/{year}",
            {"unitId": native_project_id, "complianceYear": year},
        )
        if allocation is None:
            return None
        return MeasuredOutcome(
            native_project_id=native_project_id,
            period=period,
            base_unit="kgCO2e",
            quantity=allocation.whole("approved") * KG_PER_TONNE,
            carried_in=0,
        )

    async def _place(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        year = year_of_period(order.period, CHINA)
        if year is None:
            return not_civil(order, "one compliance year, which is a civil year,")
        body = {
            "unitId": order.native_project_id,
            "complianceYear": year,
            "quantity": str(order.units),
            "externalRef": order.external_reference,
            "fencingToken": order.fencing_token,
        }
        answer = await self._ask("POST", "/allowance-issues", body=body)
        answer.must_name(externalRef=order.external_reference)
        if (code := answer.text("retCode")) != DONE:
            return refusal(code, answer.text("retMsg"), LASTING)
        return self._issuance(answer.object("data"))

    async def _by_reference(self, external_reference: str) -> NativeIssuance | None:
        asked = {"externalRef": external_reference}
        row = await self._record("/allowance-issues/by-reference", asked, **asked)
        return None if row is None else self._issuance(row)

    async def _issuances(self, page: int) -> tuple[int, Sequence[NativeIssuance | Unclear]]:
        answer = await self._read("/allowance-issues", pageNo=str(page), pageSize=str(PAGE_SIZE))
        return answer.count("totalCount"), read_rows(answer.objects("data"), self._issuance)

    def list_coverage(self) -> AsyncIterator[NativeCoverage]:
        """All statements of the list of covered units, reconciled with the announced total, in the order made."""
        return reconciled_by(self._coverage_page, lambda statement: statement.statement_id, "statement")

    async def _coverage_page(self, page: int) -> tuple[int, Sequence[NativeCoverage | Unclear]]:
        return await told(self._statements(page), f"page {page} of the covered units")

    async def _statements(self, page: int) -> tuple[int, Sequence[NativeCoverage | Unclear]]:
        answer = await self._read("/covered-units", pageNo=str(page), pageSize=str(PAGE_SIZE))
        return answer.count("totalCount"), read_rows(answer.objects("data"), self._statement)

    def _statement(self, row: Fields) -> NativeCoverage:
        entry = row.text("entryNo")
        try:
            last = None if row.is_null("to") else row.day("to")
            start, end = open_period_of_days(row.day("from"), last, CHINA)
            return NativeCoverage(
                statement_id=entry,
                corrects=None if row.is_null("corrects") else row.text("corrects"),
                project=self._unit(row),
                boundary=row.text("boundary"),
                sector=row.text("sector"),
                start=start,
                end=end,
                withdrawn=row.flag("withdrawn"),
            )
        except (Unclear, ValueError, OverflowError) as error:
            raise Unclear(f"entry {entry}: {error}") from error

    async def _record(self, path: str, named: Mapping[str, str | int], **query: str) -> Fields | None:
        return (await self._read(path, **query)).record("data", **named)

    async def _read(self, path: str, **query: str) -> Fields:
        answer = await self._ask("GET", path, query=query)
        if answer.text("retCode") != DONE:
            raise Unclear(f"refused: {answer.text('retCode')}: {answer.optional_text('retMsg')}")
        return answer

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Fields:
        """The envelope. A request that was not let in is ``Unclear``: an earlier one like it may have been."""
        status, answer = await self._http.ask(
            method, f"{BASE}{path}", body=body, query=query or None, statuses=frozenset({200, 401})
        )
        if status == 401:
            code, message = answer.text("retCode"), answer.optional_text("retMsg")
            clock = f". {clock_fault(answer.count('serverTime'))}" if code == "CLOCK_SKEW" else ""
            raise Unclear(f"the registry does not take our signature: {code}: {message}{clock}")
        return answer

    def _issuance(self, row: Fields) -> NativeIssuance:
        issuance = readable(
            lambda: NativeIssuance(
                native_issuance_id=row.text("issueNo"),
                external_reference=row.text("externalRef"),
                fencing_token=row.count("fencingToken"),
                native_project_id=row.matching("unitId", self._row.unit_pattern),
                period=period_of_year(row.count("complianceYear"), CHINA),
                units=row.whole("quantity"),
                blocks=tuple(
                    UnitBlock(block.text("series"), *(int(block.matching(key, _SERIAL)) for key in ("from", "to")))
                    for block in row.objects("blocks")
                ),
            )
        )
        check_serials(issuance)
        return issuance
