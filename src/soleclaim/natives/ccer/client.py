"""Client of the CCER registration system."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.natives.answers import Unclear, check_serials, not_civil, placed, readable, refusal
from soleclaim.natives.civil import CHINA, days_of_period, period_of_days
from soleclaim.natives.json_native import JsonNative
from soleclaim.natives.paging import read_rows
from soleclaim.natives.plants import project_codes
from soleclaim.natives.settings import NativeSettings
from soleclaim.natives.transport import Fields
from soleclaim.registry.native import (
    KG_PER_TONNE,
    AbsenceProof,
    MeasuredOutcome,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    NativeResult,
    NativeUnavailable,
    PlantDescription,
)

PAGE_SIZE: Final = 50
"""The largest that the registry serves; it clamps more in silence."""

LASTING: Final[Mapping[str, bool]] = {
    "BAD_REQUEST": True,
    "PROJECT_NOT_FOUND": False,
    "REDUCTION_NOT_REGISTERED": False,
    # Nothing can be voided and a certification does not grow: what is left of it only shrinks.
    "EXCEEDS_CERTIFIED": True,
    "STALE_TOKEN": True,
}
"""The refusals we know, and whether they last. Any other code is not understood, hence unknown."""

ACTIVITY_TYPES: Final[Mapping[str, str]] = {
    "CCER-01-001": "solar",
    "CCER-01-002": "wind",
    "CCER-14-001": "afforestation",
    "CCER-14-002": "mangrove",
}
"""By methodology number without its version."""

_log = logging.getLogger(__name__)


class CcerNative(JsonNative):
    """``NativeRegistry`` of the third kind: searchable by reference, not unique by it, cannot void.

    ``native_project_id`` is ``projectInfoId``.
    """

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings, AbsenceProof.SEARCH_TWICE)

    async def _project(self, native_project_id: str) -> NativeProject | None:
        """What is public comes from the public detail."""
        answer = await self._read("/api/assumed/project", projectInfoId=native_project_id)
        project = answer.record("dataInfo", projectInfoId=native_project_id)
        if project is None:
            return None
        detail = await self._read(
            "/api/projectmanage/open/getOpeningApplyDetail",
            applyId=project.text("applyId"),
            projectInfoId=native_project_id,
            dataType="2" if project.flag("registered") else "1",
        )
        public = detail.object("dataInfo")
        methodology = public.text("methodologyNum")
        return NativeProject(
            native_project_id=native_project_id,
            name=project.text("projectName"),
            country="CN",
            activity_type=ACTIVITY_TYPES.get(methodology.rpartition("-")[0], "other"),
            time_zone=str(CHINA),
            identifiers=project_codes(project),
            description=PlantDescription(
                owner=project.told_text("orgCustomerName"),
                capacity_kw=project.told_kilowatts("capacityMw"),
                region=public.told_text("provinceName"),
            ),
        )

    async def _outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """The registered certified reduction of exactly these days."""
        days = days_of_period(period, CHINA)
        if days is None:
            return None
        wanted = {"projectInfoId": native_project_id, "startDate": f"{days[0]:%Y%m%d}", "endDate": f"{days[1]:%Y%m%d}"}
        reduction = (await self._read("/api/assumed/reduction", **wanted)).record("dataInfo", **wanted)
        if reduction is None or not reduction.flag("registered"):
            return None
        return MeasuredOutcome(
            native_project_id=native_project_id,
            period=period,
            base_unit="kgCO2e",
            quantity=reduction.count("certifiedNum") * KG_PER_TONNE,
            carried_in=0,
        )

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """See ``NativeRegistry``; one order goes in a call."""
        return await placed(orders, self._place, registry=self._registry)

    async def _place(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        days = days_of_period(order.period, CHINA)
        if days is None:
            return not_civil(order, "whole days")
        body = {
            "projectInfoId": order.native_project_id,
            "startDate": f"{days[0]:%Y%m%d}",
            "endDate": f"{days[1]:%Y%m%d}",
            "issueNum": order.units,
            "externalReference": order.external_reference,
            "fencingToken": order.fencing_token,
        }
        _, answer = await self._http.ask("POST", "/api/assumed/issue", body=body)
        answer.must_name(externalReference=order.external_reference)
        if not answer.flag("successful"):
            return refusal(answer.text("code"), answer.text("msg"), LASTING)
        return _issuance(answer.object("dataInfo"))

    async def _by_reference(self, external_reference: str) -> NativeIssuance | None:
        """The oldest issuance with that reference.

        The registry does not guard references, so there can be two. The second is not hidden: it is logged
        as an error and ``list_issuances`` yields both, where reconciliation finds one without a lock.
        """
        answer = await self._read("/api/assumed/find", externalReference=external_reference)
        answer.must_name(externalReference=external_reference)
        rows = answer.objects("dataInfo")
        for row in rows:
            row.must_name(externalReference=external_reference)
        found = {row.text("ccerId"): _issuance(row) for row in rows}
        if len(found) != answer.count("total"):
            raise Unclear(f"{answer.count('total')} issuances announced, {len(found)} shown")
        if not found:
            return None
        if len(found) > 1:
            _log.error("CCER holds %d issuances with reference %s: %s", len(found), external_reference, sorted(found))
        return found[min(found, key=lambda ccer_id: (len(ccer_id), ccer_id))]

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Not possible here; see ``AbsenceProof.SEARCH_TWICE``."""
        raise NativeUnavailable(
            f"CCER cannot void reference {external_reference}; absence is proven by searching twice"
        )

    async def _issuances(self, page: int) -> tuple[int, Sequence[NativeIssuance | Unclear]]:
        answer = await self._read("/api/assumed/issuances", pageNumber=page, pageSize=PAGE_SIZE)
        return answer.count("total"), read_rows(answer.objects("dataInfo"), _issuance)

    async def _read(self, path: str, **body: object) -> Fields:
        _, answer = await self._http.ask("POST", path, body=body)
        if not answer.flag("successful"):
            raise Unclear(f"refused: {answer.optional_text('code')}: {answer.optional_text('msg')}")
        return answer


def _issuance(row: Fields) -> NativeIssuance:
    issuance = readable(
        lambda: NativeIssuance(
            native_issuance_id=row.text("ccerId"),
            external_reference=row.text("externalReference"),
            fencing_token=row.count("fencingToken"),
            native_project_id=row.text("projectInfoId"),
            period=period_of_days(
                date.fromisoformat(row.text("startDate")), date.fromisoformat(row.text("endDate")), CHINA
            ),
            units=row.count("issuedNum"),
            blocks=tuple(
                UnitBlock(block.text("series"), block.count("startNo"), block.count("endNo"))
                for block in row.objects("serialBlocks")
            ),
        )
    )
    check_serials(issuance)
    return issuance
