"""Client of the green certificate issuing system."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.natives.civil import CHINA, month_of_period, period_of_month
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

MAX_ORDERS: Final = 500
PAGE_SIZE: Final = 200

LASTING: Final[Mapping[str, bool]] = {
    "BAD_REQUEST": True,
    "FILING_NOT_FOUND": False,
    "NOT_MEASURED": False,
    # A reading may still be corrected while nothing is issued on it.
    "EXCEEDS_READING": False,
    "STALE_TOKEN": True,
    "REFERENCE_VOIDED": True,
}
"""The refusals that mean "nothing exists under this reference", and whether they last.

REFERENCE_REUSED is missing on purpose: it says that another order's issuance *does* exist under the reference.
"""

ACTIVITY_TYPES: Final[Mapping[str, str]] = {
    "风电": "wind",
    "光伏": "solar",
    "水电": "hydro",
    "生物质": "biomass",
    "地热": "geothermal",
    "海洋能": "ocean",
}

_CODE: Final = re.compile("(?P<filing>[0-9A-Z]{17})(?P<month>[0-9]{6})(?P<sequence>[0-9]{7})(?P<classes>[0-9A-Z]{2})")


class GecNative:
    """``NativeRegistry`` of the first kind: unique external reference that can be voided."""

    def __init__(
        self, base_url: str, *, timeout_s: float, longest_under_way_s: float, ca_file: Path | None = None
    ) -> None:
        self._http = JsonTransport(base_url, timeout_s=timeout_s, ca_file=ca_file)
        self._capabilities = NativeCapabilities(
            absence_proof=AbsenceProof.VOID,
            longest_under_way=timedelta(seconds=longest_under_way_s),
            max_batch=MAX_ORDERS,
        )

    @property
    def capabilities(self) -> NativeCapabilities:
        """Constant for the life of the object."""
        return self._capabilities

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """``native_project_id`` is the 17-character filing code."""
        try:
            status, answer = await self._http.ask(
                "GET", f"/api/v1/filings/{quote(native_project_id, safe='')}", statuses=frozenset({200, 404})
            )
            # A 404 of some proxy names no filing and is no answer of the registry.
            answer.must_name(filingCode=native_project_id)
            if status == 404:
                answer.must_name(code="FILING_NOT_FOUND")
                return None
            project_code = answer.optional_text("projectCode")
            return NativeProject(
                native_project_id=native_project_id,
                name=answer.text("projectName"),
                country="CN",
                activity_type=ACTIVITY_TYPES.get(answer.text("energyType"), "other"),
                time_zone=str(CHINA),
                identifiers=(
                    ("gec_filing_code", native_project_id),
                    *([("cn_project_code", project_code)] if project_code else []),
                ),
            )
        except Unclear as unclear:
            raise NativeUnavailable(f"filing {native_project_id}: {unclear}") from unclear

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """The settled reading of exactly this month, in kWh, and the remainder carried in."""
        month = month_of_period(period, CHINA)
        if month is None:
            return None
        try:
            _, answer = await self._http.ask(
                "GET", f"/api/v1/filings/{quote(native_project_id, safe='')}/outcomes/{month}"
            )
            answer.must_name(filingCode=native_project_id, month=month)
            if answer.text("status") == "NOT_MEASURED":
                return None
            answer.must_name(status="MEASURED")
            return MeasuredOutcome(
                native_project_id=native_project_id,
                period=period,
                base_unit="kWh",
                quantity=answer.count("kwh"),
                carried_in=answer.count("carriedInKwh"),
            )
        except Unclear as unclear:
            raise NativeUnavailable(f"outcome of {native_project_id} in {month}: {unclear}") from unclear

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """One native call for all orders that name a month; the others are refused here and never sent."""
        if len(orders) > MAX_ORDERS or len({order.external_reference for order in orders}) < len(orders):
            raise ValueError(f"a batch holds at most {MAX_ORDERS} orders, each with its own reference")
        months = {order.external_reference: month_of_period(order.period, CHINA) for order in orders}
        body = [
            {
                "filingCode": order.native_project_id,
                "generationMonth": months[order.external_reference],
                "certificates": order.units,
                "externalReference": order.external_reference,
                "fencingToken": order.fencing_token,
            }
            for order in orders
            if months[order.external_reference] is not None
        ]
        try:
            answers: dict[str, list[Fields]] | Unclear = await self._answers(body) if body else {}
        except Unclear as unclear:
            answers = unclear
        return [
            _not_a_month(order) if months[order.external_reference] is None else _result(order, answers)
            for order in orders
        ]

    async def _answers(self, orders: Sequence[Mapping[str, object]]) -> dict[str, list[Fields]]:
        """What the registry says about each reference: one answer, when all is well."""
        _, answer = await self._http.ask("POST", "/api/v1/issuances", body={"orders": orders})
        answers: dict[str, list[Fields]] = {str(order["externalReference"]): [] for order in orders}
        for result in answer.objects("results"):
            reference = result.text("externalReference")
            if reference not in answers:
                raise Unclear(f"the answer names reference {reference:.80}, which was not sent")
            answers[reference].append(result)
        return answers

    async def find(self, external_reference: str) -> NativeIssuance | None:
        """``None`` for a reference never used or voided."""
        try:
            _, answer = await self._http.ask(
                "GET", "/api/v1/references", query={"externalReference": external_reference}
            )
            return _standing(answer, external_reference, absent=("NOT_FOUND", "VOIDED"))
        except Unclear as unclear:
            raise NativeUnavailable(f"reference {external_reference}: {unclear}") from unclear

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Tombstone the reference; may be repeated, also after ``NativeUnavailable``."""
        try:
            _, answer = await self._http.ask(
                "POST", "/api/v1/references/void", body={"externalReference": external_reference}
            )
            return _standing(answer, external_reference, absent=("VOIDED",))
        except Unclear as unclear:
            raise NativeUnavailable(f"voiding reference {external_reference}: {unclear}") from unclear

    def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """All issuances, oldest first, reconciled with the announced total."""
        return reconciled(self._page)

    async def _page(self, page: int) -> tuple[int, list[NativeIssuance]]:
        try:
            _, answer = await self._http.ask(
                "GET", "/api/v1/issuances", query={"page": str(page), "size": str(PAGE_SIZE)}
            )
            return answer.count("total"), [_issuance(row) for row in answer.objects("items")]
        except Unclear as unclear:
            raise NativeUnavailable(f"page {page} of the issuances: {unclear}") from unclear

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()


def _not_a_month(order: NativeOrder) -> NativeRefusal:
    return NativeRefusal("PERIOD_NOT_CIVIL", f"{order.period} is not one month in UTC+8; not sent", lasting=True)


def _result(order: NativeOrder, answers: Mapping[str, Sequence[Fields]] | Unclear) -> NativeResult:
    if isinstance(answers, Unclear):
        return NativeUnknown(f"{order.external_reference}: {answers}")
    try:
        return _answered(order, answers[order.external_reference])
    except Unclear as unclear:
        return NativeUnknown(f"{order.external_reference}: {unclear}")


def _answered(order: NativeOrder, answers: Sequence[Fields]) -> NativeIssuance | NativeRefusal:
    if len(answers) != 1:
        raise Unclear(f"{len(answers)} answers about one order")
    answer = answers[0]
    if answer.text("status") == "REFUSED":
        code, message = answer.text("code"), answer.text("message")
        if code not in LASTING:
            raise Unclear(f"refused, but not for certain undone: {code}: {message}")
        return NativeRefusal(code, message, LASTING[code])
    answer.must_name(status="ISSUED")
    issuance = _issuance(answer.object("issuance"))
    check_answers(order, issuance)
    return issuance


def _standing(answer: Fields, external_reference: str, *, absent: Sequence[str]) -> NativeIssuance | None:
    """What a reference stands for, by an answer that is about this very reference."""
    answer.must_name(externalReference=external_reference)
    if answer.text("status") in absent:
        return None
    answer.must_name(status="ISSUED")
    row = answer.object("issuance")
    row.must_name(externalReference=external_reference)
    return _issuance(row)


def _block(block: Fields, *, filing_code: str, month: str) -> UnitBlock:
    """A range of certificate codes as a series, which is the code without its sequence, and numbers."""
    first, last = _CODE.fullmatch(block.text("startCode")), _CODE.fullmatch(block.text("endCode"))
    if first is None or last is None:
        raise Unclear(f"{block.text('startCode'):.80} to {block.text('endCode'):.80} are no certificate codes")
    named = {(code["filing"], code["month"], code["classes"]) for code in (first, last)}
    if named != {(filing_code, month.replace("-", ""), first["classes"])}:
        raise Unclear(f"codes {first[0]} to {last[0]} are not of {filing_code} in {month}, or of two series")
    series = f"{first['filing']}{first['month']}-{first['classes']}"
    found = UnitBlock(series, int(first["sequence"]), int(last["sequence"]))
    if found.count != block.count("count"):
        raise Unclear(f"{first[0]} to {last[0]} are {found.count} certificates, not {block.count('count')}")
    return found


def _issuance(row: Fields) -> NativeIssuance:
    filing_code, month = row.text("filingCode"), row.text("generationMonth")
    try:
        issuance = NativeIssuance(
            native_issuance_id=row.text("issuanceNo"),
            external_reference=row.text("externalReference"),
            fencing_token=row.count("fencingToken"),
            native_project_id=filing_code,
            period=period_of_month(month, CHINA),
            units=row.count("certificates"),
            blocks=tuple(_block(block, filing_code=filing_code, month=month) for block in row.objects("ranges")),
        )
    except (ValueError, OverflowError) as error:
        raise Unclear(f"an issuance cannot be read: {error}") from error
    check_serials(issuance)
    return issuance
