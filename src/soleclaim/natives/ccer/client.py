"""Client of the CCER registration system."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.natives.civil import CHINA, days_of_period, period_of_days
from soleclaim.natives.paging import reconciled
from soleclaim.natives.transport import Fields, JsonTransport, Unclear, check_answers, check_serials
from soleclaim.registry.native import (
    AbsenceProof,
    MeasuredOutcome,
    NativeCapabilities,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    NativeResult,
    NativeUnavailable,
    NativeUnknown,
)

PAGE_SIZE: Final = 50
"""The largest that the registry serves; it clamps more in silence."""

KG_PER_TONNE: Final = 1_000

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


class CcerNative:
    """``NativeRegistry`` of the third kind: searchable by reference, not unique by it, cannot void."""

    def __init__(
        self, base_url: str, *, timeout_s: float, longest_under_way_s: float, ca_file: Path | None = None
    ) -> None:
        self._http = JsonTransport(base_url, timeout_s=timeout_s, ca_file=ca_file)
        self._capabilities = NativeCapabilities(
            absence_proof=AbsenceProof.SEARCH_TWICE,
            longest_under_way=timedelta(seconds=longest_under_way_s),
            max_batch=1,
        )

    @property
    def capabilities(self) -> NativeCapabilities:
        """Constant for the life of the object."""
        return self._capabilities

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """``native_project_id`` is ``projectInfoId``. What is public comes from the public detail."""
        try:
            answer = await self._read("/api/assumed/project", projectInfoId=native_project_id)
            answer.must_name(projectInfoId=native_project_id)
            if answer.values.get("dataInfo", "") is None:
                return None
            project = answer.object("dataInfo")
            project.must_name(projectInfoId=native_project_id)
            detail = await self._read(
                "/api/projectmanage/open/getOpeningApplyDetail",
                applyId=project.text("applyId"),
                projectInfoId=native_project_id,
                dataType="2" if project.flag("registered") else "1",
            )
            methodology = detail.object("dataInfo").text("methodologyNum")
            return NativeProject(
                native_project_id=native_project_id,
                name=project.text("projectName"),
                country="CN",
                activity_type=ACTIVITY_TYPES.get(methodology.rpartition("-")[0], "other"),
                time_zone=str(CHINA),
                identifiers=(("cn_project_code", project.text("projectCode")),),
            )
        except Unclear as unclear:
            raise NativeUnavailable(f"project {native_project_id}: {unclear}") from unclear

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """The registered certified reduction of exactly these days, in kgCO2e."""
        days = days_of_period(period, CHINA)
        if days is None:
            return None
        wanted = {"projectInfoId": native_project_id, "startDate": f"{days[0]:%Y%m%d}", "endDate": f"{days[1]:%Y%m%d}"}
        try:
            answer = await self._read("/api/assumed/reduction", **wanted)
            answer.must_name(**wanted)
            if answer.values.get("dataInfo", "") is None:
                return None
            reduction = answer.object("dataInfo")
            reduction.must_name(**wanted)
            if not reduction.flag("registered"):
                return None
            return MeasuredOutcome(
                native_project_id=native_project_id,
                period=period,
                base_unit="kgCO2e",
                quantity=reduction.count("certifiedNum") * KG_PER_TONNE,
                carried_in=0,
            )
        except Unclear as unclear:
            raise NativeUnavailable(f"outcome of {native_project_id} in {period}: {unclear}") from unclear

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """One call for the one order allowed at a time (``max_batch``)."""
        if len(orders) > self._capabilities.max_batch:
            raise ValueError(f"{len(orders)} orders; CCER takes {self._capabilities.max_batch} in a call")
        results: list[NativeResult] = []
        for order in orders:
            try:
                results.append(await self._issue(order))
            except Unclear as unclear:
                results.append(NativeUnknown(f"{order.external_reference}: {unclear}"))
        return results

    async def _issue(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        days = days_of_period(order.period, CHINA)
        if days is None:
            return NativeRefusal(
                "PERIOD_NOT_CIVIL", f"{order.period} is not whole days in UTC+8; not sent", lasting=True
            )
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
            code, message = answer.text("code"), answer.text("msg")
            if code not in LASTING:
                raise Unclear(f"refused with a code that is not known: {code}: {message}")
            return NativeRefusal(code, message, LASTING[code])
        issuance = _issuance(answer.object("dataInfo"))
        check_answers(order, issuance)
        return issuance

    async def find(self, external_reference: str) -> NativeIssuance | None:
        """The oldest issuance with that reference.

        The registry does not guard references, so there can be two. The second is not hidden: it is logged
        as an error and ``list_issuances`` yields both, where reconciliation finds one without a lock.
        """
        try:
            answer = await self._read("/api/assumed/find", externalReference=external_reference)
            answer.must_name(externalReference=external_reference)
            rows = answer.objects("dataInfo")
            for row in rows:
                row.must_name(externalReference=external_reference)
            found = {row.text("ccerId"): _issuance(row) for row in rows}
            if len(found) != answer.count("total"):
                raise Unclear(f"{answer.count('total')} issuances announced, {len(found)} shown")  # noqa: TRY301
        except Unclear as unclear:
            raise NativeUnavailable(f"reference {external_reference}: {unclear}") from unclear
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

    def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """All issuances, oldest first, reconciled with the announced total."""
        return reconciled(self._page)

    async def _page(self, page: int) -> tuple[int, list[NativeIssuance]]:
        try:
            answer = await self._read("/api/assumed/issuances", pageNumber=page, pageSize=PAGE_SIZE)
            return answer.count("total"), [_issuance(row) for row in answer.objects("dataInfo")]
        except Unclear as unclear:
            raise NativeUnavailable(f"page {page} of the issuances: {unclear}") from unclear

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def _read(self, path: str, **body: object) -> Fields:
        _, answer = await self._http.ask("POST", path, body=body)
        if not answer.flag("successful"):
            raise Unclear(f"refused: {answer.optional_text('code')}: {answer.optional_text('msg')}")
        return answer


def _issuance(row: Fields) -> NativeIssuance:
    try:
        issuance = NativeIssuance(
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
    except (ValueError, OverflowError) as error:
        raise Unclear(f"an issuance cannot be read: {error}") from error
    check_serials(issuance)
    return issuance
