"""Client of the local credit registries that are asked over HTTP."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.natives.answers import Unclear, check_serials, not_civil, readable, refusal
from soleclaim.natives.civil import CHINA, days_of_period, period_of_days
from soleclaim.natives.guarded import LASTING, PAGE_SIZE, GuardedNative
from soleclaim.natives.local.area import LocalRow
from soleclaim.natives.paging import read_rows
from soleclaim.natives.plants import description_of, project_codes
from soleclaim.natives.settings import NativeSettings
from soleclaim.natives.transport import Fields
from soleclaim.registry.native import (
    MeasuredOutcome,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
)

_SERIAL: Final = re.compile(r"(?P<series>.+)-(?P<number>[0-9]{8})")


class LocalJsonNative(GuardedNative):
    """``NativeRegistry``. ``native_project_id`` is the filing number."""

    def __init__(self, settings: NativeSettings, row: LocalRow) -> None:
        super().__init__(settings)
        self._row = row

    async def _project(self, native_project_id: str) -> NativeProject | None:
        filing = await self._record(_filing(native_project_id), {"filingNo": native_project_id})
        if filing is None:
            return None
        division = filing.matching("divisionCode", "[0-9]{6}")
        if not self._row.is_inside(division):
            raise Unclear(f"the record places it in {division}, outside {self._row.area}")
        return NativeProject(
            native_project_id=filing.matching("filingNo", self._row.filing_pattern),
            name=filing.text("projectName"),
            country="CN",
            activity_type=self._row.activity_type(filing.text("category")),
            time_zone=str(CHINA),
            identifiers=project_codes(filing),
            description=description_of(filing, owner="applicant", capacity_mw="capacityMw", region="province"),
        )

    async def _outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """The verified reduction of exactly these days."""
        days = days_of_period(period, CHINA)
        if days is None:
            return None
        named = {"filingNo": native_project_id, "from": days[0].isoformat(), "to": days[1].isoformat()}
        path = f"{_filing(native_project_id)}/reductions/{named['from']}/{named['to']}"
        reduction = await self._record(path, named)
        if reduction is None:
            return None
        return MeasuredOutcome(
            native_project_id=native_project_id,
            period=period,
            base_unit="kgCO2e",
            quantity=reduction.thousandths("verifiedTonnes"),
            carried_in=0,
        )

    async def _place(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        if (unfit := self._row.refusal_of(order)) is not None:
            return unfit
        days = days_of_period(order.period, CHINA)
        if days is None:
            return not_civil(order, "whole days")
        body = {
            "filingNo": order.native_project_id,
            "from": days[0].isoformat(),
            "to": days[1].isoformat(),
            "tonnes": order.units,
            "reference": order.external_reference,
            "token": order.fencing_token,
        }
        status, answer = await self._http.ask("POST", "/api/credits", body=body, statuses=frozenset({200, 400, 409}))
        answer.must_name(reference=order.external_reference)
        if status != 200 or not answer.flag("success"):
            return refusal(answer.text("errorCode"), answer.text("errorMsg"), LASTING)
        return self._issuance(answer.object("result"))

    async def _by_reference(self, external_reference: str) -> NativeIssuance | None:
        asked = {"reference": external_reference}
        row = await self._record("/api/references", asked, query=asked)
        return None if row is None else self._issuance(row)

    async def _issuances(self, page: int) -> tuple[int, Sequence[NativeIssuance | Unclear]]:
        query = {"page": str(page), "rows": str(PAGE_SIZE)}
        _, answer = await self._http.ask("GET", "/api/credits", query=query)
        return answer.count("total"), read_rows(answer.objects("result"), self._issuance)

    async def _record(
        self, path: str, named: Mapping[str, str], *, query: Mapping[str, str] | None = None
    ) -> Fields | None:
        """The one record asked for; ``None`` when the registry, and no proxy before it, says that there is none."""
        status, answer = await self._http.ask("GET", path, query=query, statuses=frozenset({200, 404}))
        answer.must_name(**named)
        if status == 404:
            answer.must_name(errorCode="NOT_FOUND")
            return None
        record = answer.object("result")
        record.must_name(**named)
        return record

    def _issuance(self, row: Fields) -> NativeIssuance:
        issuance = readable(
            lambda: NativeIssuance(
                native_issuance_id=row.text("creditNo"),
                external_reference=row.text("reference"),
                fencing_token=row.count("token"),
                native_project_id=row.matching("filingNo", self._row.filing_pattern),
                period=period_of_days(row.day("from"), row.day("to"), CHINA),
                units=row.whole("tonnes"),
                blocks=(_block(row.text("serialFrom"), row.text("serialTo")),),
            )
        )
        check_serials(issuance)
        return issuance


def _filing(number: str) -> str:
    return f"/api/filings/{quote(number, safe='')}"


def _block(first: str, last: str) -> UnitBlock:
    """Two serials of one series, ends inclusive: a series is what stands before the running number."""
    begins, ends = _SERIAL.fullmatch(first), _SERIAL.fullmatch(last)
    if begins is None or ends is None or begins["series"] != ends["series"]:
        raise Unclear(f"{first:.80} to {last:.80} are no serials of one series")
    return UnitBlock(begins["series"], int(begins["number"]), int(ends["number"]))
